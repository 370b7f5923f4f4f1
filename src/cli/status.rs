//! `muster status`: shows the status of a submission, now or up to its verdict.

use domain::SubmissionId;
use jiff::Timestamp;

use super::client::ServerOption;
use super::{Exit, progress};

/// Shows the status of a submission, with the reasons.
///
/// Exit codes: 0 passed, 1 failed or withdrawn, 2 there is no such submission, 3 the server
/// cannot be reached, 4 there is no verdict yet.
#[derive(Debug, clap::Args)]
pub(super) struct StatusCommand {
    /// Id of the submission, as `muster submit` printed it
    id: SubmissionId,

    /// Show the progress until there is a verdict
    #[arg(long)]
    watch: bool,

    /// Status at this past moment: 2026-03-21T12:00:00Z
    #[arg(long, value_name = "MOMENT", conflicts_with = "watch")]
    at: Option<Timestamp>,

    #[command(flatten)]
    server: ServerOption,
}

impl StatusCommand {
    pub(super) async fn run(self) -> Exit {
        let client = match self.server.client() {
            Ok(client) => client,
            Err(error) => return error.fail(),
        };
        // The first request fails at once: the id may be wrong, or the server absent.
        let reply = match self.at {
            Some(at) => client.status_at(self.id, at).await,
            None => client.status(self.id, None).await,
        };
        match reply {
            Ok(_) if self.watch => progress::follow(&client, self.id).await,
            Ok(reply) => progress::print(&reply),
            Err(error) => error.fail(),
        }
    }
}
