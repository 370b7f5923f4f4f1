//! The views in memory. Readers share a lock; the writer takes it for a few
//! events at a time.

mod pin_index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use domain::queue::FairQueue;
use domain::submission::SubmissionId;
use event_store::{EventFilter, LogCheckpoint, LogIdentity, Position, Read, ReadError};
use jiff::Timestamp;
use tokio::sync::watch;

use self::pin_index::{PinIndex, starting_with};
use crate::fold::owner::PinChange;
use crate::fold::project::EventEffects;
use crate::fold::{ViewState, totals};
use crate::log_item::LogBatch;
use crate::log_places::KnownPlaces;
use crate::map::cluster::{CellCluster, clusters, expansion_zoom, nearest};
use crate::map::grid::ZOOM_MAX;
use crate::map::mercator::MercatorPoint;
use crate::map::viewport::Viewport;
use crate::view::{
    BoundingBox, DeletionView, MapFeature, MapView, Pin, QueuePlace, SandboxView, SetAsideEvent,
    SetAsideView, StandstillView, StatsView, StatusView, SubmissionStatus,
};
use crate::{
    ApplyError, EventEnvelope, LogItem, LogPlace, ProjectionError, QueryError, ViewQueries, ViewStore,
};

/// The number of events that are applied before readers may take the lock.
const EVENTS_PER_TURN: usize = 16;

/// The number of events that are read from the log at once.
const PAGE_EVENTS: usize = 1024;

/// The views in memory. They are lost when the process ends, and folded again from the log.
#[derive(Debug)]
pub struct MemoryViews {
    state: RwLock<MemoryState>,
    /// Held by the projection that is writing.
    writing: Mutex<()>,
    checkpoint: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct MemoryState {
    fold: ViewState,
    /// The submissions that wait or are being verified, by the position of their first event.
    unfinished: BTreeMap<Position, SubmissionId>,
    /// The submissions that were given up, in the same order.
    given_up: BTreeMap<Position, SubmissionId>,
    queue: FairQueue,
    pins: PinIndex,
    sandboxes: BTreeMap<String, SandboxView>,
    set_aside: SetAsideView,
    standstills: BTreeMap<SubmissionId, StandstillView>,
    deletions: BTreeMap<SubmissionId, DeletionView>,
    checkpoint: Position,
    resume: LogCheckpoint,
    places: KnownPlaces,
}

/// A point in the history of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPoint {
    /// The state after all events up to this position.
    Position(Position),
    /// The state after all events that were recorded up to this time.
    Time(Timestamp),
}

impl MemoryViews {
    /// Creates empty views.
    pub fn new() -> Self {
        Self {
            state: RwLock::default(),
            writing: Mutex::default(),
            checkpoint: watch::Sender::new(Position::START),
        }
    }

    /// Folds the views as they were at a point in the log's history. For a time, this is the state after the last event
    /// that was recorded by then. So a moment that goes back in the log hides nothing.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn at(log: &dyn Read, point: HistoryPoint) -> Result<Self, ProjectionError> {
        let end = match point {
            HistoryPoint::Position(position) => position,
            HistoryPoint::Time(time) => last_recorded_by(log, time).await?,
        };
        let views = Self::new();
        let filter = EventFilter::stream_prefix(crate::STREAM_PREFIX).with_deletions();
        let mut after = Position::START;
        while after < end {
            let page = log.read_all(after, &filter, PAGE_EVENTS).await?;
            let within = page.events.iter().take_while(|event| event.position <= end);
            for part in LogBatch::split(within.map(LogItem::read)) {
                let checkpoint = views.read().checkpoint;
                views.fold(&part.events, part.upto.max(checkpoint));
                let mut state = views.write();
                state.set_aside.add(&part.set_aside);
                part.standstill.iter().for_each(|standstill| state.stand_still(standstill));
                part.deletion.iter().for_each(|deletion| state.delete(deletion));
            }
            after = page.next;
            views.fold(&[], after.min(end));
            if page.end {
                break;
            }
        }
        Ok(views)
    }

    /// Applies events and sets the checkpoint. The caller is the only writer.
    fn fold(&self, events: &[EventEnvelope], upto: Position) {
        for turn in events.chunks(EVENTS_PER_TURN) {
            let mut state = self.write();
            turn.iter().for_each(|envelope| state.apply(envelope));
        }
        self.write().checkpoint = upto;
        self.checkpoint.send_replace(upto);
    }

    fn read(&self) -> RwLockReadGuard<'_, MemoryState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, MemoryState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the position of the last event of a submission, or of its deletion, that was recorded up to `time`. Reads the whole log, because an
/// event may have an earlier moment than one before it: a clock can be set back.
async fn last_recorded_by(log: &dyn Read, time: Timestamp) -> Result<Position, ReadError> {
    let filter = EventFilter::stream_prefix(crate::STREAM_PREFIX).with_deletions();
    let (mut after, mut last) = (Position::START, Position::START);
    loop {
        let page = log.read_all(after, &filter, PAGE_EVENTS).await?;
        let within = page.events.iter().rfind(|event| event.recorded_at <= time);
        last = within.map_or(last, |event| event.position);
        if page.end {
            return Ok(last);
        }
        after = page.next;
    }
}

impl Default for MemoryViews {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ViewStore for MemoryViews {
    async fn apply(
        &self,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<(), ApplyError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = self.read().checkpoint;
        if checkpoint != from {
            return Err(ApplyError::Overtaken(checkpoint));
        }
        self.fold(events, upto);
        Ok(())
    }

    async fn apply_deletion(&self, from: Position, deletion: &DeletionView) -> Result<(), ApplyError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = self.read().checkpoint;
        if checkpoint != from {
            return Err(ApplyError::Overtaken(checkpoint));
        }
        self.write().delete(deletion);
        self.fold(&[], deletion.position);
        Ok(())
    }

    async fn note_log(&self, log: LogIdentity) -> Result<(), ApplyError> {
        self.write().resume.log.get_or_insert(log);
        Ok(())
    }

    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError> {
        let mut state = self.write();
        let recorded = state.sandboxes.entry(sandbox.verifier.clone()).or_insert_with(|| sandbox.clone());
        if sandbox.position > recorded.position {
            recorded.clone_from(sandbox);
        }
        Ok(())
    }

    async fn record_set_aside(&self, events: &[SetAsideEvent]) -> Result<(), ApplyError> {
        self.write().set_aside.add(events);
        Ok(())
    }

    async fn record_standstill(&self, standstill: &StandstillView) -> Result<(), ApplyError> {
        self.write().stand_still(standstill);
        Ok(())
    }

    async fn resume(
        &self,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> Result<(), ApplyError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.write();
        if state.checkpoint != checkpoint {
            return Err(ApplyError::Overtaken(state.checkpoint));
        }
        events.iter().for_each(|envelope| state.apply(envelope));
        state.standstills.remove(&id);
        next.into_iter().for_each(|standstill| state.stand_still(standstill));
        drop(state);
        self.checkpoint.send_replace(checkpoint);
        Ok(())
    }
}

#[async_trait]
impl ViewQueries for MemoryViews {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        Ok(self.read().checkpoint)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.checkpoint.subscribe()
    }

    async fn place_before(&self, moment: Timestamp) -> Result<Option<LogPlace>, QueryError> {
        Ok(self.read().places.before(moment))
    }

    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError> {
        Ok(self.read().resume)
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        Ok(self.read().fold.statuses.get(&id).cloned())
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
        let viewport = Viewport::new(bounds, zoom);
        let clusters = clusters(&viewport, &state.fold.cells);
        let features = clusters.iter().map(|cluster| state.feature(cluster)).collect();
        Ok(MapView { zoom: viewport.zoom(), features })
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        let state = self.read();
        let cluster = nearest(&state.fold.cells, MercatorPoint::project(lat, lon));
        let cells = cluster.into_iter().flat_map(|cluster| cluster.cells);
        let mut positions: Vec<Position> =
            cells.flat_map(|cell| state.pins.in_cell(cell.wrapped())).collect();
        positions.sort_unstable();
        let newest = positions.iter().rev().take(max);
        Ok(newest.filter_map(|position| state.pins.by_position.get(position).cloned()).collect())
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.read();
        let changed = state.pins.by_position.range((Excluded(after), Unbounded));
        Ok(changed.take(max).map(|(_, pin)| pin.clone()).collect())
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        let state = self.read();
        let names = starting_with(&state.pins.names, text);
        let last_names = starting_with(&state.pins.last_names, text);
        let cities = starting_with(&state.pins.cities, text);
        let mut seen = BTreeSet::new();
        let found = names.chain(last_names).chain(cities).filter(|position| seen.insert(*position));
        Ok(found.filter_map(|position| state.pins.by_position.get(&position)).take(max).cloned().collect())
    }

    async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let newest = state.unfinished.values().rev().take(max);
        let mut views: Vec<_> = newest.filter_map(|id| state.fold.statuses.get(id).cloned()).collect();
        views.reverse();
        Ok(views)
    }

    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let oldest = state.unfinished.values().filter_map(|id| state.fold.statuses.get(id));
        Ok(oldest.filter(|view| view.retry_at().is_none_or(|at| at <= now)).take(max).cloned().collect())
    }

    async fn given_up(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let newest = state.given_up.values().rev().take(max);
        let mut views: Vec<_> = newest.filter_map(|id| state.fold.statuses.get(id).cloned()).collect();
        views.reverse();
        Ok(views)
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let newest = state.unfinished.values().rev().filter_map(|id| state.fold.statuses.get(id));
        let verifying = newest.filter(|view| view.status == SubmissionStatus::Verifying).take(max);
        let mut views: Vec<_> = verifying.cloned().collect();
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

impl MemoryState {
    fn apply(&mut self, envelope: &EventEnvelope) {
        let (effects, pin_change) = self.fold.apply(envelope);
        self.checkpoint = self.checkpoint.max(envelope.position);
        self.places.see(envelope);
        let resume = &mut self.resume;
        if envelope.position > resume.position {
            (resume.position, resume.event) = (envelope.position, Some(envelope.event_id));
        }
        // Most events change neither the queue nor the list of unfinished submissions.
        if effects.status.is_some() || effects.leaves.is_some() || effects.resumed {
            self.update_queue(envelope, &effects);
        }
        if let Some(pin_change) = pin_change {
            self.replace_pin(pin_change);
        }
    }

    /// Lets a submission stand still, unless it is further than that. It waits for no turn meanwhile.
    fn stand_still(&mut self, standstill: &StandstillView) {
        let id = standstill.id;
        if self.fold.statuses.get(&id).is_some_and(|view| view.revision >= standstill.revision) {
            return;
        }
        self.standstills.entry(id).or_insert_with(|| standstill.clone());
        if let Some(view) = self.fold.statuses.get_mut(&id)
            && view.stand_still(standstill)
        {
            self.unfinished.remove(&view.accepted());
            self.queue.remove(id);
        }
    }

    /// Takes a submission out of all views.
    fn delete(&mut self, deletion: &DeletionView) {
        let id = deletion.id;
        self.deletions.entry(id).or_insert(*deletion);
        self.standstills.remove(&id);
        self.queue.remove(id);
        let Some((view, pin_change)) = self.fold.delete(deletion) else { return };
        self.unfinished.remove(&view.accepted());
        self.given_up.remove(&view.accepted());
        if let Some(pin_change) = pin_change {
            self.replace_pin(pin_change);
        }
    }

    fn replace_pin(&mut self, PinChange { before, after }: PinChange) {
        before.iter().for_each(|pin| self.pins.remove(pin));
        after.into_iter().for_each(|pin| self.pins.insert(pin));
    }

    fn update_queue(&mut self, envelope: &EventEnvelope, effects: &EventEffects) {
        let id = envelope.id;
        let Some(view) = self.fold.statuses.get(&id) else { return };
        let accepted = view.accepted();
        match view.status {
            SubmissionStatus::GivenUp => self.given_up.insert(accepted, id),
            _ => self.given_up.remove(&accepted),
        };
        match view.status {
            SubmissionStatus::Submitted | SubmissionStatus::Verifying => self.unfinished.insert(accepted, id),
            SubmissionStatus::Passed
            | SubmissionStatus::Failed
            | SubmissionStatus::Withdrawn
            | SubmissionStatus::GivenUp => self.unfinished.remove(&accepted),
        };
        if effects.resumed && self.unfinished.contains_key(&accepted) {
            self.queue.enqueue(id, &view.owner, view.queued().position.0);
            if view.status == SubmissionStatus::Verifying {
                self.queue.claim(id, view.claimed().unwrap_or(accepted).0);
            }
            return;
        }
        match effects.enters {
            Some(place) => self.queue.enqueue(id, &view.owner, place.0),
            None => self.queue.apply(id, envelope.position.0, &envelope.event),
        }
    }

    fn feature(&self, cluster: &CellCluster) -> MapFeature {
        let pin = self.pins.by_position.get(&Position(cluster.sums.pin));
        if let Some(pin) = pin.filter(|_| cluster.sums.count == 1) {
            return MapFeature::Pin(pin.clone());
        }
        let expansion_zoom = match cluster.sums.places {
            1 => None,
            _ => expansion_zoom(&self.fold.cells, &cluster.cells, ZOOM_MAX).ok(),
        };
        cluster.feature(expansion_zoom)
    }
}
