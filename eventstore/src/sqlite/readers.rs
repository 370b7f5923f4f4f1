//! The connections that read. Readers never wait for the writer, and the writer never waits for them.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rusqlite::Transaction;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{open, read_error::read_error};
use crate::ReadError;

/// The number of reads that run at the same time.
const CONNECTIONS: usize = 4;

/// The longest wait for a free connection.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A pool of at most [`CONNECTIONS`] connections.
pub(super) struct ReaderPool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<rusqlite::Connection>>,
}

impl ReaderPool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, permits: Arc::new(Semaphore::new(CONNECTIONS)), idle: Mutex::default() }
    }

    /// Closes the connections that are not in use.
    pub(super) fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until no connection is in use, and lets none be used until the answer is dropped. Blocks the thread. Returns
    /// `None` if the readers take longer than `longest`.
    pub(super) fn pause(&self, longest: Duration) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let deadline = Instant::now() + longest;
        // Later readers queue behind this request, so it is answered although they overlap.
        let mut permit = pin!(Arc::clone(&self.permits).acquire_many_owned(all));
        let waker = Waker::from(Arc::new(ThreadWaker(thread::current())));
        loop {
            if let Poll::Ready(permit) = permit.as_mut().poll(&mut Context::from_waker(&waker)) {
                return permit.ok();
            }
            thread::park_timeout(deadline.checked_duration_since(Instant::now())?);
        }
    }

    /// Runs `work` on one of the connections, in one snapshot of the log.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        // A task of its own waits for the permit. A caller that is not polled, as a subscription whose
        // client has stopped reading, would hold a permit that it was given and never use it.
        let job = AbortOnDropHandle::new(tokio::spawn(Arc::clone(self).wait_and_read(work)));
        job.await.map_err(aborted)?
    }

    async fn wait_and_read<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = timeout(WAIT_MAX, Arc::clone(&self.permits).acquire_owned()).await.map_err(|_| {
            ReadError::Unavailable(format!("no connection was free within {} s", WAIT_MAX.as_secs()))
        })?;
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => open::reader(&self.path).map_err(read_error)?,
            };
            let result = work(&connection.transaction().map_err(read_error)?);
            // A connection that failed is not used again.
            if result.is_ok() {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        });
        job.await.map_err(aborted)?
    }
}

/// Wakes the thread that waits for the readers.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn aborted(error: JoinError) -> ReadError {
    ReadError::Unavailable(format!("the read was aborted: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::poll;

    use super::*;

    /// A stream whose client stops reading is not polled again until the client goes on.
    #[tokio::test]
    async fn readers_that_are_not_polled_hold_no_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        drop(rusqlite::Connection::open(&path).unwrap());
        let pool = Arc::new(ReaderPool::new(path));
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let busy: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (pool, ended) = (Arc::clone(&pool), Arc::clone(&ended));
                tokio::spawn(async move {
                    pool.read(move |_| Ok(ended.lock().unwrap().recv().is_ok())).await.unwrap()
                })
            })
            .collect();
        let all_busy = async {
            while pool.permits.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(WAIT_MAX, all_busy).await.expect("every connection is in use");
        let mut stalled: Vec<_> = (0..CONNECTIONS).map(|_| Box::pin(pool.read(|_| Ok(())))).collect();
        for reader in &mut stalled {
            assert!(poll!(reader.as_mut()).is_pending());
        }
        for _ in 0..CONNECTIONS {
            end.send(()).unwrap();
        }
        for reader in busy {
            assert!(reader.await.unwrap());
        }
        let read = timeout(WAIT_MAX / 2, pool.read(|_| Ok(1))).await;
        assert_eq!(read.expect("a connection is free").unwrap(), 1);
        drop(stalled);
    }
}
