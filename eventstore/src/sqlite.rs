//! The embedded store: one SQLite file, one writer, any number of readers in
//! the same process. Acknowledged means on disk.
//!
//! ```text
//!  append ──> queue (bounded by bytes) ──> writer thread ── one transaction for all that wait ──> file
//!                                               │ new head                                         │
//!  subscribe ── wait for a new head <───────────┘                                                  │
//!            └─ read pages <───────────────────────────────────────────────────────────────────────┘
//! ```

mod append;
mod follow;
mod open;
mod pages;
mod readers;
mod streams;
mod write;
mod writer;

pub use open::OpenLogError;
pub(crate) use pages::{Entry, LogPage, PAGE_EVENTS, Span, StreamAnswer};
pub(crate) use write::{
    Action, Condition, MAX_APPEND_BYTES, Proposed, Rejected, Write, Written, proposed_by_us,
};

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use self::{pages::failed, readers::Readers, writer::Job};
use crate::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, StreamName, Subscribe, Subscription,
};

/// How many bytes may wait to be written before writes have to wait.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// What a waiting write costs at least, so that small ones are bounded too.
const JOB_BYTES: usize = 4 * 1024;

/// How long a write may take, the wait for its turn included.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// The embedded store. Clones share one writer; when the last is dropped the
/// log is flushed and closed.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once the store is closed.
    jobs: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    /// What bounds the queue: its free bytes.
    room: Arc<Semaphore>,
    head: watch::Receiver<Position>,
    readers: Arc<Readers>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the log at `path`, or makes a new one there. Its directory must
    /// exist. Beside it lie SQLite's `-wal` and `-shm` and our `.lock`.
    ///
    /// # Errors
    /// When another process has the log open, when the file is not a log or
    /// one of another version, or when it cannot be opened for writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenLogError> {
        let path = path.as_ref();
        let lock = open::lock(path)?;
        let connection = open::writer(path)?;
        let failed = |error| OpenLogError::Sqlite { path: path.to_owned(), error };
        let (new_head, head) = watch::channel(pages::head(&connection).map_err(failed)?);
        let (jobs, queue) = mpsc::unbounded_channel();
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || writer::run(connection, queue, new_head, lock))
            .map_err(|error| OpenLogError::Lock { path: path.to_owned(), error })?;
        Ok(Self {
            shared: Arc::new(Shared {
                jobs: Mutex::new(Some(jobs)),
                room: Arc::new(Semaphore::new(QUEUE_BYTES)),
                head,
                readers: Arc::new(Readers::new(path.to_owned())),
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// Writes what is queued, closes the log, and lets another process have
    /// it. Appends through other clones fail from now on, and subscriptions
    /// end with [`ReadError::Unavailable`].
    pub async fn close(self) {
        let shared = Arc::clone(&self.shared);
        // A panic there was reported where it happened.
        let _ = tokio::task::spawn_blocking(move || shared.finish()).await;
    }

    /// Writes to one stream. On `Ok` it is durable.
    pub(crate) async fn write(&self, write: Write) -> Result<Written, Rejected> {
        let closed = || Rejected::Unavailable("the store is closed".to_owned());
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
                .send(Job { write, reply, room })
                .map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        timeout(WRITE_DEADLINE, answer).await.unwrap_or_else(|_| {
            let seconds = WRITE_DEADLINE.as_secs();
            Err(Rejected::Unavailable(format!("no answer from the disk within {seconds} s")))
        })
    }

    /// One page of the log, the store's own events included.
    pub(crate) async fn log_page(
        &self,
        span: Span,
        wants: impl Fn(&str, &str) -> Result<bool, ReadError> + Send + 'static,
    ) -> Result<LogPage, ReadError> {
        self.shared.readers.read(move |log| pages::log_page(log, span, wants)).await
    }

    /// One page of a stream, from `from` (inclusive) on.
    pub(crate) async fn stream_page(
        &self,
        name: StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<StreamAnswer, ReadError> {
        self.shared.readers.read(move |log| pages::stream_page(log, &name, from, direction, max)).await
    }

    /// The event that ended a stream for good.
    pub(crate) async fn tombstone(&self, name: StreamName) -> Result<Option<Entry>, ReadError> {
        self.shared.readers.read(move |log| pages::tombstone(log, &name)).await
    }

    /// The newest position, now and whenever it changes. Closed with the store.
    pub(crate) fn watch_head(&self) -> watch::Receiver<Position> {
        self.shared.head.clone()
    }
}

/// One page of the log as the port shows it: without the store's own events.
async fn port_page(
    readers: &Arc<Readers>,
    after: Position,
    filter: Arc<EventFilter>,
    max: usize,
) -> Result<EventPage, ReadError> {
    let span = Span { from: after, direction: ReadDirection::Forwards, consider: PAGE_EVENTS, max };
    let page = readers
        .read(move |log| {
            let head = pages::head(log).map_err(failed)?;
            if after > head {
                // Such a reader has seen another log: what this one records
                // next would be skipped.
                let why = format!("position {after} is beyond the log's end at {head}");
                return Err(ReadError::Refused(why));
            }
            pages::log_page(log, span, |stream, kind| Ok(filter.passes_ours(stream, kind)))
        })
        .await?;
    let events = page.entries.into_iter().map(|entry| entry.event).collect();
    Ok(EventPage { events, next: page.next, end: page.end })
}

impl Shared {
    /// Waits until the writer has written all and closed the file. The
    /// writer's connection must be the last, for it to fold the journal in.
    fn finish(&self) {
        self.readers.close_idle();
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}

impl Drop for Shared {
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
                StreamAnswer::Gone => {
                    return Err(ReadError::Refused(format!("the stream {stream} was deleted for good")));
                }
            };
            events.extend(page.entries.into_iter().map(|entry| entry.event));
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
        port_page(&self.shared.readers, after, Arc::new(filter.clone()), max).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(*self.shared.head.borrow())
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        self.shared.readers.read(move |log| pages::position_before(log, moment).map_err(failed)).await
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
        let written = self.write(Write::of_ours(stream.clone(), expected, events)?).await;
        match written {
            Ok(Written { revision: Some(revision), position: Some(position) }) => {
                Ok(AppendReceipt { revision, position })
            }
            Ok(_) => Err(AppendError::Refused("an append needs at least one event".to_owned())),
            Err(Rejected::Conflict { actual }) => {
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            Err(Rejected::Gone) => {
                Err(AppendError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(Rejected::Unavailable(why)) => Err(AppendError::Unavailable(why)),
        }
    }
}

impl Subscribe for SqliteStore {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        follow::follow(Arc::clone(&self.shared.readers), self.shared.head.clone(), after, filter)
    }
}
