//! `muster hide`, `muster show` and `muster withdraw`: take submissions off the map or out of the queue.

use std::collections::BTreeSet;

use domain::SubmissionId;
use event_store::EventFilter;
use futures::StreamExt;
use read_api::HistoryFilter;

use super::Exit;
use super::client::{ServerOption, TokenOption};
use super::error::CliError;
use super::replay::{HistoryItem, HistoryQuery, HistorySource};

/// Hides submissions from the map. Their verdicts and their history stay.
///
/// Exit codes: 0 done, 1 some submissions were refused, 2 the request is wrong, 3 the
/// server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct HideCommand {
    #[command(flatten)]
    which: WhichSubmissions,
}

/// Shows hidden submissions on the map again.
///
/// Exit codes: 0 done, 1 some submissions were refused, 2 the request is wrong, 3 the
/// server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct ShowCommand {
    #[command(flatten)]
    which: WhichSubmissions,
}

/// Corrects the spelling of the name that a submission shows. The typed name stays in history.
///
/// Exit codes: 0 done, 2 the request is wrong, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct CorrectCommand {
    /// Id of the submission
    id: SubmissionId,

    /// Name as it is shown from now on
    name: String,

    /// Reason to record in history; the participant reads it
    #[arg(long, value_name = "TEXT")]
    why: String,

    #[command(flatten)]
    server: ServerOption,

    #[command(flatten)]
    token: TokenOption,
}

/// Withdraws a submission that has no verdict yet. It is never judged.
///
/// Exit codes: 0 done, 2 it has a verdict or does not exist, 3 the server cannot be reached.
#[derive(Debug, clap::Args)]
pub(super) struct WithdrawCommand {
    /// Id of the submission, as `muster submit` printed it
    id: SubmissionId,

    #[command(flatten)]
    server: ServerOption,
}

/// The flags of a command that changes which submissions are on the map.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("submissions").required(true).args(["ids", "owner"])))]
struct WhichSubmissions {
    /// Ids of the submissions
    #[arg(value_name = "ID")]
    ids: Vec<SubmissionId>,

    /// Owner of a pin, such as docker.io/alice: all submissions of the owner that ever passed. `hide` leaves out those that
    /// wait, and `show` brings back every one of them, whoever hid it
    #[arg(long, value_name = "NAMESPACE")]
    owner: Option<String>,

    /// Reason to record in history; the participant reads it
    #[arg(long, value_name = "TEXT")]
    why: String,

    #[command(flatten)]
    server: ServerOption,

    #[command(flatten)]
    token: TokenOption,
}

impl HideCommand {
    pub(super) async fn run(self) -> Exit {
        self.which.send("hide", "hidden").await.unwrap_or_else(CliError::fail)
    }
}

impl ShowCommand {
    pub(super) async fn run(self) -> Exit {
        self.which.send("show", "shown").await.unwrap_or_else(CliError::fail)
    }
}

impl CorrectCommand {
    pub(super) async fn run(self) -> Exit {
        let body = serde_json::json!({ "name": self.name, "why": self.why });
        let corrected =
            async { self.server.client()?.organise(self.id, "correct", &body, &self.token).await };
        match corrected.await {
            Ok(()) => {
                println!("{}: corrected", self.id);
                Exit::Success
            }
            Err(error) => error.fail(),
        }
    }
}

impl WithdrawCommand {
    pub(super) async fn run(self) -> Exit {
        let withdrawn = async { self.server.client()?.withdraw(self.id).await };
        match withdrawn.await {
            Ok(()) => {
                println!("{}: withdrawn", self.id);
                Exit::Success
            }
            Err(error) => error.fail(),
        }
    }
}

impl WhichSubmissions {
    /// Sends a command for each submission, and prints a line with `done` for each that was carried out.
    async fn send(self, command: &str, done: &str) -> Result<Exit, CliError> {
        let (client, token) = (self.server.client()?, self.token);
        let ids = match &self.owner {
            Some(owner) => passed_of(&HistorySource::Server(client.clone(), token.clone()), owner).await?,
            None => self.ids,
        };
        let body = serde_json::json!({ "why": self.why });
        let mut refused = 0;
        for id in &ids {
            match client.organise(*id, command, &body, &token).await {
                Ok(()) => println!("{id}: {done}"),
                Err(error) if error.exit() == Exit::Refused => {
                    refused += 1;
                    println!("{id}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("{} {done}, {refused} refused", ids.len() - refused);
        Ok(if refused == 0 { Exit::Success } else { Exit::Failed })
    }
}

/// Returns the submissions of an owner that ever passed, hidden or not.
async fn passed_of(source: &HistorySource, owner: &str) -> Result<Vec<SubmissionId>, CliError> {
    let events = EventFilter { kinds: vec!["Passed".to_owned()], ..EventFilter::default() };
    let filter = HistoryFilter { events, owner: Some(owner.to_owned()), ..HistoryFilter::default() };
    let mut lines = source.lines(HistoryQuery { filter, ..HistoryQuery::default() });
    let mut passed = BTreeSet::new();
    while let Some(item) = lines.next().await {
        if let HistoryItem::Line(line) = item? {
            passed.extend(line.submission());
        }
    }
    if passed.is_empty() {
        return Err(CliError::refused(format!(
            "no submission of {owner} has passed; an owner is written as docker.io/alice"
        )));
    }
    Ok(passed.into_iter().collect())
}
