//! The rules of a write: is it new, a repetition, or a conflict? They are EventStoreDB's, so that both
//! adapters agree.
//!
//! - At an expected revision, a write is a repetition if the stream holds the same ids from there on.
//! - Without an expected revision, it is a repetition if the stream holds all of its ids anywhere.
//!   A stream that holds some of them, but not all, conflicts.

use std::{cmp::Ordering, collections::HashSet};

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{
    streams::StreamRow,
    write::{StreamWrite, WriteAction, WriteCondition, WriteError, WriteReceipt},
};
use crate::{Position, Revision, append_request::ProposedEvent};

/// The result of checking a write against its stream.
pub(super) enum WriteCheck {
    New,
    Repeated(WriteReceipt),
    Rejected(WriteError),
}

/// Checks a write against its stream; `stream` is `None` if the stream does not exist.
pub(super) fn check(
    log: &Connection,
    stream: Option<&StreamRow>,
    write: &StreamWrite,
) -> rusqlite::Result<WriteCheck> {
    let actual = stream.and_then(|stream| stream.last_revision);
    let conflict = WriteCheck::Rejected(WriteError::Conflict { actual });
    let events = match &write.action {
        WriteAction::Append(events) => &events[..],
        WriteAction::Delete | WriteAction::Tombstone => &[],
    };
    // Only a stream with events can be deleted; a tombstone may come before the first event.
    let wants_no_stream = actual.is_none() || write.condition == WriteCondition::NoStream;
    if matches!(write.action, WriteAction::Delete) && wants_no_stream {
        return Ok(conflict);
    }
    // The revision of the first event if the condition held.
    let first = match write.condition {
        WriteCondition::NoStream => 0,
        WriteCondition::Exact(revision) => revision.saturating_add(1),
        WriteCondition::Any => return check_ids(log, stream, events, conflict),
        WriteCondition::StreamExists => {
            return match stream {
                Some(stream) if stream.is_deleted() => Ok(WriteCheck::Rejected(WriteError::StreamDeleted)),
                Some(_) => check_ids(log, stream, events, conflict),
                None => Ok(conflict),
            };
        }
    };
    let next = stream.map_or(0, StreamRow::next_revision);
    match (first.cmp(&next), stream) {
        (Ordering::Equal, _) => Ok(WriteCheck::New),
        (Ordering::Less, Some(stream)) => {
            // To a writer that expects no stream, a deleted stream is none.
            let begins_anew =
                write.condition == WriteCondition::NoStream && stream.is_deleted() && !events.is_empty();
            Ok(match recorded_from(log, stream.id, first, events)? {
                Some(last) => WriteCheck::repeated(last),
                None if begins_anew => WriteCheck::New,
                None => conflict,
            })
        }
        _ => Ok(conflict),
    }
}

/// Checks a write that expects no revision, so that only the ids tell a repetition.
fn check_ids(
    log: &Connection,
    stream: Option<&StreamRow>,
    events: &[ProposedEvent],
    conflict: WriteCheck,
) -> rusqlite::Result<WriteCheck> {
    let Some(stream) = stream else { return Ok(WriteCheck::New) };
    let mut last = None;
    for event in events {
        last = match (recorded_with_id(log, stream.id, event.id)?, last) {
            (Some(found), _) => Some(found),
            (None, None) => return Ok(WriteCheck::New),
            (None, Some(_)) => return Ok(conflict),
        };
    }
    let Some(places) = last else { return Ok(WriteCheck::New) };
    // EventStoreDB tells the first place of an id that the append itself repeats.
    let mut ids = HashSet::new();
    let repeats_an_id = !events.iter().all(|event| ids.insert(event.id));
    Ok(WriteCheck::repeated(if repeats_an_id { places.oldest } else { places.newest }))
}

/// The oldest and the newest place of an id in a stream.
#[derive(Clone, Copy)]
struct IdPlaces {
    oldest: (Revision, Position),
    newest: (Revision, Position),
}

impl WriteCheck {
    fn repeated((revision, position): (Revision, Position)) -> Self {
        Self::Repeated(WriteReceipt { revision: Some(revision), position })
    }
}

/// Returns the place of the last of `events` if the stream holds all of them from revision `first` on.
fn recorded_from(
    log: &Connection,
    stream: i64,
    first: Revision,
    events: &[ProposedEvent],
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

/// Finds the places of an id in a stream. Without the hint SQLite walks the stream's whole index of revisions,
/// because that one is in the wanted order.
const PLACES_OF_ID: &str = "SELECT revision, position FROM events INDEXED BY events_by_id
     WHERE stream = ?1 AND id = ?2 ORDER BY revision";

/// Returns the places of the id in the stream.
fn recorded_with_id(log: &Connection, stream: i64, id: Uuid) -> rusqlite::Result<Option<IdPlaces>> {
    let mut statement = log.prepare_cached(PLACES_OF_ID)?;
    let places = statement
        .query_map(params![stream, id.as_bytes()], |row| Ok((row.get(0)?, Position(row.get(1)?))))?;
    let mut found: Option<IdPlaces> = None;
    for place in places {
        let place = place?;
        let oldest = found.map_or(place, |found| found.oldest);
        found = Some(IdPlaces { oldest, newest: place });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_looked_up_in_the_index_of_ids() {
        let log = Connection::open_in_memory().unwrap();
        log.execute_batch(include_str!("schema.sql")).unwrap();
        let plan: Vec<String> = log
            .prepare(&format!("EXPLAIN QUERY PLAN {PLACES_OF_ID}"))
            .unwrap()
            .query_map(params![1, [0_u8; 16]], |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(
            plan.iter().any(|step| step.contains("USING INDEX events_by_id (stream=? AND id=?)")),
            "{plan:?}"
        );
    }
}
