//! The embedded log: one SQLite file, one writer, and any number of readers in the same process. An
//! acknowledged append is on disk.
//!
//! ```text
//!  append ──> queue (bounded by bytes) ──> writer thread ── one transaction for all writes ──> file
//!                                               │ new head                                         │
//!  subscribe ── wait for a new head <───────────┘                                                  │
//!            └─ read pages <───────────────────────────────────────────────────────────────────────┘
//! ```

mod apply;
mod background;
mod backup;
mod check;
mod checksum;
mod condition;
mod damage;
mod idempotency;
mod journal;
mod open;
mod pages;
mod read_error;
mod readers;
mod schema;
mod streams;
mod subscribe;
mod verify;
mod write;
mod writer;

pub use backup::{BackupError, BackupReport, back_up_log, restore_log};
pub use condition::LogCondition;
pub use open::OpenLogError;
pub(crate) use pages::{LogPage, LogSpan, PAGE_EVENTS, StoredEvent, StreamAnswer, StreamPage};
pub use verify::{LogReport, verify_log};
pub(crate) use write::{StreamWrite, WriteAction, WriteCondition, WriteError, WriteReceipt};

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use self::{
    background::BackgroundCheck,
    check::check_newest,
    journal::{JOURNAL_MAX, LogJournal},
    read_error::read_error,
    readers::ReaderPool,
    writer::{LogWriter, WriteJob, WriterJob},
};
use crate::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, StreamName, Subscribe, Subscription,
    append_request::AppendRequest,
};

/// The size of the queue, in bytes. A write waits until the queue has room for it.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// The smallest size of a write in the queue, in bytes, so that small writes are bounded too.
const JOB_BYTES: usize = 4 * 1024;

/// The longest time that a write takes, the wait in the queue included.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// The embedded log. Clones share one writer; when the last clone is dropped, the log is flushed and
/// closed.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<SharedStore>,
}

struct SharedStore {
    /// `None` once the store is closed.
    jobs: Mutex<Option<mpsc::UnboundedSender<WriterJob>>>,
    /// The free bytes of the queue.
    room: Arc<Semaphore>,
    head: watch::Receiver<Position>,
    /// A head, and the newest position up to it whose event subscribers are shown.
    shown_head: Mutex<(Position, Position)>,
    readers: Arc<ReaderPool>,
    writer: Mutex<Option<JoinHandle<()>>>,
    check: BackgroundCheck,
    condition: watch::Receiver<LogCondition>,
}

impl SqliteStore {
    /// Opens the log at `path`, or creates it. The directory must exist. Beside the log lie SQLite's
    /// `-wal` and `-shm` files and our `.lock` file.
    ///
    /// # Errors
    /// If another process has the log open, if the file is not a log or has another version, or if the
    /// file cannot be opened for writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenLogError> {
        let path = path.as_ref();
        let lock = open::lock(path)?;
        let connection = open::writer(path)?;
        let failed = |error| OpenLogError::Sqlite { path: path.to_owned(), error };
        let newest = pages::head(&connection).map_err(failed)?;
        let refused = refusal_of(&connection, newest);
        let (new_head, head) = watch::channel(newest);
        let (condition, watched) = watch::channel(LogCondition {
            refusal: refused.as_ref().map(WriteError::to_string),
            ..LogCondition::default()
        });
        let (jobs, queue) = mpsc::unbounded_channel();
        let thread_error = |error| OpenLogError::Lock { path: path.to_owned(), error };
        let readers = Arc::new(ReaderPool::new(path.to_owned()));
        let writer = LogWriter {
            connection,
            head: new_head,
            condition: condition.clone(),
            refused,
            journal: LogJournal::new(path, Arc::clone(&readers), JOURNAL_MAX),
            lock,
        };
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(thread_error)?;
        let check = BackgroundCheck::start(path, jobs.clone(), condition).map_err(thread_error)?;
        Ok(Self {
            shared: Arc::new(SharedStore {
                jobs: Mutex::new(Some(jobs)),
                room: Arc::new(Semaphore::new(QUEUE_BYTES)),
                head,
                shown_head: Mutex::default(),
                readers,
                writer: Mutex::new(Some(writer)),
                check,
                condition: watched,
            }),
        })
    }

    /// Watches the condition of the log, which the check in the background finds out.
    pub fn condition(&self) -> watch::Receiver<LogCondition> {
        self.shared.condition.clone()
    }

    /// Writes the queue, closes the log and releases its lock. From now on, appends through other clones
    /// fail, and subscriptions end with [`ReadError::Unavailable`].
    pub async fn close(self) {
        let shared = Arc::clone(&self.shared);
        // A panic there was reported where it happened.
        let _ = tokio::task::spawn_blocking(move || shared.finish()).await;
    }

    /// Changes one stream. On `Ok` the change is durable.
    pub(crate) async fn write(&self, write: StreamWrite) -> Result<WriteReceipt, WriteError> {
        let closed = || WriteError::Unavailable("the store is closed".to_owned());
        let size = u32::try_from(write.size().max(JOB_BYTES)).unwrap_or(u32::MAX);
        let answer = async {
            let room = Arc::clone(&self.shared.room).acquire_many_owned(size).await.map_err(|_| closed())?;
            let (reply, answer) = oneshot::channel();
            self.shared
                .jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .ok_or_else(closed)?
                .send(WriterJob::Write(WriteJob { write, reply, room }))
                .map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        timeout(WRITE_DEADLINE, answer).await.unwrap_or_else(|_| {
            let seconds = WRITE_DEADLINE.as_secs();
            Err(WriteError::Unavailable(format!("the disk gave no answer within {seconds} s")))
        })
    }

    /// Reads one page of the log, the store's own events included.
    pub(crate) async fn log_page(
        &self,
        span: LogSpan,
        wants: impl Fn(&str, &str) -> Result<bool, ReadError> + Send + 'static,
    ) -> Result<LogPage, ReadError> {
        self.shared.readers.read(move |log| pages::log_page(log, span, wants)).await
    }

    /// Reads one page of a stream, from `from` (inclusive) on.
    pub(crate) async fn stream_page(
        &self,
        name: StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<StreamAnswer, ReadError> {
        self.shared.readers.read(move |log| pages::stream_page(log, &name, from, direction, max)).await
    }

    /// Returns the event that deleted a stream for good.
    pub(crate) async fn tombstone(&self, name: StreamName) -> Result<Option<StoredEvent>, ReadError> {
        self.shared.readers.read(move |log| pages::tombstone(log, &name)).await
    }

    /// Watches the newest position. The channel closes with the store.
    pub(crate) fn watch_head(&self) -> watch::Receiver<Position> {
        self.shared.head.clone()
    }
}

/// Checks the newest events, and returns the reason to take no appends if one of them is damaged: they are what a crash or
/// a failed disk spoils, and an append after them would hide it. Events before and after can be read.
fn refusal_of(log: &Connection, head: Position) -> Option<WriteError> {
    let refusal = match check_newest(log, head) {
        Ok(newest) => WriteError::Corrupt(newest.damage.first()?.to_string()),
        Err(ReadError::Corrupt(why)) => WriteError::Corrupt(why),
        Err(error) => WriteError::Unavailable(error.to_string()),
    };
    tracing::error!("the event log takes no appends, because its newest events are not whole: {refusal}");
    Some(refusal)
}

/// Reads one page of the log as the port shows it: without the store's own events.
async fn user_page(
    readers: &Arc<ReaderPool>,
    after: Position,
    filter: Arc<EventFilter>,
    max: usize,
) -> Result<EventPage, ReadError> {
    let span = LogSpan { from: after, direction: ReadDirection::Forwards, scan_max: PAGE_EVENTS, max };
    let page = readers
        .read(move |log| {
            let head = pages::head(log).map_err(read_error)?;
            if after > head {
                // The reader has seen another log: it would miss the next events of this one.
                return Err(ReadError::BeyondEnd { after });
            }
            pages::log_page(log, span, |stream, kind| Ok(filter.passes_user(stream, kind)))
        })
        .await?;
    let events = page.events.into_iter().map(|stored| stored.event).collect();
    Ok(EventPage { events, next: page.next, end: page.end })
}

impl SharedStore {
    /// Waits until the writer has written the queue and closed the file. The writer's connection must
    /// be closed last, because only the last connection copies the journal into the file.
    fn finish(&self) {
        self.check.stop();
        self.readers.close_idle();
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the event log's writer panicked");
        }
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("head", &*self.shared.head.borrow()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Read for SqliteStore {
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let mut events = Vec::new();
        let mut from = from;
        while events.len() < max {
            let page = match self.stream_page(stream.clone(), from, direction, max - events.len()).await? {
                StreamAnswer::Page(page) => page,
                StreamAnswer::NotFound => break,
                StreamAnswer::Deleted => return Err(ReadError::StreamDeleted(stream.clone())),
            };
            events.extend(page.events.into_iter().map(|stored| stored.event));
            let Some(last) = events.last().filter(|_| !page.end) else { break };
            from = match direction {
                ReadDirection::Forwards => last.revision + 1,
                ReadDirection::Backwards if last.revision == 0 => break,
                ReadDirection::Backwards => last.revision - 1,
            };
        }
        Ok(events)
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        user_page(&self.shared.readers, after, Arc::new(filter.clone()), max).await
    }

    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.shared.readers.read(move |log| pages::event_at(log, position)).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let newest = *self.shared.head.borrow();
        let known = || self.shared.shown_head.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, shown) = *known();
        if at == newest {
            return Ok(shown);
        }
        let shown =
            self.shared.readers.read(move |log| pages::shown_head(log, newest).map_err(read_error)).await?;
        *known() = (newest, shown);
        Ok(shown)
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        self.shared.readers.read(move |log| pages::position_before(log, moment).map_err(read_error)).await
    }
}

#[async_trait]
impl Append for SqliteStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        let request = AppendRequest::validate(stream, expected, events)?;
        match self.write(request.into()).await {
            Ok(WriteReceipt { revision: Some(revision), position }) => {
                Ok(AppendReceipt { revision, position })
            }
            Ok(WriteReceipt { revision: None, .. }) => {
                Err(AppendError::Refused(format!("the append to {stream} has no events")))
            }
            Err(WriteError::Conflict { actual }) => {
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            Err(WriteError::StreamDeleted) => {
                Err(AppendError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(WriteError::Corrupt(why)) => Err(AppendError::Corrupt(why)),
            Err(WriteError::Unavailable(why)) => Err(AppendError::Unavailable(why)),
        }
    }
}

impl Subscribe for SqliteStore {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        subscribe::subscribe(Arc::clone(&self.shared.readers), self.shared.head.clone(), after, filter)
    }
}
