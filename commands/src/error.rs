//! The errors of a command, by what its sender does next.

use domain::Rejection;
use event_store::ReadError;

/// The reason why a command was not carried out, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The rules forbid the command. Nothing was appended.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// Other senders were faster at each try. Nothing was appended; the sender sends the command again.
    #[error("other commands changed the submission at each of {0} tries")]
    Contended(u32),
    /// The submission has an event that this version cannot read, so nothing can be decided. Nothing was appended; a
    /// process of another version, or an operator, has to go on.
    #[error("the submission stands still: {0}")]
    StandsStill(String),
    /// The submission's stream was deleted for good. Nothing was appended, and nothing ever will be.
    #[error("the submission was deleted from the log: {0}")]
    Deleted(String),
    /// The submission is judged by rules that this version does not know, or that are damaged in the log. Nothing was
    /// appended; a process of another version goes on.
    #[error("the rules of the submission cannot be carried out: {0}")]
    UnknownRules(String),
    /// It is unknown whether the command was carried out; the sender sends it again.
    #[error("{0}")]
    Unavailable(String),
    /// The store will never accept or return what the command needs; sending it again does not help.
    #[error("{0}")]
    Impossible(String),
}

impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::Unavailable(error.to_string()),
            ReadError::StreamDeleted(_) => Self::Deleted(error.to_string()),
            ReadError::BeyondEnd { .. }
            | ReadError::OtherLog { .. }
            | ReadError::Corrupt(_)
            | ReadError::DamagedEvent { .. }
            | ReadError::Refused(_)
            | ReadError::Undecodable { .. } => Self::Impossible(error.to_string()),
        }
    }
}
