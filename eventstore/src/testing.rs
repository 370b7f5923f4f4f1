//! Builders of events and streams for tests and benchmarks.

use bytes::Bytes;
use uuid::Uuid;

use crate::{EventMetadata, NewEvent, StreamName};

/// Returns the name of a stream that no other test uses: `test-<uuid>`.
pub fn new_stream() -> StreamName {
    StreamName::of("test", Uuid::new_v4())
}

/// Returns an event with an id of its own. `data` must be JSON.
pub fn new_event(kind: &str, data: impl Into<Bytes>) -> NewEvent {
    event_about(Uuid::new_v4(), 1, kind, data)
}

/// Returns a `Tested` event whose data is a JSON string of `bytes` characters.
pub fn event_of_size(bytes: usize) -> NewEvent {
    new_event("Tested", format!("\"{}\"", "x".repeat(bytes)))
}

/// Returns an event of the subject `id`, e.g. of a submission, in version `schema` of its stored shape.
pub fn event_about(id: Uuid, schema: u32, kind: &str, data: impl Into<Bytes>) -> NewEvent {
    NewEvent {
        id: Uuid::new_v4(),
        kind: kind.to_owned(),
        data: data.into(),
        metadata: EventMetadata { schema, correlation_id: id, causation_id: id, actor: "test".to_owned() },
    }
}
