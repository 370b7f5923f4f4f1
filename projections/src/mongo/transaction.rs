//! Transactions, and the many small writes in them.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc, to_raw_document_buf};
use mongodb::error::{Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
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
    doc! { "_id": { "$in": ids.into_iter().map(Into::into).collect::<Vec<Bson>>() } }
}

/// One of the many small writes of a batch.
pub(super) enum Write {
    Insert(RawDocumentBuf),
    Update(RawDocumentBuf),
    Delete(RawDocumentBuf),
}

impl Write {
    /// A document that is not there yet.
    pub(super) fn insert(document: &impl Serialize) -> Result<Self> {
        Ok(Self::Insert(to_raw_document_buf(document)?))
    }

    /// An update of the document `id`, or a replacement, which is made when there is none.
    pub(super) fn update(id: impl Into<Bson>, by: &impl Serialize) -> Result<Self> {
        let (filter, by) = (to_raw_document_buf(&doc! { "_id": id.into() })?, to_raw_document_buf(by)?);
        Ok(Self::Update(rawdoc! { "q": filter, "u": by, "upsert": true }))
    }

    /// The end of the document `id`.
    pub(super) fn delete(id: impl Into<Bson>) -> Result<Self> {
        let filter = to_raw_document_buf(&doc! { "_id": id.into() })?;
        Ok(Self::Delete(rawdoc! { "q": filter, "limit": 1 }))
    }
}

/// Writes much to one collection, with as few commands as there can be.
pub(super) async fn write(
    database: &Database,
    session: &mut ClientSession,
    collection: &str,
    writes: impl IntoIterator<Item = Result<Write>>,
) -> Result<()> {
    let (mut inserts, mut updates, mut deletes) = (vec![], vec![], vec![]);
    for write in writes {
        match write? {
            Write::Insert(write) => inserts.push(write),
            Write::Update(write) => updates.push(write),
            Write::Delete(write) => deletes.push(write),
        }
    }
    for (command, field, writes) in
        [("insert", "documents", inserts), ("update", "updates", updates), ("delete", "deletes", deletes)]
    {
        run(database, session, command, field, collection, writes).await?;
    }
    Ok(())
}

async fn run(
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
