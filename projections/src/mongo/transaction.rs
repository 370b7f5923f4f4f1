//! Transactions, and the many small writes in them.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, rawdoc, to_raw_document_buf};
use mongodb::error::{Error, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{FindOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ours;

/// A command has at most so many bytes of writes; the server takes 16 MiB.
const COMMAND_BYTES: usize = 8 * 1024 * 1024;

/// How long to wait before a transaction that met another is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A transaction that is tried as often as MongoDB asks for it: the caller sets
/// the deadline. One that is dropped in between leaves no trace.
///
/// ```text
/// loop {
///     let work = work(transaction.begin().await?).await;
///     match transaction.end(work).await? { Ended::Again => {} … }
/// }
/// ```
pub(super) struct Transaction(ClientSession);

/// How a transaction ended.
pub(super) enum Ended<T> {
    /// It is there for good.
    Committed(T),
    /// There was nothing to do.
    Nothing,
    /// It met another: begin again.
    Again,
}

impl Transaction {
    pub(super) async fn new(client: &Client) -> Result<Self> {
        Ok(Self(client.start_session().await?))
    }

    pub(super) async fn begin(&mut self) -> Result<&mut ClientSession> {
        self.0
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .await?;
        Ok(&mut self.0)
    }

    /// Commits what was done; `None` is undone, and so is an error.
    pub(super) async fn end<T>(&mut self, work: Result<Option<T>>) -> Result<Ended<T>> {
        let ended = match work {
            Ok(Some(done)) => self.commit().await.map(|()| Ended::Committed(done)),
            Ok(None) => self.0.abort_transaction().await.map(|()| Ended::Nothing),
            Err(error) => {
                // It may be gone already.
                let _ = self.0.abort_transaction().await;
                Err(error)
            }
        };
        match ended {
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tracing::debug!(%error, "a transaction is tried again");
                tokio::time::sleep(PAUSE).await;
                Ok(Ended::Again)
            }
            ended => ended,
        }
    }

    async fn commit(&mut self) -> Result<()> {
        loop {
            match self.0.commit_transaction().await {
                Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                    tracing::debug!(%error, "whether a transaction was committed is asked again");
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// Everything that a query finds, within a session.
pub(super) async fn find<T: DeserializeOwned + Send + Sync>(
    collection: &Collection<T>,
    session: &mut ClientSession,
    filter: Document,
    options: FindOptions,
) -> Result<Vec<T>> {
    let mut options = options;
    // One round trip, for what is not very large.
    options.batch_size = Some(100_000);
    let mut cursor = collection.find(filter).with_options(options).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// The documents with these names.
pub(super) fn among<K: Into<Bson>>(ids: Vec<K>) -> Document {
    mongodb::bson::doc! { "_id": { "$in": ids.into_iter().map(Into::into).collect::<Vec<Bson>>() } }
}

/// An update of the document `id`, which is made when there is none.
pub(super) fn update(id: impl Into<Bson>, by: &Document) -> Result<RawDocumentBuf> {
    upsert(id, by)
}

/// A replacement of the document `id`, which is made when there is none.
pub(super) fn replace(id: impl Into<Bson>, document: &impl Serialize) -> Result<RawDocumentBuf> {
    upsert(id, document)
}

/// Writes many updates or replacements.
pub(super) async fn write(
    database: &Database,
    session: &mut ClientSession,
    collection: &str,
    writes: Vec<RawDocumentBuf>,
) -> Result<()> {
    commands(database, session, "update", "updates", collection, writes).await
}

/// Deletes documents by their `_id`.
pub(super) async fn delete(
    database: &Database,
    session: &mut ClientSession,
    collection: &str,
    ids: impl IntoIterator<Item = Bson>,
) -> Result<()> {
    let delete = |id: Bson| {
        to_raw_document_buf(&mongodb::bson::doc! { "q": { "_id": id }, "limit": 1 }).map_err(Error::from)
    };
    let deletes = ids.into_iter().map(delete).collect::<Result<Vec<_>>>()?;
    commands(database, session, "delete", "deletes", collection, deletes).await
}

async fn commands(
    database: &Database,
    session: &mut ClientSession,
    command: &str,
    field: &str,
    collection: &str,
    writes: Vec<RawDocumentBuf>,
) -> Result<()> {
    let mut writes = writes.into_iter().peekable();
    while writes.peek().is_some() {
        let (mut some, mut bytes) = (RawArrayBuf::new(), 0);
        while let Some(write) =
            writes.next_if(|write| bytes == 0 || bytes + write.as_bytes().len() <= COMMAND_BYTES)
        {
            bytes += write.as_bytes().len();
            some.push(write);
        }
        let mut all = rawdoc! {};
        all.append(command, collection);
        all.append(field, some);
        let reply = database.run_raw_command(all).session(&mut *session).await?;
        if let Some(errors) = reply.get("writeErrors") {
            return Err(ours(format!("{command} of {collection}: {errors}")));
        }
    }
    Ok(())
}

fn upsert(id: impl Into<Bson>, by: &impl Serialize) -> Result<RawDocumentBuf> {
    let filter = to_raw_document_buf(&mongodb::bson::doc! { "_id": id.into() })?;
    let by = to_raw_document_buf(by)?;
    Ok(rawdoc! { "q": filter, "u": by, "upsert": true })
}
