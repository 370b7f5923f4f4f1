//! The shapes of all documents. When one of them changes, raise
//! [`SHAPE`](super::collections::SHAPE).

use event_store::{LogCheckpoint, LogIdentity, Position, Revision};
use jiff::Timestamp;
use mongodb::bson::{Binary, Bson, Document, doc, to_bson, to_document};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::LogPlace;
use crate::fold::totals::{CounterKey, RecentActivity};
use crate::log_places::PlaceChooser;
use crate::map::grid::{CellId, ZOOM_MAX};
use crate::map::mercator::MercatorPoint;
use crate::search_keys::SearchKeys;
use crate::view::{DeletionView, HiddenReason, Pin, ReasonView, StatusView, SubmissionStatus, WaitReason};

/// The number of a build of the views.
pub(super) type Generation = u32;

/// The `_id` of the one [`CurrentGeneration`].
const CURRENT: &str = "current";

/// The generation that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CurrentGeneration {
    #[serde(rename = "_id")]
    id: String,
    pub(super) generation: Generation,
    /// The newest generation that a rebuild has begun.
    pub(super) newest: Generation,
}

/// The checkpoint of a generation. Every write to a generation also writes its
/// head, so two writers conflict there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct GenerationHead {
    #[serde(rename = "_id")]
    pub(super) id: Generation,
    pub(super) checkpoint: Position,
    /// True if the generation is no longer read and must not be written.
    pub(super) retired: bool,
    pub(super) recent: RecentActivity,
    /// The last event of a submission that is applied. Heads of older versions lack it.
    #[serde(default)]
    pub(super) resume: Option<ResumeDocument>,
    /// The identity of the log, if it is known.
    #[serde(default)]
    pub(super) log: Option<String>,
    /// The choice of places in the log.
    #[serde(default)]
    pub(super) choosing: PlaceChooser,
    /// The checkpoint from which on the generation is shown; null until a projection has noted it. Older versions did not
    /// note it, and their generations are shown.
    #[serde(default = "from_the_start")]
    pub(super) shown_from: Option<Position>,
}

#[expect(clippy::unnecessary_wraps, reason = "the field may be null")]
fn from_the_start() -> Option<Position> {
    Some(Position::START)
}

/// A place in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PlaceDocument {
    #[serde(rename = "_id")]
    position: Position,
    event_id: String,
    newest_ms: i64,
}

/// The place in the log from which a projection goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ResumeDocument {
    pub(super) position: Position,
    /// The id of the event there.
    pub(super) event: Option<String>,
}

/// A submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StatusDocument {
    #[serde(rename = "_id")]
    pub(super) id: String,
    /// The position of the submission's first event while it waits or is being verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unfinished: Option<Position>,
    /// The position of the submission's first event if it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_up: Option<Position>,
    /// The position of the submission's first event while its name waits for an organiser's look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Position>,
    /// The submission's queue place while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queued: Option<Position>,
    /// The line of the queue in which the submission waits, or waited.
    pub(super) line: String,
    /// The position of the submission's newest claim. The newest of a line decides its turn in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claimed: Option<Position>,
    /// The position of the event that last changed the queue.
    pub(super) moved: Position,
    pub(super) view: StatusView,
}

/// The fields of a submission that later events can change, except for the timeline.
#[derive(Debug, Serialize)]
struct StatusChanges<'a> {
    #[serde(rename = "view.status")]
    status: SubmissionStatus,
    #[serde(rename = "view.waiting")]
    waiting: &'a Option<WaitReason>,
    #[serde(rename = "view.attempts")]
    attempts: u32,
    #[serde(rename = "view.reasons")]
    reasons: &'a [ReasonView],
    #[serde(rename = "view.name")]
    name: &'a str,
    #[serde(rename = "view.hidden")]
    hidden: &'a Option<HiddenReason>,
    #[serde(rename = "view.judged_at")]
    judged_at: Option<Timestamp>,
    #[serde(rename = "view.revision")]
    revision: Revision,
    #[serde(rename = "view.position")]
    position: Position,
}

/// The length of a timeline as it is stored, and the number of events that it leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredTimeline {
    entries: usize,
    omitted: u64,
}

/// The fields of a [`StatusDocument`] that the queue needs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Queued {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) unfinished: Option<Position>,
    pub(super) queued: Option<Position>,
    pub(super) claimed: Option<Position>,
    pub(super) line: String,
}

/// An owner's pin. The fields by which it is found are present while it is on the map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PinDocument {
    #[serde(rename = "_id")]
    pub(super) owner: String,
    /// The [`cell_key`] at the highest zoom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cell: Option<i64>,
    /// The folded name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The folded last word of a name of several words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_name: Option<String>,
    /// The folded name of the city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) city: Option<String>,
    /// The venues at which the pin is or was. Absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) venues: Option<Vec<String>>,
    pub(super) pin: Pin,
}

/// A submission that was deleted from the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeletionDocument {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) position: Position,
    /// In milliseconds since 1970.
    pub(super) at: i64,
}

/// A pass that counts, as the pin that it would be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PassDocument {
    #[serde(rename = "_id")]
    pub(super) position: Position,
    pub(super) pin: Pin,
}

/// A counter of the totals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CounterDocument {
    #[serde(rename = "_id")]
    pub(super) key: CounterKey,
    pub(super) n: i64,
}

/// A counter of a venue's totals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VenueCounterDocument {
    #[serde(rename = "_id")]
    pub(super) id: VenueCounterKey,
    /// The same as in the `_id`, for the index.
    pub(super) venue: String,
    pub(super) n: i64,
}

/// The `_id` of a [`VenueCounterDocument`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VenueCounterKey {
    pub(super) venue: String,
    pub(super) key: CounterKey,
}

/// The recent activity of a venue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VenueDocument {
    #[serde(rename = "_id")]
    pub(super) venue: String,
    pub(super) recent: RecentActivity,
}

/// A block of cells, packed by the module `blocks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockDocument {
    #[serde(rename = "_id")]
    pub(super) id: i64,
    /// The checkpoint of the batch that wrote the block.
    pub(super) changed: Position,
    pub(super) cells: Binary,
    /// The places with their numbers of pins. Only blocks of the highest zoom have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) places: Option<Binary>,
}

/// The `_id` of a [`BlockDocument`].
#[derive(Debug, Deserialize)]
pub(super) struct BlockKey {
    #[serde(rename = "_id")]
    pub(super) id: i64,
}

impl CurrentGeneration {
    pub(super) fn new(generation: Generation) -> Self {
        Self { id: CURRENT.to_owned(), generation, newest: generation }
    }

    pub(super) fn filter() -> Document {
        doc! { "_id": CURRENT }
    }
}

impl From<LogPlace> for PlaceDocument {
    fn from(place: LogPlace) -> Self {
        let LogPlace { position, event_id, newest_ms } = place;
        Self { position, event_id: event_id.to_string(), newest_ms }
    }
}

impl PlaceDocument {
    /// Returns the place, unless somebody else wrote the document.
    pub(super) fn place(&self) -> Option<LogPlace> {
        let event_id = self.event_id.parse().ok()?;
        Some(LogPlace { position: self.position, event_id, newest_ms: self.newest_ms })
    }
}

impl GenerationHead {
    pub(super) fn empty(id: Generation) -> Self {
        Self {
            id,
            checkpoint: Position::START,
            retired: false,
            recent: RecentActivity::default(),
            resume: Some(ResumeDocument::default()),
            log: None,
            choosing: PlaceChooser::default(),
            shown_from: None,
        }
    }

    pub(super) fn resume_point(&self) -> LogCheckpoint {
        let uuid = |text: &Option<String>| text.as_deref().and_then(|text| Uuid::parse_str(text).ok());
        let log = uuid(&self.log).map(LogIdentity);
        match &self.resume {
            Some(resume) => LogCheckpoint { log, position: resume.position, event: uuid(&resume.event) },
            None => LogCheckpoint { log, position: self.checkpoint, event: None },
        }
    }
}

impl StatusDocument {
    /// Creates the document of a view. The submission changed the queue last at `moved`.
    pub(super) fn new(view: StatusView, moved: Position) -> Self {
        let unfinished = matches!(view.status, SubmissionStatus::Submitted | SubmissionStatus::Verifying);
        Self {
            id: view.id.to_string(),
            unfinished: unfinished.then(|| view.accepted()),
            given_up: (view.status == SubmissionStatus::GivenUp).then(|| view.accepted()),
            held: view.is_held().then(|| view.accepted()),
            queued: (view.status == SubmissionStatus::Submitted).then(|| view.queued().position),
            line: view.line().to_owned(),
            claimed: view.claimed(),
            moved,
            view,
        }
    }

    /// Returns the update of a stored document with this timeline. Most fields of a submission never change, so they are
    /// not written again.
    pub(super) fn update(&self, stored: StoredTimeline, moved: bool) -> mongodb::error::Result<Document> {
        let view = &self.view;
        let mut set = to_document(&StatusChanges {
            status: view.status,
            waiting: &view.waiting,
            attempts: view.attempts,
            reasons: &view.reasons,
            name: &view.name,
            hidden: &view.hidden,
            judged_at: view.judged_at,
            revision: view.revision,
            position: view.position,
        })?;
        let mut unset = Document::new();
        if view.standstill.is_none() {
            unset.insert("view.standstill", "");
        }
        for (field, position) in [
            ("unfinished", self.unfinished),
            ("given_up", self.given_up),
            ("held", self.held),
            ("queued", self.queued),
            ("claimed", self.claimed),
        ] {
            match position {
                Some(position) => set.insert(field, number(position)),
                None => unset.insert(field, ""),
            };
        }
        if moved {
            set.insert("moved", number(self.moved));
        }
        let mut update = Document::new();
        if view.timeline_omitted == stored.omitted {
            let new_entries = to_bson(view.timeline.get(stored.entries..).unwrap_or_default())?;
            update.insert("$push", doc! { "view.timeline": { "$each": new_entries } });
        } else {
            set.insert("view.timeline", to_bson(&view.timeline)?);
            set.insert("view.timeline_omitted", to_bson(&view.timeline_omitted)?);
        }
        update.insert("$set", set);
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        Ok(update)
    }
}

impl DeletionDocument {
    pub(super) fn new(deletion: &DeletionView) -> Self {
        let DeletionView { id, position, at } = deletion;
        Self { id: id.to_string(), position: *position, at: at.as_millisecond() }
    }

    /// Returns the view, or `None` if the document is not ours.
    pub(super) fn view(&self) -> Option<DeletionView> {
        let at = Timestamp::from_millisecond(self.at).ok()?;
        Some(DeletionView { id: self.id.parse().ok()?, position: self.position, at })
    }
}

impl StoredTimeline {
    pub(super) fn of(view: &StatusView) -> Self {
        Self { entries: view.timeline.len(), omitted: view.timeline_omitted }
    }
}

impl PinDocument {
    pub(super) fn new(pin: Pin) -> Self {
        let on_map = pin.passes > 0;
        let cell = CellId::containing(MercatorPoint::from_pin(&pin), ZOOM_MAX);
        let SearchKeys { name, last_name, city } = SearchKeys::new(&pin);
        Self {
            owner: pin.owner.clone(),
            cell: on_map.then(|| cell_key(cell)),
            name: on_map.then_some(name),
            last_name: last_name.filter(|_| on_map),
            city: on_map.then_some(city),
            venues: Some(pin.all_venues().cloned().collect::<Vec<_>>()).filter(|venues| !venues.is_empty()),
            pin,
        }
    }
}

/// Returns a number that names a cell of the highest zoom.
pub(super) fn cell_key(id: CellId) -> i64 {
    i64::from(id.y) << 32 | i64::from(id.x)
}

/// Converts a position to a number of MongoDB.
pub(super) fn number(position: Position) -> Bson {
    Bson::Int64(i64::try_from(position.0).unwrap_or(i64::MAX))
}
