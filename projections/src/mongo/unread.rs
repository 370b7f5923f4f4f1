//! The events that change no view: strangers' events, and the events at which submissions stand still. They belong to a
//! generation, so a rebuild reads them again.

use domain::submission::SubmissionId;
use event_store::Position;
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc, to_bson, to_document, to_raw_document_buf};
use mongodb::error::Result;

use super::collections::ViewCollections;
use super::documents::number;
use super::polling::allow_duplicate;
use crate::log_item::LogBatch;
use crate::view::{SetAsideEvent, SetAsideView, StandstillView};

/// The `_id` of the one document with the strangers' events.
const SET_ASIDE: &str = "set_aside";

impl ViewCollections {
    /// Writes the events of a part of the log that change no view.
    pub(super) async fn write_unread(&self, part: &LogBatch) -> Result<()> {
        if !part.set_aside.is_empty() {
            self.write_set_aside(&part.set_aside).await?;
        }
        match &part.standstill {
            Some(standstill) => self.write_standstill(standstill).await,
            None => Ok(()),
        }
    }

    /// Counts strangers' events. If another projection counts at the same time, the events are compared again.
    pub(super) async fn write_set_aside(&self, events: &[SetAsideEvent]) -> Result<()> {
        loop {
            let before = self.read_set_aside().await?;
            let mut after = before.clone();
            after.add(events);
            if after == before {
                return Ok(());
            }
            let unchanged = doc! { "_id": SET_ASIDE, "count": to_bson(&before.count)? };
            let changes = doc! { "$set": to_document(&after)? };
            let written =
                self.unread::<Document>().update_one(unchanged, changes).upsert(before.count == 0).await;
            // With a duplicate key another projection has inserted the document.
            match written {
                Ok(written) if written.matched_count > 0 || written.upserted_id.is_some() => return Ok(()),
                Ok(_) => {}
                Err(error) => allow_duplicate(Err(error))?,
            }
        }
    }

    pub(super) async fn read_set_aside(&self) -> Result<SetAsideView> {
        let found = self.unread().find_one(doc! { "_id": SET_ASIDE }).await?;
        Ok(found.unwrap_or_default())
    }

    /// Lets a submission stand still, unless it is further than that. It waits for no turn meanwhile.
    pub(super) async fn write_standstill(&self, standstill: &StandstillView) -> Result<()> {
        let further = doc! {
            "_id": standstill.id.to_string(), "view.revision": { "$gte": to_bson(&standstill.revision)? },
        };
        if self.statuses().clone_with_type::<Document>().find_one(further).await?.is_some() {
            return Ok(());
        }
        let document = StandstillDocument::new(standstill)?;
        allow_duplicate(self.standstills().insert_one(document.listed()).await.map(drop))?;
        let (before, changes) = document.changes(standstill.position);
        self.statuses().update_one(before, changes).await.map(drop)
    }

    /// Removes a submission's standstill, or replaces it by its next one. Readers learn of the change at `moved`.
    pub(super) async fn replace_standstill(
        &self,
        session: &mut ClientSession,
        id: SubmissionId,
        next: Option<&StandstillView>,
        moved: Position,
    ) -> Result<()> {
        let listed = self.standstills::<Document>();
        listed.delete_one(doc! { "_id": id.to_string() }).session(&mut *session).await?;
        let Some(next) = next else { return Ok(()) };
        let document = StandstillDocument::new(next)?;
        listed.insert_one(document.listed()).session(&mut *session).await?;
        let (before, changes) = document.changes(moved);
        self.statuses().update_one(before, changes).session(session).await.map(drop)
    }

    pub(super) async fn read_standstills(&self, max: i64) -> Result<Vec<StandstillView>> {
        self.standstills().find(doc! {}).sort(doc! { "position": 1 }).limit(max).await?.try_collect().await
    }

    pub(super) async fn read_standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>> {
        self.standstills().find_one(doc! { "_id": id.to_string() }).await
    }
}

/// A standstill in the form in which it is stored.
struct StandstillDocument {
    id: String,
    revision: Bson,
    stored: Document,
}

impl StandstillDocument {
    fn new(standstill: &StandstillView) -> Result<Self> {
        // The driver writes and reads whole documents in the form for programs, in which an id is binary.
        let stored = Document::try_from(to_raw_document_buf(standstill)?)?;
        Ok(Self { id: standstill.id.to_string(), revision: to_bson(&standstill.revision)?, stored })
    }

    /// Returns the document in the list of standstills.
    fn listed(&self) -> Document {
        let mut document = self.stored.clone();
        document.insert("_id", &self.id);
        document
    }

    /// Returns the filter and the changes of the submission that comes to stand still.
    fn changes(self, moved: Position) -> (Document, Document) {
        let before = doc! {
            "_id": self.id,
            "view.revision": { "$lt": self.revision },
            "view.standstill": { "$exists": false },
        };
        let changes = doc! {
            "$set": { "view.standstill": self.stored, "moved": number(moved) },
            "$unset": { "unfinished": "", "queued": "" },
        };
        (before, changes)
    }
}
