//! The views in memory: read under a shared lock, written a few events at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::{EventFilter, Position, Read};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::cells::{CellId, ZOOM_MAX};
use crate::fold::Fold;
use crate::owner::Moved;
use crate::project::EventEffects;
use crate::queue::Queue;
use crate::spots::{Frame, Group, expansion, nearest};
use crate::square::Point;
use crate::totals;
use crate::view::{
    BoundingBox, MapFeature, MapView, Pin, QueuePlace, SandboxView, StatsView, StatusView, SubmissionStatus,
};
use crate::{ApplyError, EventEnvelope, ProjectionError, QueryError, ViewQueries, ViewStore};

/// So many events are applied before readers get their turn.
const EVENTS_PER_TURN: usize = 16;

/// How many events of a log are read at once.
const PAGE_EVENTS: usize = 1024;

/// The views in memory. They end with the process and are folded anew.
#[derive(Debug)]
pub struct MemoryViews {
    state: RwLock<State>,
    /// Held by the projector that is writing.
    writing: Mutex<()>,
    checkpoint: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct State {
    fold: Fold,
    /// Those that wait or are verified, by the position of their first event.
    unfinished: BTreeMap<Position, SubmissionId>,
    queue: Queue,
    pins: Pins,
    sandboxes: BTreeMap<String, SandboxView>,
    checkpoint: Position,
}

/// The pins of all owners, and the ways to find one.
#[derive(Debug, Default)]
struct Pins {
    /// Every pin that is or was on the map.
    by_position: BTreeMap<Position, Pin>,
    by_cell: BTreeSet<(CellId, Position)>,
    names: BTreeSet<(String, Position)>,
    cities: BTreeSet<(String, Position)>,
}

/// A moment in a log's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPoint {
    /// With all events up to this position.
    Position(Position),
    /// With all events recorded up to this time.
    Time(Timestamp),
}

impl MemoryViews {
    /// Views that have seen nothing.
    pub fn new() -> Self {
        Self {
            state: RwLock::default(),
            writing: Mutex::default(),
            checkpoint: watch::Sender::new(Position::START),
        }
    }

    /// The views as they were at a moment of the log's history.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn at(log: &dyn Read, moment: HistoryPoint) -> Result<Self, ProjectionError> {
        let views = Self::new();
        let filter = EventFilter::stream_prefix(crate::STREAM_PREFIX);
        let mut after = Position::START;
        loop {
            let page = log.read_all(after, &filter, PAGE_EVENTS).await?;
            let envelopes = page.events.iter().map(EventEnvelope::decode).collect::<Result<Vec<_>, _>>()?;
            let past = envelopes.iter().position(|envelope| match moment {
                HistoryPoint::Position(position) => envelope.position > position,
                HistoryPoint::Time(time) => envelope.recorded_at > time,
            });
            let within = &envelopes[..past.unwrap_or(envelopes.len())];
            let upto = match past {
                Some(_) => within.last().map_or(after, |envelope| envelope.position),
                None => page.next,
            };
            views.fold(within, upto);
            if past.is_some() || page.end {
                return Ok(views);
            }
            after = page.next;
        }
    }

    /// Follows events and sets the checkpoint. The caller is the only writer.
    fn fold(&self, events: &[EventEnvelope], upto: Position) {
        for some in events.chunks(EVENTS_PER_TURN) {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            some.iter().for_each(|envelope| state.apply(envelope));
        }
        self.state.write().unwrap_or_else(PoisonError::into_inner).checkpoint = upto;
        self.checkpoint.send_replace(upto);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
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

    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let kept = state.sandboxes.entry(sandbox.verifier.clone()).or_insert_with(|| sandbox.clone());
        if sandbox.position > kept.position {
            kept.clone_from(sandbox);
        }
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

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        Ok(self.read().fold.statuses.get(&id).cloned())
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        let state = self.read();
        let place = state.fold.statuses.get(&id).filter(|view| view.status == SubmissionStatus::Submitted);
        let ahead = place.and_then(|view| state.queue.ahead(&view.owner, view.queued().position));
        Ok(ahead.map(|ahead| state.fold.recent.queue_place(ahead, &state.queue)))
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        let state = self.read();
        Ok(totals::stats(&state.fold.counters, &state.fold.recent, state.checkpoint))
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        let state = self.read();
        let frame = Frame::of(bounds, zoom);
        let groups = frame.groups(&state.fold.cells);
        Ok(MapView {
            zoom: frame.zoom(),
            features: groups.iter().map(|group| state.feature(group)).collect(),
        })
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        let state = self.read();
        let group = nearest(&state.fold.cells, Point::at(lat, lon));
        let cells = group.into_iter().flat_map(|group| group.cells);
        let mut positions: Vec<Position> = cells.flat_map(|cell| state.pins.in_cell(cell.home())).collect();
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
        let cities = starting_with(&state.pins.cities, text);
        let mut seen = BTreeSet::new();
        let found = names.chain(cities).filter(|position| seen.insert(*position));
        Ok(found.filter_map(|position| state.pins.by_position.get(&position)).take(max).cloned().collect())
    }

    async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let state = self.read();
        let newest = state.unfinished.values().rev().take(max);
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
}

impl State {
    fn apply(&mut self, envelope: &EventEnvelope) {
        let (effects, moved) = self.fold.apply(envelope);
        self.checkpoint = self.checkpoint.max(envelope.position);
        // Most events change nothing of what follows.
        if effects.status.is_some() || effects.leaves.is_some() {
            self.queue(envelope.id, &effects);
        }
        if let Some(Moved { before, after }) = moved {
            before.iter().for_each(|pin| self.pins.forget(pin));
            after.into_iter().for_each(|pin| self.pins.keep(pin));
        }
    }

    fn queue(&mut self, id: SubmissionId, effects: &EventEffects) {
        let Some(view) = self.fold.statuses.get(&id) else { return };
        let accepted = view.accepted();
        match view.status {
            SubmissionStatus::Submitted | SubmissionStatus::Verifying => self.unfinished.insert(accepted, id),
            SubmissionStatus::Passed | SubmissionStatus::Failed => self.unfinished.remove(&accepted),
        };
        if let Some(place) = effects.leaves {
            self.queue.leave(&view.owner, place);
        }
        if let Some(place) = effects.enters {
            self.queue.enter(&view.owner, place);
        }
    }

    fn feature(&self, group: &Group) -> MapFeature {
        let alone = self.pins.by_position.get(&Position(group.total.pin));
        if let Some(pin) = alone.filter(|_| group.total.count == 1) {
            return MapFeature::Pin(pin.clone());
        }
        let expansion_zoom = match group.total.places {
            1 => None,
            _ => expansion(&self.fold.cells, &group.cells, ZOOM_MAX).ok(),
        };
        group.feature(expansion_zoom)
    }
}

impl Pins {
    fn keep(&mut self, pin: Pin) {
        if pin.passes > 0 {
            self.by_cell.insert((Point::of(&pin).cell(ZOOM_MAX), pin.position));
            self.names.insert((pin.name.to_lowercase(), pin.position));
            self.cities.insert((pin.city.to_lowercase(), pin.position));
        }
        self.by_position.insert(pin.position, pin);
    }

    fn forget(&mut self, pin: &Pin) {
        self.by_position.remove(&pin.position);
        self.by_cell.remove(&(Point::of(pin).cell(ZOOM_MAX), pin.position));
        self.names.remove(&(pin.name.to_lowercase(), pin.position));
        self.cities.remove(&(pin.city.to_lowercase(), pin.position));
    }

    fn in_cell(&self, cell: CellId) -> impl Iterator<Item = Position> {
        let all = (cell, Position::START)..=(cell, Position(u64::MAX));
        self.by_cell.range(all).map(|(_, position)| *position)
    }
}

fn starting_with<'a>(
    index: &'a BTreeSet<(String, Position)>,
    text: &str,
) -> impl Iterator<Item = Position> + use<'a> {
    let text = text.to_lowercase();
    index
        .range((text.clone(), Position::START)..)
        .take_while(move |(key, _)| key.starts_with(&text))
        .map(|(_, position)| *position)
}
