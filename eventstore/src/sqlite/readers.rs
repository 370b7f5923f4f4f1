//! Connections that read: readers never wait for the writer, nor it for them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Transaction;
use tokio::{sync::Semaphore, time::timeout};

use super::{open, pages::failed};
use crate::ReadError;

/// How many reads run at the same time.
const CONNECTIONS: usize = 4;

/// How long a read waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// A small pool of connections that read.
pub(super) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<rusqlite::Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(CONNECTIONS)), idle: Mutex::default() }
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
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| ReadError::Unavailable("too many reads are waiting".to_owned()))?;
        let readers = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let pooled = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => open::reader(&readers.path).map_err(failed)?,
            };
            let answer = work(&connection.transaction().map_err(failed)?);
            // A connection that failed is not used again.
            if answer.is_ok() {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            answer
        });
        job.await.map_err(|error| ReadError::Unavailable(format!("the read was given up: {error}")))?
    }
}
