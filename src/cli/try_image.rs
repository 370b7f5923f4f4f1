//! `muster try`: runs an image on the participant's own Docker as Muster would, and shows the verdict that it would get.

use std::collections::BTreeMap;
use std::path::PathBuf;

use commands::EntryError;
use domain::challenge::ProbeRules;
use domain::sandbox::SandboxGrade;
use domain::submission::{
    ChallengeId, Failed, Location, Participant, Passed, Place, ProbeOutcome, Probed, Reason, Submitted,
    VerdictBasis,
};
use domain::{Challenge, Event, ImageRef};
use tokio_util::sync::CancellationToken;
use verifier::trial::{TrialError, TrialOrder, try_image};

use super::progress::lines_of_event;
use super::submit::read_entry_file;
use super::up::install_signal_handlers;
use super::{Exit, fail_with};
use crate::config;

/// Runs an image on your own Docker as Muster would, and shows its verdict.
///
/// It asks the challenge's question as a verifier does. Nothing is pushed or submitted.
///
/// Exit codes: 0 it would pass, 1 it would fail, 2 an argument or the entry is wrong,
/// 3 the Docker engine does not do its part.
#[derive(Debug, clap::Args)]
pub(super) struct TryCommand {
    /// Image to try, by its name or id on your Docker
    image: String,

    /// File with the entry that you will submit, a JSON object; without it, the answer must
    /// only be a JSON object
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,

    /// Docker engine: unix:///PATH or tcp://HOST:PORT
    #[arg(long, env = "DOCKER_HOST", value_name = "ENGINE", default_value = "unix:///var/run/docker.sock")]
    engine: String,

    /// File that describes the challenge [default: the birthday challenge]
    #[arg(long, env = "MUSTER_CHALLENGE", value_name = "FILE")]
    challenge: Option<PathBuf>,

    /// Grade of the sandbox: writable, read_only or bare [default: the lowest that you may meet]
    #[arg(long, value_name = "GRADE", value_parser = grade)]
    grade: Option<SandboxGrade>,
}

impl TryCommand {
    pub(super) async fn run(self) -> Exit {
        let mut challenge = match self.challenge.as_deref().map(config::read_challenge).transpose() {
            Ok(challenge) => challenge.unwrap_or_else(Challenge::birthday),
            Err(why) => return fail_with(format_args!("--challenge: {why}"), Exit::Refused),
        };
        let order = match self.order(&mut challenge).await {
            Ok(order) => order,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        let stopping = CancellationToken::new();
        if let Err(error) = install_signal_handlers(stopping.clone()) {
            return fail_with(format_args!("the signal handlers cannot be installed: {error}"), Exit::Failed);
        }
        println!("running {} in a sandbox of the grade {}", order.name, order.grade.as_str());
        let probe = match try_image(&challenge, &order, &stopping).await {
            Ok(probe) => probe,
            Err(error @ (TrialError::NoImage(_) | TrialError::Address(_))) => {
                return fail_with(error, Exit::Refused);
            }
            Err(error) => return fail_with(error, Exit::Unreachable),
        };
        let (verdict, exit) = match probe.outcome {
            ProbeOutcome::Matched => {
                (Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() }), Exit::Success)
            }
            ProbeOutcome::Failed(code) => {
                let message = probe.message.clone().unwrap_or_default();
                let reasons = vec![Reason { code, image: Some(probe.image.clone()), message }];
                (Event::Failed(Failed { attempt: 1, reasons, basis: VerdictBasis::default() }), Exit::Failed)
            }
        };
        let probed = Event::Probed(Probed { attempt: 1, images: vec![probe] });
        for line in [&probed, &verdict].into_iter().flat_map(lines_of_event) {
            println!("{line}");
        }
        if self.entry.is_none() && exit == Exit::Success {
            println!("Only the form of the answer was judged: --entry FILE compares it with your entry.");
        }
        exit
    }

    /// Returns the order for the trial. Without an entry, the challenge is changed to compare nothing.
    async fn order(&self, challenge: &mut Challenge) -> Result<TrialOrder, String> {
        let grade = self.grade.unwrap_or_else(|| challenge.lowest_grade());
        let parsed = self.image.parse::<ImageRef>();
        let submitted = match &self.entry {
            Some(file) => {
                let shown = file.display();
                let entry = read_entry_file(file).await;
                let entry = entry.map_err(|error| format!("{shown} cannot be read: {error}"))?;
                commands::read_entry(&entry, challenge)
                    .map_err(|error| refusal(&shown.to_string(), &error))?
            }
            None => {
                let ProbeRules::Http(rules) = &mut challenge.probe;
                rules.compare.clear();
                // An id is no name of an image that could be submitted.
                let image = parsed.clone().unwrap_or_else(|_| unnamed());
                anonymous(challenge, image)
            }
        };
        let is_named = |image: &&ImageRef| parsed.as_ref().is_ok_and(|parsed| parsed == *image);
        let image = submitted.images.iter().find(is_named).or(submitted.images.first());
        let image = image.cloned().unwrap_or_else(unnamed);
        Ok(TrialOrder { engine: self.engine.clone(), name: self.image.clone(), image, submitted, grade })
    }
}

fn grade(text: &str) -> Result<SandboxGrade, String> {
    let grades = [SandboxGrade::Bare, SandboxGrade::ReadOnly, SandboxGrade::Writable];
    let found = grades.into_iter().find(|grade| grade.as_str() == text);
    found.ok_or_else(|| "one of writable, read_only and bare is expected".to_owned())
}

/// Returns a submission of one image by nobody, for a challenge that compares nothing.
fn anonymous(challenge: &Challenge, image: ImageRef) -> Submitted {
    let place = Place { city: String::new(), country: String::new(), lat: 0.0, lon: 0.0 };
    Submitted {
        challenge: ChallengeId { id: challenge.id.clone(), rules: challenge.digest() },
        participant: Participant { name: String::new(), twitter: None },
        location: Location { typed: String::new(), place },
        images: vec![image],
        answers: BTreeMap::new(),
        owner: String::new(),
        venue: None,
        lane: None,
    }
}

fn unnamed() -> ImageRef {
    "local/image".parse().expect("a constant that is tested")
}

fn refusal(file: &str, error: &EntryError) -> String {
    match error {
        EntryError::NotJson(why) => format!("{file} is not a JSON object: {why}"),
        EntryError::Fields(problems) => {
            let lines = problems.iter().map(|problem| format!("\n  {}: {}", problem.field, problem.message));
            format!("{file} would be refused:{}", lines.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grade_is_named_as_in_the_challenge() {
        assert_eq!(grade("read_only"), Ok(SandboxGrade::ReadOnly));
        assert!(grade("best").unwrap_err().contains("writable"));
        assert_eq!(unnamed().familiar(), "local/image");
    }
}
