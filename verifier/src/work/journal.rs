//! Reports each step of one attempt as a command. The command names the attempt, so the report fails if the attempt
//! was ended meanwhile.

use std::time::Duration;

use commands::{Actor, Cause, CommandError, Commands};
use domain::submission::Claim;
use domain::{Command, Event, SubmissionId};
use jiff::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

/// The pause before a report is repeated that the log did not accept.
const PAUSE: Duration = Duration::from_secs(1);

/// The reports of one attempt.
pub(crate) struct AttemptJournal {
    pub(crate) commands: Commands,
    pub(crate) id: SubmissionId,
    pub(crate) claim: Claim,
    /// The id of the claim's event.
    pub(crate) cause: Uuid,
}

/// The reason why an attempt cannot be reported any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Another process ended the attempt, or the submission was withdrawn.
    #[error("the attempt was ended: {0}")]
    Overtaken(CommandError),
    /// The log accepted no report until the claim's deadline.
    #[error("the event log accepted no report until the claim's deadline: {0}")]
    Unavailable(CommandError),
}

impl AttemptJournal {
    /// Handles `command`, and repeats it until the claim's deadline while the log is unavailable. Returns
    /// the events; they are none if the log had them already.
    pub(crate) async fn record(&self, command: Command) -> Result<Vec<Event>, JournalError> {
        let cause = Cause { actor: Actor::Verifier(self.claim.verifier.clone()), id: self.cause };
        loop {
            match self.commands.handle(self.id, command.clone(), cause.clone()).await {
                Ok(handled) => return Ok(handled.events),
                Err(error @ CommandError::Rejected(_)) => return Err(JournalError::Overtaken(error)),
                Err(error) if Timestamp::now() >= self.claim.deadline => {
                    return Err(JournalError::Unavailable(error));
                }
                Err(error) => {
                    let (id, attempt) = (self.id, self.claim.attempt);
                    tracing::warn!(%error, "could not report attempt {attempt} of {id}; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
