//! The newest report of each verifier. They belong to no generation: whoever
//! reads the log again writes the same.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc, to_document};
use mongodb::error::Result;

use super::Shared;
use super::collections::number;
use super::follow::unless_there;
use crate::view::SandboxView;

impl Shared {
    pub(super) async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<()> {
        let newer = doc! { "_id": &sandbox.verifier, "position": { "$lt": number(sandbox.position) } };
        let kept = self.reports::<Document>().replace_one(newer, to_document(sandbox)?).upsert(true).await;
        // Where one as new is there, nothing matches, and a second cannot be made.
        unless_there(kept.map(drop))
    }

    pub(super) async fn sandboxes(&self) -> Result<Vec<SandboxView>> {
        self.reports().find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect().await
    }

    fn reports<T: Send + Sync>(&self) -> Collection<T> {
        self.database.collection("sandboxes")
    }
}
