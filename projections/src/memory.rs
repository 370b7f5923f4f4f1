//! The views in memory. Readers share a lock; the writer takes it for a few
//! events at a time.

mod queries;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use domain::queue::FairQueue;
use domain::submission::{Event, SubmissionId};
use event_store::{EventFilter, LogCheckpoint, LogIdentity, Position, Read, ReadError};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::fold::ViewState;
use crate::fold::owner::PinChange;
use crate::fold::project::EventEffects;
use crate::log_item::LogBatch;
use crate::log_places::KnownPlaces;
use crate::pin_index::PinIndex;
use crate::shared_map::SharedMap;
use crate::view::{
    DeletionView, SandboxView, SetAsideEvent, SetAsideView, StandstillView, StatusView, SubmissionStatus,
};
use crate::{ApplyError, EventEnvelope, LogItem, ProjectionError, ViewQueries, ViewStore};

use self::snapshot::PackedStatus;
pub use self::snapshot::ViewSnapshots;

/// The number of events that are applied before readers may take the lock.
const EVENTS_PER_TURN: usize = 16;

/// The number of events that are read from the log at once.
const PAGE_EVENTS: usize = 1024;

/// The views in memory. They are lost when the process ends, and folded again from the log or from a snapshot on.
#[derive(Debug)]
pub struct MemoryViews {
    state: RwLock<MemoryState>,
    /// Held by the projection that is writing.
    writing: Mutex<()>,
    checkpoint: watch::Sender<Position>,
    shown_from: watch::Sender<Option<Position>>,
    /// The number of deletions that were applied.
    deleted: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct MemoryState {
    fold: ViewState,
    /// The statuses that came with a snapshot, until an event changes them. No list has their submissions.
    packed: SharedMap<SubmissionId, PackedStatus>,
    /// The submissions that wait or are being verified, by the position of their first event.
    unfinished: BTreeMap<Position, SubmissionId>,
    /// The submissions that were given up, in the same order.
    given_up: BTreeMap<Position, SubmissionId>,
    /// The submissions whose names wait for an organiser's look, in the same order.
    held: BTreeMap<Position, SubmissionId>,
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
            shown_from: watch::Sender::new(None),
            deleted: watch::Sender::new(0),
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

    /// Folds the map and the totals as they were at a point in the log's history. They have no submissions, which take most
    /// of the memory: only while the log is read are these kept.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn map_at(
        log: &dyn Read,
        point: HistoryPoint,
    ) -> Result<Arc<dyn ViewQueries>, ProjectionError> {
        let views = Self::at(log, point).await?;
        views.write().drop_submissions();
        Ok(Arc::new(views))
    }

    /// Replaces all views, e.g. by those of a snapshot.
    fn replace(&self, state: MemoryState) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = state.checkpoint;
        *self.write() = state;
        self.checkpoint.send_replace(checkpoint);
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
        self.deleted.send_modify(|deletions| *deletions += 1);
        Ok(())
    }

    async fn note_log(&self, log: LogIdentity) -> Result<(), ApplyError> {
        self.write().resume.log.get_or_insert(log);
        Ok(())
    }

    async fn show_from(&self, end: Position) -> Result<(), ApplyError> {
        self.shown_from.send_if_modified(|known| {
            let is_lower = known.is_none_or(|known| end < known);
            *known = Some(known.map_or(end, |known| known.min(end)));
            is_lower
        });
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

impl MemoryState {
    /// Drops all that only single submissions, or further events, need. No event may be applied any more.
    fn drop_submissions(&mut self) {
        (self.fold.statuses, self.fold.owners) = (SharedMap::default(), SharedMap::default());
        self.fold.places = HashMap::new();
        (self.unfinished, self.given_up, self.held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        self.queue = FairQueue::default();
        (self.standstills, self.deletions) = (BTreeMap::new(), BTreeMap::new());
    }

    fn apply(&mut self, envelope: &EventEnvelope) {
        self.unpack(envelope.id);
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
        if effects.status.is_some() || matches!(envelope.event, Event::Hidden(_) | Event::Shown(_)) {
            self.update_held(envelope.id);
        }
        if let Some(pin_change) = pin_change {
            self.replace_pin(pin_change);
        }
    }

    /// Decodes a status that came with a snapshot, so that it can change.
    fn unpack(&mut self, id: SubmissionId) {
        match self.packed.remove(&id).map(|packed| packed.read()) {
            None => {}
            Some(Ok(view)) => {
                self.fold.statuses.insert(id, view);
            }
            Some(Err(why)) => tracing::error!("submission {id} changes no more: {why}"),
        }
    }

    fn update_held(&mut self, id: SubmissionId) {
        let Some(view) = self.fold.statuses.get(&id) else { return };
        match view.is_held() {
            true => self.held.insert(view.accepted(), id),
            false => self.held.remove(&view.accepted()),
        };
    }

    /// Returns the newest `max` of these submissions, oldest first; of a venue, or of all.
    fn newest(
        &self,
        submissions: &BTreeMap<Position, SubmissionId>,
        venue: Option<&str>,
        max: usize,
    ) -> Vec<StatusView> {
        let newest = submissions.values().rev().filter_map(|id| self.fold.statuses.get(id));
        let newest = newest.filter(|view| venue.is_none() || view.venue.as_deref() == venue);
        let mut views: Vec<_> = newest.take(max).map(|view| StatusView::clone(view)).collect();
        views.reverse();
        views
    }

    /// Lets a submission stand still, unless it is further than that. It waits for no turn meanwhile.
    fn stand_still(&mut self, standstill: &StandstillView) {
        let id = standstill.id;
        self.unpack(id);
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
        self.unpack(id);
        self.deletions.entry(id).or_insert(*deletion);
        self.standstills.remove(&id);
        self.queue.remove(id);
        let Some((view, pin_change)) = self.fold.delete(deletion) else { return };
        self.unfinished.remove(&view.accepted());
        self.given_up.remove(&view.accepted());
        self.held.remove(&view.accepted());
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
            self.queue.enqueue(id, view.line(), view.queued().position.0);
            if view.status == SubmissionStatus::Verifying {
                self.queue.claim(id, view.claimed().unwrap_or(accepted).0);
            }
            return;
        }
        match effects.enters {
            Some(place) => self.queue.enqueue(id, view.line(), place.0),
            None => self.queue.apply(id, envelope.position.0, &envelope.event),
        }
    }
}
