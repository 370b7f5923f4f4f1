//! Events and streams for tests that do not care which.

#![allow(dead_code, clippy::allow_attributes, reason = "no test needs all of it")]

use event_store::{EventMetadata, NewEvent, StreamName};
use uuid::Uuid;

/// A stream that nobody else uses.
pub(crate) fn stream() -> StreamName {
    StreamName::of("test", Uuid::new_v4())
}

/// A small event.
pub(crate) fn event() -> NewEvent {
    event_of(0)
}

/// An event with about so many bytes of data.
pub(crate) fn event_of(bytes: usize) -> NewEvent {
    NewEvent {
        id: Uuid::new_v4(),
        kind: "Tested".to_owned(),
        data: format!("\"{}\"", "x".repeat(bytes)).into(),
        metadata: EventMetadata {
            schema: 1,
            correlation_id: Uuid::new_v4(),
            causation_id: Uuid::new_v4(),
            actor: "test".to_owned(),
        },
    }
}
