//! Carries out one write inside the writer's transaction.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    checksum::RowContent,
    idempotency::{WriteCheck, check},
    streams::{StreamRow, TOMBSTONE_REVISION, TRUNCATE_BEFORE},
    write::{StreamWrite, WriteAction, WriteError, WriteReceipt},
};
use crate::{
    Position, Revision, StreamName,
    append_request::ProposedEvent,
    stream::{METADATA_KIND, TOMBSTONE_KIND},
};

/// The end of the log, as the transaction sees it.
pub(super) struct LogTail {
    pub(super) head: Position,
    recorded_at_us: i64,
    /// True if the next event is recorded at an earlier moment than the newest one.
    steps_back: bool,
}

/// The time that the log's clock stands still if the system's was set back, in microseconds.
const HELD_MAX_US: i64 = 60_000_000;

impl LogTail {
    pub(super) fn load(log: &Connection) -> rusqlite::Result<Self> {
        let last = log
            .prepare_cached("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let (head, newest_us) = last.unwrap_or((0, i64::MIN));
        let (recorded_at_us, steps_back) = next_moment(newest_us, Timestamp::now().as_microsecond());
        Ok(Self { head: Position(head), recorded_at_us, steps_back })
    }
}

/// Returns the moment of the next event, and whether it is before the newest one. If the system's clock was set back by up
/// to [`HELD_MAX_US`], the log's clock stands still until the system's is past it. If by more, the newest moment was wrong:
/// then the log's clock goes back with the system's, or one wrong moment would stay for ever.
fn next_moment(newest_us: i64, now_us: i64) -> (i64, bool) {
    let steps_back = newest_us.saturating_sub(HELD_MAX_US) > now_us;
    (if steps_back { now_us } else { now_us.max(newest_us) }, steps_back)
}

/// Carries out a write, unless its condition does not hold or the write was carried out before.
///
/// The outer error is the database's and spoils the whole transaction. The inner error concerns this
/// write alone and leaves no trace.
pub(super) fn apply(
    log: &Connection,
    tail: &mut LogTail,
    write: &StreamWrite,
) -> rusqlite::Result<Result<WriteReceipt, WriteError>> {
    let stream = StreamRow::load(log, &write.stream)?;
    if stream.as_ref().is_some_and(StreamRow::is_tombstoned) {
        return Ok(Err(WriteError::StreamDeleted));
    }
    match check(log, stream.as_ref(), write)? {
        WriteCheck::New => {}
        WriteCheck::Repeated(receipt) => return Ok(Ok(receipt)),
        WriteCheck::Rejected(error) => return Ok(Err(error)),
    }
    let receipt = match &write.action {
        WriteAction::Append(events) => append(log, tail, &write.stream, events)?,
        WriteAction::Delete => delete(log, tail, &write.stream)?,
        WriteAction::Tombstone => {
            let tombstone = [ProposedEvent::system_event(TOMBSTONE_KIND, Bytes::new())];
            let stream = StreamRow::load_or_create(log, &write.stream)?;
            insert(log, tail, (&write.stream, &stream), TOMBSTONE_REVISION, &tombstone)?
        }
    };
    Ok(Ok(receipt))
}

fn append(
    log: &Connection,
    tail: &mut LogTail,
    name: &StreamName,
    events: &[ProposedEvent],
) -> rusqlite::Result<WriteReceipt> {
    let Some(newest) = events.last() else { return append_nothing(log, tail, name) };
    let stream = StreamRow::load_or_create(log, name)?;
    let receipt = insert(log, tail, (name, &stream), stream.next_revision(), events)?;
    if stream.is_deleted() {
        // An append revives a deleted stream, but not the events that were deleted.
        set_truncate_before(log, tail, name, stream.next_revision())?;
    }
    if let Some(described) = name.described()
        && newest.kind == METADATA_KIND
    {
        let described_row = StreamRow::load_or_create(log, &described)?;
        if described_row.is_deleted() && !described_row.is_tombstoned() {
            set_truncate_before(log, tail, &described, described_row.next_revision())?;
        } else {
            described_row.set_metadata(log, &newest.data)?;
        }
    }
    Ok(receipt)
}

/// Carries out an append of no events. It only revives a stream that was deleted.
fn append_nothing(log: &Connection, tail: &mut LogTail, name: &StreamName) -> rusqlite::Result<WriteReceipt> {
    let stream = StreamRow::load(log, name)?;
    if let Some(stream) = stream.as_ref().filter(|stream| stream.is_deleted()) {
        set_truncate_before(log, tail, name, stream.next_revision())?;
    }
    let revision = stream.and_then(|stream| stream.last_revision);
    Ok(WriteReceipt { revision, position: tail.head })
}

/// Deletes a stream, and its metadata with it.
fn delete(log: &Connection, tail: &mut LogTail, name: &StreamName) -> rusqlite::Result<WriteReceipt> {
    let stream = StreamRow::load_or_create(log, name)?;
    let metadata = Map::from_iter([(TRUNCATE_BEFORE.to_owned(), TOMBSTONE_REVISION.into())]);
    let receipt = write_metadata(log, tail, name, metadata)?;
    Ok(WriteReceipt { revision: stream.last_revision, ..receipt })
}

/// Changes `$tb` in a stream's metadata and keeps the rest of the metadata.
fn set_truncate_before(
    log: &Connection,
    tail: &mut LogTail,
    name: &StreamName,
    revision: Revision,
) -> rusqlite::Result<()> {
    let newest: Option<Vec<u8>> = log
        .prepare_cached(
            "SELECT e.data FROM events e JOIN streams s ON s.id = e.stream
             WHERE s.name = ?1 AND e.revision = s.last_revision",
        )?
        .query_row([name.metadata().as_str()], |row| row.get(0))
        .optional()?;
    let mut metadata: Map<String, Value> =
        newest.and_then(|newest| serde_json::from_slice(&newest).ok()).unwrap_or_default();
    metadata.insert(TRUNCATE_BEFORE.to_owned(), revision.into());
    write_metadata(log, tail, name, metadata)?;
    Ok(())
}

fn write_metadata(
    log: &Connection,
    tail: &mut LogTail,
    name: &StreamName,
    metadata: Map<String, Value>,
) -> rusqlite::Result<WriteReceipt> {
    let described = StreamRow::load_or_create(log, name)?;
    let metadata_name = name.metadata();
    let stream = StreamRow::load_or_create(log, &metadata_name)?;
    let metadata = Bytes::from(Value::Object(metadata).to_string());
    described.set_metadata(log, &metadata)?;
    let event = [ProposedEvent::system_event(METADATA_KIND, metadata)];
    insert(log, tail, (&metadata_name, &stream), stream.next_revision(), &event)
}

fn insert(
    log: &Connection,
    tail: &mut LogTail,
    (name, stream): (&StreamName, &StreamRow),
    first: Revision,
    events: &[ProposedEvent],
) -> rusqlite::Result<WriteReceipt> {
    let mut receipt = WriteReceipt { revision: stream.last_revision, position: tail.head };
    for (revision, event) in (first..).zip(events) {
        tail.head.0 += 1;
        if std::mem::take(&mut tail.steps_back) {
            let position = tail.head;
            tracing::warn!(
                %position,
                "the clock was set back by more than a minute; from position {position} on the log follows it"
            );
            log.prepare_cached("INSERT INTO clock_steps (position) VALUES (?1)")?.execute([position.0])?;
        }
        let content = RowContent {
            stream: name.as_str(),
            revision,
            position: tail.head.0,
            id: event.id.as_bytes(),
            kind: &event.kind,
            json: event.json.into(),
            data: &event.data,
            metadata: &event.metadata,
            recorded_at_us: tail.recorded_at_us,
        };
        insert_row(log, stream.id, &content)?;
        receipt = WriteReceipt { revision: Some(revision), position: tail.head };
    }
    if let Some(revision) = receipt.revision {
        stream.set_last_revision(log, revision)?;
    }
    Ok(receipt)
}

/// Writes the row of an event of the stream with this number.
pub(super) fn insert_row(log: &Connection, stream: i64, content: &RowContent<'_>) -> rusqlite::Result<()> {
    log.prepare_cached(
        "INSERT INTO events (position, stream, revision, id, kind, json, data, metadata, recorded_at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        content.position,
        stream,
        content.revision,
        content.id,
        content.kind,
        content.json,
        content.data,
        content.metadata,
        content.recorded_at_us,
        content.checksum(),
    ])?;
    Ok(())
}

impl ProposedEvent {
    /// Makes an event that the store itself records.
    fn system_event(kind: &str, data: Bytes) -> Self {
        let json = !data.is_empty();
        Self { id: Uuid::new_v4(), kind: kind.to_owned(), json, data, metadata: Bytes::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_held_for_a_minute_and_then_follows_the_machine() {
        let newest = 1_000_000_000;
        assert_eq!(next_moment(i64::MIN, 5), (5, false));
        assert_eq!(next_moment(newest, newest + 1), (newest + 1, false));
        assert_eq!(next_moment(newest, newest - 1), (newest, false));
        assert_eq!(next_moment(newest, newest - HELD_MAX_US), (newest, false));
        assert_eq!(next_moment(newest, newest - HELD_MAX_US - 1), (newest - HELD_MAX_US - 1, true));
    }
}
