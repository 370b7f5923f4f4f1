//! `muster doctor`: checks this machine and the nodes, and prints how to fix each problem.

mod daemon;
mod engine;
mod gate;
mod nodes;
mod place;
mod registry;

use std::fmt;

use super::{Exit, fail_with};
use crate::config::{AllOptions, Settings};

/// Checks this machine and the nodes for `muster up`, and shows how to fix each problem.
///
/// Exit codes: 0 nothing is missing, 1 something is missing, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorCommand {
    #[command(flatten)]
    options: AllOptions,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DoctorFinding {
    state: FindingState,
    /// The thing that was checked, and its condition.
    subject: String,
    /// The remedy: a command or a sentence.
    cure: Option<String>,
}

/// The condition of a checked thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FindingState {
    Ok,
    /// It works, but it could be better.
    Warn,
    /// Without it, Muster does not start or verifies nothing.
    Missing,
    /// It cannot be checked from here; the operator has to look.
    Unseen,
}

impl DoctorCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = match Settings::read(&self.options) {
            Ok(settings) => settings,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        let mut findings = vec![DoctorFinding::ok(format!("challenge: {}", settings.challenge.title))];
        if let Some(webhooks) = &settings.webhooks {
            findings.push(DoctorFinding::ok(format!("webhooks: {webhooks}")));
        }
        findings.extend(place::examine(&settings));
        findings.push(place::port(settings.api()).await);
        for endpoint in &settings.swarm {
            findings.extend(engine::examine(endpoint, settings.swarm_certificates.as_deref()).await);
        }
        findings.extend(nodes::examine(&settings).await);
        findings.extend(gate::examine(&settings).await);
        findings.extend(registry::examine_all(&settings).await);
        findings.iter().for_each(|finding| println!("{finding}"));
        let missing = findings.iter().filter(|finding| finding.state == FindingState::Missing).count();
        match missing {
            0 => Exit::Success,
            missing => fail_with(format_args!("{missing} missing"), Exit::Failed),
        }
    }
}

impl DoctorFinding {
    fn ok(subject: impl Into<String>) -> Self {
        Self { state: FindingState::Ok, subject: subject.into(), cure: None }
    }

    fn warn(subject: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Warn, subject: subject.into(), cure: Some(cure.into()) }
    }

    fn missing(subject: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Missing, subject: subject.into(), cure: Some(cure.into()) }
    }

    fn unseen(subject: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: FindingState::Unseen, subject: subject.into(), cure: Some(cure.into()) }
    }
}

impl fmt::Display for DoctorFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            FindingState::Ok => "ok",
            FindingState::Warn => "warn",
            FindingState::Missing => "missing",
            FindingState::Unseen => "unseen",
        };
        write!(f, "{state:<8}{}", self.subject)?;
        match &self.cure {
            Some(cure) => write!(f, "\n        -> {cure}"),
            None => Ok(()),
        }
    }
}
