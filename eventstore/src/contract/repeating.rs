//! Repeated appends: the store recognises them by the ids of their events.

use std::collections::HashSet;

use super::streams::{TestCategory, append, event, events, ids, ids_of, read};
use crate::{AppendError, EventStore, ExpectedRevision, NewEvent, Revision};

pub async fn appending_again_to_no_stream_is_recognised(store: impl EventStore) {
    repeat(store, [], ExpectedRevision::NoStream).await;
}

pub async fn appending_again_at_a_revision_is_recognised(store: impl EventStore) {
    repeat(store, events("Before", 2), ExpectedRevision::Exact(1)).await;
}

pub async fn appending_again_without_expectation_is_recognised(store: impl EventStore) {
    repeat(store, events("Before", 2), ExpectedRevision::Any).await;
}

pub async fn appending_again_is_recognised_after_others_appended(store: impl EventStore) {
    for (before, expected) in [
        (vec![], ExpectedRevision::NoStream),
        (events("Before", 1), ExpectedRevision::Exact(0)),
        (vec![], ExpectedRevision::Any),
    ] {
        let stream = TestCategory::new().stream();
        if !before.is_empty() {
            append(&store, &stream, ExpectedRevision::NoStream, &before).await;
        }
        let again = events("Again", 2);
        let first = append(&store, &stream, expected, &again).await;
        append(&store, &stream, ExpectedRevision::Any, &events("Other", 3)).await;
        assert_eq!(append(&store, &stream, expected, &again).await, first, "{expected:?}");
        assert_eq!(read(&store, &stream).await.len(), before.len() + 5);
    }
}

pub async fn a_partial_repetition_conflicts(store: impl EventStore) {
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any] {
        let stream = TestCategory::new().stream();
        let first = events("First", 2);
        append(&store, &stream, ExpectedRevision::NoStream, &first).await;
        let half = vec![first[1].clone(), event("New", "{}")];
        let half =
            if expected == ExpectedRevision::Any { half } else { vec![first[0].clone(), half[1].clone()] };
        let result = store.append(&stream, expected, half).await;
        assert!(matches!(result, Err(AppendError::Conflict { .. })), "{expected:?}: {result:?}");
        assert_eq!(ids(&read(&store, &stream).await), ids_of(&first));
    }
}

async fn repeat(
    store: impl EventStore,
    before: impl IntoIterator<Item = NewEvent>,
    expected: ExpectedRevision,
) {
    let stream = TestCategory::new().stream();
    let before: Vec<_> = before.into_iter().collect();
    if !before.is_empty() {
        append(&store, &stream, ExpectedRevision::NoStream, &before).await;
    }
    let again = events("Again", 3);
    let first = append(&store, &stream, expected, &again).await;
    assert_eq!(first.revision, before.len() as Revision + 2);
    for _ in 0..2 {
        assert_eq!(append(&store, &stream, expected, &again).await, first);
    }
    let all: HashSet<_> = ids(&read(&store, &stream).await).into_iter().collect();
    assert_eq!(all.len(), before.len() + 3, "each once");
    assert_eq!(read(&store, &stream).await.len(), before.len() + 3);
}
