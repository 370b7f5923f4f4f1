//! `muster status`: where a submission stands, now or until its verdict.

use domain::SubmissionId;
use jiff::Timestamp;

use super::client::ServerOption;
use super::{Exit, progress};

/// Says where a submission stands, and why.
///
/// Exit codes: 0 passed, 1 failed, 2 there is no such submission, 3 the server
/// cannot be reached, 4 there is no verdict yet.
#[derive(Debug, clap::Args)]
pub(super) struct StatusCommand {
    /// The submission's id, as `muster submit` said it
    id: SubmissionId,

    /// Stay until there is a verdict
    #[arg(long)]
    watch: bool,

    /// As it was at this moment: 2026-03-21T12:00:00Z
    #[arg(long, value_name = "MOMENT", conflicts_with = "watch")]
    at: Option<Timestamp>,

    #[command(flatten)]
    server: ServerOption,
}

impl StatusCommand {
    pub(super) async fn run(self) -> Exit {
        let client = match self.server.client() {
            Ok(client) => client,
            Err(error) => return error.fail_with(),
        };
        // What is not there from the beginning is not waited for.
        let standing = match self.at {
            Some(at) => client.status_at(self.id, at).await,
            None => client.status(self.id, None).await,
        };
        match standing {
            Ok(_) if self.watch => progress::follow(&client, self.id).await,
            Ok(standing) => progress::say(&standing),
            Err(error) => error.fail_with(),
        }
    }
}
