//! `muster rejudge`: asks for another verdict by the rules now in force. The old verdict stays in history.

mod filter;

use domain::challenge::RejudgePreview;
use domain::{Event, SubmissionId};
use projections::view::StatusView;

use self::filter::{FilterCondition, select};
use super::Exit;
use super::client::{ChallengeReply, MusterClient, ServerOption, TokenOption};
use super::error::CliError;

/// Verifies submissions again, with the same image digests.
///
/// With --dry-run nothing changes: the recorded evidence is judged by the rules now
/// in force, and a line for each submission says whether its verdict would change.
/// Only a rejudge finds an app that behaves differently now.
///
/// Exit codes: 0 done, 1 some submissions were refused, 2 the request is wrong, 3 the
/// server cannot be reached.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "filter"])))]
pub(super) struct RejudgeCommand {
    /// Ids of the submissions
    #[arg(value_name = "ID")]
    ids: Vec<SubmissionId>,

    /// Submissions by their newest verdict; repeat the flag to require several conditions:
    /// verdict=passed|failed|given_up, code=CODE, owner=NAMESPACE, rules=other (judged by
    /// rules other than those in force), since=MOMENT, until=MOMENT
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "ids")]
    filter: Vec<FilterCondition>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Reason to record in history
    #[arg(long, value_name = "TEXT", default_value = "asked for on the command line")]
    why: String,

    #[command(flatten)]
    server: ServerOption,

    #[command(flatten)]
    token: TokenOption,
}

/// The verdict that a rejudge would give, compared with the present one.
#[derive(Debug, PartialEq)]
enum RejudgeOutlook {
    Stays(bool),
    Changes {
        from: bool,
        to: bool,
    },
    /// The recorded evidence does not decide it, for this reason.
    Open(&'static str),
}

impl RejudgeCommand {
    pub(super) async fn run(self) -> Exit {
        match self.rejudge().await {
            Ok(exit) => exit,
            Err(failure) => failure.fail(),
        }
    }

    async fn rejudge(self) -> Result<Exit, CliError> {
        let client = self.server.client()?;
        let rules = client.rules().await?;
        let ids = match &self.filter[..] {
            [] => self.ids,
            filter => select(&client, &self.token, filter, &rules.rules).await?,
        };
        if self.dry_run {
            return preview(&client, &rules, &ids).await;
        }
        let body = serde_json::json!({ "why": self.why });
        let mut refused = 0;
        for id in &ids {
            match client.organise(*id, "rejudge", &body, &self.token).await {
                Ok(()) => println!("{id}: queued for a rejudge"),
                Err(error) if error.exit() == Exit::Refused => {
                    refused += 1;
                    println!("{id}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("{} queued for a rejudge, {refused} refused", ids.len() - refused);
        Ok(if refused == 0 { Exit::Success } else { Exit::Failed })
    }
}

/// Prints for each submission whether a rejudge would change its verdict.
async fn preview(
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
                println!("{id}: unknown, {why}");
            }
        }
    }
    println!("{change} would change, {stay} would stay, {open} unknown; nothing was changed");
    Ok(Exit::Success)
}

/// Judges the recorded evidence of the newest verdict by the rules now in force.
fn outlook(rules: &ChallengeReply, view: &StatusView) -> RejudgeOutlook {
    let events = || view.timeline.iter().map(|entry| &entry.event);
    let newest = events().rev().find_map(|event| match event {
        Event::Passed(passed) => Some((passed.attempt, &passed.basis, true)),
        Event::Failed(failed) => Some((failed.attempt, &failed.basis, false)),
        _ => None,
    });
    let Some((attempt, basis, before)) = newest else {
        return RejudgeOutlook::Open("because it has no verdict yet");
    };
    // A verdict of an older version does not name its rules. Its evidence counts as gathered under others.
    let same_rules = basis.rules.as_ref() == Some(&rules.rules);
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
        None => {
            RejudgeOutlook::Open("because the recorded evidence does not decide it by the rules now in force")
        }
    }
}
