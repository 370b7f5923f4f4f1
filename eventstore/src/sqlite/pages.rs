//! Pages of the log and of one stream. A page is bounded by the events it
//! looks at and by the bytes it holds, so no reader holds more than that.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use uuid::Uuid;

use super::streams::{END_OF_TIME, Stream, is_gone};
use crate::{Position, ReadDirection, ReadError, RecordedEvent, Revision, StreamName};

/// How many events a page looks at, at most.
pub(crate) const PAGE_EVENTS: usize = 1000;

/// How many bytes of events a page may hold; its last event may exceed it.
const PAGE_BYTES: usize = 1024 * 1024;

/// In the order in which [`entry`] reads them.
const COLUMNS: &str =
    "s.name, e.revision, e.position, e.id, e.kind, e.data, e.metadata, e.recorded_at, e.json";

/// An event, and whether its writer called it JSON.
pub(crate) struct Entry {
    pub(crate) event: RecordedEvent,
    pub(crate) json: bool,
}

/// A part of the log to look at.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// Begins after this position, or before it when going backwards.
    pub(crate) from: Position,
    pub(crate) direction: ReadDirection,
    /// How many events to look at, at most [`PAGE_EVENTS`].
    pub(crate) consider: usize,
    /// How many events to return.
    pub(crate) max: usize,
}

/// What of a part of the log was wanted.
pub(crate) struct LogPage {
    pub(crate) entries: Vec<Entry>,
    /// How many events were looked at.
    pub(crate) considered: usize,
    /// The position of the last one; where the next page goes on.
    pub(crate) next: Position,
    /// Whether there is no more.
    pub(crate) end: bool,
}

/// What a stream answers to a reader.
pub(crate) enum StreamAnswer {
    /// Nobody wrote to it, or it was deleted.
    NotFound,
    /// It was deleted for good.
    Gone,
    Page(StreamPage),
}

pub(crate) struct StreamPage {
    pub(crate) entries: Vec<Entry>,
    /// The newest revision of the stream.
    pub(crate) last: Revision,
    /// Whether there is no more in this direction.
    pub(crate) end: bool,
}

pub(super) fn log_page(
    log: &Transaction<'_>,
    span: Span,
    wants: impl Fn(&str, &str) -> Result<bool, ReadError>,
) -> Result<LogPage, ReadError> {
    let (beyond, order) = match span.direction {
        ReadDirection::Forwards => (">", "ASC"),
        ReadDirection::Backwards => ("<", "DESC"),
    };
    let consider = span.consider.min(PAGE_EVENTS);
    let from = i64::try_from(span.from.0).unwrap_or(i64::MAX);
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.position {beyond} ?1 ORDER BY e.position {order} LIMIT ?2"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![from, consider]).map_err(failed)?;
    let mut page = LogPage { entries: Vec::new(), considered: 0, next: span.from, end: false };
    let mut bytes = 0;
    while page.entries.len() < span.max && bytes < PAGE_BYTES && page.considered < consider {
        let Some(row) = rows.next().map_err(failed)? else {
            page.end = true;
            break;
        };
        page.considered += 1;
        page.next = Position(row.get(2).map_err(failed)?);
        let stream = row.get_ref(0).map_err(failed)?.as_str().map_err(|error| failed(error.into()))?;
        let kind = row.get_ref(4).map_err(failed)?.as_str().map_err(|error| failed(error.into()))?;
        if wants(stream, kind)? {
            let entry = entry(row)?;
            bytes += entry.event.data.len() + entry.event.metadata.len();
            page.entries.push(entry);
        }
    }
    if !page.end && span.direction == ReadDirection::Forwards {
        page.end = page.next == head(log).map_err(failed)?;
    }
    Ok(page)
}

pub(super) fn stream_page(
    log: &Transaction<'_>,
    name: &StreamName,
    from: Revision,
    direction: ReadDirection,
    max: usize,
) -> Result<StreamAnswer, ReadError> {
    if is_gone(log, name).map_err(failed)? {
        return Ok(StreamAnswer::Gone);
    }
    let Some(stream) = Stream::load(log, name).map_err(failed)? else { return Ok(StreamAnswer::NotFound) };
    let Some(last) = stream.last_revision else { return Ok(StreamAnswer::NotFound) };
    if stream.is_deleted() {
        return Ok(StreamAnswer::NotFound);
    }
    let from = from.min(i64::MAX as u64);
    let (oldest, newest, order) = match direction {
        ReadDirection::Forwards => (stream.oldest().max(from), i64::MAX as u64, "ASC"),
        ReadDirection::Backwards => (stream.oldest(), from, "DESC"),
    };
    let max = max.min(PAGE_EVENTS);
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.stream = ?1 AND e.revision BETWEEN ?2 AND ?3 AND e.recorded_at >= ?4
             ORDER BY e.revision {order} LIMIT ?5"
        ))
        .map_err(failed)?;
    let mut rows =
        statement.query(params![stream.id, oldest, newest, stream.since_us(), max]).map_err(failed)?;
    let mut page = StreamPage { entries: Vec::new(), last, end: false };
    let mut bytes = 0;
    while page.entries.len() < max && bytes < PAGE_BYTES {
        let Some(row) = rows.next().map_err(failed)? else {
            page.end = true;
            break;
        };
        let entry = entry(row)?;
        bytes += entry.event.data.len() + entry.event.metadata.len();
        page.entries.push(entry);
    }
    Ok(StreamAnswer::Page(page))
}

/// The newest position.
pub(super) fn head(log: &Connection) -> rusqlite::Result<Position> {
    log.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?
        .query_row([], |row| row.get(0))
        .map(Position)
}

/// The newest position whose event, and so every one before it, was recorded
/// before `moment`. The log's clock never goes backwards.
pub(super) fn position_before(log: &Connection, moment: Timestamp) -> rusqlite::Result<Position> {
    // The first moment that a row is told apart from, in its own unit.
    let micros = moment.as_nanosecond().div_euclid(1000) + i128::from(moment.as_nanosecond() % 1000 != 0);
    let mut recorded_at = log.prepare_cached("SELECT recorded_at FROM events WHERE position = ?1")?;
    // Positions have no gaps.
    let (mut older, mut newer) = (0, head(log)?.0 + 1);
    while newer - older > 1 {
        let middle = older + (newer - older) / 2;
        let at: i64 = recorded_at.query_row([middle], |row| row.get(0))?;
        *if i128::from(at) < micros { &mut older } else { &mut newer } = middle;
    }
    Ok(Position(older))
}

/// The event that ended a stream for good.
pub(super) fn tombstone(log: &Connection, name: &StreamName) -> Result<Option<Entry>, ReadError> {
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE s.name = ?1 AND e.revision = ?2"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![name.as_str(), END_OF_TIME]).map_err(failed)?;
    rows.next().map_err(failed)?.map(entry).transpose()
}

fn entry(row: &Row<'_>) -> Result<Entry, ReadError> {
    let read = || -> rusqlite::Result<_> {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            Position(row.get(2)?),
            Uuid::from_bytes(row.get(3)?),
            row.get(4)?,
            Bytes::from(row.get::<_, Vec<u8>>(5)?),
            Bytes::from(row.get::<_, Vec<u8>>(6)?),
            row.get::<_, i64>(7)?,
            row.get(8)?,
        ))
    };
    let (name, revision, position, id, kind, data, metadata, recorded_at_us, json) =
        read().map_err(failed)?;
    let stream = StreamName::recorded(name);
    let recorded_at = Timestamp::from_microsecond(recorded_at_us)
        .map_err(|error| ReadError::Refused(format!("the log is damaged at position {position}: {error}")))?;
    let event = RecordedEvent { id, stream, revision, position, kind, data, metadata, recorded_at };
    Ok(Entry { event, json })
}

/// A damaged file stays so, and then the row is not what it must be, or
/// SQLite says it itself; anything else may pass.
pub(super) fn failed(error: rusqlite::Error) -> ReadError {
    match error.sqlite_error_code() {
        None | Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            ReadError::Refused(format!("the log is damaged: {error}"))
        }
        Some(_) => ReadError::Unavailable(error.to_string()),
    }
}
