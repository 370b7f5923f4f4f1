//! Damage of the log, with its place.

use rusqlite::{Connection, Row};

use super::{
    checksum::RowContent,
    read_error::{is_corrupt, read_error},
};
use crate::{EventPlace, Position, ReadError, Revision, StreamName};

/// Returns the content of a row that has the columns of [`COLUMNS`](super::pages::COLUMNS), if its checksum is right.
pub(super) fn check_checksum<'a>(log: &Connection, row: &'a Row<'_>) -> Result<RowContent<'a>, ReadError> {
    let damaged = |error: rusqlite::Error| {
        if is_corrupt(&error) {
            ReadError::DamagedEvent { place: place_of(row), why: error.to_string() }
        } else {
            read_error(error)
        }
    };
    let content = RowContent::read(row).map_err(damaged)?;
    let why = match row.get::<_, Option<u32>>(9).map_err(damaged)? {
        Some(checksum) if checksum == content.checksum() => return Ok(content),
        Some(_) => "the checksum is wrong",
        None if is_unsummed(log, content.position).map_err(read_error)? => return Ok(content),
        None => "the checksum is missing",
    };
    Err(ReadError::DamagedEvent { place: content.place(), why: why.to_owned() })
}

/// Returns true if the event at a position is from before checksums, and has none yet.
fn is_unsummed(log: &Connection, position: u64) -> rusqlite::Result<bool> {
    log.prepare_cached("SELECT 1 FROM unsummed WHERE ?1 BETWEEN first AND last")?.exists([position])
}

/// Returns the place of a row, as far as it can be read.
fn place_of(row: &Row<'_>) -> EventPlace {
    let stream = row.get_ref(0).ok().and_then(|value| value.as_bytes().ok());
    let stream = stream.map(|name| StreamName::recorded(String::from_utf8_lossy(name).into_owned()));
    EventPlace { position: row.get(2).ok().map(Position), stream, revision: row.get(1).ok() }
}

impl RowContent<'_> {
    /// Returns the place of the event.
    pub(super) fn place(&self) -> EventPlace {
        EventPlace {
            position: Some(Position(self.position)),
            stream: Some(StreamName::recorded(self.stream.to_owned())),
            revision: Some(self.revision),
        }
    }
}

/// Returns the error for a position without an event.
pub(super) fn missing_position(position: u64) -> ReadError {
    let place = EventPlace { position: Some(Position(position)), ..EventPlace::default() };
    ReadError::DamagedEvent { place, why: "the event is missing".to_owned() }
}

/// Returns the error for a revision without an event.
pub(super) fn missing_revision(stream: &StreamName, revision: Revision) -> ReadError {
    let place = EventPlace { stream: Some(stream.clone()), revision: Some(revision), position: None };
    ReadError::DamagedEvent { place, why: "the event is missing".to_owned() }
}
