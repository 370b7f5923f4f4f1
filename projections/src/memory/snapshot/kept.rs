//! The files of snapshots: the newest one and the one before, beside the log. They only save time. Whatever is wrong with
//! them, the log is read instead.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_store::{LogIdentity, Position, Read};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{FrozenViews, MemoryState, SnapshotError, SnapshotReader};
use crate::{FirstCatchUp, MemoryViews};

/// The names of the files in the data directory: the newest snapshot, the one before, and one that is being written.
const NAMES: [&str; 3] = ["views.snapshot", "views.snapshot.1", "views.snapshot.draft"];

/// The number of positions in the log after which another snapshot is due.
const POSITIONS_BETWEEN: u64 = 100_000;

/// The shortest time between two snapshots. Each one writes all views.
const PAUSE: Duration = Duration::from_secs(60);

/// The time after a deletion in which others are likely to follow.
const DELETIONS_PAUSE: Duration = Duration::from_secs(2);

/// The time that the last snapshot of a process may take, while others wait for the process to end.
const LAST_DEADLINE: Duration = Duration::from_secs(10);

/// The snapshots in a directory that no other process uses.
#[derive(Debug)]
pub struct ViewSnapshots {
    directory: PathBuf,
    /// Whether the newest and the previous one fit this log, as far as is known.
    fit: [bool; 2],
    /// The checkpoint of the views that were written or read last.
    seen: Position,
    /// The number of deletions that this process had applied by then.
    deletions: u64,
}

impl ViewSnapshots {
    /// Names the snapshots of a data directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), fit: [false; 2], seen: Position::START, deletions: 0 }
    }

    /// Removes the snapshots of a data directory, because its log gets others' events.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove_from(directory: &Path) -> io::Result<()> {
        NAMES.iter().try_for_each(|name| remove(&directory.join(name)))
    }

    /// Opens the newest snapshot that fits the log, or empty views if there is none. Says in the log of the process which
    /// files were passed over, and why.
    pub async fn open(&mut self, log: &(impl Read + ?Sized)) -> MemoryViews {
        for (number, name) in NAMES[..2].iter().enumerate() {
            let path = self.directory.join(name);
            let begun = Instant::now();
            match read(&path, log).await {
                Ok(state) => {
                    let (at, took) = (state.checkpoint, begun.elapsed());
                    tracing::info!("the views go on at position {at}, from {} in {took:?}", path.display());
                    (self.fit[number], self.seen) = (true, at);
                    return MemoryViews::of(state);
                }
                Err(SnapshotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(why) => tracing::warn!("the snapshot {} is passed over: {why}", path.display()),
            }
        }
        MemoryViews::new()
    }

    /// Writes snapshots of the views while they are projected, and the last one when `ended` is cancelled.
    pub async fn keep(mut self, views: Arc<MemoryViews>, ended: CancellationToken) {
        let mut caught_up = FirstCatchUp::of(&*views);
        if ended.run_until_cancelled(caught_up.wait()).await.is_some() {
            while ended.run_until_cancelled(self.due(&views)).await.is_some() {
                self.write_or_warn(&views, None).await;
                if ended.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                    break;
                }
            }
        }
        if self.seen < *views.checkpoint.borrow() || self.deletions < *views.deleted.borrow() {
            self.write_or_warn(&views, Some(Instant::now() + LAST_DEADLINE)).await;
        }
    }

    /// Writes a snapshot of the views. The one before is kept, unless something was deleted since. Returns the length, or
    /// `None` if there is nothing to write.
    ///
    /// # Errors
    /// If the file cannot be written, or not until the moment `until`.
    pub async fn write(&mut self, views: &MemoryViews, until: Option<Instant>) -> io::Result<Option<u64>> {
        let (deletions, seen) = (*views.deleted.borrow(), *views.checkpoint.borrow());
        let frozen = FrozenViews::of(&views.read());
        if frozen.at.event.is_none() {
            return Ok(None);
        }
        let [newest, previous, draft] = NAMES.map(|name| self.directory.join(name));
        // What was deleted is not to live on in an older file.
        let keeps_previous = deletions == self.deletions;
        let (newest_fits, previous_fits) = (keeps_previous && self.fit[0], keeps_previous && self.fit[1]);
        let directory = self.directory.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            let length = frozen.write(file, until).inspect_err(|_| drop(remove(&draft)))?;
            match (newest_fits, previous_fits) {
                (true, _) => fs::rename(&newest, &previous)?,
                (false, true) => {}
                (false, false) => remove(&previous)?,
            }
            fs::rename(&draft, &newest)?;
            File::open(directory)?.sync_all()?;
            Ok::<_, io::Error>(length)
        });
        let length = writing.await.map_err(io::Error::other)??;
        (self.fit, self.seen, self.deletions) = ([true, newest_fits || previous_fits], seen, deletions);
        Ok(Some(length))
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

    async fn write_or_warn(&mut self, views: &MemoryViews, until: Option<Instant>) {
        let begun = Instant::now();
        match self.write(views, until).await {
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

/// Reads a snapshot, if it fits the log.
async fn read(path: &Path, log: &(impl Read + ?Sized)) -> Result<MemoryState, SnapshotError> {
    let opening = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || SnapshotReader::open(&opening));
    let (file, at) = opened.await.map_err(io::Error::other)??;
    at.check(log, LogIdentity::read(log).await?).await?;
    tokio::task::spawn_blocking(move || MemoryState::thaw(file, at)).await.map_err(io::Error::other)?
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
