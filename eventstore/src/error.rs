//! The errors of the port, split by what the caller does about them.

use std::fmt;

use crate::{ExpectedRevision, Position, Revision, StreamName};

/// The reason why an append failed, or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the expected revision. Nothing was written: read the stream and decide again.
    #[error("stream {stream} is at revision {actual:?}, not at {expected:?}")]
    Conflict {
        /// The stream that the append named.
        stream: StreamName,
        /// The revision that the append expected.
        expected: ExpectedRevision,
        /// The stream's newest revision; `None` if it has no events.
        actual: Option<Revision>,
    },
    /// The store does not take this append: it is too large, malformed, not allowed, or its stream was
    /// deleted for good. Nothing was written, and the same append fails again.
    #[error("the event store refused the append: {0}")]
    Refused(String),
    /// The log is damaged. Nothing was written: restore the log from a backup.
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    /// The store gave no answer, so the events may have been written or not: append them again with the
    /// same ids.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
}

/// The reason why a read or a subscription failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store cannot be read at present: try again later.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
    /// The stream was deleted for good. It has no events and never gets any.
    #[error("the stream {0} was deleted for good")]
    StreamDeleted(StreamName),
    /// The position is beyond the end of the log, so it comes from another log or from a newer copy of
    /// this one: read from a position of this log.
    #[error("position {after} is beyond the end of the event log")]
    BeyondEnd {
        /// The position that the reader gave.
        after: Position,
    },
    /// The position belongs to another log, or to a state of this one that a restore undid. To go on from there would
    /// skip events without a word.
    #[error("position {after} belongs to another event log: {why}")]
    OtherLog {
        /// The position that the reader gave.
        after: Position,
        /// The difference.
        why: String,
    },
    /// The log is damaged, and every read of the damaged part fails: restore the log from a backup.
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    /// An event is damaged or missing, and every read that comes to it ends there: restore the log from a backup.
    #[error("the event log is damaged at {place}: {why}")]
    DamagedEvent {
        /// The place of the event, as far as the file still tells it.
        place: EventPlace,
        /// The damage.
        why: String,
    },
    /// The store does not take this request, e.g. its filter expression or its credentials. The same
    /// request fails again.
    #[error("the event store refused the read: {0}")]
    Refused(String),
    /// An event has a shape that its reader does not know. Readers stop at it and never skip it.
    #[error("event {revision} of stream {stream} ({kind}) cannot be decoded: {why}")]
    Undecodable {
        /// The type of the event.
        kind: String,
        /// The stream of the event.
        stream: StreamName,
        /// The event's revision in its stream.
        revision: Revision,
        /// The cause, as the decoder reports it.
        why: String,
    },
}

/// The place of a damaged event. At least one part is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPlace {
    /// The event's place in the log.
    pub position: Option<Position>,
    /// The stream of the event.
    pub stream: Option<StreamName>,
    /// The event's number in its stream.
    pub revision: Option<Revision>,
}

impl fmt::Display for EventPlace {
    /// Writes the known parts. A damaged name may have any characters, so they are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position.map(|position| format!("position {position}"));
        let revision = self.revision.map(|revision| format!("revision {revision}"));
        let stream = self.stream.as_ref().map(|stream| format!("stream {}", stream.as_str().escape_debug()));
        let parts: Vec<String> = [position, revision, stream].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}
