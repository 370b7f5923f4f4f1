//! Damaged logs: each damage is named with its place, reading ends there, and what is whole can be read.

mod failing_disk;
mod verify;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use event_store::testing::{event_of_size, new_stream};
use event_store::{
    Append, AppendError, EventFilter, EventPlace, ExpectedRevision, LogCondition, Position, Read,
    ReadDirection, ReadError, SqliteStore, StreamName, Subscribe, SubscriptionItem,
};
use futures::StreamExt;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support;

/// A closed log with three events in each of two streams, which take turns.
struct TwoStreams {
    folder: TempDir,
    streams: [StreamName; 2],
}

impl TwoStreams {
    async fn written() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let streams = [new_stream(), new_stream()];
        for _ in 0..3 {
            for stream in &streams {
                store.append(stream, ExpectedRevision::Any, vec![event_of_size(10)]).await.unwrap();
            }
        }
        store.close().await;
        Self { folder, streams }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    fn edit(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

fn place(position: u64, stream: &StreamName, revision: u64) -> EventPlace {
    EventPlace { position: Some(Position(position)), stream: Some(stream.clone()), revision: Some(revision) }
}

/// Waits until the condition of the log is like this.
async fn condition(store: &SqliteStore, is_so: impl Fn(&LogCondition) -> bool) -> LogCondition {
    store.condition().wait_for(|condition| is_so(condition)).await.unwrap().clone()
}

#[tokio::test]
async fn reading_ends_at_a_damaged_event_and_other_streams_can_be_read() {
    let log = TwoStreams::written().await;
    let [damaged, whole] = &log.streams;
    log.edit("UPDATE events SET data = x'7b7d' WHERE position = 3");
    let store = SqliteStore::open(log.path()).unwrap();
    let error =
        ReadError::DamagedEvent { place: place(3, damaged, 1), why: "the checksum is wrong".to_owned() };
    assert_eq!(
        error.to_string(),
        format!(
            "the event log is damaged at position 3, revision 1, stream {damaged}: the checksum is wrong"
        )
    );

    for (from, direction, max) in [(0, ReadDirection::Forwards, 9), (9, ReadDirection::Backwards, 9)] {
        assert_eq!(store.read_stream(damaged, from, direction, max).await, Err(error.clone()));
        assert_eq!(store.read_stream(damaged, from, direction, 1).await.unwrap().len(), 1);
        assert_eq!(store.read_stream(whole, from, direction, max).await.unwrap().len(), 3);
    }
    let page = store.read_all(Position::START, &EventFilter::default(), 9).await.unwrap();
    assert_eq!((page.events.len(), page.next, page.end), (2, Position(2), false));
    assert_eq!(store.read_all(page.next, &EventFilter::default(), 9).await, Err(error.clone()));
    assert_eq!(store.read_all(Position(3), &EventFilter::default(), 9).await.unwrap().events.len(), 3);
    // A name that is damaged may no longer pass the filter, so the filter is asked later.
    let other = EventFilter::stream_prefix(whole.as_str());
    assert_eq!(store.read_all(page.next, &other, 9).await, Err(error.clone()));

    let mut deliveries = store.subscribe(Position::START, EventFilter::default());
    for position in [1, 2] {
        let delivered = deliveries.next().await.unwrap().unwrap();
        assert!(matches!(delivered, SubscriptionItem::Event(event) if event.position == Position(position)));
    }
    assert_eq!(deliveries.next().await, Some(Err(error)));
    assert_eq!(deliveries.next().await, None);
    let known = condition(&store, |condition| !condition.damages.is_empty()).await;
    assert_eq!(known.damages, [format!("{}: the checksum is wrong", place(3, damaged, 1))]);
}

#[tokio::test]
async fn a_missing_event_is_damage() {
    let log = TwoStreams::written().await;
    let [damaged, whole] = &log.streams;
    log.edit("DELETE FROM events WHERE position IN (3, 5)");
    let store = SqliteStore::open(log.path()).unwrap();
    let error =
        |place: EventPlace| Err(ReadError::DamagedEvent { place, why: "the event is missing".to_owned() });
    let at = |position| EventPlace { position: Some(Position(position)), ..EventPlace::default() };
    let of = |revision| EventPlace { position: None, ..place(0, damaged, revision) };
    assert_eq!(store.read_stream(damaged, 0, ReadDirection::Forwards, 9).await, error(of(1)));
    assert_eq!(
        store.read_stream(damaged, 9, ReadDirection::Backwards, 9).await.map(drop),
        error(of(2)).map(drop)
    );
    assert_eq!(store.read_stream(whole, 0, ReadDirection::Forwards, 9).await.unwrap().len(), 3);
    assert_eq!(
        store.read_all(Position(2), &EventFilter::default(), 9).await.map(drop),
        error(at(3)).map(drop)
    );
    let known = condition(&store, |condition| condition.damages.len() == 2).await;
    assert_eq!(known.damages, ["position 3: the event is missing", "position 5: the event is missing"]);
}

#[tokio::test]
async fn a_log_whose_newest_events_are_damaged_takes_no_appends() {
    let log = TwoStreams::written().await;
    let [damaged, whole] = &log.streams;
    log.edit("UPDATE events SET kind = 'Other' WHERE position = 5");
    let store = SqliteStore::open(log.path()).unwrap();
    let refusal = format!("{}: the checksum is wrong", place(5, damaged, 2));
    let refused = store.append(whole, ExpectedRevision::Any, vec![event_of_size(0)]).await;
    assert_eq!(refused, Err(AppendError::Corrupt(refusal.clone())));
    assert_eq!(store.condition().borrow().refusal, Some(format!("the event log is damaged: {refusal}")));
    assert_eq!(store.read_stream(whole, 0, ReadDirection::Forwards, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_log_that_is_damaged_long_before_its_end_takes_appends() {
    let log = TwoStreams::written().await;
    let store = SqliteStore::open(log.path()).unwrap();
    let many = vec![event_of_size(0); 1000]
        .into_iter()
        .map(|event| event_store::NewEvent { id: uuid::Uuid::new_v4(), ..event });
    store.append(&new_stream(), ExpectedRevision::Any, many.collect()).await.unwrap();
    store.close().await;
    log.edit("UPDATE events SET kind = 'Other' WHERE position IN (5, 6)");
    let store = SqliteStore::open(log.path()).unwrap();
    store.append(&log.streams[0], ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let known = condition(&store, |condition| condition.damages.len() == 2).await;
    assert_eq!(known.refusal, None);
}

#[tokio::test]
async fn events_from_before_checksums_get_theirs_once() {
    let log = TwoStreams::written().await;
    let sums = |path: &Path| -> Vec<Option<i64>> {
        let log = Connection::open(path).unwrap();
        let mut sums = log.prepare("SELECT checksum FROM events ORDER BY position").unwrap();
        sums.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let written = sums(&log.path());
    assert_eq!(written.iter().flatten().count(), 6, "each append writes them");
    log.edit("ALTER TABLE events DROP COLUMN checksum; DROP TABLE unsummed; PRAGMA user_version = 1");

    let store = SqliteStore::open(log.path()).unwrap();
    store.append(&log.streams[0], ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    support::wait_for_checksums(&log.path()).await;
    assert_eq!(store.read_all(Position::START, &EventFilter::default(), 9).await.unwrap().events.len(), 7);
    assert_eq!(sums(&log.path())[..6], written);
    store.close().await;

    // A start that was interrupted after four events goes on there.
    log.edit(
        "UPDATE events SET checksum = NULL WHERE position IN (5, 6); INSERT INTO unsummed VALUES (5, 6)",
    );
    let store = SqliteStore::open(log.path()).unwrap();
    support::wait_for_checksums(&log.path()).await;
    assert_eq!(sums(&log.path())[..6], written);
    store.close().await;

    // From now on an event without one is damaged.
    log.edit("UPDATE events SET checksum = NULL WHERE position = 1");
    let store = SqliteStore::open(log.path()).unwrap();
    let read = store.read_all(Position::START, &EventFilter::default(), 9).await;
    let why = "the checksum is missing".to_owned();
    assert_eq!(read, Err(ReadError::DamagedEvent { place: place(1, &log.streams[0], 0), why }));
}

#[tokio::test]
async fn events_of_any_content_have_a_right_checksum() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let stream = StreamName::new("Ünïcode ✓").unwrap();
    for data in [&b""[..], b"\0", "\"✓\"".as_bytes(), &[0xff; 5000]] {
        let event = event_store::NewEvent { data: Bytes::copy_from_slice(data), ..event_of_size(0) };
        // Not every content is taken; what is taken can be read.
        let _ = store.append(&stream, ExpectedRevision::Any, vec![event]).await;
    }
    let read = store.read_stream(&stream, 0, ReadDirection::Forwards, 9).await.unwrap();
    assert!(!read.is_empty());
}
