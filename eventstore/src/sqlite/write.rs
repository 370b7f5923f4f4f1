//! A change of one stream, and its outcome.

use crate::{
    ExpectedRevision, Position, Revision, StreamName,
    append_request::{AppendRequest, ProposedEvent},
};

/// The memory of an event beside its content, in bytes.
const EVENT_MEMORY: usize = 160;

/// A change of one stream.
pub(crate) struct StreamWrite {
    pub(crate) stream: StreamName,
    pub(crate) condition: WriteCondition,
    pub(crate) action: WriteAction,
}

/// The state that the stream must be in: the port's expectations, and `StreamExists`, which only clients
/// of the node can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    Any,
    NoStream,
    StreamExists,
    Exact(Revision),
}

pub(crate) enum WriteAction {
    Append(Vec<ProposedEvent>),
    /// Hides the stream's events. The stream may be written to again.
    Delete,
    /// Hides the stream's events for good. The stream is never written to again.
    Tombstone,
}

/// The place of a write in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteReceipt {
    /// The stream's revision after the write, if it has one.
    pub(crate) revision: Option<Revision>,
    /// The position of the last event written, or the head of the log if the write was an append of no
    /// events.
    pub(crate) position: Position,
}

/// The reason why a write failed, or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// The condition does not hold.
    #[error("the stream is at revision {actual:?}")]
    Conflict { actual: Option<Revision> },
    /// The stream was deleted for good.
    #[error("the stream was deleted for good")]
    StreamDeleted,
    /// The file is damaged. Nothing was written.
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    /// The disk failed or the store is closed, so the outcome is unknown.
    #[error("the event log cannot be written: {0}")]
    Unavailable(String),
}

impl From<AppendRequest> for StreamWrite {
    fn from(AppendRequest { stream, expected, events }: AppendRequest) -> Self {
        let condition = match expected {
            ExpectedRevision::Any => WriteCondition::Any,
            ExpectedRevision::NoStream => WriteCondition::NoStream,
            ExpectedRevision::Exact(revision) => WriteCondition::Exact(revision),
        };
        Self { stream, condition, action: WriteAction::Append(events) }
    }
}

impl StreamWrite {
    /// Returns the number of bytes that the write takes in the queue.
    pub(super) fn size(&self) -> usize {
        match &self.action {
            WriteAction::Append(events) => events.iter().map(|event| EVENT_MEMORY + event.size()).sum(),
            WriteAction::Delete | WriteAction::Tombstone => 0,
        }
    }
}
