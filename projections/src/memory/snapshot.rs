//! The views as a snapshot has them. The map's cells, the indexes of pins, the counters of pins and the queue follow
//! from the rest, and are left out. The statuses of submissions that wait for nothing stay as bytes until they are asked for, so
//! a start does not decode a million of them.

mod file;
mod kept;
mod pins;
#[cfg(all(test, feature = "contract"))]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::mpsc;

use domain::submission::SubmissionId;
use event_store::{LogCheckpoint, Position};
use mongodb::bson;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::file::{
    CHUNK_BYTES, ChunkKind, SnapshotError, SnapshotReader, SnapshotWriter, ViewsPlaces, WriteDeadline, encode,
};
pub use self::kept::ViewSnapshots;
use super::MemoryState;
use crate::fold::ViewState;
use crate::fold::owner::OwnerPasses;
use crate::fold::totals::{self, CounterKey, RecentActivity};
use crate::log_places::KnownPlaces;
use crate::pin_index::PinIndex;
use crate::shared_map::SharedMap;
use crate::view::{DeletionView, SandboxView, SetAsideView, StandstillView, StatusView, SubmissionStatus};

/// The number of chunks of owners that wait for the other thread.
const CHUNKS_AHEAD: usize = 64;

/// The views at a place in the log, apart from those that go on.
pub(super) struct FrozenViews {
    pub(super) at: LogCheckpoint,
    /// The newest position in the log of which the views may have something.
    pub(super) newest: Position,
    statuses: SharedMap<SubmissionId, StatusView>,
    packed: SharedMap<SubmissionId, PackedStatus>,
    owners: SharedMap<String, OwnerPasses>,
    rest: SnapshotRest,
}

/// The status of a submission as a snapshot has it.
#[derive(Debug, Clone)]
pub(super) struct PackedStatus(Box<[u8]>);

/// All but owners and statuses.
#[derive(Serialize, Deserialize)]
struct SnapshotRest {
    /// The counters that do not follow from the pins.
    counters: Vec<(CounterKey, i64)>,
    recent: RecentActivity,
    venues: Vec<SnapshotVenue>,
    /// The newest claim of each line in the queue.
    last_claims: Vec<(String, u64)>,
    sandboxes: Vec<SandboxView>,
    set_aside: SetAsideView,
    standstills: Vec<StandstillView>,
    deletions: Vec<DeletionView>,
    places: KnownPlaces,
}

#[derive(Serialize, Deserialize)]
struct SnapshotVenue {
    venue: String,
    counters: Vec<(CounterKey, i64)>,
    recent: RecentActivity,
}

/// All that follows from the owners' pins.
struct PinViews {
    fold: ViewState,
    pins: PinIndex,
}

impl PackedStatus {
    /// Decodes the status. The bytes are those that this version wrote, so an error is a fault of ours.
    pub(super) fn read(&self) -> Result<StatusView, String> {
        bson::from_slice(&self.0).map_err(|error| {
            format!(
                "a status of the views' snapshot cannot be read; delete the file and start again: {error}"
            )
        })
    }
}

impl FrozenViews {
    /// Copies the views. Only small parts are copied entry by entry; the rest is shared. The place is that of the last event
    /// of a submission: later events are applied again, which changes nothing.
    pub(super) fn of(state: &MemoryState) -> Self {
        let venues = state.fold.venues.iter().map(|(venue, totals)| SnapshotVenue {
            venue: venue.clone(),
            counters: totals::without_pins(&totals.counters),
            recent: totals.recent.clone(),
        });
        let last_claims = state.queue.last_claims().map(|(line, claim)| (line.to_owned(), claim));
        Self {
            at: state.resume,
            newest: state.newest_position(),
            statuses: state.fold.statuses.clone(),
            packed: state.packed.clone(),
            owners: state.fold.owners.clone(),
            rest: SnapshotRest {
                counters: totals::without_pins(&state.fold.counters),
                recent: state.fold.recent.clone(),
                venues: venues.collect(),
                last_claims: last_claims.collect(),
                sandboxes: state.sandboxes.values().cloned().collect(),
                set_aside: state.set_aside.clone(),
                standstills: state.standstills.values().cloned().collect(),
                deletions: state.deletions.values().copied().collect(),
                places: state.places.clone(),
            },
        }
    }

    /// Writes the views to a file, unless that takes longer than it may. `newest` is the event at their newest position.
    /// Returns the length.
    fn write(&self, file: File, newest: Uuid, deadline: WriteDeadline) -> io::Result<u64> {
        let newest = LogCheckpoint { position: self.newest, event: Some(newest), ..self.at };
        let mut file = SnapshotWriter::begin(file, ViewsPlaces { resume: self.at, newest }, deadline)?;
        file.chunk(ChunkKind::Rest, &encode(&self.rest)?)?;
        let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
        for (owner, passes) in self.owners.iter().filter(|(_, passes)| passes.pin.is_some()) {
            pins::put_owner(&mut chunk, owner, passes);
            if chunk.len() >= CHUNK_BYTES {
                file.chunk(ChunkKind::Owners, &chunk)?;
                chunk.clear();
            }
        }
        file.chunk(ChunkKind::Owners, &chunk)?;
        chunk.clear();
        let live = self.statuses.iter().map(|(id, view)| Ok((id, is_listed(view), encode(&**view)?.into())));
        let packed = self.packed.iter().map(|(id, packed)| Ok((id, false, packed.0.clone())));
        for status in live.chain(packed) {
            let (id, is_listed, bytes): (_, _, Box<[u8]>) = status.map_err(|error: io::Error| error)?;
            chunk.extend(id.0.as_bytes());
            chunk.push(u8::from(is_listed));
            chunk.extend((bytes.len() as u64).to_le_bytes());
            chunk.extend(&bytes);
            if chunk.len() >= CHUNK_BYTES {
                file.chunk(ChunkKind::Statuses, &chunk)?;
                chunk.clear();
            }
        }
        file.chunk(ChunkKind::Statuses, &chunk)?;
        file.end()
    }
}

impl MemoryState {
    /// Returns the newest position in the log of which the views may have something. Reports of sandboxes, strangers' events
    /// and deletions are recorded before the checkpoint moves there.
    fn newest_position(&self) -> Position {
        let sandboxes = self.sandboxes.values().map(|view| view.position);
        let set_aside = self.set_aside.newest.last().map(|event| event.position);
        let deletions = self.deletions.values().map(|deletion| deletion.position);
        let others = sandboxes.chain(set_aside).chain(deletions);
        others.fold(self.checkpoint.max(self.resume.position), Position::max)
    }

    /// Reads the views that follow a snapshot's header. One thread reads statuses while another one draws the map.
    fn thaw(mut file: SnapshotReader, at: LogCheckpoint) -> Result<Self, SnapshotError> {
        let (ChunkKind::Rest, rest) = file.next()? else { return Err(file.damaged()) };
        let rest: SnapshotRest = file.decode(&rest)?;
        let mut state = Self { checkpoint: at.position, resume: at, ..Self::default() };
        let (owners, chunks) = mpsc::sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
        let drawn = std::thread::scope(|threads| {
            let drawing = threads.spawn(move || PinViews::draw(chunks.iter()));
            loop {
                match file.next()? {
                    // The other thread has ended if it could not read a chunk.
                    (ChunkKind::Owners, chunk) => drop(owners.send(chunk)),
                    (ChunkKind::Statuses, chunk) => {
                        state.take_statuses(&chunk).ok_or_else(|| file.damaged())?;
                    }
                    (ChunkKind::End, _) => break,
                    (ChunkKind::Header | ChunkKind::Rest, _) => return Err(file.damaged()),
                }
            }
            drop(owners);
            drawing.join().ok().flatten().ok_or_else(|| file.damaged())
        })?;
        state.put_together(drawn, rest);
        Ok(state)
    }

    /// Takes in the statuses of a chunk; `None` if the bytes are not of this shape.
    fn take_statuses(&mut self, mut chunk: &[u8]) -> Option<()> {
        while !chunk.is_empty() {
            let (id, rest) = chunk.split_first_chunk()?;
            let (&[is_listed], rest) = rest.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (bytes, rest) = rest.split_at_checked(length)?;
            chunk = rest;
            let (id, packed) = (SubmissionId(Uuid::from_bytes(*id)), PackedStatus(bytes.into()));
            if is_listed == 0 {
                self.packed.insert(id, packed);
            } else {
                let view = packed.read().ok()?;
                self.list(&view);
                self.fold.statuses.insert(id, view);
            }
        }
        Some(())
    }

    /// Puts a submission into the lists and the queue.
    fn list(&mut self, view: &StatusView) {
        let (id, accepted) = (view.id, view.accepted());
        if view.is_held() {
            self.held.insert(accepted, id);
        }
        let is_verifying = match view.status {
            SubmissionStatus::Submitted => false,
            SubmissionStatus::Verifying => true,
            SubmissionStatus::GivenUp => {
                self.given_up.insert(accepted, id);
                return;
            }
            SubmissionStatus::Passed | SubmissionStatus::Failed | SubmissionStatus::Withdrawn => return,
        };
        if view.standstill.is_none() {
            self.unfinished.insert(accepted, id);
            self.queue.enqueue(id, view.line(), view.queued().position.0);
            if is_verifying {
                self.queue.claim(id, view.claimed().unwrap_or(accepted).0);
            }
        }
    }

    fn put_together(&mut self, drawn: PinViews, rest: SnapshotRest) {
        let statuses = std::mem::take(&mut self.fold.statuses);
        (self.fold, self.pins) = (ViewState { statuses, recent: rest.recent, ..drawn.fold }, drawn.pins);
        self.fold.counters.extend(rest.counters);
        for SnapshotVenue { venue, counters, recent } in rest.venues {
            let totals = self.fold.venues.entry(venue).or_default();
            totals.counters.extend(counters);
            totals.recent = recent;
        }
        rest.last_claims.iter().for_each(|(line, claim)| self.queue.record_claim(line, *claim));
        self.sandboxes = rest.sandboxes.into_iter().map(|view| (view.verifier.clone(), view)).collect();
        self.set_aside = rest.set_aside;
        self.standstills = by_id(rest.standstills, |view| view.id);
        self.deletions = by_id(rest.deletions, |view| view.id);
        self.places = rest.places;
    }
}

impl PinViews {
    /// Draws the map of the owners in these chunks; `None` if the bytes are not of this shape.
    fn draw(chunks: impl Iterator<Item = Vec<u8>>) -> Option<Self> {
        let mut views = Self { fold: ViewState::default(), pins: PinIndex::default() };
        for chunk in chunks {
            let mut left = chunk.as_slice();
            while !left.is_empty() {
                let (owner, passes) = pins::take_owner(&mut left)?;
                if let Some(pin) = &passes.pin {
                    if pin.passes > 0 {
                        views.fold.add_pin(pin);
                    }
                    views.pins.insert(pin.clone());
                }
                views.fold.owners.insert(owner, passes);
            }
        }
        Some(views)
    }
}

/// Returns whether a list or the queue has the submission.
fn is_listed(view: &StatusView) -> bool {
    view.is_held()
        || matches!(
            view.status,
            SubmissionStatus::Submitted | SubmissionStatus::Verifying | SubmissionStatus::GivenUp
        )
}

fn by_id<V>(views: Vec<V>, id: impl Fn(&V) -> SubmissionId) -> BTreeMap<SubmissionId, V> {
    views.into_iter().map(|view| (id(&view), view)).collect()
}
