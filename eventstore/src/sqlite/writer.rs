//! The one thread that writes. It takes all waiting writes and commits them together, so that one wait
//! for the disk serves all of them.

use std::fs::File;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedReceiver, oneshot, watch};

use super::{
    apply::{LogTail, apply},
    read_error::is_corrupt,
    write::{StreamWrite, WriteError, WriteReceipt},
};
use crate::Position;

/// The largest number of writes in one transaction. It bounds how long the first write waits for the
/// others.
const MAX_BATCH: usize = 512;

/// A write in the writer's queue.
pub(super) struct WriteJob {
    pub(super) write: StreamWrite,
    pub(super) reply: oneshot::Sender<WriteResult>,
    /// The write's share of the queue's bytes, given back when the job is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) type WriteResult = Result<WriteReceipt, WriteError>;

/// Serves jobs until all senders are dropped. Holds the log's lock until the file is closed.
pub(super) fn run(
    mut connection: Connection,
    mut jobs: UnboundedReceiver<WriteJob>,
    head: watch::Sender<Position>,
    lock: File,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let answers = match commit(&mut connection, &batch) {
            Ok((answers, position)) => {
                // Subscribers hear first, so that a writer finds its event delivered soon after its answer.
                head.send_if_modified(|head| std::mem::replace(head, position) != position);
                answers
            }
            Err(error) => {
                let writes = batch.len();
                tracing::warn!(%error, "the event log could not be written; {writes} writes failed");
                vec![Err(write_error(&error)); writes]
            }
        };
        for (WriteJob { reply, room, .. }, answer) in batch.into_iter().zip(answers) {
            drop(room);
            // A writer that stopped waiting will try again with the same ids.
            let _ = reply.send(answer);
        }
    }
    // The file must be flushed and closed before the next process may open it.
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the event log was not closed cleanly; no event is lost");
    }
    drop(lock);
}

/// Carries out all of `batch` in one transaction. On `Ok` the answers are durable.
fn commit(connection: &mut Connection, batch: &[WriteJob]) -> rusqlite::Result<(Vec<WriteResult>, Position)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tail = LogTail::load(&transaction)?;
    let answers = batch
        .iter()
        .map(|job| apply(&transaction, &mut tail, &job.write))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok((answers, tail.head))
}

fn write_error(error: &rusqlite::Error) -> WriteError {
    if is_corrupt(error) {
        return WriteError::Corrupt(error.to_string());
    }
    WriteError::Unavailable(match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => format!("the disk is full ({error})"),
        Some(rusqlite::ErrorCode::ReadOnly) => format!("the disk is read-only ({error})"),
        _ => format!("the disk could not be written ({error})"),
    })
}
