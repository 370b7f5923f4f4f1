//! The connections that read. Readers never wait for the writer, and the writer never waits for them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Transaction;
use tokio::{sync::Semaphore, time::timeout};

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

    /// Runs `work` on one of the connections, in one snapshot of the log.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = timeout(WAIT_MAX, Arc::clone(&self.permits).acquire_owned()).await.map_err(|_| {
            ReadError::Unavailable(format!("no connection was free within {} s", WAIT_MAX.as_secs()))
        })?;
        let readers = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let pooled = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => open::reader(&readers.path).map_err(read_error)?,
            };
            let result = work(&connection.transaction().map_err(read_error)?);
            // A connection that failed is not used again.
            if result.is_ok() {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            result
        });
        job.await.map_err(|error| ReadError::Unavailable(format!("the read was aborted: {error}")))?
    }
}
