//! Reads of one stream: order, revisions and direction.

use super::streams::{TestCategory, append, event, events, ids, ids_of, read, read_log};
use crate::{AppendError, EventStore, ExpectedRevision, Position, ReadDirection, Revision};

pub async fn an_appended_event_is_read_back_as_it_was_written(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let written = event("Written", r#"{"text":"ü \u0000 \"","n":[1,2.5,null]}"#);
    let appended = append(&store, &stream, ExpectedRevision::NoStream, [&written]).await;
    let read = read(&store, &stream).await;
    assert_eq!(read.len(), 1);
    let read = &read[0];
    assert_eq!((read.id, &read.kind, &read.data), (written.id, &written.kind, &written.data));
    assert_eq!(read.metadata().expect("ours"), written.metadata);
    assert_eq!((&read.stream, read.revision), (&stream, 0));
    assert_eq!((read.revision, read.position), (appended.revision, appended.position));
}

pub async fn events_are_read_in_the_order_of_their_append(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let all = events("Counted", 10);
    append(&store, &stream, ExpectedRevision::NoStream, &all[..3]).await;
    append(&store, &stream, ExpectedRevision::Exact(2), &all[3..4]).await;
    append(&store, &stream, ExpectedRevision::Any, &all[4..]).await;
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&all));
}

pub async fn revisions_start_at_0_and_have_no_gap(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    for (at, event) in events("Counted", 5).iter().enumerate() {
        let appended = append(&store, &stream, ExpectedRevision::Any, [event]).await;
        assert_eq!(appended.revision, at as Revision);
    }
    let conflict = store.append(&stream, ExpectedRevision::NoStream, events("Refused", 2)).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { .. })), "{conflict:?}");
    let appended = append(&store, &stream, ExpectedRevision::Exact(4), &events("Counted", 2)).await;
    assert_eq!(appended.revision, 6);
    let revisions: Vec<_> = read(&store, &stream).await.iter().map(|e| e.revision).collect();
    assert_eq!(revisions, (0..7).collect::<Vec<_>>());
}

pub async fn positions_rise_across_streams(store: impl EventStore) {
    let category = TestCategory::new();
    let mut last = Position::START;
    for _ in 0..5 {
        let appended =
            append(&store, &category.stream(), ExpectedRevision::NoStream, &events("Placed", 2)).await;
        assert!(appended.position > last);
        last = appended.position;
    }
    let all = read_log(&store, category.filter()).await;
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(all[9].position, last, "the receipt has the position of the last event");
}

pub async fn recorded_at_never_goes_backwards(store: impl EventStore) {
    let category = TestCategory::new();
    for _ in 0..10 {
        append(&store, &category.stream(), ExpectedRevision::NoStream, &events("Timed", 2)).await;
    }
    let all = read_log(&store, category.filter()).await;
    assert!(all.is_sorted_by_key(|event| event.recorded_at));
    let age = jiff::Timestamp::now().duration_since(all[0].recorded_at);
    assert!(age.abs() < jiff::SignedDuration::from_mins(5), "recorded {age:#} ago");
}

pub async fn an_unknown_stream_reads_as_empty(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    assert_eq!(read(&store, &stream).await, []);
    let backwards = store.read_stream(&stream, Revision::MAX, ReadDirection::Backwards, 10).await;
    assert_eq!(backwards, Ok(vec![]));
}

pub async fn a_stream_is_read_backwards(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    append(&store, &stream, ExpectedRevision::NoStream, &events("Counted", 5)).await;
    let revisions = async |from, max| -> Vec<Revision> {
        let read = store.read_stream(&stream, from, ReadDirection::Backwards, max).await;
        read.expect("readable").iter().map(|event| event.revision).collect()
    };
    assert_eq!(revisions(Revision::MAX, 2).await, [4, 3], "the newest first");
    assert_eq!(revisions(2, 10).await, [2, 1, 0]);
    assert_eq!(revisions(0, 10).await, [0]);
}

pub async fn a_read_begins_at_its_revision_and_has_at_most_its_maximum(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    append(&store, &stream, ExpectedRevision::NoStream, &events("Counted", 5)).await;
    let revisions = async |from, max| -> Vec<Revision> {
        let read = store.read_stream(&stream, from, ReadDirection::Forwards, max).await;
        read.expect("readable").iter().map(|event| event.revision).collect()
    };
    assert_eq!(revisions(1, 2).await, [1, 2]);
    assert_eq!(revisions(4, 10).await, [4]);
    assert!(revisions(5, 10).await.is_empty(), "a read past the end is empty, not an error");
    assert_eq!(revisions(0, usize::MAX).await, [0, 1, 2, 3, 4]);
    assert!(revisions(0, 0).await.is_empty());
}
