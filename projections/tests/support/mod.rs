//! A real log with a history in it.

use domain::submission::CATEGORY;
use domain::{sandbox, submission};
use event_store::testing::event_about;
use event_store::{Append, ExpectedRevision, NewEvent, Read, ReadDirection, SqliteStore, StreamName};
use projections::{EventEnvelope, LogItem};
use tempfile::TempDir;
use uuid::Uuid;

/// Opens an empty log. The folder is removed when it is dropped.
pub(crate) fn log() -> (SqliteStore, TempDir) {
    let folder = TempDir::new().unwrap();
    (SqliteStore::open(folder.path().join("log.db")).unwrap(), folder)
}

/// Appends a history's events, and returns them as the log has recorded them.
pub(crate) async fn write(log: &SqliteStore, events: &[EventEnvelope]) -> Vec<EventEnvelope> {
    let mut written = vec![];
    for envelope in events {
        let stream = StreamName::of(CATEGORY, envelope.id.0);
        let new = stored(envelope.event.kind(), &envelope.event.to_stored());
        // Strangers' events take revisions too, so the event may get another than its history gave.
        let at = log.append(&stream, ExpectedRevision::Any, vec![new]).await.unwrap().revision;
        let read = log.read_stream(&stream, at, ReadDirection::Forwards, 1);
        written.push(LogItem::read(&read.await.unwrap()[0]).into_event().unwrap());
    }
    written
}

/// Returns an event that can be appended.
pub(crate) fn stored(kind: &str, data: &[u8]) -> NewEvent {
    let schema = if kind.starts_with("Sandbox") { sandbox::SCHEMA } else { submission::SCHEMA };
    event_about(Uuid::new_v4(), schema, kind, data.to_vec())
}
