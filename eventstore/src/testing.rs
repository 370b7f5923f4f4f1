//! Builders of events and streams for tests and benchmarks.

use bytes::Bytes;
use uuid::Uuid;

use crate::append_request::{AppendRequest, ProposedEvent};
use crate::sqlite::{StreamWrite, WriteAction, WriteCondition};
use crate::stream::METADATA_KIND;
use crate::{EventMetadata, ExpectedRevision, NewEvent, Position, SqliteStore, StreamName};

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
        metadata: EventMetadata {
            schema,
            correlation_id: id,
            causation_id: id,
            actor: "test".to_owned(),
            informs: false,
        },
    }
}

/// Appends an event as a stranger's client does: data and metadata are any bytes.
///
/// # Panics
/// If the log refuses the event.
pub async fn append_foreign(
    log: &SqliteStore,
    stream: &StreamName,
    kind: &str,
    data: impl Into<Bytes>,
    metadata: impl Into<Bytes>,
) -> Position {
    let event = ProposedEvent {
        id: Uuid::new_v4(),
        kind: kind.to_owned(),
        json: false,
        data: data.into(),
        metadata: metadata.into(),
    };
    let request =
        AppendRequest { stream: stream.clone(), expected: ExpectedRevision::Any, events: vec![event] };
    let receipt = log.write(request.into()).await.expect("the log takes the event of a stranger");
    receipt.position
}

/// Sets a stream's metadata, as a stranger's client does.
///
/// # Panics
/// If the log refuses it.
pub async fn set_metadata(log: &SqliteStore, stream: &StreamName, metadata: &'static str) {
    append_foreign(log, &stream.metadata(), METADATA_KIND, metadata, "").await;
}

/// Deletes a stream so that it may be written to again, as a stranger's client does.
///
/// # Panics
/// If the log refuses it.
pub async fn soft_delete(log: &SqliteStore, stream: &StreamName) {
    let (condition, action) = (WriteCondition::Any, WriteAction::Delete);
    let write = StreamWrite { stream: stream.clone(), condition, action };
    log.write(write).await.expect("the log deletes the stream");
}

/// Deletes a stream for good, as a stranger's client does.
///
/// # Panics
/// If the log refuses it.
pub async fn tombstone(log: &SqliteStore, stream: &StreamName) {
    let (condition, action) = (WriteCondition::Any, WriteAction::Tombstone);
    let write = StreamWrite { stream: stream.clone(), condition, action };
    log.write(write).await.expect("the log deletes the stream");
}
