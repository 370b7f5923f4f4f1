//! The checks that the port makes of an append, once for every adapter.

use bytes::Bytes;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::{AppendError, ExpectedRevision, NewEvent, StreamName};

/// The largest append, in bytes, as in EventStoreDB: the sum of [`ProposedEvent::size`].
pub(crate) const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// The largest number of events in one append. An event without data counts two bytes but takes much more
/// memory.
pub(crate) const MAX_APPEND_EVENTS: usize = 50_000;

/// An append that every store takes.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) stream: StreamName,
    pub(crate) expected: ExpectedRevision,
    /// The events, at least one.
    pub(crate) events: Vec<ProposedEvent>,
}

/// An event that has no revision and no position yet.
#[derive(Debug)]
pub(crate) struct ProposedEvent {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    /// True if the writer calls the data JSON.
    pub(crate) json: bool,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl AppendRequest {
    /// Checks an append of a user of the port. The store itself does not append through the port, and
    /// the names that begin with `$` are the store's own.
    pub(crate) fn validate(
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Self, AppendError> {
        if events.is_empty() {
            return refused(format!("the append to {stream} has no events; it needs at least one"));
        }
        if stream.is_system() {
            return refused(format!("{stream}: streams whose names begin with $ belong to the store"));
        }
        let events = events.into_iter().map(ProposedEvent::user_event).collect::<Result<Vec<_>, _>>()?;
        if events.len() > MAX_APPEND_EVENTS {
            return refused(format!(
                "the append to {stream} has {} events; at most {MAX_APPEND_EVENTS} are allowed",
                events.len()
            ));
        }
        let size: usize = events.iter().map(ProposedEvent::size).sum();
        if size > MAX_APPEND_BYTES {
            return refused(format!(
                "the append to {stream} has {size} bytes; at most {MAX_APPEND_BYTES} are allowed"
            ));
        }
        Ok(Self { stream: stream.clone(), expected, events })
    }
}

impl ProposedEvent {
    /// Checks an event of a user of the port.
    fn user_event(event: NewEvent) -> Result<Self, AppendError> {
        let NewEvent { id, kind, data, metadata } = event;
        if kind.is_empty() || kind.len() > 255 || kind.chars().any(char::is_control) {
            return refused(format!("the type of event {id} needs 1 to 255 bytes and no control characters"));
        }
        if kind.starts_with('$') {
            return refused(format!("{kind}: event types that begin with $ belong to the store"));
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&data) {
            return refused(format!("the data of event {id} is not JSON: {error}"));
        }
        match serde_json::to_vec(&metadata) {
            Ok(metadata) => Ok(Self { id, kind, json: true, data, metadata: metadata.into() }),
            Err(error) => refused(format!("the metadata of event {id} cannot be written as JSON: {error}")),
        }
    }

    /// Returns the number of bytes that the event counts for in [`MAX_APPEND_BYTES`]. EventStoreDB counts
    /// the type in UTF-16.
    pub(crate) fn size(&self) -> usize {
        2 * self.kind.encode_utf16().count() + self.data.len() + self.metadata.len()
    }
}

fn refused<T>(why: String) -> Result<T, AppendError> {
    Err(AppendError::Refused(why))
}
