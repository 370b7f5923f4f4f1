//! Checks all events of an open log once, slowly and in the background. Also adds the checksums that events from before
//! checksums lack. If the log is closed meanwhile, the next start goes on with these where they end.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc::UnboundedSender, oneshot, watch};

use super::{
    check::{CheckedPage, check_page},
    condition::LogCondition,
    open,
    read_error::read_error,
    writer::WriterJob,
};
use crate::{Position, ReadError};

/// The number of events in a page. The checksums of a page are added at once, and appends wait meanwhile.
const PAGE_EVENTS: usize = 500;

/// The bytes of events that are read in a second.
const BYTES_A_SECOND: f64 = 16.0 * 1024.0 * 1024.0;

/// The shortest pause between two pages.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The pause after the log could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Checksums to add to events that have none, in the order of their positions.
pub(super) struct ChecksumJob {
    checksums: Vec<(Position, u32)>,
    reply: oneshot::Sender<Result<(), String>>,
}

/// The thread that checks.
pub(super) struct BackgroundCheck {
    /// Dropped to stop the thread.
    running: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundCheck {
    /// Starts to check a log that is open.
    pub(super) fn start(
        path: &Path,
        writer: UnboundedSender<WriterJob>,
        condition: watch::Sender<LogCondition>,
    ) -> std::io::Result<Self> {
        let (running, stopped) = channel();
        let pass = CheckPass {
            path: path.to_owned(),
            writer,
            stopped,
            condition,
            at: Position::START,
            events: 0,
            damaged: 0,
            began: Instant::now(),
        };
        let thread =
            std::thread::Builder::new().name("event-log-check".to_owned()).spawn(move || pass.run())?;
        Ok(Self { running: Mutex::new(Some(running)), thread: Mutex::new(Some(thread)) })
    }

    /// Stops the check and waits until it has ended. It holds a connection and a sender to the writer.
    pub(super) fn stop(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the check of the event log panicked");
        }
    }
}

/// One pass over the log.
struct CheckPass {
    path: PathBuf,
    writer: UnboundedSender<WriterJob>,
    stopped: Receiver<()>,
    condition: watch::Sender<LogCondition>,
    /// All events up to here were checked.
    at: Position,
    events: u64,
    damaged: usize,
    began: Instant,
}

impl CheckPass {
    fn run(mut self) {
        loop {
            let at = self.at;
            match self.check() {
                Ok(()) => return,
                Err(ReadError::Unavailable(why)) => {
                    tracing::warn!(
                        "the events after position {at} could not be checked, trying again: {why}"
                    );
                    if self.is_stopped_within(RETRY_PAUSE) {
                        return;
                    }
                }
                Err(error) => {
                    let why = format!("the events after position {at} cannot be read: {error}");
                    tracing::error!("{why}");
                    self.condition.send_modify(|condition| condition.note(why));
                    return;
                }
            }
        }
    }

    /// Checks the rest of the log, or until the log is closed.
    fn check(&mut self) -> Result<(), ReadError> {
        let mut log = open::reader(&self.path).map_err(read_error)?;
        loop {
            let snapshot = log.transaction().map_err(read_error)?;
            let page = check_page(&snapshot, self.at, PAGE_EVENTS, |_| None)?;
            drop(snapshot);
            let pause = Duration::from_secs_f64(page.bytes as f64 / BYTES_A_SECOND).max(PAUSE_MIN);
            let end = page.end;
            self.take(page)?;
            if end {
                self.report();
                return Ok(());
            }
            if self.is_stopped_within(pause) {
                return Ok(());
            }
        }
    }

    /// Notes what a page has, and has its checksums added.
    fn take(&mut self, page: CheckedPage) -> Result<(), ReadError> {
        if !page.unsummed.is_empty() {
            let (reply, answer) = oneshot::channel();
            let closed = || ReadError::Unavailable("the store is closed".to_owned());
            let job = WriterJob::Checksums(ChecksumJob { checksums: page.unsummed, reply });
            self.writer.send(job).map_err(|_| closed())?;
            // The writer answers each job, or drops it when it ends.
            let added = answer.blocking_recv().map_err(|_| closed())?;
            added
                .map_err(|error| ReadError::Unavailable(format!("checksums could not be added: {error}")))?;
        }
        for damage in &page.damage {
            tracing::error!("the event log is damaged at {damage}");
        }
        self.condition.send_if_modified(|condition| {
            page.damage.iter().for_each(|damage| condition.note(damage.to_string()));
            !page.damage.is_empty()
        });
        self.at = page.next;
        self.events += page.events;
        self.damaged += page.damage.len();
        Ok(())
    }

    fn report(&self) {
        let (events, damaged, seconds) = (self.events, self.damaged, self.began.elapsed().as_secs_f64());
        if damaged == 0 {
            tracing::info!("checked the {events} events of the log in {seconds:.1} s: all are whole");
        } else {
            tracing::error!("checked the {events} events of the log: it is damaged at {damaged} places");
        }
    }

    /// Waits, and returns true if the log was closed meanwhile.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
    }
}

impl ChecksumJob {
    /// Adds the checksums in a transaction, and answers. If an event has one meanwhile, it keeps it.
    pub(super) fn carry_out(self, log: &mut Connection) -> rusqlite::Result<()> {
        let added = add_checksums(log, &self.checksums);
        // A check that has stopped wants no answer.
        let _ = self.reply.send(added.as_ref().copied().map_err(ToString::to_string));
        added
    }

    /// Leaves the checksums to the next start, because nothing may be written any more. The check goes on.
    pub(super) fn postpone(self) {
        let _ = self.reply.send(Ok(()));
    }
}

fn add_checksums(log: &mut Connection, checksums: &[(Position, u32)]) -> rusqlite::Result<()> {
    let Some((last, _)) = checksums.last() else { return Ok(()) };
    let transaction = log.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut add = transaction
            .prepare_cached("UPDATE events SET checksum = ?2 WHERE position = ?1 AND checksum IS NULL")?;
        for (position, checksum) in checksums {
            add.execute((position.0, checksum))?;
        }
    }
    // All events up to here have one now, so that a missing one is damage.
    transaction.execute("UPDATE unsummed SET first = ?1", [last.0 + 1])?;
    transaction.execute("DELETE FROM unsummed WHERE first > last", [])?;
    transaction.commit()
}
