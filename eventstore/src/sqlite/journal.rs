//! Bounds SQLite's journal, the `-wal` file. SQLite begins it anew only at a moment at which nobody reads from it, and with
//! readers that overlap no such moment comes by itself. So the writer makes one when the journal is long.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;

use super::{open::BUSY_TIMEOUT, readers::ReaderPool};

/// The length from which the journal is emptied, in bytes.
pub(super) const JOURNAL_MAX: u64 = 64 * 1024 * 1024;

/// The longest wait for our own readers. A read is one page, so it is short.
const READERS_WAIT: Duration = Duration::from_secs(1);

/// The wait for readers of other processes, and for the check in the background.
const OTHERS_WAIT: Duration = Duration::from_millis(100);

/// The journal of the writer's connection.
pub(super) struct LogJournal {
    path: PathBuf,
    readers: Arc<ReaderPool>,
    max: u64,
    /// The length at which the journal is emptied next.
    next: u64,
}

impl LogJournal {
    pub(super) fn new(log: &Path, readers: Arc<ReaderPool>, max: u64) -> Self {
        let mut path = log.as_os_str().to_owned();
        path.push("-wal");
        Self { path: path.into(), readers, max, next: max }
    }

    /// Empties the journal if it is too long. Reads that begin meanwhile wait.
    ///
    /// # Errors
    /// If the disk fails. The journal stays, and no event is lost.
    pub(super) fn bound(&mut self, log: &Connection) -> rusqlite::Result<()> {
        let length = self.length();
        if length <= self.next {
            return Ok(());
        }
        // If somebody still reads, or the disk fails: try again when it has grown by another quarter.
        self.next = length + self.max / 4;
        let paused = self.readers.pause(READERS_WAIT);
        if paused.is_some() && empty(log)? {
            self.next = self.max;
        }
        Ok(())
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |journal| journal.len())
    }
}

/// Copies the journal into the file and empties it. Returns false if somebody reads from it.
fn empty(log: &Connection) -> rusqlite::Result<bool> {
    log.busy_timeout(OTHERS_WAIT)?;
    let busy = log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    log.busy_timeout(BUSY_TIMEOUT)?;
    Ok(!busy?)
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::sqlite::open;

    const MAX: u64 = 256 * 1024;

    /// Returns the greatest length of the journal while 2 MB are written and readers overlap.
    async fn longest(max: u64) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = open::writer(&path).unwrap();
        let readers = Arc::new(ReaderPool::new(path.clone()));
        let began = Arc::new((Mutex::new(0_u64), Condvar::new()));
        let reading: Vec<_> = (0..3)
            .map(|_| {
                let (readers, began) = (Arc::clone(&readers), Arc::clone(&began));
                tokio::spawn(async move {
                    loop {
                        let began = Arc::clone(&began);
                        // Each read lasts until two others have begun, unless these have to wait.
                        let read = readers.read(move |log| {
                            log.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
                            let mut count = began.0.lock().unwrap();
                            *count += 1;
                            let mine = *count;
                            began.1.notify_all();
                            let others =
                                began.1.wait_timeout_while(count, Duration::from_millis(50), |count| {
                                    *count < mine + 2
                                });
                            drop(others.unwrap());
                            Ok(())
                        });
                        read.await.unwrap();
                    }
                })
            })
            .collect();
        let written = tokio::task::spawn_blocking(move || {
            // The first reads are under way.
            let count = began.0.lock().unwrap();
            drop(began.1.wait_while(count, |count| *count < 3).unwrap());
            let mut journal = LogJournal::new(&path, readers, max);
            let mut longest = 0;
            for _ in 0..64 {
                log.execute("INSERT INTO streams (name) VALUES (hex(randomblob(16 * 1024)))", []).unwrap();
                journal.bound(&log).unwrap();
                longest = longest.max(journal.length());
            }
            longest
        });
        let longest = written.await.unwrap();
        reading.iter().for_each(tokio::task::JoinHandle::abort);
        longest
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_journal_is_bounded_while_readers_overlap() {
        let bounded = longest(MAX).await;
        assert!(bounded <= 2 * MAX, "{bounded} bytes");
        let unbounded = longest(u64::MAX).await;
        assert!(unbounded > 4 * MAX, "the readers leave no moment: {unbounded} bytes");
    }
}
