//! Makes a log from the parts of a backup.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    BackupError,
    part::{EventId, parts_of},
    remove_if_there, sync_directory,
};
use crate::{
    RecordedEvent, StreamName,
    sqlite::{
        apply::insert_row,
        checksum::RowContent,
        open,
        streams::StreamRow,
        verify::{LogReport, verify_log},
    },
    stream::METADATA_KIND,
};

/// Makes a log at `log` from the backup in `directory`, verifies it, and gives it its name only then. `understands` is
/// asked for each event whether its content can be read, as in [`verify_log`].
///
/// # Errors
/// If a log is there, if the backup is damaged or has not all parts, or if the log cannot be written.
pub fn restore_log(
    directory: &Path,
    log: &Path,
    understands: impl FnMut(&RecordedEvent) -> Result<(), String>,
) -> Result<LogReport, BackupError> {
    let _lock = open::lock(log)?;
    for ending in ["", "-wal"] {
        let path = with_ending(log, ending);
        if fs::exists(&path).map_err(|error| BackupError::File { path: path.clone(), error })? {
            return Err(BackupError::Exists(path));
        }
    }
    let draft = with_ending(log, ".restoring");
    // An earlier restore may have been killed.
    for ending in ["", "-wal", "-shm"] {
        remove_if_there(&with_ending(&draft, ending))?;
    }
    let restored = fill(directory, &draft).and_then(|()| {
        let report = verify_log(&draft, understands)?;
        match report.damages.first() {
            Some(damage) => Err(BackupError::NotWhole(damage.clone())),
            None => Ok(report),
        }
    });
    for ending in ["-wal", "-shm"] {
        remove_if_there(&with_ending(&draft, ending))?;
    }
    if restored.is_err() {
        remove_if_there(&draft)?;
        return restored;
    }
    fs::rename(&draft, log).map_err(|error| BackupError::File { path: log.to_owned(), error })?;
    sync_directory(log.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    restored
}

/// Writes the events of all parts to a new log.
fn fill(directory: &Path, draft: &Path) -> Result<(), BackupError> {
    let parts = parts_of(directory)?;
    if parts.is_empty() {
        return Err(BackupError::Empty(directory.to_owned()));
    }
    let unwritable =
        |error: rusqlite::Error| BackupError::File { path: draft.to_owned(), error: io::Error::other(error) };
    let mut log = open::writer(draft)?;
    let mut previous: Option<EventId> = None;
    let mut newest_us = i64::MIN;
    for part in parts {
        let transaction = log.transaction().map_err(unwritable)?;
        let mut last = previous;
        part.read(previous, |content| {
            last = content.id.try_into().ok();
            let before_us = std::mem::replace(&mut newest_us, content.recorded_at_us);
            add(&transaction, content, content.recorded_at_us < before_us).map_err(unwritable)
        })?;
        previous = last;
        transaction.commit().map_err(unwritable)?;
    }
    log.close().map_err(|(_, error)| unwritable(error))
}

/// Writes an event, and its effect on the streams.
fn add(log: &Connection, content: &RowContent<'_>, steps_back: bool) -> rusqlite::Result<()> {
    if steps_back {
        log.prepare_cached("INSERT INTO clock_steps (position) VALUES (?1)")?.execute([content.position])?;
    }
    let name = StreamName::recorded(content.stream.to_owned());
    let stream = StreamRow::load_or_create(log, &name)?;
    insert_row(log, stream.id, content)?;
    stream.set_last_revision(log, content.revision)?;
    if let Some(described) = name.described()
        && content.kind == METADATA_KIND
    {
        StreamRow::load_or_create(log, &described)?.set_metadata(log, content.data)?;
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
