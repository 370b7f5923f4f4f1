//! Reading the log, on connections of its own: readers never wait for the
//! writer, nor it for them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::open;
use crate::{Direction, Filter, Page, Position, ReadError, Recorded, Revision, StreamName};

/// How many reads run at the same time.
const CONNECTIONS: usize = 4;

/// How long a read waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many events a page of the log looks at.
pub(super) const PAGE_EVENTS: usize = 1000;

/// How many bytes of events a page may hold; one event may exceed it.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// In the order in which [`recorded`] reads them.
const COLUMNS: &str = "s.name, e.revision, e.position, e.id, e.kind, e.data, e.metadata, e.recorded_at";

/// A small pool of connections that read.
pub(super) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(CONNECTIONS)), idle: Mutex::default() }
    }

    /// Closes the connections that are not in use.
    pub(super) fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// One page of the log after `after`: what passes `filter`, without the
    /// store's own events.
    pub(super) async fn page(
        self: &Arc<Self>,
        after: Position,
        filter: Arc<Filter>,
        max: usize,
    ) -> Result<Page, ReadError> {
        self.read(move |log| page(log, after, &filter, max)).await
    }

    /// At most `max` events of one stream.
    pub(super) async fn stream(
        self: &Arc<Self>,
        name: StreamName,
        from: Revision,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.read(move |log| stream(log, &name, from, direction, max)).await
    }

    /// Runs `work` on one of the connections, in one snapshot of the log.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| ReadError::Unavailable("too many reads are waiting".to_owned()))?;
        let readers = Arc::clone(self);
        let job = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let pooled = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match pooled {
                Some(connection) => connection,
                None => open::reader(&readers.path).map_err(failed)?,
            };
            let answer = work(&connection.transaction().map_err(failed)?);
            // A connection that failed is not used again.
            if answer.is_ok() {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            answer
        });
        job.await.map_err(|error| ReadError::Unavailable(format!("the read was given up: {error}")))?
    }
}

fn page(log: &Transaction<'_>, after: Position, filter: &Filter, max: usize) -> Result<Page, ReadError> {
    let head = head(log).map_err(failed)?;
    if after > head {
        // Such a reader has seen another log: what this one records next
        // would be skipped.
        return Err(ReadError::Refused(format!("position {after} is beyond the log's end at {head}")));
    }
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.position > ?1 ORDER BY e.position LIMIT ?2"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![after.0, PAGE_EVENTS]).map_err(failed)?;
    let mut page = Page { events: Vec::new(), next: after, end: false };
    let mut bytes = 0;
    while page.events.len() < max && bytes < PAGE_BYTES {
        let Some(row) = rows.next().map_err(failed)? else { break };
        page.next = Position(row.get(2).map_err(failed)?);
        let stream = row.get_ref(0).map_err(failed)?.as_str().map_err(|e| failed(e.into()))?;
        let kind = row.get_ref(4).map_err(failed)?.as_str().map_err(|e| failed(e.into()))?;
        if !stream.starts_with('$') && !kind.starts_with('$') && filter.passes(stream, kind) {
            let event = recorded(row)?;
            bytes += event.data.len() + event.metadata.len();
            page.events.push(event);
        }
    }
    page.end = page.next == head;
    Ok(page)
}

fn stream(
    log: &Transaction<'_>,
    name: &StreamName,
    from: Revision,
    direction: Direction,
    max: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let Some(bounds) = Bounds::load(log, name).map_err(failed)? else { return Ok(Vec::new()) };
    if bounds.gone() {
        return Err(ReadError::Refused(format!("the stream {name} was deleted for good")));
    }
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let (oldest, newest, order) = match direction {
        Direction::Forwards => (bounds.oldest.max(from), i64::MAX, "ASC"),
        Direction::Backwards => (bounds.oldest, from, "DESC"),
    };
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e JOIN streams s ON s.id = e.stream
             WHERE e.stream = ?1 AND e.revision BETWEEN ?2 AND ?3 AND e.recorded_at >= ?4
             ORDER BY e.revision {order} LIMIT ?5"
        ))
        .map_err(failed)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let mut rows =
        statement.query(params![bounds.stream, oldest, newest, bounds.since_us, max]).map_err(failed)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        events.push(recorded(row)?);
    }
    Ok(events)
}

/// What a reader of a stream may see of it.
struct Bounds {
    stream: i64,
    last: Option<i64>,
    oldest: i64,
    since_us: i64,
}

impl Bounds {
    fn load(log: &Connection, name: &StreamName) -> rusqlite::Result<Option<Self>> {
        log.prepare_cached(
            "SELECT id, last_revision, truncate_before, max_count, max_age_s FROM streams WHERE name = ?1",
        )?
        .query_row([name.as_str()], |row| {
            let last: Option<i64> = row.get(1)?;
            let truncate_before: i64 = row.get(2)?;
            let counted = match (last, row.get::<_, Option<i64>>(3)?) {
                (Some(last), Some(count)) => last.saturating_sub(count).saturating_add(1),
                _ => 0,
            };
            let since_us = match row.get::<_, Option<i64>>(4)? {
                Some(age_s) => {
                    Timestamp::now().as_microsecond().saturating_sub(age_s.saturating_mul(1_000_000))
                }
                None => i64::MIN,
            };
            Ok(Self { stream: row.get(0)?, last, oldest: truncate_before.max(counted), since_us })
        })
        .optional()
    }

    fn gone(&self) -> bool {
        self.last == Some(i64::MAX)
    }
}

/// The newest position.
pub(super) fn head(log: &Connection) -> rusqlite::Result<Position> {
    log.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?
        .query_row([], |row| row.get(0))
        .map(Position)
}

fn recorded(row: &Row<'_>) -> Result<Recorded, ReadError> {
    let read = || -> rusqlite::Result<_> {
        let name: String = row.get(0)?;
        Ok((
            name,
            row.get(1)?,
            Position(row.get(2)?),
            Uuid::from_bytes(row.get(3)?),
            row.get(4)?,
            Bytes::from(row.get::<_, Vec<u8>>(5)?),
            Bytes::from(row.get::<_, Vec<u8>>(6)?),
            row.get::<_, i64>(7)?,
        ))
    };
    let (name, revision, position, id, kind, data, metadata, recorded_at_us) = read().map_err(failed)?;
    let damaged =
        |what: String| ReadError::Refused(format!("the log is damaged at position {position}: {what}"));
    Ok(Recorded {
        id,
        stream: StreamName::new(name).map_err(|error| damaged(error.to_string()))?,
        revision,
        position,
        kind,
        data,
        metadata,
        recorded_at: Timestamp::from_microsecond(recorded_at_us)
            .map_err(|error| damaged(error.to_string()))?,
    })
}

/// A damaged file stays so, and then the row is not what it must be, or
/// SQLite says it itself; anything else may pass.
fn failed(error: rusqlite::Error) -> ReadError {
    match error.sqlite_error_code() {
        None | Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            ReadError::Refused(format!("the log is damaged: {error}"))
        }
        Some(_) => ReadError::Unavailable(error.to_string()),
    }
}
