//! The written contract: what every adapter promises, a sentence each.
//!
//! An adapter's test names a function that opens a store, and something to
//! keep alive as long as the store is in use:
//!
//! ```text
//! async fn open() -> (MyStore, TempDir) { … }
//! event_store::contract!(open);
//! ```
//!
//! The log may hold other events already, and other writers may be at work:
//! each sentence writes to streams of its own.

#![expect(missing_docs, reason = "a test's name is its sentence")]

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    Append, AppendError, Delivery, Direction, EventStore, Expected, Filter, Metadata, NewEvent, Position,
    Read, Recorded, Revision, StreamName, Subscribe, Subscription,
};

/// Holds the store that `$open` gives to every sentence, each a test.
#[macro_export]
macro_rules! contract {
    ($open:path) => {
        $crate::contract!($open:
            an_appended_event_is_read_back_as_it_was_written
            events_are_read_in_the_order_of_their_append
            revisions_start_at_0_and_have_no_gap
            positions_rise_across_streams
            recorded_at_never_goes_backwards
            an_unknown_stream_reads_as_empty
            a_stream_is_read_backwards
            a_read_begins_at_its_revision_and_ends_at_its_maximum
            an_append_to_no_stream_conflicts_when_there_is_one
            a_stale_revision_conflicts_and_writes_nothing
            a_revision_that_is_not_there_yet_conflicts
            an_append_without_expectation_never_conflicts
            an_append_is_all_or_nothing
            an_append_too_large_is_refused_and_writes_nothing
            data_that_is_not_json_is_refused
            names_of_the_store_itself_are_refused
            of_racing_appends_exactly_one_wins_each_revision
            appending_again_to_no_stream_is_recognised
            appending_again_at_a_revision_is_recognised
            appending_again_without_expectation_is_recognised
            appending_again_is_recognised_after_others_appended
            half_a_repetition_conflicts
            the_log_is_read_in_pages
            the_log_is_filtered_by_stream_prefix
            the_log_is_filtered_by_type
            the_head_is_the_newest_position
            a_subscription_delivers_history_then_what_comes
            a_subscription_begins_strictly_after_its_position
            a_subscription_is_filtered
            a_subscription_to_little_of_a_long_log_reports_how_far_it_is
            a_subscription_started_amid_appends_has_no_gap_and_no_repeat
            a_subscriber_that_stalls_misses_nothing
        );
    };
    ($open:path: $($sentence:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sentence() {
            let (store, _guard) = $open().await;
            $crate::contract::$sentence(store).await;
        }
    )*};
}

/// How long anything may take before the contract counts as broken.
const DEADLINE: Duration = Duration::from_secs(30);

pub async fn an_appended_event_is_read_back_as_it_was_written(store: impl EventStore) {
    let stream = Category::new().stream();
    let written = event("Written", r#"{"text":"ü \u0000 \"","n":[1,2.5,null]}"#);
    let appended = append(&store, &stream, Expected::NoStream, [&written]).await;
    let read = read(&store, &stream).await;
    assert_eq!(read.len(), 1);
    let read = &read[0];
    assert_eq!((read.id, &read.kind, &read.data), (written.id, &written.kind, &written.data));
    assert_eq!(read.metadata().expect("ours"), written.metadata);
    assert_eq!((&read.stream, read.revision), (&stream, 0));
    assert_eq!((read.revision, read.position), (appended.revision, appended.position));
}

pub async fn events_are_read_in_the_order_of_their_append(store: impl EventStore) {
    let stream = Category::new().stream();
    let all = events("Counted", 10);
    append(&store, &stream, Expected::NoStream, &all[..3]).await;
    append(&store, &stream, Expected::Exact(2), &all[3..4]).await;
    append(&store, &stream, Expected::Any, &all[4..]).await;
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&all));
}

pub async fn revisions_start_at_0_and_have_no_gap(store: impl EventStore) {
    let stream = Category::new().stream();
    for (at, event) in events("Counted", 5).iter().enumerate() {
        let appended = append(&store, &stream, Expected::Any, [event]).await;
        assert_eq!(appended.revision, at as Revision);
    }
    let conflict = store.append(&stream, Expected::NoStream, events("Refused", 2)).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { .. })), "{conflict:?}");
    let appended = append(&store, &stream, Expected::Exact(4), &events("Counted", 2)).await;
    assert_eq!(appended.revision, 6);
    let revisions: Vec<_> = read(&store, &stream).await.iter().map(|e| e.revision).collect();
    assert_eq!(revisions, (0..7).collect::<Vec<_>>());
}

pub async fn positions_rise_across_streams(store: impl EventStore) {
    let category = Category::new();
    let mut last = Position::START;
    for _ in 0..5 {
        let appended = append(&store, &category.stream(), Expected::NoStream, &events("Placed", 2)).await;
        assert!(appended.position > last);
        last = appended.position;
    }
    let all = read_log(&store, category.filter()).await;
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(all[9].position, last, "an append answers the position of its last event");
}

pub async fn recorded_at_never_goes_backwards(store: impl EventStore) {
    let category = Category::new();
    for _ in 0..10 {
        append(&store, &category.stream(), Expected::NoStream, &events("Timed", 2)).await;
    }
    let all = read_log(&store, category.filter()).await;
    assert!(all.is_sorted_by_key(|event| event.recorded_at));
    let age = jiff::Timestamp::now().duration_since(all[0].recorded_at);
    assert!(age.abs() < jiff::SignedDuration::from_mins(5), "recorded {age:#} ago");
}

pub async fn an_unknown_stream_reads_as_empty(store: impl EventStore) {
    let stream = Category::new().stream();
    assert_eq!(read(&store, &stream).await, []);
    let backwards = store.read_stream(&stream, Revision::MAX, Direction::Backwards, 10).await;
    assert_eq!(backwards, Ok(vec![]));
}

pub async fn a_stream_is_read_backwards(store: impl EventStore) {
    let stream = Category::new().stream();
    append(&store, &stream, Expected::NoStream, &events("Counted", 5)).await;
    let revisions = async |from, max| -> Vec<Revision> {
        let read = store.read_stream(&stream, from, Direction::Backwards, max).await;
        read.expect("readable").iter().map(|event| event.revision).collect()
    };
    assert_eq!(revisions(Revision::MAX, 2).await, [4, 3], "the newest first");
    assert_eq!(revisions(2, 10).await, [2, 1, 0]);
    assert_eq!(revisions(0, 10).await, [0]);
}

pub async fn a_read_begins_at_its_revision_and_ends_at_its_maximum(store: impl EventStore) {
    let stream = Category::new().stream();
    append(&store, &stream, Expected::NoStream, &events("Counted", 5)).await;
    let revisions = async |from, max| -> Vec<Revision> {
        let read = store.read_stream(&stream, from, Direction::Forwards, max).await;
        read.expect("readable").iter().map(|event| event.revision).collect()
    };
    assert_eq!(revisions(1, 2).await, [1, 2]);
    assert_eq!(revisions(4, 10).await, [4]);
    assert!(revisions(5, 10).await.is_empty(), "past the end there is nothing, and no error");
    assert_eq!(revisions(0, usize::MAX).await, [0, 1, 2, 3, 4]);
    assert!(revisions(0, 0).await.is_empty());
}

pub async fn an_append_to_no_stream_conflicts_when_there_is_one(store: impl EventStore) {
    let stream = Category::new().stream();
    append(&store, &stream, Expected::NoStream, &events("First", 2)).await;
    let second = store.append(&stream, Expected::NoStream, events("Second", 1)).await;
    let expected = Expected::NoStream;
    assert_eq!(second, Err(AppendError::Conflict { stream, expected, actual: Some(1) }));
}

pub async fn a_stale_revision_conflicts_and_writes_nothing(store: impl EventStore) {
    let stream = Category::new().stream();
    let first = events("First", 3);
    append(&store, &stream, Expected::NoStream, &first).await;
    let expected = Expected::Exact(1);
    let second = store.append(&stream, expected, events("Second", 1)).await;
    let conflict = AppendError::Conflict { stream: stream.clone(), expected, actual: Some(2) };
    assert_eq!(second, Err(conflict));
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&first));
}

pub async fn a_revision_that_is_not_there_yet_conflicts(store: impl EventStore) {
    let stream = Category::new().stream();
    let expected = Expected::Exact(0);
    let early = store.append(&stream, expected, events("Early", 1)).await;
    let conflict = AppendError::Conflict { stream: stream.clone(), expected, actual: None };
    assert_eq!(early, Err(conflict));
    append(&store, &stream, Expected::NoStream, &events("First", 1)).await;
    let early = store.append(&stream, Expected::Exact(7), events("Early", 1)).await;
    assert!(matches!(early, Err(AppendError::Conflict { actual: Some(0), .. })), "{early:?}");
}

pub async fn an_append_without_expectation_never_conflicts(store: impl EventStore) {
    let stream = Category::new().stream();
    let all = events("Counted", 3);
    for event in &all {
        append(&store, &stream, Expected::Any, [event]).await;
    }
    assert_eq!(ids(&read(&store, &stream).await), ids_of(&all));
}

pub async fn an_append_is_all_or_nothing(store: impl EventStore) {
    let category = Category::new();
    let stream = category.stream();
    let mut mixed = events("Mixed", 3);
    mixed[2].kind = String::new();
    let refused = store.append(&stream, Expected::NoStream, mixed).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
    assert_eq!(read_log(&store, category.filter()).await, []);
    let empty = store.append(&stream, Expected::NoStream, vec![]).await;
    assert!(matches!(empty, Err(AppendError::Refused(_))), "{empty:?}");
}

pub async fn an_append_too_large_is_refused_and_writes_nothing(store: impl EventStore) {
    let stream = Category::new().stream();
    let large = |bytes| event("Large", &format!("\"{}\"", "x".repeat(bytes)));
    let refused = store.append(&stream, Expected::NoStream, vec![large(1024 * 1024)]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
    let fits = large(1000 * 1000);
    append(&store, &stream, Expected::NoStream, [&fits]).await;
    assert_eq!(read(&store, &stream).await[0].data, fits.data);
}

pub async fn data_that_is_not_json_is_refused(store: impl EventStore) {
    let stream = Category::new().stream();
    let refused = store.append(&stream, Expected::Any, vec![event("Ours", "{")]).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(read(&store, &stream).await, []);
}

pub async fn names_of_the_store_itself_are_refused(store: impl EventStore) {
    let category = Category::new();
    let system = StreamName::new(format!("${}", category.stream())).expect("well-formed");
    let refused = store.append(&system, Expected::Any, events("Ours", 1)).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    let refused = store.append(&category.stream(), Expected::Any, events("$metadata", 1)).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
}

pub async fn of_racing_appends_exactly_one_wins_each_revision(store: impl EventStore) {
    const WRITERS: usize = 100;
    const REVISIONS: u64 = 5;
    let stream = Category::new().stream();
    for revision in 0..REVISIONS {
        let expected = revision.checked_sub(1).map_or(Expected::NoStream, Expected::Exact);
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

pub async fn appending_again_to_no_stream_is_recognised(store: impl EventStore) {
    repeat(store, [], Expected::NoStream).await;
}

pub async fn appending_again_at_a_revision_is_recognised(store: impl EventStore) {
    repeat(store, events("Before", 2), Expected::Exact(1)).await;
}

pub async fn appending_again_without_expectation_is_recognised(store: impl EventStore) {
    repeat(store, events("Before", 2), Expected::Any).await;
}

pub async fn appending_again_is_recognised_after_others_appended(store: impl EventStore) {
    for (before, expected) in
        [(vec![], Expected::NoStream), (events("Before", 1), Expected::Exact(0)), (vec![], Expected::Any)]
    {
        let stream = Category::new().stream();
        if !before.is_empty() {
            append(&store, &stream, Expected::NoStream, &before).await;
        }
        let again = events("Again", 2);
        let first = append(&store, &stream, expected, &again).await;
        append(&store, &stream, Expected::Any, &events("Other", 3)).await;
        assert_eq!(append(&store, &stream, expected, &again).await, first, "{expected:?}");
        assert_eq!(read(&store, &stream).await.len(), before.len() + 5);
    }
}

pub async fn half_a_repetition_conflicts(store: impl EventStore) {
    for expected in [Expected::NoStream, Expected::Any] {
        let stream = Category::new().stream();
        let first = events("First", 2);
        append(&store, &stream, Expected::NoStream, &first).await;
        let half = vec![first[1].clone(), event("New", "{}")];
        let half = if expected == Expected::Any { half } else { vec![first[0].clone(), half[1].clone()] };
        let result = store.append(&stream, expected, half).await;
        assert!(matches!(result, Err(AppendError::Conflict { .. })), "{expected:?}: {result:?}");
        assert_eq!(ids(&read(&store, &stream).await), ids_of(&first));
    }
}

pub async fn the_log_is_read_in_pages(store: impl EventStore) {
    let category = Category::new();
    let start = store.head().await.expect("readable");
    let mut written = Vec::new();
    for _ in 0..7 {
        let some = events("Paged", 3);
        append(&store, &category.stream(), Expected::NoStream, &some).await;
        written.extend(some);
    }
    let filter = category.filter();
    let mut at = start;
    let mut read = Vec::new();
    loop {
        let page = store.read_all(at, &filter, 4).await.expect("readable");
        assert!(page.events.len() <= 4);
        assert!(page.events.iter().all(|event| event.position > at && event.position <= page.next));
        assert!(page.next > at || page.end, "a page gets somewhere");
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
    let (wanted, other) = (Category::new(), Category::new());
    let ours = events("Ours", 2);
    append(&store, &other.stream(), Expected::NoStream, &events("Theirs", 2)).await;
    append(&store, &wanted.stream(), Expected::NoStream, &ours).await;
    append(&store, &other.stream(), Expected::NoStream, &events("Theirs", 2)).await;
    assert_eq!(ids(&read_log(&store, wanted.filter()).await), ids_of(&ours));
}

pub async fn the_log_is_filtered_by_type(store: impl EventStore) {
    let category = Category::new();
    let (a, b, c) = (category.kind("A"), category.kind("AB"), category.kind("C"));
    let all = [event(&a, "1"), event(&b, "2"), event(&c, "3"), event(&a, "4")];
    append(&store, &category.stream(), Expected::NoStream, &all).await;
    let kinds = async |kinds: Vec<String>| {
        let filter = Filter { kinds, stream_prefix: None };
        ids(&read_log(&store, filter).await)
    };
    let of = |wanted: &[usize]| wanted.iter().map(|&n| all[n].id).collect::<Vec<_>>();
    assert_eq!(kinds(vec![a.clone()]).await, of(&[0, 3]), "a type, not a prefix of one");
    assert_eq!(kinds(vec![b, c]).await, of(&[1, 2]));
    let both = Filter { kinds: vec![a], stream_prefix: Some("no such stream".to_owned()) };
    assert_eq!(read_log(&store, both).await, []);
}

pub async fn the_head_is_the_newest_position(store: impl EventStore) {
    let before = store.head().await.expect("readable");
    let appended = append(&store, &Category::new().stream(), Expected::NoStream, &events("Newest", 1)).await;
    assert!(appended.position > before);
    assert!(store.head().await.expect("readable") >= appended.position);
}

pub async fn a_subscription_delivers_history_then_what_comes(store: impl EventStore) {
    let category = Category::new();
    let all = events("Followed", 6);
    let past = append(&store, &category.stream(), Expected::NoStream, &all[..3]).await;
    let mut follower = Follower::new(&store, Position::START, category.filter());
    assert_eq!(ids(&follower.until_caught_up().await), ids_of(&all[..3]));
    assert!(follower.seen >= past.position);
    for event in &all[3..] {
        append(&store, &category.stream(), Expected::NoStream, [event]).await;
        assert_eq!(follower.event().await.id, event.id);
    }
}

pub async fn a_subscription_begins_strictly_after_its_position(store: impl EventStore) {
    let category = Category::new();
    let all = events("Followed", 4);
    for event in &all {
        append(&store, &category.stream(), Expected::NoStream, [event]).await;
    }
    let log = read_log(&store, category.filter()).await;
    let mut middle = Follower::new(&store, log[1].position, category.filter());
    assert_eq!(ids(&middle.until_caught_up().await), ids_of(&all[2..]));
    let mut end = Follower::new(&store, log[3].position, category.filter());
    assert_eq!(end.until_caught_up().await, []);
}

pub async fn a_subscription_is_filtered(store: impl EventStore) {
    let (wanted, other) = (Category::new(), Category::new());
    let kind = wanted.kind("Wanted");
    let past = [event(&kind, "1"), event("Other", "2")];
    append(&store, &other.stream(), Expected::NoStream, &events("Theirs", 3)).await;
    append(&store, &wanted.stream(), Expected::NoStream, &past).await;
    let filter = Filter { kinds: vec![kind.clone()], ..wanted.filter() };
    let mut follower = Follower::new(&store, Position::START, filter);
    assert_eq!(ids(&follower.until_caught_up().await), [past[0].id]);
    append(&store, &wanted.stream(), Expected::NoStream, &events("Other", 3)).await;
    append(&store, &other.stream(), Expected::NoStream, [&event(&kind, "3")]).await;
    let last = event(&kind, "4");
    append(&store, &wanted.stream(), Expected::NoStream, [&last]).await;
    assert_eq!(follower.event().await.id, last.id);
}

pub async fn a_subscription_to_little_of_a_long_log_reports_how_far_it_is(store: impl EventStore) {
    let (rare, common) = (Category::new(), Category::new());
    let start = store.head().await.expect("readable");
    for _ in 0..30 {
        append(&store, &common.stream(), Expected::NoStream, &events("Common", 100)).await;
    }
    let last = append(&store, &rare.stream(), Expected::NoStream, &events("Rare", 1)).await;
    let mut follower = Follower::new(&store, start, rare.filter());
    let rare = follower.until_caught_up().await;
    assert_eq!(rare.len(), 1);
    assert_eq!(rare[0].position, last.position);
    assert!(follower.checkpoints > 0, "3,000 events passed without a word");
}

pub async fn a_subscription_started_amid_appends_has_no_gap_and_no_repeat(store: impl EventStore + 'static) {
    const WRITERS: usize = 4;
    const APPENDS: usize = 50;
    let category = Category::new();
    let store = Arc::new(store);
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, stream) = (Arc::clone(&store), category.stream());
            tokio::spawn(async move {
                for _ in 0..APPENDS {
                    append(&*store, &stream, Expected::Any, &events("Storm", 2)).await;
                }
            })
        })
        .collect();
    let total = WRITERS * APPENDS * 2;
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut follower = Follower::new(&*store, Position::START, category.filter());
        // Each begins a little later than the one before.
        let first = follower.event().await;
        followers.push((follower, vec![first]));
    }
    for writer in writers {
        writer.await.expect("the writer ends well");
    }
    let log = ids(&read_log(&*store, category.filter()).await);
    assert_eq!(log.len(), total);
    for (mut follower, mut delivered) in followers {
        while delivered.len() < total {
            delivered.push(follower.event().await);
        }
        assert_eq!(ids(&delivered), log);
    }
}

pub async fn a_subscriber_that_stalls_misses_nothing(store: impl EventStore) {
    let category = Category::new();
    let mut follower = Follower::new(&store, Position::START, category.filter());
    let first = events("Stalled", 1);
    append(&store, &category.stream(), Expected::NoStream, &first).await;
    assert_eq!(follower.event().await.id, first[0].id);
    // It is not asked again while these come: many times what any buffer holds.
    let mut missed = Vec::new();
    for _ in 0..40 {
        let some = events("Stalled", 100);
        append(&store, &category.stream(), Expected::NoStream, &some).await;
        missed.extend(ids_of(&some));
    }
    let mut delivered = Vec::new();
    while delivered.len() < missed.len() {
        delivered.push(follower.event().await.id);
    }
    assert_eq!(delivered, missed);
}

/// Streams that belong to one test alone.
struct Category(Uuid);

impl Category {
    fn new() -> Self {
        Self(Uuid::new_v4())
    }

    fn stream(&self) -> StreamName {
        StreamName::new(format!("contract{}-{}", self.0.simple(), Uuid::new_v4())).expect("well-formed")
    }

    fn kind(&self, name: &str) -> String {
        format!("{}{name}", self.0.simple())
    }

    fn filter(&self) -> Filter {
        Filter::stream_prefix(format!("contract{}-", self.0.simple()))
    }
}

/// A subscription, asked with a deadline.
struct Follower {
    deliveries: Subscription,
    seen: Position,
    checkpoints: usize,
}

impl Follower {
    fn new(store: &(impl Subscribe + ?Sized), after: Position, filter: Filter) -> Self {
        Self { deliveries: store.subscribe(after, filter), seen: after, checkpoints: 0 }
    }

    async fn delivery(&mut self) -> Delivery {
        let delivery = timeout(DEADLINE, self.deliveries.next()).await;
        let delivery = delivery.expect("something is delivered in time");
        let delivery = delivery.expect("a subscription has no end").expect("it heals itself");
        let at = match &delivery {
            Delivery::Event(event) => {
                assert!(event.position > self.seen, "{} after {}", event.position, self.seen);
                event.position
            }
            Delivery::Checkpoint(at) => {
                self.checkpoints += 1;
                *at
            }
            Delivery::CaughtUp(at) => *at,
        };
        assert!(at >= self.seen, "{at} after {}", self.seen);
        self.seen = at;
        delivery
    }

    async fn event(&mut self) -> Recorded {
        loop {
            if let Delivery::Event(event) = self.delivery().await {
                return event;
            }
        }
    }

    async fn until_caught_up(&mut self) -> Vec<Recorded> {
        let mut events = Vec::new();
        loop {
            match self.delivery().await {
                Delivery::Event(event) => events.push(event),
                Delivery::Checkpoint(_) => {}
                Delivery::CaughtUp(_) => return events,
            }
        }
    }
}

async fn repeat(store: impl EventStore, before: impl IntoIterator<Item = NewEvent>, expected: Expected) {
    let stream = Category::new().stream();
    let before: Vec<_> = before.into_iter().collect();
    if !before.is_empty() {
        append(&store, &stream, Expected::NoStream, &before).await;
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

async fn append<'a>(
    store: &(impl Append + ?Sized),
    stream: &StreamName,
    expected: Expected,
    events: impl IntoIterator<Item = &'a NewEvent>,
) -> crate::Appended {
    let events = events.into_iter().cloned().collect();
    store.append(stream, expected, events).await.expect("appended")
}

async fn read(store: &(impl Read + ?Sized), stream: &StreamName) -> Vec<Recorded> {
    store.read_stream(stream, 0, Direction::Forwards, usize::MAX).await.expect("readable")
}

async fn read_log(store: &(impl Read + ?Sized), filter: Filter) -> Vec<Recorded> {
    let mut all = Vec::new();
    let mut at = Position::START;
    loop {
        let page = store.read_all(at, &filter, 100).await.expect("readable");
        all.extend(page.events);
        at = page.next;
        if page.end {
            return all;
        }
    }
}

fn event(kind: &str, json: &str) -> NewEvent {
    NewEvent {
        id: Uuid::new_v4(),
        kind: kind.to_owned(),
        data: json.to_owned().into(),
        metadata: Metadata {
            schema: 1,
            correlation_id: Uuid::new_v4(),
            causation_id: Uuid::new_v4(),
            actor: "contract".to_owned(),
        },
    }
}

fn events(kind: &str, count: usize) -> Vec<NewEvent> {
    (0..count).map(|n| event(kind, &format!(r#"{{"n":{n}}}"#))).collect()
}

fn ids(events: &[Recorded]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

fn ids_of(events: &[NewEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}
