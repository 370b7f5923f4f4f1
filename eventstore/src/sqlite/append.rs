//! One write inside the writer's transaction: is it new, a repetition, or a
//! conflict? The rules are EventStoreDB's, so that both adapters agree.

use std::cmp::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    streams::{END_OF_TIME, METADATA_KIND, Stream, is_gone},
    write::{Action, Condition, Proposed, Rejected, Write, Written},
};
use crate::{Position, Revision, StreamName};

/// The end of the log, as the transaction sees it.
pub(super) struct Tail {
    pub(super) head: Position,
    recorded_at_us: i64,
}

impl Tail {
    pub(super) fn load(log: &Connection) -> rusqlite::Result<Self> {
        let last = log
            .prepare_cached("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let (head, floor) = last.unwrap_or((0, i64::MIN));
        // A clock that was set back must not send the log into the past.
        let recorded_at_us = Timestamp::now().as_microsecond().max(floor);
        Ok(Self { head: Position(head), recorded_at_us })
    }
}

/// Writes, or says why not. An `Err` outside is the database's own and
/// spoils the whole transaction; one inside concerns this write alone and
/// leaves no trace.
pub(super) fn apply(
    log: &Connection,
    tail: &mut Tail,
    write: &Write,
) -> rusqlite::Result<Result<Written, Rejected>> {
    if is_gone(log, &write.stream)? {
        return Ok(Err(Rejected::Gone));
    }
    let stream = Stream::load(log, &write.stream)?;
    match judge(log, stream.as_ref(), write)? {
        Judgement::New => {}
        Judgement::Repeated(written) => return Ok(Ok(written)),
        Judgement::Rejected(why) => return Ok(Err(why)),
    }
    let written = match &write.action {
        Action::Append(events) => append(log, tail, &write.stream, events)?,
        Action::Delete => delete(log, tail, &write.stream)?,
        Action::Tombstone => {
            let tombstone = [Proposed::of_the_store("$streamDeleted", Bytes::new())];
            let stream = Stream::load_or_create(log, &write.stream)?;
            insert(log, tail, &stream, END_OF_TIME, &tombstone)?
        }
    };
    Ok(Ok(written))
}

enum Judgement {
    New,
    Repeated(Written),
    Rejected(Rejected),
}

fn judge(log: &Connection, stream: Option<&Stream>, write: &Write) -> rusqlite::Result<Judgement> {
    let actual = stream.and_then(|stream| stream.last_revision);
    let conflict = Judgement::Rejected(Rejected::Conflict { actual });
    let events = match &write.action {
        Action::Append(events) => &events[..],
        Action::Delete | Action::Tombstone => &[],
    };
    // Where the first event would have gone, were the condition true.
    let first = match write.condition {
        Condition::NoStream => 0,
        Condition::Exact(revision) => revision.saturating_add(1),
        Condition::Any => return judge_by_ids(log, stream, events, conflict),
        Condition::StreamExists => {
            return match stream {
                Some(stream) if stream.is_deleted() => Ok(Judgement::Rejected(Rejected::Gone)),
                Some(_) => judge_by_ids(log, stream, events, conflict),
                None => Ok(conflict),
            };
        }
    };
    let next = stream.map_or(0, Stream::next_revision);
    match (first.cmp(&next), stream) {
        (Ordering::Equal, _) => Ok(Judgement::New),
        (Ordering::Less, Some(stream)) => {
            // A deleted stream is none, to those who did not write it.
            let begins_anew = write.condition == Condition::NoStream && stream.is_deleted();
            Ok(match recorded_from(log, stream.id, first, events)? {
                Some(last) => Judgement::repeated(last),
                None if begins_anew => Judgement::New,
                None => conflict,
            })
        }
        _ => Ok(conflict),
    }
}

/// The last of `events`, when the stream has all of them from `first` on.
fn recorded_from(
    log: &Connection,
    stream: i64,
    first: Revision,
    events: &[Proposed],
) -> rusqlite::Result<Option<(Revision, Position)>> {
    let mut last = None;
    for (revision, event) in (first..).zip(events) {
        match recorded_at(log, stream, revision)? {
            Some((id, position)) if id == event.id => last = Some((revision, position)),
            _ => return Ok(None),
        }
    }
    Ok(last)
}

/// No revision is expected, so only the ids tell a repetition: it is one when
/// all are in the stream. Some but not all is neither a repetition nor new.
fn judge_by_ids(
    log: &Connection,
    stream: Option<&Stream>,
    events: &[Proposed],
    conflict: Judgement,
) -> rusqlite::Result<Judgement> {
    let Some(stream) = stream else { return Ok(Judgement::New) };
    let mut last = None;
    for event in events {
        last = match (recorded_with_id(log, stream.id, event.id)?, last) {
            (Some(found), _) => Some(found),
            (None, None) => return Ok(Judgement::New),
            (None, Some(_)) => return Ok(conflict),
        };
    }
    Ok(last.map_or(Judgement::New, Judgement::repeated))
}

impl Judgement {
    fn repeated((revision, position): (Revision, Position)) -> Self {
        Self::Repeated(Written { revision: Some(revision), position: Some(position) })
    }
}

fn recorded_at(
    log: &Connection,
    stream: i64,
    revision: Revision,
) -> rusqlite::Result<Option<(Uuid, Position)>> {
    log.prepare_cached("SELECT id, position FROM events WHERE stream = ?1 AND revision = ?2")?
        .query_row(params![stream, revision], |row| {
            Ok((Uuid::from_bytes(row.get(0)?), Position(row.get(1)?)))
        })
        .optional()
}

fn recorded_with_id(
    log: &Connection,
    stream: i64,
    id: Uuid,
) -> rusqlite::Result<Option<(Revision, Position)>> {
    log.prepare_cached(
        "SELECT revision, position FROM events WHERE stream = ?1 AND id = ?2 ORDER BY revision DESC LIMIT 1",
    )?
    .query_row(params![stream, id.as_bytes()], |row| Ok((row.get(0)?, Position(row.get(1)?))))
    .optional()
}

fn append(
    log: &Connection,
    tail: &mut Tail,
    name: &StreamName,
    events: &[Proposed],
) -> rusqlite::Result<Written> {
    let stream = Stream::load_or_create(log, name)?;
    if stream.is_deleted() && !events.is_empty() {
        // Who writes to a deleted stream sees what comes from now on.
        set_truncate_before(log, tail, name, stream.next_revision())?;
    }
    let written = insert(log, tail, &stream, stream.next_revision(), events)?;
    if let (Some(described), Some(last)) = (name.described(), events.last())
        && last.kind == METADATA_KIND
    {
        Stream::load_or_create(log, &described)?.set_metadata(log, &last.data)?;
    }
    Ok(written)
}

fn delete(log: &Connection, tail: &mut Tail, name: &StreamName) -> rusqlite::Result<Written> {
    let written = set_truncate_before(log, tail, name, END_OF_TIME)?;
    let stream = Stream::load_or_create(log, name)?;
    Ok(Written { revision: stream.last_revision, ..written })
}

/// Changes `$tb` in a stream's metadata and leaves the rest of it as it is.
fn set_truncate_before(
    log: &Connection,
    tail: &mut Tail,
    name: &StreamName,
    revision: Revision,
) -> rusqlite::Result<Written> {
    let described = Stream::load_or_create(log, name)?;
    let stream = Stream::load_or_create(log, &name.metadata())?;
    let newest: Option<Vec<u8>> = log
        .prepare_cached("SELECT data FROM events WHERE stream = ?1 AND revision = ?2")?
        .query_row(params![stream.id, stream.last_revision], |row| row.get(0))
        .optional()?;
    let mut metadata: Map<String, Value> =
        newest.and_then(|newest| serde_json::from_slice(&newest).ok()).unwrap_or_default();
    metadata.insert("$tb".to_owned(), revision.into());
    let metadata = Bytes::from(Value::Object(metadata).to_string());
    described.set_metadata(log, &metadata)?;
    let event = [Proposed::of_the_store(METADATA_KIND, metadata)];
    insert(log, tail, &stream, stream.next_revision(), &event)
}

fn insert(
    log: &Connection,
    tail: &mut Tail,
    stream: &Stream,
    first: Revision,
    events: &[Proposed],
) -> rusqlite::Result<Written> {
    let mut written = Written { revision: stream.last_revision, position: None };
    let mut statement = log.prepare_cached(
        "INSERT INTO events (position, stream, revision, id, kind, json, data, metadata, recorded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for (revision, event) in (first..).zip(events) {
        tail.head.0 += 1;
        statement.execute(params![
            tail.head.0,
            stream.id,
            revision,
            event.id.as_bytes(),
            event.kind,
            event.json,
            &event.data[..],
            &event.metadata[..],
            tail.recorded_at_us,
        ])?;
        written = Written { revision: Some(revision), position: Some(tail.head) };
    }
    if let Some(revision) = written.revision {
        stream.set_last_revision(log, revision)?;
    }
    Ok(written)
}

impl Proposed {
    /// What the store itself has to say.
    fn of_the_store(kind: &str, data: Bytes) -> Self {
        let json = !data.is_empty();
        Self { id: Uuid::new_v4(), kind: kind.to_owned(), json, data, metadata: Bytes::new() }
    }
}
