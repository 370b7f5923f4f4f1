//! One append inside the writer's transaction: is it new, a repeat, or a
//! conflict? The rules are EventStoreDB's, so that both adapters agree.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::{AppendError, Appended, Expected, NewEvent, Position, Revision, StreamName};

/// The most that one append may carry, in bytes, as in EventStoreDB.
pub(crate) const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// What an event costs beside its data, so that empty ones count too.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// Something to be appended to one stream.
pub(crate) struct Write {
    pub(crate) stream: StreamName,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<Proposed>,
}

/// An event before it has a place.
pub(crate) struct Proposed {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) json: bool,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl Write {
    /// What the port's callers append. Names that begin with `$` belong to
    /// the store itself.
    pub(crate) fn of_ours(
        stream: StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Self, AppendError> {
        if events.is_empty() {
            return Err(AppendError::Refused("an append needs at least one event".to_owned()));
        }
        if stream.is_system() || events.iter().any(|event| event.kind.starts_with('$')) {
            return Err(AppendError::Refused("names that begin with $ are the store's own".to_owned()));
        }
        let events = events.into_iter().map(Proposed::of_ours).collect::<Result<_, _>>()?;
        let write = Self { stream, expected, events };
        if write.size() > MAX_APPEND_BYTES {
            return Err(AppendError::Refused(format!(
                "an append of {} bytes is larger than {MAX_APPEND_BYTES}",
                write.size()
            )));
        }
        Ok(write)
    }

    /// How many bytes it carries.
    pub(crate) fn size(&self) -> usize {
        self.events.iter().map(Proposed::size).sum()
    }
}

impl Proposed {
    fn of_ours(event: NewEvent) -> Result<Self, AppendError> {
        if event.kind.is_empty() || event.kind.len() > 255 || event.kind.chars().any(char::is_control) {
            return Err(AppendError::Refused(
                "an event's type has 1 to 255 bytes and no control characters".to_owned(),
            ));
        }
        let metadata = serde_json::to_vec(&event.metadata)
            .map_err(|error| AppendError::Refused(format!("the metadata is not JSON: {error}")))?;
        let NewEvent { id, kind, data, .. } = event;
        Ok(Self { id, kind, json: true, data, metadata: metadata.into() })
    }

    fn size(&self) -> usize {
        EVENT_OVERHEAD_BYTES + self.kind.len() + self.data.len() + self.metadata.len()
    }
}

/// The end of the log, as the transaction sees it.
pub(super) struct Tail {
    pub(super) head: Position,
    recorded_at_us: i64,
}

impl Tail {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let last = connection
            .prepare_cached("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let (head, floor) = last.unwrap_or((0, i64::MIN));
        // A clock that was set back must not send the log into the past.
        let recorded_at_us = Timestamp::now().as_microsecond().max(floor);
        Ok(Self { head: Position(head), recorded_at_us })
    }
}

/// Appends, or says why not. An `Err` outside is the database's own and
/// spoils the whole transaction; one inside concerns this append alone and
/// leaves no trace.
pub(super) fn append(
    connection: &Connection,
    tail: &mut Tail,
    write: &Write,
) -> rusqlite::Result<Result<Appended, AppendError>> {
    let stream = Stream::load(connection, &write.stream)?;
    match judge(connection, stream.as_ref(), write)? {
        Judgement::New => insert(connection, tail, stream, write).map(Ok),
        Judgement::Repeat(appended) => Ok(Ok(appended)),
        Judgement::Conflict => Ok(Err(AppendError::Conflict {
            stream: write.stream.clone(),
            expected: write.expected,
            actual: stream.and_then(|stream| stream.last_revision),
        })),
    }
}

struct Stream {
    id: i64,
    last_revision: Option<Revision>,
}

impl Stream {
    fn load(connection: &Connection, name: &StreamName) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached("SELECT id, last_revision FROM streams WHERE name = ?1")?
            .query_row([name.as_str()], |row| Ok(Self { id: row.get(0)?, last_revision: row.get(1)? }))
            .optional()
    }

    fn create(connection: &Connection, name: &StreamName) -> rusqlite::Result<Self> {
        let id =
            connection.prepare_cached("INSERT INTO streams (name) VALUES (?1)")?.insert([name.as_str()])?;
        Ok(Self { id, last_revision: None })
    }
}

enum Judgement {
    New,
    Repeat(Appended),
    Conflict,
}

fn judge(connection: &Connection, stream: Option<&Stream>, write: &Write) -> rusqlite::Result<Judgement> {
    // Where the first event would have gone, were the expectation true.
    let first = match write.expected {
        Expected::Any => return judge_any(connection, stream, write),
        Expected::NoStream => 0,
        Expected::Exact(revision) => revision.saturating_add(1),
    };
    let next = stream.and_then(|stream| stream.last_revision).map_or(0, |last| last + 1);
    match (first.cmp(&next), stream) {
        (std::cmp::Ordering::Equal, _) => Ok(Judgement::New),
        (std::cmp::Ordering::Less, Some(stream)) => {
            let mut last = None;
            for (revision, event) in (first..).zip(&write.events) {
                match recorded_at_revision(connection, stream.id, revision)? {
                    Some((id, position)) if id == event.id => last = Some(Appended { revision, position }),
                    _ => return Ok(Judgement::Conflict),
                }
            }
            Ok(last.map_or(Judgement::Conflict, Judgement::Repeat))
        }
        _ => Ok(Judgement::Conflict),
    }
}

/// Nothing is expected, so only the ids tell a repeat: it is one when all are
/// in the stream. Some but not all is neither a repeat nor new.
fn judge_any(connection: &Connection, stream: Option<&Stream>, write: &Write) -> rusqlite::Result<Judgement> {
    let Some(stream) = stream else { return Ok(Judgement::New) };
    let mut last = None;
    for event in &write.events {
        last = match (recorded_with_id(connection, stream.id, event.id)?, last) {
            (Some(found), _) => Some(found),
            (None, None) => return Ok(Judgement::New),
            (None, Some(_)) => return Ok(Judgement::Conflict),
        };
    }
    Ok(last.map_or(Judgement::New, Judgement::Repeat))
}

fn recorded_at_revision(
    connection: &Connection,
    stream: i64,
    revision: Revision,
) -> rusqlite::Result<Option<(Uuid, Position)>> {
    connection
        .prepare_cached("SELECT id, position FROM events WHERE stream = ?1 AND revision = ?2")?
        .query_row(params![stream, revision], |row| {
            Ok((Uuid::from_bytes(row.get(0)?), Position(row.get(1)?)))
        })
        .optional()
}

fn recorded_with_id(connection: &Connection, stream: i64, id: Uuid) -> rusqlite::Result<Option<Appended>> {
    connection
        .prepare_cached(
            "SELECT revision, position FROM events WHERE stream = ?1 AND id = ?2 ORDER BY revision DESC LIMIT 1",
        )?
        .query_row(params![stream, id.as_bytes()], |row| {
            Ok(Appended { revision: row.get(0)?, position: Position(row.get(1)?) })
        })
        .optional()
}

fn insert(
    connection: &Connection,
    tail: &mut Tail,
    stream: Option<Stream>,
    write: &Write,
) -> rusqlite::Result<Appended> {
    let stream = match stream {
        Some(stream) => stream,
        None => Stream::create(connection, &write.stream)?,
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (position, stream, revision, id, kind, json, data, metadata, recorded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let first = stream.last_revision.map_or(0, |last| last + 1);
    let mut appended = Appended { revision: first, position: tail.head };
    for (revision, event) in (first..).zip(&write.events) {
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
        appended = Appended { revision, position: tail.head };
    }
    connection
        .prepare_cached("UPDATE streams SET last_revision = ?2 WHERE id = ?1")?
        .execute(params![stream.id, appended.revision])?;
    Ok(appended)
}
