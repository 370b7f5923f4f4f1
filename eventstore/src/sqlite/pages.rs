//! Pages of the log and of one stream. A page is bounded in the events that it scans and in the bytes
//! that it holds, and so is the memory of its reader.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use uuid::Uuid;

use super::{
    checksum::RowContent,
    damage::{self, check_checksum},
    read_error::read_error,
    streams::{StreamRow, TOMBSTONE_REVISION, is_tombstoned},
};
use crate::{Position, ReadDirection, ReadError, RecordedEvent, Revision, StreamName};

/// The largest number of events that one page scans.
pub(crate) const PAGE_EVENTS: usize = 1000;

/// The largest number of bytes in one page. Only its last event may exceed it.
const PAGE_BYTES: usize = 1024 * 1024;

/// The columns in the order in which [`RowContent::read`] and [`check_checksum`] read them.
pub(super) const COLUMNS: &str =
    "s.name, e.revision, e.position, e.id, e.kind, e.data, e.metadata, e.recorded_at, e.json, e.checksum";

/// An event as the file has it.
pub(crate) struct StoredEvent {
    pub(crate) event: RecordedEvent,
    /// True if the writer called the data JSON.
    pub(crate) json: bool,
}

/// The part of the log that a page is read from.
#[derive(Clone, Copy)]
pub(crate) struct LogSpan {
    /// The scan begins after this position, or before it if it goes backwards.
    pub(crate) from: Position,
    pub(crate) direction: ReadDirection,
    /// The largest number of events to scan; at most [`PAGE_EVENTS`].
    pub(crate) scan_max: usize,
    /// The largest number of events to return.
    pub(crate) max: usize,
}

/// The wanted events of a part of the log.
pub(crate) struct LogPage {
    pub(crate) events: Vec<StoredEvent>,
    /// The number of events scanned.
    pub(crate) scanned: usize,
    /// The position of the last event scanned, where the next page goes on.
    pub(crate) next: Position,
    /// True if the end of the log was reached.
    pub(crate) end: bool,
}

/// The answer to a reader of a stream.
pub(crate) enum StreamAnswer {
    /// The stream has no events, or it was deleted.
    NotFound,
    /// The stream was deleted for good.
    Deleted,
    Page(StreamPage),
}

pub(crate) struct StreamPage {
    pub(crate) events: Vec<StoredEvent>,
    /// The newest revision of the stream.
    pub(crate) last: Revision,
    /// True if the stream has no more events in this direction.
    pub(crate) end: bool,
}

pub(super) fn log_page(
    log: &Transaction<'_>,
    span: LogSpan,
    wants: impl Fn(&str, &str) -> Result<bool, ReadError>,
) -> Result<LogPage, ReadError> {
    let (beyond, order) = match span.direction {
        ReadDirection::Forwards => (">", "ASC"),
        ReadDirection::Backwards => ("<", "DESC"),
    };
    let scan_max = span.scan_max.min(PAGE_EVENTS);
    let from = i64::try_from(span.from.0).unwrap_or(i64::MAX);
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.position {beyond} ?1 ORDER BY e.position {order} LIMIT ?2"
        ))
        .map_err(read_error)?;
    let mut rows = statement.query(params![from, scan_max]).map_err(read_error)?;
    let mut page = LogPage { events: Vec::new(), scanned: 0, next: span.from, end: false };
    let mut bytes = 0;
    while page.events.len() < span.max && bytes < PAGE_BYTES && page.scanned < scan_max {
        let expected = match span.direction {
            ReadDirection::Backwards if page.scanned == 0 => newest_before(log, span.from)?,
            direction => next_position(page.next, direction),
        };
        let checked = match rows.next() {
            Ok(Some(row)) => check_row(log, row, expected).map(Some),
            Ok(None) => check_end(log, &page, span.direction, expected).map(|()| None),
            Err(error) => Err(read_error(error)),
        };
        let content = match checked {
            Ok(Some(content)) => content,
            Ok(None) => {
                page.end = true;
                break;
            }
            // The events before the damage are read, and the next page ends at it.
            Err(_) if page.scanned > 0 => return Ok(page),
            Err(error) => return Err(error),
        };
        page.scanned += 1;
        page.next = Position(content.position);
        if wants(content.stream, content.kind)? {
            bytes += content.data.len() + content.metadata.len();
            page.events.push(stored_event(&content)?);
        }
    }
    if !page.end && span.direction == ReadDirection::Forwards {
        page.end = page.next == head(log).map_err(read_error)?;
    }
    Ok(page)
}

/// Returns the position that follows in a direction, because positions have no gaps.
fn next_position(position: Position, direction: ReadDirection) -> Option<u64> {
    match direction {
        ReadDirection::Forwards => position.0.checked_add(1),
        ReadDirection::Backwards => position.0.checked_sub(1),
    }
}

/// Returns the position with which a page begins that is read backwards, or `None` if nothing is before `from`.
fn newest_before(log: &Connection, from: Position) -> Result<Option<u64>, ReadError> {
    let newest = head(log).map_err(read_error)?.0.min(from.0.saturating_sub(1));
    Ok((newest > 0).then_some(newest))
}

/// Fails if a page that found no more rows has not reached the newest position, or the first one backwards.
fn check_end(
    log: &Connection,
    page: &LogPage,
    direction: ReadDirection,
    expected: Option<u64>,
) -> Result<(), ReadError> {
    let missing = match direction {
        ReadDirection::Forwards if page.next >= head(log).map_err(read_error)? => None,
        ReadDirection::Forwards | ReadDirection::Backwards => expected.filter(|position| *position > 0),
    };
    missing.map_or(Ok(()), |position| Err(damage::missing_position(position)))
}

/// Returns the content of the next row of the log, if the row is whole and no other is missing before it.
fn check_row<'a>(
    log: &Connection,
    row: &'a Row<'_>,
    expected: Option<u64>,
) -> Result<RowContent<'a>, ReadError> {
    let content = check_checksum(log, row)?;
    match expected.filter(|expected| *expected != content.position) {
        Some(missing) => Err(damage::missing_position(missing)),
        None => Ok(content),
    }
}

pub(super) fn stream_page(
    log: &Transaction<'_>,
    name: &StreamName,
    from: Revision,
    direction: ReadDirection,
    max: usize,
) -> Result<StreamAnswer, ReadError> {
    if is_tombstoned(log, name).map_err(read_error)? {
        return Ok(StreamAnswer::Deleted);
    }
    let Some(stream) = StreamRow::load(log, name).map_err(read_error)? else {
        return Ok(StreamAnswer::NotFound);
    };
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
        .map_err(read_error)?;
    let mut rows =
        statement.query(params![stream.id, oldest, newest, stream.since_us(), max]).map_err(read_error)?;
    let mut page = StreamPage { events: Vec::new(), last, end: false };
    let mut bytes = 0;
    // Revisions have no gaps, but the events that are too old to be shown may leave some.
    let mut expected = (!stream.hides_by_age()).then_some(match direction {
        ReadDirection::Forwards => oldest,
        ReadDirection::Backwards => newest.min(last),
    });
    while page.events.len() < max && bytes < PAGE_BYTES {
        let checked = match rows.next() {
            Ok(Some(row)) => check_checksum(log, row).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(read_error(error)),
        };
        let missing = |content: Option<&RowContent<'_>>| {
            expected.filter(|expected| {
                content.map_or((stream.oldest()..=last).contains(expected), |content| {
                    *expected != content.revision
                })
            })
        };
        let checked = checked.and_then(|content| match missing(content.as_ref()) {
            Some(revision) => Err(damage::missing_revision(name, revision)),
            None => Ok(content),
        });
        let content = match checked {
            Ok(Some(content)) => content,
            Ok(None) => {
                page.end = true;
                break;
            }
            // The events before the damage are read, and the next page ends at it.
            Err(_) if !page.events.is_empty() => return Ok(StreamAnswer::Page(page)),
            Err(error) => return Err(error),
        };
        expected = expected.and_then(|expected| match direction {
            ReadDirection::Forwards => Some(expected + 1),
            ReadDirection::Backwards => expected.checked_sub(1),
        });
        bytes += content.data.len() + content.metadata.len();
        page.events.push(stored_event(&content)?);
    }
    Ok(StreamAnswer::Page(page))
}

/// Returns the event at a position, or `None` for the start of the log.
pub(super) fn event_at(log: &Transaction<'_>, at: Position) -> Result<Option<RecordedEvent>, ReadError> {
    if at > head(log).map_err(read_error)? {
        return Err(ReadError::BeyondEnd { after: at });
    }
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream WHERE e.position = ?1"
        ))
        .map_err(read_error)?;
    let mut rows = statement.query([at.0]).map_err(read_error)?;
    match rows.next().map_err(read_error)? {
        Some(row) => Ok(Some(stored_event(&check_checksum(log, row)?)?.event)),
        None if at == Position::START => Ok(None),
        None => Err(damage::missing_position(at.0)),
    }
}

/// Returns the newest position, or [`Position::START`] if the log is empty.
pub(super) fn head(log: &Connection) -> rusqlite::Result<Position> {
    log.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?
        .query_row([], |row| row.get(0))
        .map(Position)
}

/// Returns the newest position up to `newest` whose event does not belong to the store itself.
pub(super) fn shown_head(log: &Connection, newest: Position) -> rusqlite::Result<Position> {
    log.prepare_cached(
        "SELECT coalesce((
             SELECT e.position FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.position <= ?1 AND substr(e.kind, 1, 1) <> '$' AND substr(s.name, 1, 1) <> '$'
             ORDER BY e.position DESC LIMIT 1
         ), 0)",
    )?
    .query_row([newest.0], |row| row.get(0))
    .map(Position)
}

/// Returns a position that every event recorded at or after `moment` follows: the last one before the first such event.
/// Searches each part of the log in which the clock never goes backwards, by binary search.
pub(super) fn position_before(log: &Connection, moment: Timestamp) -> rusqlite::Result<Position> {
    // Rows have microseconds: round up, so that no event before `moment` is missed.
    let micros = moment.as_nanosecond().div_euclid(1000) + i128::from(moment.as_nanosecond() % 1000 != 0);
    let mut recorded_at = log.prepare_cached("SELECT recorded_at FROM events WHERE position = ?1")?;
    let end = head(log)?.0 + 1;
    let mut steps = log.prepare_cached("SELECT position FROM clock_steps ORDER BY position")?;
    let steps = steps.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u64>>>()?;
    let mut first = 1;
    for next in steps.into_iter().chain([end]) {
        // Positions have no gaps.
        let (mut older, mut newer) = (first - 1, next);
        while newer - older > 1 {
            let middle = older + (newer - older) / 2;
            let at: i64 = recorded_at.query_row([middle], |row| row.get(0))?;
            if i128::from(at) < micros {
                older = middle;
            } else {
                newer = middle;
            }
        }
        if newer < next {
            return Ok(Position(older));
        }
        first = next;
    }
    Ok(Position(end - 1))
}

/// Returns the event that deleted a stream for good.
pub(super) fn tombstone(log: &Connection, name: &StreamName) -> Result<Option<StoredEvent>, ReadError> {
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE s.name = ?1 AND e.revision = ?2"
        ))
        .map_err(read_error)?;
    let mut rows = statement.query(params![name.as_str(), TOMBSTONE_REVISION]).map_err(read_error)?;
    let Some(row) = rows.next().map_err(read_error)? else { return Ok(None) };
    stored_event(&check_checksum(log, row)?).map(Some)
}

pub(super) fn stored_event(content: &RowContent<'_>) -> Result<StoredEvent, ReadError> {
    let whole = || -> Result<_, String> {
        let id = Uuid::from_slice(content.id).map_err(|error| format!("its id: {error}"))?;
        let recorded_at = Timestamp::from_microsecond(content.recorded_at_us)
            .map_err(|error| format!("its time: {error}"))?;
        Ok((id, recorded_at))
    };
    let (id, recorded_at) = whole().map_err(|why| ReadError::DamagedEvent { place: content.place(), why })?;
    let event = RecordedEvent {
        id,
        stream: StreamName::recorded(content.stream.to_owned()),
        revision: content.revision,
        position: Position(content.position),
        kind: content.kind.to_owned(),
        data: Bytes::copy_from_slice(content.data),
        metadata: Bytes::copy_from_slice(content.metadata),
        recorded_at,
    };
    Ok(StoredEvent { event, json: content.json != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event_of_size, new_stream};
    use crate::{Append, ExpectedRevision, SqliteStore};

    #[tokio::test]
    async fn an_event_that_is_missing_ends_what_is_read_backwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let backwards = async |delete: &str, from: u64| {
            if !delete.is_empty() {
                Connection::open(&path).unwrap().execute_batch(delete).unwrap();
            }
            let store = SqliteStore::open(&path).unwrap();
            let span =
                LogSpan { from: Position(from), direction: ReadDirection::Backwards, scan_max: 8, max: 8 };
            let page = store.log_page(span, |_, _| Ok(true)).await;
            store.close().await;
            page.map(|page| {
                (page.events.into_iter().map(|e| e.event.position.0).collect::<Vec<_>>(), page.end)
            })
        };
        let store = SqliteStore::open(&path).unwrap();
        let events = (0..6).map(|_| event_of_size(10)).collect();
        store.append(&new_stream(), ExpectedRevision::Any, events).await.unwrap();
        store.close().await;
        assert_eq!(backwards("", u64::MAX).await.unwrap(), (vec![6, 5, 4, 3, 2, 1], true));
        assert_eq!(backwards("", 3).await.unwrap(), (vec![2, 1], true));
        assert_eq!(backwards("", 1).await.unwrap(), (vec![], true));
        assert_eq!(backwards("DELETE FROM events WHERE position = 4", 7).await.unwrap(), (vec![6, 5], false));
        assert!(backwards("", 5).await.unwrap_err().to_string().contains('4'));
        assert_eq!(backwards("DELETE FROM events WHERE position = 1", 4).await.unwrap(), (vec![3, 2], false));
        assert!(backwards("", 2).await.is_err());
    }
}
