//! Opens the log's file: takes the lock, checks the schema's version, and sets up each connection.

use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// SQLite's application id of a Muster event log: "Mstr" in ASCII.
const APPLICATION_ID: i32 = 0x4d73_7472;

/// The version of `schema.sql`, kept in the file.
const SCHEMA_VERSION: i32 = 1;

/// The events before which the clock was set back. Logs of older programs lack the table, and their clock never went back.
const CLOCK_STEPS: &str = "CREATE TABLE IF NOT EXISTS clock_steps (position INTEGER PRIMARY KEY) STRICT";

/// The wait for a lock. Only recovery and checkpoints lock the file, and both are short.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
    #[error("{} has schema version {found}; this program reads version {SCHEMA_VERSION}", path.display())]
    Version {
        /// The path of the log.
        path: PathBuf,
        /// The version in the file.
        found: i32,
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

/// Takes the log's lock, which is held until the returned file is dropped.
///
/// The lock has a file of its own, because closing any handle of the database file would drop the locks
/// that SQLite holds on it.
pub(super) fn lock(log: &Path) -> Result<File, OpenLogError> {
    let mut name = OsString::from(log);
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Ok(file) => file,
        Err(error) => return Err(OpenLogError::Lock { path, error }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenLogError::InUse(log.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenLogError::Lock { path, error }),
    }
}

/// Opens the connection that writes. Creates the schema in a new file, and checks it in an old one.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenLogError> {
    let failed = |error| sqlite_error(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    check_schema(&mut connection, path)?;
    connection.execute_batch(CLOCK_STEPS).map_err(failed)?;
    // `journal_mode` returns a row, which `pragma_update` would refuse.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    connection.pragma_update(None, "cache_size", -16 * 1024).map_err(failed)?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", 64 * 1024 * 1024, |_| Ok(()))
        .map_err(failed)?;
    Ok(connection)
}

/// Opens a connection that reads a log which [`writer`] has opened.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn check_schema(connection: &mut Connection, path: &Path) -> Result<(), OpenLogError> {
    let failed = |error| sqlite_error(path, error);
    let transaction = connection.transaction().map_err(failed)?;
    let number = |sql| transaction.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(failed);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let application = number("SELECT application_id FROM pragma_application_id")?;
    let version = number("SELECT user_version FROM pragma_user_version")?;

    if tables == 0 && application == 0 && version == 0 {
        transaction.execute_batch(include_str!("schema.sql")).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
        return transaction.commit().map_err(failed);
    }
    match (application, version) {
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(()),
        (APPLICATION_ID, found) => Err(OpenLogError::Version { path: path.to_owned(), found }),
        _ => Err(OpenLogError::NotALog(path.to_owned())),
    }
}

fn sqlite_error(path: &Path, error: rusqlite::Error) -> OpenLogError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenLogError::NotALog(path.to_owned()),
        _ => OpenLogError::Sqlite { path: path.to_owned(), error },
    }
}
