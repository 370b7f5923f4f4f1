//! The parts of a backup: SQLite files whose names tell their first and last positions.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, Row, params};

use super::{BackupError, remove_if_there, sync_directory};
use crate::{Position, sqlite::checksum::RowContent};

/// SQLite's application id of a part: "Mstb" in ASCII.
const APPLICATION_ID: i32 = 0x4d73_7462;

/// The version of a part's tables, kept in the file.
const FORMAT: i32 = 1;

/// The tables of a part. `previous` is the id of the event before the first one, so that parts of two logs cannot be mixed.
const TABLES: &str = "
    CREATE TABLE part (previous BLOB) STRICT;
    CREATE TABLE events (
        stream      TEXT    NOT NULL,
        revision    INTEGER NOT NULL,
        position    INTEGER PRIMARY KEY,
        id          BLOB    NOT NULL,
        kind        TEXT    NOT NULL,
        data        BLOB    NOT NULL,
        metadata    BLOB    NOT NULL,
        recorded_at INTEGER NOT NULL,
        json        INTEGER NOT NULL,
        checksum    INTEGER NOT NULL
    ) STRICT;";

/// The columns of an event, in the order of [`RowContent::read`], and its checksum.
const COLUMNS: &str = "stream, revision, position, id, kind, data, metadata, recorded_at, json, checksum";

/// The name of a part that is not complete.
const DRAFT: &str = "part.draft";

/// The id of an event, as a row has it.
pub(super) type EventId = [u8; 16];

/// A part that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartFile {
    pub(super) path: PathBuf,
    pub(super) first: Position,
    pub(super) last: Position,
}

/// Returns the parts in a directory, in the order of their positions.
///
/// # Errors
/// If a part is missing between others, or the directory cannot be read.
pub(super) fn parts_of(directory: &Path) -> Result<Vec<PartFile>, BackupError> {
    let unreadable = |error| BackupError::File { path: directory.to_owned(), error };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    let mut parts: Vec<_> = paths.into_iter().filter_map(PartFile::named).collect();
    parts.sort_by_key(|part| part.first);
    let mut next = Position(1);
    for part in &parts {
        if part.first != next {
            return Err(BackupError::Missing { directory: directory.to_owned(), position: next });
        }
        next = Position(part.last.0 + 1);
    }
    Ok(parts)
}

impl PartFile {
    /// Reads the name of a part: `events-FIRST-LAST.sqlite`.
    fn named(path: PathBuf) -> Option<Self> {
        let range = path.file_name()?.to_str()?.strip_prefix("events-")?.strip_suffix(".sqlite")?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (Position(first.parse().ok()?), Position(last.parse().ok()?));
        (first <= last && last.0 < u64::MAX).then_some(Self { path, first, last })
    }

    /// Returns the id of the last event.
    pub(super) fn last_id(&self) -> Result<EventId, BackupError> {
        let part = self.open()?;
        let id = part.query_row("SELECT id FROM events WHERE position = ?1", [self.last.0], |row| row.get(0));
        id.map_err(|error| self.damaged(format!("its last event cannot be read: {error}")))
    }

    /// Calls `each` with every event, after a look that the part goes on after the event `previous`.
    ///
    /// # Errors
    /// If the part is damaged, is not the one after `previous`, or `each` fails.
    pub(super) fn read(
        &self,
        previous: Option<EventId>,
        mut each: impl FnMut(&RowContent<'_>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let unreadable = |error: rusqlite::Error| self.damaged(error.to_string());
        let part = self.open()?;
        let follows: Option<EventId> =
            part.query_row("SELECT previous FROM part", [], |row| row.get(0)).map_err(unreadable)?;
        if follows != previous {
            return Err(self.damaged("it does not go on after the part before it".to_owned()));
        }
        let mut statement =
            part.prepare(&format!("SELECT {COLUMNS} FROM events ORDER BY position")).map_err(unreadable)?;
        let mut rows = statement.query([]).map_err(unreadable)?;
        let mut next = self.first;
        while let Some(row) = rows.next().map_err(unreadable)? {
            let content =
                checked(row, next).map_err(|why| self.damaged(format!("position {next}: {why}")))?;
            each(&content)?;
            next.0 += 1;
        }
        if next.0 != self.last.0 + 1 {
            return Err(self.damaged(format!("the event at position {next} is missing")));
        }
        Ok(())
    }

    fn open(&self) -> Result<Connection, BackupError> {
        let unreadable = |error: rusqlite::Error| self.damaged(error.to_string());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let part = Connection::open_with_flags(&self.path, flags).map_err(unreadable)?;
        let number =
            |name| part.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(unreadable);
        match (number("application_id")?, number("user_version")?) {
            (APPLICATION_ID, FORMAT) => {}
            (APPLICATION_ID, newer) => {
                let why = format!("a newer Muster wrote it, with version {newer} of a backup's parts");
                return Err(self.damaged(why));
            }
            _ => return Err(self.damaged("it is no part of a backup".to_owned())),
        }
        Ok(part)
    }

    fn damaged(&self, why: String) -> BackupError {
        BackupError::Part { path: self.path.clone(), why }
    }
}

/// Reads the event of a row, if it is the one at a position and its checksum is right.
fn checked<'a>(row: &'a Row<'_>, at: Position) -> Result<RowContent<'a>, String> {
    let content = RowContent::read(row).map_err(|error| error.to_string())?;
    let checksum: u32 = row.get(9).map_err(|error| error.to_string())?;
    if content.position != at.0 {
        return Err("the event is missing".to_owned());
    }
    if content.checksum() != checksum {
        return Err("the checksum is wrong".to_owned());
    }
    Ok(content)
}

/// A part that is being written.
pub(super) struct NewPart {
    directory: PathBuf,
    draft: Connection,
    /// The position before the first event.
    after: Position,
    /// The position of the last event so far.
    pub(super) last: Position,
    pub(super) last_id: Option<EventId>,
    pub(super) events: u64,
}

impl NewPart {
    /// Begins the part after the event at `after`, which has the id `previous`.
    pub(super) fn begin(
        directory: &Path,
        after: Position,
        previous: Option<EventId>,
    ) -> Result<Self, BackupError> {
        let path = directory.join(DRAFT);
        // An earlier backup may have been killed.
        remove_if_there(&path)?;
        let created = File::options().create_new(true).write(true).mode(0o600).open(&path);
        created.map_err(|error| BackupError::File { path: path.clone(), error })?;
        let begin = || {
            let draft = Connection::open(&path)?;
            // A draft that is not complete is thrown away, so it needs no journal.
            draft.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
            draft.pragma_update(None, "synchronous", "off")?;
            draft.pragma_update(None, "application_id", APPLICATION_ID)?;
            draft.pragma_update(None, "user_version", FORMAT)?;
            draft.execute_batch("BEGIN")?;
            draft.execute_batch(TABLES)?;
            draft.execute("INSERT INTO part (previous) VALUES (?1)", [previous])?;
            Ok(draft)
        };
        let draft = begin().map_err(|error| unwritable(&path, error))?;
        let directory = directory.to_owned();
        Ok(Self { directory, draft, after, last: after, last_id: previous, events: 0 })
    }

    /// Adds the next event.
    pub(super) fn add(&mut self, content: &RowContent<'_>) -> Result<(), BackupError> {
        let add = || {
            self.draft
                .prepare_cached(&format!(
                    "INSERT INTO events ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                ))?
                .execute(params![
                    content.stream,
                    content.revision,
                    content.position,
                    content.id,
                    content.kind,
                    content.data,
                    content.metadata,
                    content.recorded_at_us,
                    content.json,
                    content.checksum(),
                ])
        };
        add().map_err(|error| unwritable(&self.directory.join(DRAFT), error))?;
        self.last = Position(content.position);
        self.last_id = content.id.try_into().ok();
        self.events += 1;
        Ok(())
    }

    /// Makes the part complete, and safe from a loss of power.
    pub(super) fn finish(self) -> Result<(), BackupError> {
        let path = self.directory.join(DRAFT);
        let written = |result: rusqlite::Result<()>| result.map_err(|error| unwritable(&path, error));
        written(self.draft.execute_batch("COMMIT"))?;
        written(self.draft.close().map_err(|(_, error)| error))?;
        let name = format!("events-{:012}-{:012}.sqlite", self.after.0 + 1, self.last.0);
        let placed = File::open(&path)
            .and_then(|draft| draft.sync_all())
            .and_then(|()| fs::rename(&path, self.directory.join(name)));
        placed.map_err(|error| BackupError::File { path: path.clone(), error })?;
        sync_directory(&self.directory)
    }
}

fn unwritable(path: &Path, error: rusqlite::Error) -> BackupError {
    BackupError::File { path: path.to_owned(), error: io::Error::other(error) }
}
