//! The replica set: it takes writes, survives the loss of its primary, and leaves nothing behind.

use std::time::Duration;

use anyhow::Result;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use testbed::{Mongo, until};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_killed_primary_is_replaced_and_no_acknowledged_write_is_lost() -> Result<()> {
    let mongo = Mongo::replica_set().await?;
    let client = Client::with_uri_str(format!("{}&w=majority", mongo.uri())).await?;
    let writes = client.database("test").collection::<Document>("writes");
    writes.insert_one(doc! { "_id": 1 }).await?;

    let primary = mongo.primary().await?;
    primary.kill().await?;
    until("a write to be taken again", LIMIT, async || {
        // The write is idempotent, because an attempt whose answer was lost may have been applied.
        let written = doc! { "$set": { "again": true } };
        writes.update_one(doc! { "_id": 2 }, written).upsert(true).await.ok()
    })
    .await?;
    assert_ne!(mongo.primary().await?.address(), primary.address());
    assert_eq!(writes.count_documents(doc! {}).await?, 2);

    primary.restart().await?;
    drop(client);
    mongo.stop().await
}
