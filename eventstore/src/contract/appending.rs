//! Appends: expected revisions, conflicts, and refused requests.

use futures::future::join_all;

use super::streams::{TestCategory, append, event, events, ids, ids_of, read, read_log};
use crate::{AppendError, EventStore, ExpectedRevision, StreamName};

pub async fn an_append_to_no_stream_conflicts_when_there_is_one(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    append(&store, &stream, ExpectedRevision::NoStream, &events("First", 2)).await;
    let second = store.append(&stream, ExpectedRevision::NoStream, events("Second", 1)).await;
    let expected = ExpectedRevision::NoStream;
    assert_eq!(second, Err(AppendError::Conflict { stream, expected, actual: Some(1) }));
}

pub async fn a_stale_revision_conflicts_and_writes_nothing(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let first = events("First", 3);
    append(&store, &stream, ExpectedRevision::NoStream, &first).await;
    let expected = ExpectedRevision::Exact(1);
    let second = store.append(&stream, expected, events("Second", 1)).await;
    let conflict = AppendError::Conflict { stream: stream.clone(), expected, actual: Some(2) };
    assert_eq!(second, Err(conflict));
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&first));
}

pub async fn a_revision_that_is_not_there_yet_conflicts(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let expected = ExpectedRevision::Exact(0);
    let early = store.append(&stream, expected, events("Early", 1)).await;
    let conflict = AppendError::Conflict { stream: stream.clone(), expected, actual: None };
    assert_eq!(early, Err(conflict));
    append(&store, &stream, ExpectedRevision::NoStream, &events("First", 1)).await;
    let early = store.append(&stream, ExpectedRevision::Exact(7), events("Early", 1)).await;
    assert!(matches!(early, Err(AppendError::Conflict { actual: Some(0), .. })), "{early:?}");
}

pub async fn an_append_without_expectation_never_conflicts(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let all = events("Counted", 3);
    for event in &all {
        append(&store, &stream, ExpectedRevision::Any, [event]).await;
    }
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&all));
}

pub async fn an_append_is_all_or_nothing(store: impl EventStore) {
    let category = TestCategory::new();
    let stream = category.stream();
    let mut mixed = events("Mixed", 3);
    mixed[2].kind = String::new();
    let refused = store.append(&stream, ExpectedRevision::NoStream, mixed).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
    assert_eq!(read_log(&store, category.filter()).await, []);
    let empty = store.append(&stream, ExpectedRevision::NoStream, vec![]).await;
    assert!(matches!(empty, Err(AppendError::Refused(_))), "{empty:?}");
}

pub async fn an_append_too_large_is_refused_and_writes_nothing(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let large = |bytes| event("Large", &format!("\"{}\"", "x".repeat(bytes)));
    let refused = store.append(&stream, ExpectedRevision::NoStream, vec![large(1024 * 1024)]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
    let fits = large(1000 * 1000);
    append(&store, &stream, ExpectedRevision::NoStream, [&fits]).await;
    assert_eq!(read(&store, &stream).await[0].data, fits.data);
}

pub async fn data_that_is_not_json_is_refused(store: impl EventStore) {
    let stream = TestCategory::new().stream();
    let refused = store.append(&stream, ExpectedRevision::Any, vec![event("Ours", "{")]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
}

pub async fn names_of_the_store_itself_are_refused(store: impl EventStore) {
    let category = TestCategory::new();
    let system = StreamName::new(format!("${}", category.stream())).expect("well-formed");
    let refused = store.append(&system, ExpectedRevision::Any, events("Ours", 1)).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    let refused = store.append(&category.stream(), ExpectedRevision::Any, events("$metadata", 1)).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
}

pub async fn exactly_one_of_racing_appends_wins_each_revision(store: impl EventStore) {
    const WRITERS: usize = 100;
    const REVISIONS: u64 = 5;
    let stream = TestCategory::new().stream();
    for revision in 0..REVISIONS {
        let expected = revision.checked_sub(1).map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let race = (0..WRITERS).map(|_| store.append(&stream, expected, events("Raced", 1)));
        let results = join_all(race).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "at revision {revision}");
        for lost in results.into_iter().filter_map(Result::err) {
            assert!(matches!(lost, AppendError::Conflict { .. }), "{lost}");
        }
    }
    let revisions: Vec<_> = read(&store, &stream).await.iter().map(|e| e.revision).collect();
    assert_eq!(revisions, (0..REVISIONS).collect::<Vec<_>>());
}
