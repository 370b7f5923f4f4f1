//! The queries of the views in memory.

use std::sync::Arc;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::{LogCheckpoint, Position};
use jiff::Timestamp;
use tokio::sync::watch;

use super::MemoryViews;
use crate::fold::totals::{self, VenueTotals};
use crate::view::{
    BoundingBox, DeletionView, MapView, Pin, QueuePlace, SandboxView, SetAsideView, StandstillView,
    StatsView, StatusView, SubmissionStatus,
};
use crate::{LogPlace, QueryError, ViewQueries};

#[async_trait]
impl ViewQueries for MemoryViews {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        Ok(self.read().checkpoint)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.checkpoint.subscribe()
    }

    fn shown_from(&self) -> watch::Receiver<Option<Position>> {
        self.shown_from.subscribe()
    }

    fn representation(&self) -> String {
        "memory".to_owned()
    }

    async fn place_before(&self, moment: Timestamp) -> Result<Option<LogPlace>, QueryError> {
        Ok(self.read().places.before(moment))
    }

    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError> {
        Ok(self.read().resume)
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        let state = self.read();
        let (live, packed) = (state.fold.statuses.get(&id).cloned(), state.packed.get(&id).cloned());
        // Nobody waits while the status is copied or decoded.
        drop(state);
        match (live, packed) {
            (Some(view), _) => Ok(Some(Arc::unwrap_or_clone(view))),
            (None, Some(packed)) => packed.read().map(Some).map_err(QueryError::Unavailable),
            (None, None) => Ok(None),
        }
    }

    async fn deletion(&self, id: SubmissionId) -> Result<Option<DeletionView>, QueryError> {
        Ok(self.read().deletions.get(&id).copied())
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        let state = self.read();
        let ahead = state.queue.ahead_of(id);
        Ok(ahead.map(|ahead| state.fold.recent.queue_place(ahead, state.queue.waiting())))
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        let state = self.read();
        Ok(totals::stats(&state.fold.counters, &state.fold.recent, state.checkpoint))
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        let state = self.read();
        Ok(state.pins.viewport(&state.fold.cells, bounds, zoom))
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        let state = self.read();
        Ok(state.pins.at_place(&state.fold.cells, lat, lon, max))
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.read();
        let changed = state.pins.by_position.range((Excluded(after), Unbounded));
        Ok(changed.take(max).map(|(_, pin)| pin.clone()).collect())
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        Ok(self.read().pins.find(text, max))
    }

    async fn venue_stats(&self, venue: &str) -> Result<StatsView, QueryError> {
        let state = self.read();
        let none = VenueTotals::default();
        let totals = state.fold.venues.get(venue).unwrap_or(&none);
        Ok(totals::venue_stats(totals, &state.fold.recent, state.checkpoint))
    }

    async fn venue_pins_changed(
        &self,
        venue: &str,
        after: Position,
        max: usize,
    ) -> Result<Vec<Pin>, QueryError> {
        let state = self.read();
        let changed = state.pins.at_venue(venue, after);
        Ok(changed.take(max).map(|pin| pin.clone().seen_at(venue)).collect())
    }

    async fn unfinished(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        Ok(state.newest(&state.unfinished, venue, max))
    }

    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let oldest = state.unfinished.values().filter_map(|id| state.fold.statuses.get(id));
        Ok(oldest
            .filter(|view| view.retry_at().is_none_or(|at| at <= now))
            .take(max)
            .map(|view| StatusView::clone(view))
            .collect())
    }

    async fn given_up(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        Ok(state.newest(&state.given_up, venue, max))
    }

    async fn held(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        Ok(state.newest(&state.held, venue, max))
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let newest = state.unfinished.values().rev().filter_map(|id| state.fold.statuses.get(id));
        let verifying = newest.filter(|view| view.status == SubmissionStatus::Verifying).take(max);
        let mut views: Vec<_> = verifying.map(|view| StatusView::clone(view)).collect();
        views.reverse();
        Ok(views)
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        Ok(self.read().sandboxes.values().cloned().collect())
    }

    async fn set_aside(&self) -> Result<SetAsideView, QueryError> {
        Ok(self.read().set_aside.clone())
    }

    async fn standstills(&self, max: usize) -> Result<Vec<StandstillView>, QueryError> {
        let mut all: Vec<_> = self.read().standstills.values().cloned().collect();
        all.sort_unstable_by_key(|standstill| standstill.position);
        all.truncate(max);
        Ok(all)
    }

    async fn standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>, QueryError> {
        Ok(self.read().standstills.get(&id).cloned())
    }
}
