//! The names and indexes of the collections. Every query is by `_id` or by one
//! of these indexes.

use event_store::{LogIdentity, Position};
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::IndexOptions;
use mongodb::{ClientSession, Collection, Database, IndexModel};

use super::documents::{
    BlockDocument, CounterDocument, CurrentGeneration, DeletionDocument, Generation, GenerationHead,
    PassDocument, PinDocument, PlaceDocument, StatusDocument, VenueCounterDocument, VenueDocument, number,
};

/// The version of the documents' shapes. Views of another version are left
/// alone, and new views are built from the log.
pub(super) const SHAPE: u32 = 6;

/// The collections of one generation of the views.
#[derive(Clone)]
pub(super) struct ViewCollections {
    database: Database,
    pub(super) generation: Generation,
}

impl ViewCollections {
    pub(super) fn new(database: Database, generation: Generation) -> Self {
        Self { database, generation }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the collection of the one [`CurrentGeneration`].
    pub(super) fn current(database: &Database) -> Collection<CurrentGeneration> {
        database.collection(&format!("views_v{SHAPE}"))
    }

    /// Returns the collection of the heads of all generations.
    pub(super) fn heads(database: &Database) -> Collection<GenerationHead> {
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

    pub(super) fn counters(&self) -> Collection<CounterDocument> {
        self.collection("counters")
    }

    /// Returns the collection of the venues' counters.
    pub(super) fn venue_counters(&self) -> Collection<VenueCounterDocument> {
        self.collection("venue_counters")
    }

    /// Returns the collection of the venues' recent activity.
    pub(super) fn venues(&self) -> Collection<VenueDocument> {
        self.collection("venues")
    }

    pub(super) fn blocks(&self) -> Collection<BlockDocument> {
        self.collection("blocks")
    }

    /// Returns the collection of the one document with the strangers' events.
    pub(super) fn unread<T: Send + Sync>(&self) -> Collection<T> {
        self.collection("unread")
    }

    /// Returns the collection of the submissions that stand still.
    pub(super) fn standstills<T: Send + Sync>(&self) -> Collection<T> {
        self.collection("standstills")
    }

    /// Returns the collection of the submissions that were deleted from the log.
    pub(super) fn deletions(&self) -> Collection<DeletionDocument> {
        self.collection("deletions")
    }

    /// Returns the collection of places in the log.
    pub(super) fn places(&self) -> Collection<PlaceDocument> {
        self.collection("places")
    }

    /// Creates the collections and indexes that are missing.
    pub(super) async fn create(&self) -> Result<()> {
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        // A sparse index has only the documents that have the field.
        let sparse = |keys: Document| {
            IndexModel::builder().keys(keys).options(IndexOptions::builder().sparse(true).build()).build()
        };
        let with_venues = |keys: Document| {
            let only = doc! { "venues": { "$exists": true } };
            let options = IndexOptions::builder().partial_filter_expression(only).build();
            IndexModel::builder().keys(keys).options(options).build()
        };
        self.statuses()
            .create_indexes([
                index(doc! { "moved": 1 }),
                sparse(doc! { "unfinished": 1 }),
                sparse(doc! { "given_up": 1 }),
                sparse(doc! { "held": 1 }),
                index(doc! { "line": 1, "claimed": 1 }),
            ])
            .await?;
        self.pins()
            .create_indexes([
                index(doc! { "pin.position": 1 }),
                index(doc! { "cell": 1, "pin.position": -1 }),
                index(doc! { "name": 1, "pin.position": 1 }),
                sparse(doc! { "last_name": 1, "pin.position": 1 }),
                index(doc! { "city": 1, "pin.position": 1 }),
                // A sparse index would have every pin, because every pin has a position.
                with_venues(doc! { "venues": 1, "pin.position": 1 }),
            ])
            .await?;
        self.passes().create_indexes([index(doc! { "pin.owner": 1, "_id": -1 })]).await?;
        self.blocks().create_index(index(doc! { "changed": 1, "_id": 1 })).await?;
        self.places().create_index(index(doc! { "newest_ms": 1, "_id": 1 })).await?;
        self.deletions().create_index(index(doc! { "position": 1 })).await?;
        self.standstills::<Document>().create_index(index(doc! { "position": 1 })).await?;
        self.venue_counters().create_index(index(doc! { "venue": 1 })).await?;
        // Fails if the collection exists, which is as good.
        let _ = self.database.create_collection(self.counters().name()).await;
        let _ = self.database.create_collection(self.venues().name()).await;
        Ok(())
    }

    /// Returns the generation's newest head, or `None` if the generation was removed.
    pub(super) async fn newest_head(&self) -> Result<Option<GenerationHead>> {
        Self::heads(&self.database).find_one(doc! { "_id": self.generation }).await
    }

    /// Returns the generation's checkpoint, or `None` if the generation was removed.
    pub(super) async fn checkpoint(&self) -> Result<Option<Position>> {
        Ok(self.newest_head().await?.map(|head| head.checkpoint))
    }

    /// Notes the checkpoint from which on the generation is shown, unless a lower one is known.
    pub(super) async fn show_from(&self, end: Position) -> Result<()> {
        // A head without the field is an older version's, and its generation is shown.
        let unknown = doc! { "shown_from": { "$type": "null" } };
        let higher = doc! { "shown_from": { "$gt": number(end) } };
        let noted = doc! { "$set": { "shown_from": number(end) } };
        let head = doc! { "_id": self.generation, "$or": [unknown, higher] };
        Self::heads(&self.database).update_one(head, noted).await.map(drop)
    }

    /// Notes the identity of the log, unless it is known.
    pub(super) async fn note_log(&self, log: LogIdentity) -> Result<()> {
        let unknown = doc! { "_id": self.generation, "log": null };
        let noted = doc! { "$set": { "log": log.0.to_string() } };
        Self::heads(&self.database).update_one(unknown, noted).await.map(drop)
    }

    /// Returns the generation's head as the session sees it.
    pub(super) async fn head(&self, session: &mut ClientSession) -> Result<Option<GenerationHead>> {
        Self::heads(&self.database).find_one(doc! { "_id": self.generation }).session(session).await
    }

    /// Removes the generation.
    pub(super) async fn drop(&self) -> Result<()> {
        // First, so that no writer fills the collections again.
        Self::heads(&self.database)
            .update_one(doc! { "_id": self.generation }, doc! { "$set": { "retired": true } })
            .await?;
        self.statuses().drop().await?;
        self.pins().drop().await?;
        self.passes().drop().await?;
        self.counters().drop().await?;
        self.venue_counters().drop().await?;
        self.venues().drop().await?;
        self.blocks().drop().await?;
        self.unread::<Document>().drop().await?;
        self.standstills::<Document>().drop().await?;
        self.deletions().drop().await?;
        self.places().drop().await?;
        Self::heads(&self.database).delete_one(doc! { "_id": self.generation }).await?;
        Ok(())
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(&format!("{name}_v{SHAPE}_{}", self.generation))
    }
}
