//! What the verifier reports of one attempt: each step as a command, at exactly
//! the revision that it saw last. Whoever was overtaken learns it here.

use std::time::Duration;

use commands::{Actor, Cause, CommandError, Commands};
use domain::submission::Claim;
use domain::{Command, SubmissionId};
use event_store::Revision;
use jiff::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

/// The pause before a report is repeated that the store did not take.
const PAUSE: Duration = Duration::from_secs(1);

/// The reports of one attempt.
pub(crate) struct AttemptJournal {
    pub(crate) commands: Commands,
    pub(crate) id: SubmissionId,
    pub(crate) claim: Claim,
    pub(crate) revision: Revision,
    /// The event of the claim.
    pub(crate) cause: Uuid,
}

/// Why an attempt is not worth going on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Somebody else decided what becomes of the submission.
    #[error("the submission moved on: {0}")]
    Overtaken(CommandError),
    /// The store did not take the report as long as the claim held.
    #[error("the report was not taken: {0}")]
    Unavailable(CommandError),
}

impl AttemptJournal {
    /// Records what `command` leads to.
    pub(crate) async fn record(&mut self, command: Command) -> Result<(), JournalError> {
        let cause = Cause { actor: Actor::Verifier(self.claim.verifier.clone()), id: self.cause };
        loop {
            let handled =
                self.commands.handle_at(self.id, self.revision, command.clone(), cause.clone()).await;
            match handled {
                Ok(handled) => {
                    self.revision = handled.revision;
                    return Ok(());
                }
                Err(error @ (CommandError::Overtaken { .. } | CommandError::Rejected(_))) => {
                    return Err(JournalError::Overtaken(error));
                }
                Err(error) if Timestamp::now() >= self.claim.deadline => {
                    return Err(JournalError::Unavailable(error));
                }
                Err(error) => {
                    tracing::warn!(submission = %self.id, %error, "a report was not taken; it is repeated");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
