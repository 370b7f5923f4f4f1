//! `muster rejudge`: another verdict by the rules now in force. The old one
//! stays in history.

mod chosen;

use domain::challenge::RejudgePreview;
use domain::{Event, SubmissionId};
use projections::view::StatusView;

use self::chosen::{FilterCondition, chosen};
use super::Exit;
use super::client::{ChallengeReply, MusterClient, ServerOption, TokenOption};
use super::replay::{CliError, HistorySource};

/// Has submissions verified again, by the same image digests.
///
/// With --dry-run nothing is changed: what was recorded is judged by the rules
/// now in force, and each submission's line says whether its verdict would be
/// another. An app that now behaves in another way is only found by verifying.
///
/// Exit codes: 0 done, 1 some could not be asked for, 2 what was asked for is
/// wrong, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "filter"])))]
pub(super) struct RejudgeCommand {
    /// The submissions' ids
    #[arg(value_name = "ID")]
    ids: Vec<SubmissionId>,

    /// Those whose newest verdict meets this; given again, this too:
    /// verdict=passed|failed, code=CODE, owner=NAMESPACE, rules=other,
    /// since=MOMENT, until=MOMENT
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "ids")]
    filter: Vec<FilterCondition>,

    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,

    /// Why, for history
    #[arg(long, value_name = "TEXT", default_value = "asked for on the command line")]
    why: String,

    #[command(flatten)]
    server: ServerOption,

    #[command(flatten)]
    token: TokenOption,
}

/// What would come of another verdict.
#[derive(Debug, PartialEq)]
enum RejudgeOutlook {
    Stays(bool),
    Changes {
        from: bool,
        to: bool,
    },
    /// Only verifying tells.
    Open(&'static str),
}

impl RejudgeCommand {
    pub(super) async fn run(self) -> Exit {
        match self.rejudge().await {
            Ok(exit) => exit,
            Err(failure) => failure.fail_with(),
        }
    }

    async fn rejudge(self) -> Result<Exit, CliError> {
        let client = self.server.client()?;
        let rules = client.rules().await?;
        let source = HistorySource::Server(client, self.token);
        let ids = match &self.filter[..] {
            [] => self.ids,
            filter => chosen(&source, filter, &rules.rules).await?,
        };
        let HistorySource::Server(client, token) = &source else { unreachable!("made so above") };
        if self.dry_run {
            return foresee(client, &rules, &ids).await;
        }
        let mut refused = 0;
        for id in &ids {
            match client.rejudge(*id, &self.why, token).await {
                Ok(()) => println!("{id}: waits to be verified again"),
                Err(error) if error.exit() == Exit::Refused => {
                    refused += 1;
                    println!("{id}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("{} wait to be verified again, {refused} do not", ids.len() - refused);
        Ok(if refused == 0 { Exit::Success } else { Exit::Failed })
    }
}

/// Says of each what would come of another verdict.
async fn foresee(
    client: &MusterClient,
    rules: &ChallengeReply,
    ids: &[SubmissionId],
) -> Result<Exit, CliError> {
    let (mut stay, mut change, mut open) = (0, 0, 0);
    let verdict = |passed: bool| if passed { "passed" } else { "failed" };
    for id in ids {
        let view = client.status_patiently(*id, None).await?.view;
        match outlook(rules, &view) {
            RejudgeOutlook::Stays(passed) => {
                stay += 1;
                println!("{id}: stays {}", verdict(passed));
            }
            RejudgeOutlook::Changes { from, to } => {
                change += 1;
                println!("{id}: {} -> {}", verdict(from), verdict(to));
            }
            RejudgeOutlook::Open(why) => {
                open += 1;
                println!("{id}: open, {why}");
            }
        }
    }
    println!("{change} would change, {stay} would stay, {open} are open; nothing was changed");
    Ok(Exit::Success)
}

/// What the recorded evidence of the newest verdict comes to by the rules now in force.
fn outlook(rules: &ChallengeReply, view: &StatusView) -> RejudgeOutlook {
    let events = || view.timeline.iter().map(|entry| &entry.event);
    let newest = events().rev().find_map(|event| match event {
        Event::Passed(passed) => Some((passed.attempt, true)),
        Event::Failed(failed) => Some((failed.attempt, false)),
        _ => None,
    });
    let Some((attempt, before)) = newest else { return RejudgeOutlook::Open("for it has no verdict yet") };
    // The evidence is as old as its attempt, but which rules that had only the
    // submission says; a verdict by newer rules is judged as if by older ones.
    let same_rules = events().any(
        |event| matches!(event, Event::Submitted(submitted) if submitted.challenge.rules == rules.rules),
    ) && !events().any(|event| matches!(event, Event::RejudgeRequested(_)));
    let probes: Vec<_> = events()
        .filter_map(|event| match event {
            Event::Probed(probed) if probed.attempt == attempt => Some(probed.images.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let trial =
        RejudgePreview { same_rules, answering: rules.images.answering, compare: &rules.probe.compare };
    match trial.passes(&view.images, &probes) {
        Some(passes) if passes == before => RejudgeOutlook::Stays(before),
        Some(passes) => RejudgeOutlook::Changes { from: before, to: passes },
        None => RejudgeOutlook::Open("for what was recorded does not decide it by the rules now in force"),
    }
}
