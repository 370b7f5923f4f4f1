//! Opens the log's file: takes the lock, checks the schema's version, and sets up each connection.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    journal::JOURNAL_MAX,
    schema::{self, SCHEMA_VERSION},
};

/// The wait for a lock. Only recovery and checkpoints lock the file, and both are short.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process has the log open. A log has one writer; other processes reach it through its node.
    #[error("{} is in use by another process; a log has one writer", .0.display())]
    InUse(PathBuf),
    /// The file is something else.
    #[error("{} is not an event log", .0.display())]
    NotALog(PathBuf),
    /// The log has a schema version that this program does not know.
    #[error("{} has schema version {found}; this program reads versions 1 to {SCHEMA_VERSION}", path.display())]
    Version {
        /// The path of the log.
        path: PathBuf,
        /// The version in the file.
        found: i32,
    },
    /// The log was written by an older program, and nothing was changed.
    #[error("{} has schema version {found}; the next start of the log brings it to version {SCHEMA_VERSION}", path.display())]
    OlderVersion {
        /// The path of the log.
        path: PathBuf,
        /// The version in the file.
        found: i32,
    },
    /// The file is missing, too short, or not readable.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The path of the log.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The log cannot be kept as we need it, e.g. because the file system has no shared memory: readers would hold up the
    /// writer.
    #[error("{} cannot have the journal mode wal, but only {found}; use a local file system", path.display())]
    JournalMode {
        /// The path of the log.
        path: PathBuf,
        /// The mode that SQLite can have there.
        found: String,
    },
    /// The lock file beside the log cannot be created or locked.
    #[error("cannot lock {}: {error}", path.display())]
    Lock {
        /// The lock file's path.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The file cannot be opened or read.
    #[error("cannot open {}: {error}", path.display())]
    Sqlite {
        /// The path of the log.
        path: PathBuf,
        /// The error that SQLite reports.
        error: rusqlite::Error,
    },
}

/// The log's lock. It is released when it is dropped, and not only when its file is closed: a child process that is being
/// started has the file open too, until its own program runs.
#[derive(Debug)]
pub(super) struct LogLock(File);

impl Drop for LogLock {
    fn drop(&mut self) {
        // Closing the file releases it as well, but for such a child.
        let _ = self.0.unlock();
    }
}

/// Takes the log's lock.
///
/// The lock has a file of its own, because closing any handle of the database file would drop the locks
/// that SQLite holds on it.
pub(super) fn lock(log: &Path) -> Result<LogLock, OpenLogError> {
    let mut name = OsString::from(log);
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(error) => return Err(OpenLogError::Lock { path, error }),
    };
    match file.try_lock() {
        Ok(()) => Ok(LogLock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenLogError::InUse(log.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenLogError::Lock { path, error }),
    }
}

/// Opens the connection that writes. Creates the schema in a new file, and brings an older one up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenLogError> {
    let failed = |error| sqlite_error(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    schema::prepare(&mut connection, path)?;
    set_journal_mode(&connection, path)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    connection.pragma_update(None, "cache_size", -16 * 1024).map_err(failed)?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", JOURNAL_MAX, |_| Ok(()))
        .map_err(failed)?;
    Ok(connection)
}

/// Sets the journal mode. Where the mode cannot be had, SQLite reports no error but another mode.
fn set_journal_mode(connection: &Connection, path: &Path) -> Result<(), OpenLogError> {
    let found = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        .map_err(|error| sqlite_error(path, error))?;
    if found == "wal" { Ok(()) } else { Err(OpenLogError::JournalMode { path: path.to_owned(), found }) }
}

/// Opens a connection that reads a log which [`writer`] has opened.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Opens a connection that reads a log from outside, at rest or while another process has it open.
///
/// # Errors
/// If it is no log, or a log of another version than this program writes.
pub(super) fn existing(path: &Path) -> Result<Connection, OpenLogError> {
    let failed = |error| sqlite_error(path, error);
    let mut log = reader(path).map_err(failed)?;
    let version = schema::found_version(&log.transaction().map_err(failed)?, path)?;
    match version {
        Some(SCHEMA_VERSION) => Ok(log),
        Some(found) => Err(OpenLogError::OlderVersion { path: path.to_owned(), found }),
        None => Err(OpenLogError::NotALog(path.to_owned())),
    }
}

pub(super) fn sqlite_error(path: &Path, error: rusqlite::Error) -> OpenLogError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenLogError::NotALog(path.to_owned()),
        _ => OpenLogError::Sqlite { path: path.to_owned(), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_process_that_is_being_started_keeps_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.db");
        let held = lock(&log).unwrap();
        let of_child = held.0.try_clone().unwrap();
        assert!(matches!(lock(&log), Err(OpenLogError::InUse(_))));
        drop(held);
        drop(lock(&log).unwrap());
        drop(of_child);
    }

    #[test]
    fn another_journal_mode_is_refused() {
        let in_memory = Connection::open_in_memory().unwrap();
        let refused = set_journal_mode(&in_memory, Path::new("log")).unwrap_err();
        assert!(refused.to_string().contains("only memory"), "{refused}");
    }
}
