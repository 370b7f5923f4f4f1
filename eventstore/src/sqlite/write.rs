//! What can be written to one stream, and what comes of it.

use bytes::Bytes;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::{AppendError, ExpectedRevision, NewEvent, Position, Revision, StreamName};

/// The most that one append may carry, in bytes, as in EventStoreDB.
pub(crate) const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// What an event costs beside its content, so that empty ones count too.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// A change of one stream.
pub(crate) struct Write {
    pub(crate) stream: StreamName,
    pub(crate) condition: Condition,
    pub(crate) action: Action,
}

/// What must be true of the stream: the port's expectations, and one more
/// that only the wire knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Any,
    NoStream,
    StreamExists,
    Exact(Revision),
}

pub(crate) enum Action {
    Append(Vec<Proposed>),
    /// Hides what is there; the stream may be written to again.
    Delete,
    /// Hides what is there for good; nothing is ever written to it again.
    Tombstone,
}

/// An event before it has a place.
pub(crate) struct Proposed {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) json: bool,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The stream's revision afterwards, if it has one.
    pub(crate) revision: Option<Revision>,
    /// The position of the last event written; none when an append was empty.
    pub(crate) position: Option<Position>,
}

/// Why nothing was written, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The condition does not hold.
    Conflict { actual: Option<Revision> },
    /// The stream was deleted for good.
    Gone,
    /// The disk, or the store is closed: the outcome is unknown.
    Unavailable(String),
}

impl Write {
    /// What the port's callers append. Names that begin with `$` belong to
    /// the store itself.
    pub(super) fn of_ours(
        stream: StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Self, AppendError> {
        let events = proposed_by_us(&stream, events)?;
        let condition = match expected {
            ExpectedRevision::Any => Condition::Any,
            ExpectedRevision::NoStream => Condition::NoStream,
            ExpectedRevision::Exact(revision) => Condition::Exact(revision),
        };
        Ok(Self { stream, condition, action: Action::Append(events) })
    }

    /// How many bytes it carries.
    pub(super) fn size(&self) -> usize {
        match &self.action {
            Action::Append(events) => events.iter().map(Proposed::size).sum(),
            Action::Delete | Action::Tombstone => 0,
        }
    }
}

/// What the port promises about an append before any store sees it.
pub(crate) fn proposed_by_us(
    stream: &StreamName,
    events: Vec<NewEvent>,
) -> Result<Vec<Proposed>, AppendError> {
    let refused = |why: String| Err(AppendError::Refused(why));
    if events.is_empty() {
        return refused("an append needs at least one event".to_owned());
    }
    if stream.is_system() || events.iter().any(|event| event.kind.starts_with('$')) {
        return refused("names that begin with $ are the store's own".to_owned());
    }
    let events = events.into_iter().map(Proposed::of_ours).collect::<Result<Vec<_>, _>>()?;
    let size: usize = events.iter().map(Proposed::size).sum();
    if size > MAX_APPEND_BYTES {
        return refused(format!("an append of {size} bytes is larger than {MAX_APPEND_BYTES}"));
    }
    Ok(events)
}

impl Proposed {
    fn of_ours(event: NewEvent) -> Result<Self, AppendError> {
        let NewEvent { id, kind, data, metadata } = event;
        if kind.is_empty() || kind.len() > 255 || kind.chars().any(char::is_control) {
            let why = "an event's type has 1 to 255 bytes and no control characters";
            return Err(AppendError::Refused(why.to_owned()));
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&data) {
            return Err(AppendError::Refused(format!("the data of {id} is not JSON: {error}")));
        }
        let metadata = serde_json::to_vec(&metadata)
            .map_err(|error| AppendError::Refused(format!("the metadata is not JSON: {error}")))?;
        Ok(Self { id, kind, json: true, data, metadata: metadata.into() })
    }

    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        EVENT_OVERHEAD_BYTES + self.kind.len() + self.data.len() + self.metadata.len()
    }
}
