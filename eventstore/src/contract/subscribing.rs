//! Subscriptions: recorded events, then new ones, without a gap or a repetition.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::timeout;

use super::streams::{TestCategory, append, event, events, ids, ids_of, read_log};
use crate::{
    EventFilter, EventStore, ExpectedRevision, Position, RecordedEvent, Subscribe, Subscription,
    SubscriptionItem,
};

/// The longest wait for a delivery.
const DEADLINE: Duration = Duration::from_secs(30);

pub async fn a_subscription_delivers_recorded_events_then_new_ones(store: impl EventStore) {
    let category = TestCategory::new();
    let all = events("Followed", 6);
    let past = append(&store, &category.stream(), ExpectedRevision::NoStream, &all[..3]).await;
    let mut subscriber = TestSubscriber::new(&store, Position::START, category.filter());
    assert_eq!(ids(&subscriber.until_caught_up().await), ids_of(&all[..3]));
    assert!(subscriber.seen >= past.position);
    for event in &all[3..] {
        append(&store, &category.stream(), ExpectedRevision::NoStream, [event]).await;
        assert_eq!(subscriber.event().await.id, event.id);
    }
}

pub async fn a_subscription_begins_strictly_after_its_position(store: impl EventStore) {
    let category = TestCategory::new();
    let all = events("Followed", 4);
    for event in &all {
        append(&store, &category.stream(), ExpectedRevision::NoStream, [event]).await;
    }
    let log = read_log(&store, category.filter()).await;
    let mut middle = TestSubscriber::new(&store, log[1].position, category.filter());
    assert_eq!(ids(&middle.until_caught_up().await), ids_of(&all[2..]));
    let mut end = TestSubscriber::new(&store, log[3].position, category.filter());
    assert_eq!(end.until_caught_up().await, []);
}

pub async fn a_subscription_is_filtered(store: impl EventStore) {
    let (wanted, other) = (TestCategory::new(), TestCategory::new());
    let kind = wanted.kind("Wanted");
    let past = [event(&kind, "1"), event("Other", "2")];
    append(&store, &other.stream(), ExpectedRevision::NoStream, &events("Theirs", 3)).await;
    append(&store, &wanted.stream(), ExpectedRevision::NoStream, &past).await;
    let filter = EventFilter { kinds: vec![kind.clone()], ..wanted.filter() };
    let mut subscriber = TestSubscriber::new(&store, Position::START, filter);
    assert_eq!(ids(&subscriber.until_caught_up().await), [past[0].id]);
    append(&store, &wanted.stream(), ExpectedRevision::NoStream, &events("Other", 3)).await;
    append(&store, &other.stream(), ExpectedRevision::NoStream, [&event(&kind, "3")]).await;
    let last = event(&kind, "4");
    append(&store, &wanted.stream(), ExpectedRevision::NoStream, [&last]).await;
    assert_eq!(subscriber.event().await.id, last.id);
}

pub async fn a_subscription_that_passes_few_events_sends_checkpoints(store: impl EventStore) {
    let (rare, common) = (TestCategory::new(), TestCategory::new());
    let start = store.head().await.expect("readable");
    for _ in 0..30 {
        append(&store, &common.stream(), ExpectedRevision::NoStream, &events("Common", 100)).await;
    }
    let last = append(&store, &rare.stream(), ExpectedRevision::NoStream, &events("Rare", 1)).await;
    let mut subscriber = TestSubscriber::new(&store, start, rare.filter());
    let rare = subscriber.until_caught_up().await;
    assert_eq!(rare.len(), 1);
    assert_eq!(rare[0].position, last.position);
    assert!(subscriber.checkpoints > 0, "3,000 events were scanned without a checkpoint");
}

pub async fn a_subscription_started_amid_appends_has_no_gap_and_no_repeat(store: impl EventStore + 'static) {
    const WRITERS: usize = 4;
    const APPENDS: usize = 50;
    let category = TestCategory::new();
    let store = Arc::new(store);
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, stream) = (Arc::clone(&store), category.stream());
            tokio::spawn(async move {
                for _ in 0..APPENDS {
                    append(&*store, &stream, ExpectedRevision::Any, &events("Storm", 2)).await;
                }
            })
        })
        .collect();
    let total = WRITERS * APPENDS * 2;
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        let mut subscriber = TestSubscriber::new(&*store, Position::START, category.filter());
        // Each subscription begins a little later than the one before.
        let first = subscriber.event().await;
        subscribers.push((subscriber, vec![first]));
    }
    for writer in writers {
        writer.await.expect("the writer ends well");
    }
    let log = ids(&read_log(&*store, category.filter()).await);
    assert_eq!(log.len(), total);
    for (mut subscriber, mut delivered) in subscribers {
        while delivered.len() < total {
            delivered.push(subscriber.event().await);
        }
        assert_eq!(ids(&delivered), log);
    }
}

pub async fn a_subscriber_that_stalls_misses_nothing(store: impl EventStore) {
    let category = TestCategory::new();
    let mut subscriber = TestSubscriber::new(&store, Position::START, category.filter());
    let first = events("Stalled", 1);
    append(&store, &category.stream(), ExpectedRevision::NoStream, &first).await;
    assert_eq!(subscriber.event().await.id, first[0].id);
    // The subscription is not read while these are appended: many times more than any buffer holds.
    let mut missed = Vec::new();
    for _ in 0..40 {
        let some = events("Stalled", 100);
        append(&store, &category.stream(), ExpectedRevision::NoStream, &some).await;
        missed.extend(ids_of(&some));
    }
    let mut delivered = Vec::new();
    while delivered.len() < missed.len() {
        delivered.push(subscriber.event().await.id);
    }
    assert_eq!(delivered, missed);
}

/// A subscription whose deliveries are awaited with a deadline.
struct TestSubscriber {
    deliveries: Subscription,
    seen: Position,
    checkpoints: usize,
}

impl TestSubscriber {
    fn new(store: &(impl Subscribe + ?Sized), after: Position, filter: EventFilter) -> Self {
        Self { deliveries: store.subscribe(after, filter), seen: after, checkpoints: 0 }
    }

    async fn delivery(&mut self) -> SubscriptionItem {
        let delivery = timeout(DEADLINE, self.deliveries.next()).await;
        let delivery = delivery.expect("something is delivered in time");
        let delivery =
            delivery.expect("a subscription has no end").expect("a subscription reconnects by itself");
        let at = match &delivery {
            SubscriptionItem::Event(event) => {
                assert!(event.position > self.seen, "{} after {}", event.position, self.seen);
                event.position
            }
            SubscriptionItem::Checkpoint(at) => {
                self.checkpoints += 1;
                *at
            }
            SubscriptionItem::CaughtUp(at) => *at,
        };
        assert!(at >= self.seen, "{at} after {}", self.seen);
        self.seen = at;
        delivery
    }

    async fn event(&mut self) -> RecordedEvent {
        loop {
            if let SubscriptionItem::Event(event) = self.delivery().await {
                return event;
            }
        }
    }

    async fn until_caught_up(&mut self) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        loop {
            match self.delivery().await {
                SubscriptionItem::Event(event) => events.push(event),
                SubscriptionItem::Checkpoint(_) => {}
                SubscriptionItem::CaughtUp(_) => return events,
            }
        }
    }
}
