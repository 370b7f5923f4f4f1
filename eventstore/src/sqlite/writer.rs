//! The one thread that writes. It takes whatever appends are waiting and
//! commits them together, so that one wait for the disk serves all of them.

use std::fs::File;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedReceiver, oneshot, watch};

use super::{
    append::{Tail, apply},
    write::{Rejected, Write, Written},
};
use crate::Position;

/// The most writes that one transaction takes: a bound on how long the
/// first of them waits for the others.
const MAX_BATCH: usize = 512;

/// A write on its way to the writer.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Answer>,
    /// The room that the write takes in the queue, given back with the job.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) type Answer = Result<Written, Rejected>;

/// Serves jobs until no sender is left, and holds the log's lock as long.
pub(super) fn run(
    mut connection: Connection,
    mut jobs: UnboundedReceiver<Job>,
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
                // Subscribers first: whoever has its answer finds it delivered soon.
                head.send_if_modified(|head| std::mem::replace(head, position) != position);
                answers
            }
            Err(error) => {
                tracing::warn!(%error, writes = batch.len(), "the log could not be written");
                vec![Err(Rejected::Unavailable(explain(&error))); batch.len()]
            }
        };
        for (Job { reply, room, .. }, answer) in batch.into_iter().zip(answers) {
            drop(room);
            // Whoever stopped waiting will ask again with the same ids.
            let _ = reply.send(answer);
        }
    }
    // The file is flushed and closed before the next process may have it.
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the log was not closed cleanly; nothing is lost");
    }
    drop(lock);
}

/// All of `batch` in one transaction. On `Ok` the answers are durable.
fn commit(connection: &mut Connection, batch: &[Job]) -> rusqlite::Result<(Vec<Answer>, Position)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tail = Tail::load(&transaction)?;
    let answers = batch
        .iter()
        .map(|job| apply(&transaction, &mut tail, &job.write))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok((answers, tail.head))
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => format!("the disk is full ({error})"),
        Some(rusqlite::ErrorCode::ReadOnly) => format!("the disk is read-only ({error})"),
        _ => format!("the disk could not be written ({error})"),
    }
}
