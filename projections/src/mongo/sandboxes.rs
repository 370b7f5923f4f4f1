//! The newest report of each verifier. Reports belong to no generation: a
//! projection that reads the log again writes the same reports.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::doc;
use mongodb::error::Result;

use super::MongoViews;
use super::documents::number;
use super::polling::allow_duplicate;
use crate::view::SandboxView;

impl MongoViews {
    pub(super) async fn write_sandbox(&self, sandbox: &SandboxView) -> Result<()> {
        let older = doc! { "_id": &sandbox.verifier, "position": { "$lt": number(sandbox.position) } };
        // The typed collection writes ids as it reads them: as bytes, where a document of ours would have texts.
        let written = self.reports().replace_one(older, sandbox).upsert(true).await;
        // If the stored report is as new, the filter matches nothing and the insert finds a duplicate key.
        allow_duplicate(written.map(drop))
    }

    pub(super) async fn read_sandboxes(&self) -> Result<Vec<SandboxView>> {
        self.reports().find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect().await
    }

    fn reports(&self) -> Collection<SandboxView> {
        self.polled.database().collection("sandboxes")
    }
}
