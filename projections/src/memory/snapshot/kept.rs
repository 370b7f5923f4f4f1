//! The files of snapshots: the newest one and the one before, beside the log. They only save time. Whatever is wrong with
//! them, the log is read instead.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_store::{Position, Read};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{FrozenViews, MemoryState, SnapshotError, SnapshotReader, WriteDeadline};
use crate::{FirstCatchUp, MemoryViews};

/// The names of the files in the data directory: the newest snapshot, the one before, and one that is being written.
const NAMES: [&str; 3] = ["views.snapshot", "views.snapshot.1", "views.snapshot.draft"];

/// The number of positions in the log after which another snapshot is due.
const POSITIONS_BETWEEN: u64 = 100_000;

/// The shortest time between two snapshots. Each one writes all views.
const PAUSE: Duration = Duration::from_secs(60);

/// The time after a deletion in which others are likely to follow.
const DELETIONS_PAUSE: Duration = Duration::from_secs(2);

/// The time that snapshots of a process may take once it is to end, while others wait for that.
const LAST_DEADLINE: Duration = Duration::from_secs(10);

/// The time for the log to name one event.
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// The snapshots in a directory that no other process uses. Once this is dropped, a write under way gives up.
#[derive(Debug)]
pub struct ViewSnapshots {
    directory: PathBuf,
    /// Whether the newest and the previous one fit this log, as far as is known.
    fit: [bool; 2],
    /// The checkpoint of the views that were written or read last.
    seen: Position,
    /// The number of deletions that this process had applied by then.
    deletions: u64,
    deadline: WriteDeadline,
}

impl ViewSnapshots {
    /// Names the snapshots of a data directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            fit: [false; 2],
            seen: Position::START,
            deletions: 0,
            deadline: WriteDeadline::default(),
        }
    }

    /// Removes the snapshots of a data directory.
    ///
    /// # Errors
    /// If one cannot be removed. The others are removed nevertheless.
    pub fn remove_from(directory: &Path) -> io::Result<()> {
        NAMES.iter().map(|name| remove(&directory.join(name))).fold(Ok(()), io::Result::and)
    }

    /// Lets the views go on from the newest snapshot that fits the log. If there is none, they stay as they are. Says in the
    /// log of the process which files were passed over, and why. A file that will never be of use is removed, because
    /// somebody's data in it may have been deleted from the log since.
    pub async fn load(&mut self, views: &MemoryViews, log: &(impl Read + ?Sized)) {
        let [newest, previous, draft] = NAMES.map(|name| self.directory.join(name));
        if let Err(error) = remove(&draft) {
            tracing::warn!("the draft {} of a process before cannot be removed: {error}", draft.display());
        }
        for (number, path) in [newest, previous].iter().enumerate() {
            let begun = Instant::now();
            match read(path, log).await {
                Ok(state) => {
                    let (at, took) = (state.checkpoint, begun.elapsed());
                    tracing::info!("the views go on at position {at}, from {} in {took:?}", path.display());
                    (self.fit[number], self.seen) = (true, at);
                    views.replace(state);
                    return;
                }
                Err(SnapshotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(why) => pass_over(path, &why),
            }
        }
    }

    /// Writes snapshots of the views while they are projected, and the last one when `ended` is cancelled.
    pub async fn keep(mut self, views: Arc<MemoryViews>, log: Arc<dyn Read>, ended: CancellationToken) {
        let deadline = self.deadline.clone();
        // A snapshot that is being written then has the same deadline as the last one.
        let ending = async {
            ended.cancelled().await;
            deadline.set(Instant::now() + LAST_DEADLINE);
        };
        tokio::join!(ending, self.write_until(&views, &*log, &ended));
    }

    /// Sets the moment at which writing a snapshot gives up. The first such moment counts.
    pub fn end_by(&self, until: Instant) {
        self.deadline.set(until);
    }

    /// Writes a snapshot of the views, which follow this log. The one before is kept, unless something was deleted since.
    /// Returns the length, or `None` if there is nothing to write.
    ///
    /// # Errors
    /// If the file cannot be written, or not in time, or if the log has no event where the views are.
    pub async fn write(
        &mut self,
        views: &MemoryViews,
        log: &(impl Read + ?Sized),
    ) -> io::Result<Option<u64>> {
        let (deletions, seen) = (*views.deleted.borrow(), *views.checkpoint.borrow());
        let frozen = FrozenViews::of(&views.read());
        if deletions != self.deletions {
            self.fit = [false; 2];
        }
        if self.fit == [false; 2] {
            // Deleted data must not live on in an older file, also if no other one can be written.
            let directory = self.directory.clone();
            blocking(move || Self::remove_from(&directory)).await?;
        }
        if frozen.at.event.is_none() {
            (self.seen, self.deletions) = (seen, deletions);
            return Ok(None);
        }
        let event = event_at(log, frozen.newest).await?;
        let ([newest_fits, previous_fits], directory) = (self.fit, self.directory.clone());
        let deadline = self.deadline.clone();
        let length = blocking(move || {
            let [newest, previous, draft] = NAMES.map(|name| directory.join(name));
            let write = || {
                let file =
                    File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
                let length = frozen.write(file, event, deadline)?;
                if newest_fits {
                    // An operator may have removed it.
                    unless_missing(fs::rename(&newest, &previous))?;
                }
                fs::rename(&draft, &newest)?;
                File::open(&directory)?.sync_all()?;
                Ok::<_, io::Error>(length)
            };
            write().inspect_err(|_| drop(remove(&draft)))
        });
        let length = length.await?;
        (self.fit, self.seen, self.deletions) = ([true, newest_fits || previous_fits], seen, deletions);
        Ok(Some(length))
    }

    /// Writes snapshots whenever they are due, until `ended` is cancelled, and then the last one.
    async fn write_until(&mut self, views: &MemoryViews, log: &dyn Read, ended: &CancellationToken) {
        let mut caught_up = FirstCatchUp::of(views);
        if ended.run_until_cancelled(caught_up.wait()).await.is_some() {
            while ended.run_until_cancelled(self.due(views)).await.is_some() {
                self.write_or_warn(views, log).await;
                if ended.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                    break;
                }
            }
        }
        self.end_by(Instant::now() + LAST_DEADLINE);
        if self.seen < *views.checkpoint.borrow() || self.deletions < *views.deleted.borrow() {
            self.write_or_warn(views, log).await;
        }
    }

    /// Waits until another snapshot is due.
    async fn due(&self, views: &MemoryViews) {
        let (mut checkpoint, mut deleted) = (views.checkpoint.subscribe(), views.deleted.subscribe());
        let next = self.seen.0.saturating_add(POSITIONS_BETWEEN);
        tokio::select! {
            () = async { drop(checkpoint.wait_for(|at| at.0 >= next).await) } => {}
            () = async { drop(deleted.wait_for(|deletions| *deletions > self.deletions).await) } => {
                sleep(DELETIONS_PAUSE).await;
            }
        }
    }

    async fn write_or_warn(&mut self, views: &MemoryViews, log: &dyn Read) {
        let begun = Instant::now();
        match self.write(views, log).await {
            Ok(Some(length)) => {
                let (at, took) = (self.seen, begun.elapsed());
                tracing::info!("wrote a snapshot of the views at position {at}, {length} bytes in {took:?}");
            }
            Ok(None) => {}
            Err(error) => {
                let directory = self.directory.display();
                tracing::warn!("no snapshot of the views could be written in {directory}: {error}");
            }
        }
    }
}

impl Drop for ViewSnapshots {
    fn drop(&mut self) {
        // The thread that writes is not stopped with the task that waits for it.
        self.end_by(Instant::now());
    }
}

/// Reads a snapshot, if it fits the log.
async fn read(path: &Path, log: &(impl Read + ?Sized)) -> Result<MemoryState, SnapshotError> {
    let opening = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || SnapshotReader::open(&opening));
    let (file, at) = opened.await.map_err(io::Error::other)??;
    at.check(log).await?;
    let thawing = tokio::task::spawn_blocking(move || MemoryState::thaw(file, at.resume));
    thawing.await.map_err(io::Error::other)?
}

fn pass_over(path: &Path, why: &SnapshotError) {
    let shown = path.display();
    match why.is_lasting().then(|| remove(path)) {
        None => tracing::warn!("the snapshot {shown} is passed over: {why}"),
        Some(Ok(())) => tracing::warn!("the snapshot {shown} is passed over and removed: {why}"),
        Some(Err(error)) => {
            tracing::warn!("the snapshot {shown} is passed over, and cannot be removed ({error}): {why}");
        }
    }
}

/// Returns the id of the event at a position.
async fn event_at(log: &(impl Read + ?Sized), position: Position) -> io::Result<Uuid> {
    let found = timeout(LOG_DEADLINE, log.event_at(position)).await?.map_err(io::Error::other)?;
    let missing = || io::Error::other(format!("the log has no event at position {position}"));
    found.map(|event| event.id).ok_or_else(missing)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn remove(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_file(path))
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
