//! Backs up a log, at rest or while a process has it open, and makes a log from a backup.
//!
//! A backup is a directory of parts, each with the events after those of the part before it. Events never change, so a part
//! is written once, and a backup that goes on writes only the new events. A backup needs nothing but events: streams and the
//! limits of what readers see follow from them.

mod part;
mod restore;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension};

pub use self::restore::restore_log;

use self::part::{NewPart, parts_of};
use super::{
    PAGE_EVENTS,
    check::check_page,
    open::{self, OpenLogError},
    pages::head,
    read_error::read_error,
};
use crate::{Position, ReadError};

/// The number of events after which a new part begins.
const PART_EVENTS: u64 = 1_000_000;

/// The name of the file that keeps two backups from writing to one directory.
const LOCK: &str = "backup.lock";

/// The result of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The number of events that this backup added.
    pub added: u64,
    /// The number of events that the directory has now.
    pub events: u64,
    /// The number of parts that the directory has now.
    pub parts: usize,
}

/// The reason why a log could not be backed up or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// The log cannot be read, or is damaged.
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The log is damaged.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The log that the backup makes is damaged. It was removed.
    #[error("the backup makes a damaged log: {0}")]
    NotWhole(String),
    /// The directory has a backup of another log.
    #[error(
        "{} has the backup of another log, or of this one before it was restored from an older copy: the event at position \
         {position} is another one",
        directory.display()
    )]
    OtherLog {
        /// The directory of the backup.
        directory: PathBuf,
        /// The position of the backup's last event.
        position: Position,
    },
    /// A part is damaged, or written by a newer program.
    #[error("{}: {why}", path.display())]
    Part {
        /// The path of the part.
        path: PathBuf,
        /// The damage.
        why: String,
    },
    /// Parts are missing.
    #[error("{} lacks the part that begins at position {position}", directory.display())]
    Missing {
        /// The directory of the backup.
        directory: PathBuf,
        /// The position of the first event that is missing.
        position: Position,
    },
    /// The directory has no part at all.
    #[error("{} has no backup of a log", .0.display())]
    Empty(PathBuf),
    /// Another process backs up to the directory.
    #[error("another process backs up to {}", .0.display())]
    InUse(PathBuf),
    /// There is a log where one should be made.
    #[error("{} exists already, and no log is overwritten", .0.display())]
    Exists(PathBuf),
    /// A file or a directory cannot be read or written.
    #[error("cannot read or write {}: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system or of SQLite.
        error: io::Error,
    },
}

/// Adds the events that a backup does not have yet. The log may be open in another process, which is not held up.
///
/// # Errors
/// If the log cannot be read or is damaged, if the directory has the backup of another log, or if it cannot be written. What
/// the directory had stays as it was, and the next call goes on there.
pub fn back_up_log(log: &Path, directory: &Path) -> Result<BackupReport, BackupError> {
    let _lock = lock(directory)?;
    let parts = parts_of(directory)?;
    let mut source = open::existing(log)?;
    let mut at = Position::START;
    let mut last_id = None;
    if let Some(part) = parts.last() {
        let id = part.last_id()?;
        at = part.last;
        if event_id(&source, at)? != Some(id) {
            return Err(BackupError::OtherLog { directory: directory.to_owned(), position: at });
        }
        last_id = Some(id);
    }
    let head = head(&source).map_err(read_error)?;
    let mut report = BackupReport { added: 0, events: at.0, parts: parts.len() };
    while at < head {
        let mut part = NewPart::begin(directory, at, last_id)?;
        while part.events < PART_EVENTS && part.last < head {
            add_page(&mut source, &mut part)?;
        }
        report.added += part.events;
        report.parts += 1;
        (at, last_id) = (part.last, part.last_id);
        part.finish()?;
    }
    report.events = at.0;
    Ok(report)
}

/// Copies the next events of the log to a part. The checksum of each is compared on the way.
fn add_page(source: &mut Connection, part: &mut NewPart) -> Result<(), BackupError> {
    // A page has a transaction of its own, so that the log's journal does not grow as long as the backup takes.
    let snapshot = source.transaction().map_err(read_error)?;
    let mut written = Ok(());
    let page = check_page(&snapshot, part.last, PAGE_EVENTS, |event| {
        if let (Ok(content), Ok(())) = (event, &written) {
            written = part.add(content);
        }
        None
    })?;
    written?;
    match page.damage.first() {
        Some(damage) => Err(BackupError::Damaged(damage.to_string())),
        None => Ok(()),
    }
}

/// Returns the id of the event at a position.
fn event_id(log: &Connection, at: Position) -> Result<Option<[u8; 16]>, ReadError> {
    let id = log.query_row("SELECT id FROM events WHERE position = ?1", [at.0], |row| row.get(0));
    id.optional().map_err(read_error)
}

fn lock(directory: &Path) -> Result<File, BackupError> {
    let path = directory.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|error| BackupError::File { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(BackupError::File { path, error }),
    }
}

/// Makes the new names in a directory outlast a loss of power.
fn sync_directory(directory: &Path) -> Result<(), BackupError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| BackupError::File { path: directory.to_owned(), error })
}

fn remove_if_there(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::File { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}
