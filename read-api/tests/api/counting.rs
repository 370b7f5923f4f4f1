//! Views that count how often they are asked, and answer when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use domain::SubmissionId;
use event_store::Position;
use projections::view::{BoundingBox, MapView, Pin, QueuePlace, SandboxView, StatsView, StatusView};
use projections::{MemoryViews, QueryError, ViewQueries};
use tokio::sync::watch;

pub(crate) struct Counting {
    views: Arc<MemoryViews>,
    asked: AtomicU64,
    /// Whether changed pins are held back, and how often they were asked for then.
    held: watch::Sender<Option<u64>>,
}

impl Counting {
    pub(crate) fn new(views: Arc<MemoryViews>) -> Self {
        Self { views, asked: AtomicU64::new(0), held: watch::Sender::new(None) }
    }

    /// Holds changed pins back, until they are released.
    pub(crate) fn hold_pins(&self) {
        self.held.send_replace(Some(0));
    }

    /// Until somebody waits for them.
    pub(crate) async fn is_awaited(&self) {
        self.held.subscribe().wait_for(|held| held.is_some_and(|asked| asked > 0)).await.unwrap();
    }

    pub(crate) fn release_pins(&self) {
        self.held.send_replace(None);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) -> &MemoryViews {
        self.asked.fetch_add(1, Ordering::Relaxed);
        &self.views
    }
}

#[async_trait]
impl ViewQueries for Counting {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        self.ask().checkpoint().await
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.views.watch()
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        self.ask().status(id).await
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        self.ask().queue_place(id).await
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        self.ask().stats().await
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        self.ask().pins(bounds, zoom).await
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.ask().pins_at(lat, lon, max).await
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.held.send_if_modified(|held| held.as_mut().map(|asked| *asked += 1).is_some());
        self.held.subscribe().wait_for(Option::is_none).await.unwrap();
        self.ask().pins_changed(after, max).await
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        self.ask().find_pins(text, max).await
    }

    async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.ask().unfinished(max).await
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        self.ask().verifying(max).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        self.ask().sandboxes().await
    }
}
