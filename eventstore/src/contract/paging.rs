//! Reads of the whole log: pages, filters, the head, and positions.

use futures::StreamExt;
use uuid::Uuid;

use super::streams::{TestCategory, append, event, events, ids, ids_of, read_log};
use crate::{EventFilter, EventStore, ExpectedRevision, LogCheckpoint, LogIdentity, Position, ReadError};

pub async fn the_log_is_read_in_pages(store: impl EventStore) {
    let category = TestCategory::new();
    let start = store.head().await.expect("readable");
    let mut written = Vec::new();
    for _ in 0..7 {
        let some = events("Paged", 3);
        append(&store, &category.stream(), ExpectedRevision::NoStream, &some).await;
        written.extend(some);
    }
    let filter = category.filter();
    let mut at = start;
    let mut read = Vec::new();
    loop {
        let page = store.read_all(at, &filter, 4).await.expect("readable");
        assert!(page.events.len() <= 4);
        assert!(page.events.iter().all(|event| event.position > at && event.position <= page.next));
        assert!(page.next > at || page.end, "a page makes progress or reaches the end");
        at = page.next;
        read.extend(page.events);
        if page.end {
            break;
        }
    }
    assert_eq!(ids(&read), ids_of(&written));
    let rest = store.read_all(at, &filter, 4).await.expect("readable");
    assert_eq!(rest.events, []);
}

pub async fn the_log_is_filtered_by_stream_prefix(store: impl EventStore) {
    let (wanted, other) = (TestCategory::new(), TestCategory::new());
    let ours = events("Ours", 2);
    append(&store, &other.stream(), ExpectedRevision::NoStream, &events("Theirs", 2)).await;
    append(&store, &wanted.stream(), ExpectedRevision::NoStream, &ours).await;
    append(&store, &other.stream(), ExpectedRevision::NoStream, &events("Theirs", 2)).await;
    assert_eq!(ids(&read_log(&store, wanted.filter()).await), ids_of(&ours));
}

pub async fn the_log_is_filtered_by_type(store: impl EventStore) {
    let category = TestCategory::new();
    let (a, b, c) = (category.kind("A"), category.kind("AB"), category.kind("C"));
    let all = [event(&a, "1"), event(&b, "2"), event(&c, "3"), event(&a, "4")];
    append(&store, &category.stream(), ExpectedRevision::NoStream, &all).await;
    let kinds = async |kinds: Vec<String>| {
        let filter = EventFilter { kinds, ..EventFilter::default() };
        ids(&read_log(&store, filter).await)
    };
    let of = |wanted: &[usize]| wanted.iter().map(|&n| all[n].id).collect::<Vec<_>>();
    assert_eq!(kinds(vec![a.clone()]).await, of(&[0, 3]), "a type, not a prefix of one");
    assert_eq!(kinds(vec![b, c]).await, of(&[1, 2]));
    let both = EventFilter { kinds: vec![a], ..EventFilter::stream_prefix("no such stream") };
    assert_eq!(read_log(&store, both).await, []);
}

pub async fn the_head_is_the_newest_position(store: impl EventStore) {
    let before = store.head().await.expect("readable");
    let appended =
        append(&store, &TestCategory::new().stream(), ExpectedRevision::NoStream, &events("Newest", 1)).await;
    assert!(appended.position > before);
    assert!(store.head().await.expect("readable") >= appended.position);
}

pub async fn the_position_before_a_moment_precedes_its_events(store: impl EventStore) {
    let category = TestCategory::new();
    for _ in 0..5 {
        append(&store, &category.stream(), ExpectedRevision::NoStream, &events("Timed", 3)).await;
    }
    let all = read_log(&store, category.filter()).await;
    for moment in all.iter().map(|event| event.recorded_at) {
        let found = store.position_before(moment).await.expect("readable");
        let later = all.iter().filter(|event| event.recorded_at >= moment);
        assert!(later.clone().all(|event| event.position > found), "no event of that moment is missed");
    }
    let past = all[0].recorded_at - jiff::SignedDuration::from_hours(24 * 365 * 100);
    assert_eq!(store.position_before(past).await, Ok(Position::START));
}

pub async fn a_position_beyond_the_end_is_refused(store: impl EventStore) {
    append(&store, &TestCategory::new().stream(), ExpectedRevision::NoStream, &events("Newest", 1)).await;
    // Other writers may append meanwhile, but not that much.
    let after = Position(store.head().await.expect("readable").0 + (1 << 40));
    let error = ReadError::BeyondEnd { after };
    assert_eq!(store.read_all(after, &EventFilter::default(), 10).await, Err(error.clone()));
    let mut subscription = store.subscribe(after, EventFilter::default());
    assert_eq!(subscription.next().await, Some(Err(error)));
    assert_eq!(subscription.next().await, None, "the error is the last item");
}

pub async fn an_event_is_found_at_its_position(store: impl EventStore) {
    let category = TestCategory::new();
    append(&store, &category.stream(), ExpectedRevision::NoStream, &events("Placed", 3)).await;
    for event in read_log(&store, category.filter()).await {
        assert_eq!(store.event_at(event.position).await, Ok(Some(event)));
    }
    assert_eq!(store.event_at(Position::START).await, Ok(None));
    let after = Position(store.head().await.expect("readable").0 + (1 << 40));
    assert_eq!(store.event_at(after).await, Err(ReadError::BeyondEnd { after }));
}

pub async fn a_checkpoint_fits_its_own_log_alone(store: impl EventStore) {
    let category = TestCategory::new();
    append(&store, &category.stream(), ExpectedRevision::NoStream, &events("Placed", 2)).await;
    let log = LogIdentity::ensure(&store).await.expect("given");
    let placed = &read_log(&store, category.filter()).await[0];
    let here = LogCheckpoint { log: Some(log), position: placed.position, event: Some(placed.id) };
    let other = LogIdentity(Uuid::new_v4());
    assert_eq!(LogCheckpoint::default().check(&store, Some(log)).await, Ok(()));
    assert_eq!(here.check(&store, Some(log)).await, Ok(()));
    assert_eq!(here.check(&store, None).await, Ok(()), "what nobody knows is no difference");
    for (checkpoint, identity) in [
        (LogCheckpoint { event: Some(Uuid::new_v4()), ..here }, Some(log)),
        (LogCheckpoint { log: Some(other), event: None, ..here }, Some(log)),
        (LogCheckpoint { log: Some(other), ..LogCheckpoint::default() }, Some(log)),
    ] {
        let checked = checkpoint.check(&store, identity).await;
        assert!(matches!(&checked, Err(ReadError::OtherLog { .. })), "{checkpoint:?}: {checked:?}");
    }
}

pub async fn a_log_has_one_identity_whoever_gives_it(store: impl EventStore) {
    let given = futures::future::join_all((0..8).map(|_| LogIdentity::ensure(&store))).await;
    let first = given[0].clone().expect("given");
    for identity in given {
        assert_eq!(identity, Ok(first));
    }
    assert_eq!(LogIdentity::read(&store).await, Ok(Some(first)));
}
