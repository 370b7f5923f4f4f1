//! Views that count their queries, can hold a query back, and can be away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use domain::SubmissionId;
use event_store::{LogCheckpoint, Position};
use jiff::Timestamp;
use projections::view::{
    BoundingBox, DeletionView, MapView, Pin, QueuePlace, SandboxView, SetAsideView, StandstillView,
    StatsView, StatusView,
};
use projections::{LogPlace, MemoryViews, QueryError, ViewQueries};
use tokio::sync::watch;

pub(crate) struct CountingQueries {
    views: Arc<MemoryViews>,
    queries: AtomicU64,
    /// The number of queries for changed pins since they are held back; `None` if they are not held back.
    held: watch::Sender<Option<u64>>,
    are_away: AtomicBool,
}

impl CountingQueries {
    pub(crate) fn new(views: Arc<MemoryViews>) -> Self {
        Self {
            views,
            queries: AtomicU64::new(0),
            held: watch::Sender::new(None),
            are_away: AtomicBool::new(false),
        }
    }

    /// Holds queries for changed pins back until they are released.
    pub(crate) fn hold_pins(&self) {
        self.held.send_replace(Some(0));
    }

    /// Waits until a query for changed pins is held back.
    pub(crate) async fn query_is_held(&self) {
        self.held.subscribe().wait_for(|held| held.is_some_and(|asked| asked > 0)).await.unwrap();
    }

    pub(crate) fn release_pins(&self) {
        self.held.send_replace(None);
    }

    pub(crate) fn query_count(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// From now on queries about one submission fail, or are answered again.
    pub(crate) fn set_away(&self, are_away: bool) {
        self.are_away.store(are_away, Ordering::Relaxed);
    }

    /// Counts a query about one submission.
    fn count_one(&self) -> Result<&MemoryViews, QueryError> {
        if self.are_away.load(Ordering::Relaxed) {
            return Err(QueryError::Unavailable("they are away".to_owned()));
        }
        Ok(self.count())
    }

    fn count(&self) -> &MemoryViews {
        self.queries.fetch_add(1, Ordering::Relaxed);
        &self.views
    }
}

#[async_trait]
impl ViewQueries for CountingQueries {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        self.count().checkpoint().await
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
        self.count().place_before(moment).await
    }

    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError> {
        self.count().resume_point().await
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        self.count_one()?.status(id).await
    }

    async fn deletion(&self, id: SubmissionId) -> Result<Option<DeletionView>, QueryError> {
        self.count_one()?.deletion(id).await
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        self.count_one()?.queue_place(id).await
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        self.count().stats().await
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        self.count().pins(bounds, zoom).await
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.count().pins_at(lat, lon, max).await
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.held.send_if_modified(|held| held.as_mut().map(|asked| *asked += 1).is_some());
        self.held.subscribe().wait_for(Option::is_none).await.unwrap();
        self.count().pins_changed(after, max).await
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.count().find_pins(text, max).await
    }

    async fn venue_stats(&self, venue: &str) -> Result<StatsView, QueryError> {
        self.count().venue_stats(venue).await
    }

    async fn venue_pins_changed(
        &self,
        venue: &str,
        after: Position,
        max: usize,
    ) -> Result<Vec<Pin>, QueryError> {
        self.count().venue_pins_changed(venue, after, max).await
    }

    async fn unfinished(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.count().unfinished(venue, max).await
    }

    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.count().overdue(now, max).await
    }

    async fn given_up(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.count().given_up(venue, max).await
    }

    async fn held(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.count().held(venue, max).await
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.count().verifying(max).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        self.count().sandboxes().await
    }

    async fn set_aside(&self) -> Result<SetAsideView, QueryError> {
        self.count().set_aside().await
    }

    async fn standstills(&self, max: usize) -> Result<Vec<StandstillView>, QueryError> {
        self.count().standstills(max).await
    }

    async fn standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>, QueryError> {
        self.count_one()?.standstill(id).await
    }
}
