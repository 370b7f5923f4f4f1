//! The one thread that writes. It takes all waiting writes and commits them together, so that one wait
//! for the disk serves all of them. If one of them cannot be carried out, each is committed alone.
//!
//! After the disk failed to confirm a write, the thread writes nothing more: the system may have dropped the
//! pages, and would report the next write as safe without them.

use rusqlite::{Connection, TransactionBehavior, ffi};
use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedReceiver, oneshot, watch};

use super::{
    apply::{LogTail, apply},
    background::ChecksumJob,
    condition::LogCondition,
    journal::LogJournal,
    open::LogLock,
    read_error::is_corrupt,
    write::{StreamWrite, WriteError, WriteReceipt},
};
use crate::Position;

/// The largest number of writes in one transaction. It bounds how long the first write waits for the
/// others.
const MAX_BATCH: usize = 512;

/// A job in the writer's queue.
pub(super) enum WriterJob {
    Write(WriteJob),
    Checksums(ChecksumJob),
}

/// A write, and who waits for its answer.
pub(super) struct WriteJob {
    pub(super) write: StreamWrite,
    pub(super) reply: oneshot::Sender<WriteResult>,
    /// The write's share of the queue's bytes, given back when the job is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) type WriteResult = Result<WriteReceipt, WriteError>;

/// The state of the thread that writes.
pub(super) struct LogWriter {
    pub(super) connection: Connection,
    pub(super) head: watch::Sender<Position>,
    pub(super) condition: watch::Sender<LogCondition>,
    /// The answer to every write, if the log takes none.
    pub(super) refused: Option<WriteError>,
    pub(super) journal: LogJournal,
    /// The log's lock, held until the file is closed.
    pub(super) lock: LogLock,
}

impl LogWriter {
    /// Serves jobs until all senders are dropped.
    pub(super) fn run(mut self, mut jobs: UnboundedReceiver<WriterJob>) {
        while let Some(first) = jobs.blocking_recv() {
            let (batch, checksums) = take_batch(first, &mut jobs);
            let answers = self.write(&batch);
            answer(batch, answers);
            if let Some(job) = checksums {
                self.add_checksums(job);
            }
            if self.refused.is_none()
                && let Err(error) = self.journal.bound(&self.connection)
            {
                tracing::warn!(%error, "the journal of the event log could not be emptied");
                self.stop_if_unconfirmed(&error);
            }
        }
        // The file must be flushed and closed before the next process may open it.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the event log was not closed cleanly; no event is lost");
        }
        drop(self.lock);
    }

    fn write(&mut self, batch: &[WriteJob]) -> Vec<WriteResult> {
        if let Some(error) = &self.refused {
            return vec![Err(error.clone()); batch.len()];
        }
        if batch.is_empty() {
            return Vec::new();
        }
        let writes: Vec<_> = batch.iter().map(|job| &job.write).collect();
        let outcome = write_all(&mut self.connection, &writes);
        if let Some(position) = outcome.head {
            // Subscribers hear first, so that a writer finds its event delivered soon after its answer.
            self.head.send_if_modified(|head| std::mem::replace(head, position) != position);
        }
        if let Some(unconfirmed) = outcome.unconfirmed {
            self.stop(unconfirmed);
        }
        outcome.answers
    }

    fn add_checksums(&mut self, job: ChecksumJob) {
        if self.refused.is_some() {
            job.postpone();
        } else if let Err(error) = job.carry_out(&mut self.connection) {
            self.stop_if_unconfirmed(&error);
        }
    }

    fn stop_if_unconfirmed(&mut self, error: &rusqlite::Error) {
        if is_unconfirmed(error) {
            self.stop(write_error(error));
        }
    }

    /// Writes nothing more.
    fn stop(&mut self, why: WriteError) {
        tracing::error!("the event log takes no more appends until a restart: {why}");
        self.condition.send_modify(|condition| condition.refusal = Some(why.to_string()));
        self.refused = Some(why);
    }
}

/// Takes the writes that wait, up to a job of checksums.
fn take_batch(
    first: WriterJob,
    jobs: &mut UnboundedReceiver<WriterJob>,
) -> (Vec<WriteJob>, Option<ChecksumJob>) {
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            WriterJob::Write(write) => batch.push(write),
            WriterJob::Checksums(checksums) => return (batch, Some(checksums)),
        }
        next = if batch.len() < MAX_BATCH { jobs.try_recv().ok() } else { None };
    }
    (batch, None)
}

/// Answers the writes of a batch, and logs failures of the log itself.
fn answer(batch: Vec<WriteJob>, answers: Vec<WriteResult>) {
    let failed =
        |answer: &&WriteResult| matches!(answer, Err(WriteError::Unavailable(_) | WriteError::Corrupt(_)));
    if let Some(Err(error)) = answers.iter().find(failed) {
        let failures = answers.iter().filter(failed).count();
        tracing::warn!(?error, "the event log could not be written; {failures} writes failed");
    }
    for (WriteJob { reply, room, .. }, answer) in batch.into_iter().zip(answers) {
        drop(room);
        // A writer that stopped waiting will try again with the same ids.
        let _ = reply.send(answer);
    }
}

/// The outcome of several writes.
struct WrittenBatch {
    answers: Vec<WriteResult>,
    /// The newest position; `None` if nothing was committed.
    head: Option<Position>,
    /// Set if the disk did not confirm a write. Nothing may be written after that.
    unconfirmed: Option<WriteError>,
}

/// Carries out all of `writes` in one transaction or, if that fails, each in its own.
fn write_all(connection: &mut Connection, writes: &[&StreamWrite]) -> WrittenBatch {
    let error = match commit(connection, writes) {
        Ok((answers, head)) => return WrittenBatch { answers, head: Some(head), unconfirmed: None },
        Err(error) => error,
    };
    let failed = write_error(&error);
    if is_unconfirmed(&error) {
        let answers = vec![Err(failed.clone()); writes.len()];
        return WrittenBatch { answers, head: None, unconfirmed: Some(failed) };
    }
    if writes.len() == 1 {
        return WrittenBatch { answers: vec![Err(failed)], head: None, unconfirmed: None };
    }
    let mut alone = WrittenBatch { answers: Vec::with_capacity(writes.len()), head: None, unconfirmed: None };
    for write in writes {
        if let Some(error) = &alone.unconfirmed {
            alone.answers.push(Err(error.clone()));
            continue;
        }
        let WrittenBatch { answers, head, unconfirmed } = write_all(connection, &[*write]);
        alone.answers.extend(answers);
        alone.head = head.or(alone.head);
        alone.unconfirmed = unconfirmed;
    }
    alone
}

/// Carries out all of `writes` in one transaction. On `Ok` the answers are durable.
fn commit(
    connection: &mut Connection,
    writes: &[&StreamWrite],
) -> rusqlite::Result<(Vec<WriteResult>, Position)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tail = LogTail::load(&transaction)?;
    let answers = writes
        .iter()
        .map(|write| apply(&transaction, &mut tail, write))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok((answers, tail.head))
}

/// Returns true if the disk failed to confirm that a write is durable.
fn is_unconfirmed(error: &rusqlite::Error) -> bool {
    let extended = match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code,
        _ => return false,
    };
    matches!(extended, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
}

fn write_error(error: &rusqlite::Error) -> WriteError {
    if is_corrupt(error) {
        return WriteError::Corrupt(error.to_string());
    }
    if is_unconfirmed(error) {
        let why = format!("the disk did not confirm a write; check it, then restart ({error})");
        return WriteError::Unavailable(why);
    }
    WriteError::Unavailable(match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => format!("the disk is full ({error})"),
        Some(rusqlite::ErrorCode::ReadOnly) => format!("the disk is read-only ({error})"),
        _ => format!("the disk could not be written ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{
        StreamName,
        append_request::ProposedEvent,
        sqlite::write::{WriteAction, WriteCondition},
    };

    fn append(kind: &str) -> StreamWrite {
        let event = ProposedEvent {
            id: Uuid::new_v4(),
            kind: kind.to_owned(),
            json: true,
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::new(),
        };
        StreamWrite {
            stream: StreamName::new("test").unwrap(),
            condition: WriteCondition::Any,
            action: WriteAction::Append(vec![event]),
        }
    }

    #[test]
    fn a_write_that_sqlite_refuses_spoils_no_other() {
        let mut log = Connection::open_in_memory().unwrap();
        log.execute_batch(include_str!("schema.sql")).unwrap();
        log.execute_batch(
            "CREATE TRIGGER refusal BEFORE INSERT ON events WHEN NEW.kind = 'Refused'
             BEGIN SELECT raise(ABORT, 'refused'); END",
        )
        .unwrap();
        let writes = [append("Good"), append("Refused"), append("Good")];
        let written = write_all(&mut log, &writes.each_ref());
        let revisions: Vec<_> =
            written.answers.iter().map(|answer| answer.as_ref().ok().and_then(|at| at.revision)).collect();
        assert_eq!(revisions, [Some(0), None, Some(1)]);
        assert_eq!(written.head, Some(Position(2)), "the refused write left no gap");
        assert!(written.unconfirmed.is_none());
    }

    #[test]
    fn only_a_failed_sync_ends_all_writing() {
        let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert!(is_unconfirmed(&failure(ffi::SQLITE_IOERR_FSYNC)));
        for passing in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_IOERR_READ] {
            assert!(!is_unconfirmed(&failure(passing)));
        }
    }
}
