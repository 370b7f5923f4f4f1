//! The events that change no view: strangers' events, and the events at which submissions stand still. They belong to a
//! generation, so a rebuild reads them again.

use domain::submission::SubmissionId;
use futures::TryStreamExt;
use mongodb::bson::{Document, doc, to_bson, to_document, to_raw_document_buf};
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

    /// Lets a submission stand still. It waits for no turn meanwhile.
    pub(super) async fn write_standstill(&self, standstill: &StandstillView) -> Result<()> {
        // The driver writes and reads whole documents in the form for programs, in which an id is binary.
        let stored = Document::try_from(to_raw_document_buf(standstill)?)?;
        let mut document = stored.clone();
        document.insert("_id", standstill.id.to_string());
        allow_duplicate(self.standstills::<Document>().insert_one(document).await.map(drop))?;
        let before = doc! {
            "_id": standstill.id.to_string(),
            "view.revision": { "$lt": to_bson(&standstill.revision)? },
            "view.standstill": { "$exists": false },
        };
        let changes = doc! {
            "$set": { "view.standstill": stored, "moved": number(standstill.position) },
            "$unset": { "unfinished": "", "queued": "" },
        };
        self.statuses().update_one(before, changes).await.map(drop)
    }

    pub(super) async fn remove_standstill(&self, id: SubmissionId) -> Result<()> {
        self.standstills::<Document>().delete_one(doc! { "_id": id.to_string() }).await.map(drop)
    }

    pub(super) async fn read_standstills(&self, max: i64) -> Result<Vec<StandstillView>> {
        self.standstills().find(doc! {}).sort(doc! { "position": 1 }).limit(max).await?.try_collect().await
    }

    pub(super) async fn read_standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>> {
        self.standstills().find_one(doc! { "_id": id.to_string() }).await
    }
}
