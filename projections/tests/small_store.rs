//! A store that refuses large batches: the projection halves a batch until the
//! store takes it.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::{
    EventFilter, EventPage, LogCheckpoint, LogIdentity, Position, Read, ReadDirection, ReadError,
    RecordedEvent, Revision, SqliteStore, StreamName, Subscribe, Subscription, SubscriptionItem,
};
use futures::StreamExt;
use jiff::Timestamp;
use projections::contract::{EventHistory, assert_same};
use projections::view::{
    BoundingBox, DeletionView, MapView, Pin, QueuePlace, SandboxView, SetAsideEvent, SetAsideView,
    StandstillView, StatsView, StatusView,
};
use projections::{
    ApplyError, EventEnvelope, LogPlace, MemoryViews, QueryError, ViewQueries, ViewStore, run,
};
use support::{log, write};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(30);

const EVENTS: usize = 1000;

/// Views that refuse batches of more than `max` events, as a MongoDB with a small cache does.
struct SmallStore {
    views: MemoryViews,
    max: usize,
    refused: AtomicUsize,
}

/// A log that delivers all of its events at once.
struct EagerLog {
    log: SqliteStore,
    /// True if it sends checkpoints at which no event stands before, as some servers do.
    odd: bool,
    /// The number of subscriptions to single submissions.
    submissions_read: AtomicUsize,
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_the_store_is_applied_in_parts() {
    let (log, _folder) = log();
    let history = EventHistory::random(7, EVENTS);
    let written = write(&log, &history.events).await;
    let head = written.last().unwrap().position;
    let store = SmallStore { views: MemoryViews::new(), max: 64, refused: AtomicUsize::new(0) };
    let standstill = StandstillView {
        id: SubmissionId(Uuid::new_v4()),
        code: "newer_version".to_owned(),
        message: "A newer version wrote it.".to_owned(),
        r#type: "Exploded".to_owned(),
        why: "its type is not known".to_owned(),
        position: Position(1),
        revision: 0,
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    store.record_standstill(&standstill).await.unwrap();
    let (views, shutdown) = (Arc::new(store), CancellationToken::new());
    let log = Arc::new(EagerLog { log, odd: true, submissions_read: AtomicUsize::new(0) });
    let projector = tokio::spawn(run(log.clone(), views.clone(), shutdown.clone()));
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();

    assert!(views.refused.load(Ordering::Relaxed) > 0, "the first batch was too large");
    let tried = log.submissions_read.load(Ordering::Relaxed);
    assert_eq!(tried, 1, "what this version cannot read is tried once, and not after each failure");
    let folded = MemoryViews::new();
    folded.record_standstill(&standstill).await.unwrap();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*views, &folded, history.submissions()).await;
}

#[tokio::test]
async fn a_checkpoint_hides_no_event_and_is_never_stored() {
    let (log, _folder) = log();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let head = write(&log, &history.events).await.last().unwrap().position;
    let (views, shutdown) = (Arc::new(MemoryViews::new()), CancellationToken::new());
    let projector = tokio::spawn(run(
        Arc::new(EagerLog { log, odd: true, submissions_read: AtomicUsize::new(0) }),
        views.clone(),
        shutdown.clone(),
    ));
    timeout(DEADLINE, views.watch().wait_for(|at| *at > Position::START)).await.unwrap().unwrap();
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();
    assert_eq!(views.checkpoint().await.unwrap(), head);
    assert_eq!(views.stats().await.unwrap().pins, 1);
}

impl Subscribe for EagerLog {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        self.submissions_read.fetch_add(usize::from(filter.stream_prefix.is_some()), Ordering::Relaxed);
        let log = self.log.clone();
        let all = async move { log.read_all(after, &filter, EVENTS).await.unwrap().events };
        let ready = futures::stream::once(all).flat_map(futures::stream::iter);
        let odd = [u64::MAX, i64::MAX as u64, 1 << 40].map(Position).into_iter().filter(|_| self.odd);
        let odd: Vec<_> =
            odd.flat_map(|at| [SubscriptionItem::Checkpoint(at), SubscriptionItem::CaughtUp(at)]).collect();
        let items = futures::stream::iter(odd).chain(ready.map(SubscriptionItem::Event));
        Box::pin(items.map(Ok).chain(futures::stream::pending()))
    }
}

#[async_trait]
impl Read for EagerLog {
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.log.read_stream(stream, from, direction, max).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        self.log.read_all(after, filter, max).await
    }

    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.log.event_at(position).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.log.head().await
    }

    async fn position_before(&self, moment: jiff::Timestamp) -> Result<Position, ReadError> {
        self.log.position_before(moment).await
    }
}

#[async_trait]
impl ViewStore for SmallStore {
    async fn apply(
        &self,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<(), ApplyError> {
        if events.len() > self.max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ApplyError::Unavailable("the transaction is too large".to_owned()));
        }
        self.views.apply(from, events, upto).await
    }

    async fn apply_deletion(&self, from: Position, deletion: &DeletionView) -> Result<(), ApplyError> {
        self.views.apply_deletion(from, deletion).await
    }

    async fn note_log(&self, log: LogIdentity) -> Result<(), ApplyError> {
        self.views.note_log(log).await
    }

    async fn show_from(&self, end: Position) -> Result<(), ApplyError> {
        self.views.show_from(end).await
    }

    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError> {
        self.views.record_sandbox(sandbox).await
    }

    async fn record_set_aside(&self, events: &[SetAsideEvent]) -> Result<(), ApplyError> {
        self.views.record_set_aside(events).await
    }

    async fn record_standstill(&self, standstill: &StandstillView) -> Result<(), ApplyError> {
        self.views.record_standstill(standstill).await
    }

    async fn resume(
        &self,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> Result<(), ApplyError> {
        self.views.resume(id, checkpoint, events, next).await
    }
}

#[async_trait]
impl ViewQueries for SmallStore {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        self.views.checkpoint().await
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.views.watch()
    }

    fn shown_from(&self) -> watch::Receiver<Option<Position>> {
        self.views.shown_from()
    }

    fn representation(&self) -> String {
        self.views.representation()
    }

    async fn place_before(&self, moment: Timestamp) -> Result<Option<LogPlace>, QueryError> {
        self.views.place_before(moment).await
    }

    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError> {
        self.views.resume_point().await
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        self.views.status(id).await
    }

    async fn deletion(&self, id: SubmissionId) -> Result<Option<DeletionView>, QueryError> {
        self.views.deletion(id).await
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        self.views.queue_place(id).await
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        self.views.stats().await
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        self.views.pins(bounds, zoom).await
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.views.pins_at(lat, lon, max).await
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.views.pins_changed(after, max).await
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.views.find_pins(text, max).await
    }

    async fn venue_stats(&self, venue: &str) -> Result<StatsView, QueryError> {
        self.views.venue_stats(venue).await
    }

    async fn venue_pins_changed(
        &self,
        venue: &str,
        after: Position,
        max: usize,
    ) -> Result<Vec<Pin>, QueryError> {
        self.views.venue_pins_changed(venue, after, max).await
    }

    async fn unfinished(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.views.unfinished(venue, max).await
    }

    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.views.overdue(now, max).await
    }

    async fn given_up(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.views.given_up(venue, max).await
    }

    async fn held(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.views.held(venue, max).await
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.views.verifying(max).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        self.views.sandboxes().await
    }

    async fn set_aside(&self) -> Result<SetAsideView, QueryError> {
        self.views.set_aside().await
    }

    async fn standstills(&self, max: usize) -> Result<Vec<StandstillView>, QueryError> {
        self.views.standstills(max).await
    }

    async fn standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>, QueryError> {
        self.views.standstill(id).await
    }
}
