//! Transactions, and the many small writes of a batch in few commands.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc, to_raw_document_buf};
use mongodb::error::{Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{FindOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::own_error;

/// The bytes of writes in one command; the server accepts 16 MiB.
const COMMAND_BYTES: usize = 8 * 1024 * 1024;

/// The pause before a transaction that conflicted with another is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A transaction that is tried again as often as MongoDB asks for it; the caller
/// sets the deadline. A transaction that is dropped before its end changes nothing.
///
/// ```text
/// loop {
///     let work = work(transaction.begin().await?).await;
///     match transaction.end(work).await? { TransactionEnd::Retry => {} … }
/// }
/// ```
pub(super) struct RetryingTransaction(ClientSession);

/// The end of a transaction.
pub(super) enum TransactionEnd<T> {
    /// The transaction was committed.
    Committed(T),
    /// The transaction was undone at the caller's wish.
    Aborted,
    /// The transaction conflicted with another; begin again.
    Retry,
}

impl RetryingTransaction {
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

    /// Commits if the work returned a value. Undoes the work if it returned `None` or an error.
    pub(super) async fn end<T>(&mut self, work: Result<Option<T>>) -> Result<TransactionEnd<T>> {
        let ended = match work {
            Ok(Some(value)) => self.commit().await.map(|()| TransactionEnd::Committed(value)),
            Ok(None) => self.0.abort_transaction().await.map(|()| TransactionEnd::Aborted),
            Err(error) => {
                // The server may have aborted the transaction already.
                let _ = self.0.abort_transaction().await;
                Err(error)
            }
        };
        match ended {
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tracing::debug!(%error, "a transaction conflicted with another and is tried again");
                tokio::time::sleep(PAUSE).await;
                Ok(TransactionEnd::Retry)
            }
            ended => ended,
        }
    }

    async fn commit(&mut self) -> Result<()> {
        loop {
            match self.0.commit_transaction().await {
                Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                    tracing::debug!(%error, "the result of a commit is unknown; committing again");
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// Returns all documents that a query finds within a session.
pub(super) async fn find<T: DeserializeOwned + Send + Sync>(
    collection: &Collection<T>,
    session: &mut ClientSession,
    filter: Document,
    options: FindOptions,
) -> Result<Vec<T>> {
    let mut options = options;
    // Few round trips: most results fit in one reply.
    options.batch_size = Some(100_000);
    let mut cursor = collection.find(filter).with_options(options).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Matches the documents with these ids.
pub(super) fn with_ids<K: Into<Bson>>(ids: Vec<K>) -> Document {
    doc! { "_id": { "$in": ids.into_iter().map(Into::into).collect::<Vec<Bson>>() } }
}

/// A write of one document.
pub(super) enum DocumentWrite {
    Insert(RawDocumentBuf),
    Update(RawDocumentBuf),
    Delete(RawDocumentBuf),
}

impl DocumentWrite {
    /// Returns the write that inserts a document.
    pub(super) fn insert(document: &impl Serialize) -> Result<Self> {
        Ok(Self::Insert(to_raw_document_buf(document)?))
    }

    /// Returns the write that updates or replaces the document `id`, or inserts it if there is none.
    pub(super) fn update(id: impl Into<Bson>, by: &impl Serialize) -> Result<Self> {
        let (filter, by) = (to_raw_document_buf(&doc! { "_id": id.into() })?, to_raw_document_buf(by)?);
        Ok(Self::Update(rawdoc! { "q": filter, "u": by, "upsert": true }))
    }

    /// Returns the write that deletes the document `id`.
    pub(super) fn delete(id: impl Into<Bson>) -> Result<Self> {
        let filter = to_raw_document_buf(&doc! { "_id": id.into() })?;
        Ok(Self::Delete(rawdoc! { "q": filter, "limit": 1 }))
    }
}

/// Writes to one collection with as few commands as possible.
pub(super) async fn write(
    database: &Database,
    session: &mut ClientSession,
    collection: &str,
    writes: impl IntoIterator<Item = Result<DocumentWrite>>,
) -> Result<()> {
    let (mut inserts, mut updates, mut deletes) = (vec![], vec![], vec![]);
    for write in writes {
        match write? {
            DocumentWrite::Insert(write) => inserts.push(write),
            DocumentWrite::Update(write) => updates.push(write),
            DocumentWrite::Delete(write) => deletes.push(write),
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
            return Err(own_error(format!("{command} in the collection {collection} failed: {errors}")));
        }
    }
    Ok(())
}
