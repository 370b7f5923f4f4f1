//! What is stored: the documents, the collections, and their indexes. Every
//! query of ours is one of `_id`, or one that an index here is for.

use event_store::{Position, Revision};
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc, to_bson, to_document};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use serde::{Deserialize, Serialize};

use super::blocks::BlockDocument;
use crate::cells::{CellId, ZOOM_MAX};
use crate::square::Point;
use crate::totals::{Counter, Recent};
use crate::view::{Pin, ReasonView, StatusView, SubmissionStatus, WaitReason};

/// Which of several builds of the views.
pub(super) type Generation = u32;

/// The views of one generation.
#[derive(Clone)]
pub(super) struct Collections {
    database: Database,
    pub(super) generation: Generation,
}

/// The shape of all that is stored, raised when a document changes: views of
/// another shape are left alone, and new ones are made from the log.
const SHAPE: u32 = 2;

/// The name of the one document that says which generation is read.
const CURRENT: &str = "current";

/// Which generation is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Current {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) generation: Generation,
    /// The newest that anybody began to build.
    pub(super) newest: Generation,
}

/// How far a generation is, and what its totals remember. Whoever writes to a
/// generation writes this too, and so meets whoever else does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    #[serde(rename = "_id")]
    pub(super) id: Generation,
    pub(super) checkpoint: Position,
    /// It is not read any longer, and must not be written to.
    pub(super) retired: bool,
    pub(super) recent: Recent,
}

/// A submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StatusDocument {
    #[serde(rename = "_id")]
    pub(super) id: String,
    /// While it waits or is verified: the position of its first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unfinished: Option<Position>,
    /// While it waits: its place in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queued: Option<Position>,
    /// The event that last gave it a place in the queue, or took it away.
    pub(super) moved: Position,
    pub(super) view: StatusView,
}

/// What further events can change of a submission, but for its timeline.
#[derive(Debug, Serialize)]
struct Progress<'a> {
    #[serde(rename = "view.status")]
    status: SubmissionStatus,
    #[serde(rename = "view.waiting")]
    waiting: &'a Option<WaitReason>,
    #[serde(rename = "view.attempts")]
    attempts: u32,
    #[serde(rename = "view.reasons")]
    reasons: &'a [ReasonView],
    #[serde(rename = "view.judged_at")]
    judged_at: Option<Timestamp>,
    #[serde(rename = "view.revision")]
    revision: Revision,
    #[serde(rename = "view.position")]
    position: Position,
}

/// What the queue must know of a submission.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Queued {
    #[serde(rename = "_id")]
    pub(super) id: String,
    pub(super) queued: Option<Position>,
    pub(super) view: QueuedView,
}

/// See [`Queued`].
#[derive(Debug, Clone, Deserialize)]
pub(super) struct QueuedView {
    pub(super) owner: String,
}

/// An owner's pin. What finds it is there while it is on the map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PinDocument {
    #[serde(rename = "_id")]
    pub(super) owner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cell: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) city: Option<String>,
    pub(super) pin: Pin,
}

/// A pass that counts, by its position: the pin that it would be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PassDocument {
    #[serde(rename = "_id")]
    pub(super) position: Position,
    pub(super) pin: Pin,
}

/// How much something counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Count {
    #[serde(rename = "_id")]
    pub(super) key: Counter,
    pub(super) n: i64,
}

impl Collections {
    pub(super) fn new(database: Database, generation: Generation) -> Self {
        Self { database, generation }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The pointer and the heads.
    pub(super) fn current(database: &Database) -> Collection<Current> {
        database.collection(&format!("views_v{SHAPE}"))
    }

    pub(super) fn heads(database: &Database) -> Collection<Head> {
        database.collection(&format!("heads_v{SHAPE}"))
    }

    pub(super) fn statuses(&self) -> Collection<StatusDocument> {
        self.collection("statuses")
    }

    pub(super) fn pins(&self) -> Collection<PinDocument> {
        self.collection("pins")
    }

    pub(super) fn passes(&self) -> Collection<PassDocument> {
        self.collection("passes")
    }

    pub(super) fn counters(&self) -> Collection<Count> {
        self.collection("counters")
    }

    pub(super) fn blocks(&self) -> Collection<BlockDocument> {
        self.collection("blocks")
    }

    /// Makes the generation's collections and indexes, where they are missing.
    pub(super) async fn create(&self) -> mongodb::error::Result<()> {
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        // Only what has the field is in the index.
        let sparse = |keys: Document| {
            IndexModel::builder().keys(keys).options(IndexOptions::builder().sparse(true).build()).build()
        };
        self.statuses()
            .create_indexes([
                index(doc! { "moved": 1 }),
                sparse(doc! { "unfinished": 1 }),
                sparse(doc! { "queued": 1 }),
            ])
            .await?;
        self.pins()
            .create_indexes([
                index(doc! { "pin.position": 1 }),
                index(doc! { "cell": 1, "pin.position": -1 }),
                index(doc! { "name": 1, "pin.position": 1 }),
                index(doc! { "city": 1, "pin.position": 1 }),
            ])
            .await?;
        self.passes().create_indexes([index(doc! { "pin.owner": 1, "_id": -1 })]).await?;
        self.blocks().create_index(index(doc! { "changed": 1, "_id": 1 })).await?;
        // A collection that is there already is as good.
        let _ = self.database.create_collection(self.counters().name()).await;
        Ok(())
    }

    /// How far the generation is, if it is there.
    pub(super) async fn checkpoint(&self) -> mongodb::error::Result<Option<Position>> {
        let head = Self::heads(&self.database).find_one(doc! { "_id": self.generation }).await?;
        Ok(head.map(|head| head.checkpoint))
    }

    /// Removes the generation.
    pub(super) async fn drop(&self) -> mongodb::error::Result<()> {
        // First, so that nobody who is at it fills anew what is gone.
        Self::heads(&self.database)
            .update_one(doc! { "_id": self.generation }, doc! { "$set": { "retired": true } })
            .await?;
        self.statuses().drop().await?;
        self.pins().drop().await?;
        self.passes().drop().await?;
        self.counters().drop().await?;
        self.blocks().drop().await?;
        Self::heads(&self.database).delete_one(doc! { "_id": self.generation }).await?;
        Ok(())
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(&format!("{name}_v{SHAPE}_{}", self.generation))
    }
}

impl Current {
    pub(super) fn filter() -> Document {
        doc! { "_id": CURRENT }
    }
}

impl Head {
    pub(super) fn empty(id: Generation) -> Self {
        Self { id, checkpoint: Position::START, retired: false, recent: Recent::default() }
    }
}

impl StatusDocument {
    pub(super) fn new(view: StatusView, moved: Position) -> Self {
        Self {
            id: view.id.to_string(),
            unfinished: is_unfinished(&view).then(|| view.accepted()),
            queued: (view.status == SubmissionStatus::Submitted).then(|| view.queued().position),
            moved,
            view,
        }
    }

    /// The update that brings a document with so many entries in its timeline
    /// here. Most of a submission never changes, and is not written again.
    pub(super) fn update(&self, entries: usize, moved: bool) -> mongodb::error::Result<Document> {
        let view = &self.view;
        let mut set = to_document(&Progress {
            status: view.status,
            waiting: &view.waiting,
            attempts: view.attempts,
            reasons: &view.reasons,
            judged_at: view.judged_at,
            revision: view.revision,
            position: view.position,
        })?;
        let mut unset = Document::new();
        for (field, position) in [("unfinished", self.unfinished), ("queued", self.queued)] {
            match position {
                Some(position) => set.insert(field, number(position)),
                None => unset.insert(field, ""),
            };
        }
        if moved {
            set.insert("moved", number(self.moved));
        }
        let further = to_bson(view.timeline.get(entries..).unwrap_or_default())?;
        let mut update = doc! { "$set": set, "$push": { "view.timeline": { "$each": further } } };
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        Ok(update)
    }
}

impl PinDocument {
    pub(super) fn new(pin: Pin) -> Self {
        let shown = pin.passes > 0;
        Self {
            owner: pin.owner.clone(),
            cell: shown.then(|| cell_key(Point::of(&pin).cell(ZOOM_MAX))),
            name: shown.then(|| pin.name.to_lowercase()),
            city: shown.then(|| pin.city.to_lowercase()),
            pin,
        }
    }
}

fn is_unfinished(view: &StatusView) -> bool {
    matches!(view.status, SubmissionStatus::Submitted | SubmissionStatus::Verifying)
}

/// A cell of the deepest zoom as a number.
pub(super) fn cell_key(id: CellId) -> i64 {
    i64::from(id.y) << 32 | i64::from(id.x)
}

/// A position as MongoDB counts.
pub(super) fn number(position: Position) -> Bson {
    Bson::Int64(i64::try_from(position.0).unwrap_or(i64::MAX))
}
