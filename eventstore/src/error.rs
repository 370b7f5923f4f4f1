//! What can go wrong, by what the caller will do about it.

use crate::{ExpectedRevision, Revision, StreamName};

/// Why an append did not happen, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else was faster: read, decide again. Nothing was written.
    #[error("{stream} is at {actual:?}, not at {expected:?}")]
    Conflict {
        /// The stream appended to.
        stream: StreamName,
        /// What the writer believed.
        expected: ExpectedRevision,
        /// The stream's newest revision, if it has events.
        actual: Option<Revision>,
    },
    /// The store will never take this: too large, not well-formed, not allowed.
    #[error("the event store refused: {0}")]
    Refused(String),
    /// Whether it was written is unknown: try again with the same ids.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Try again later.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
    /// The store will never answer this.
    #[error("the event store refused: {0}")]
    Refused(String),
    /// An event is there and cannot be understood. Never skipped.
    #[error("event {revision} of {stream} ({kind}) cannot be read: {why}")]
    Undecodable {
        /// The event's type.
        kind: String,
        /// Its stream.
        stream: StreamName,
        /// Its number there.
        revision: Revision,
        /// What is wrong with it.
        why: String,
    },
}
