//! Why a command led to nothing, by what its sender will do about it.

use domain::Rejection;
use event_store::{ReadError, Revision};

/// Why a command was not carried out, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The rules forbid it. Nothing was written.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The submission moved on from the revision that the sender saw: drop the
    /// report, or look again. Nothing was written.
    #[error("the submission moved on, to revision {actual:?}")]
    Overtaken {
        /// Where it is now; `None` when it has no events.
        actual: Option<Revision>,
    },
    /// Others were faster each time it was tried. Nothing was written; send it again.
    #[error("others changed the submission each of {0} times that it was tried")]
    Contended(u32),
    /// Whether it was carried out is unknown: send it again.
    #[error("{0}")]
    Unavailable(String),
    /// The store will never take or give what this needs; sending it again does not help.
    #[error("{0}")]
    Impossible(String),
}

impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::Unavailable(error.to_string()),
            ReadError::StreamDeleted(_)
            | ReadError::BeyondEnd { .. }
            | ReadError::Corrupt(_)
            | ReadError::Refused(_)
            | ReadError::Undecodable { .. } => Self::Impossible(error.to_string()),
        }
    }
}
