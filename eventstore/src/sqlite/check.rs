//! Checks events, a page at a time: the checksum of each, and that no position is missing.

use std::fmt;

use rusqlite::{Connection, params};

use super::{
    PAGE_EVENTS,
    checksum::RowContent,
    damage::{check_checksum, missing_position},
    pages::{COLUMNS, head},
    read_error::read_error,
};
use crate::{EventPlace, Position, ReadError};

/// The number of the newest events that are checked before a log is used. A crash can have hurt no older ones.
const NEWEST_EVENTS: u64 = 1000;

/// The number of bytes in one page. Only its last event may exceed it.
const PAGE_BYTES: usize = 1024 * 1024;

/// The number of bytes among the newest events that are checked at most, so that a start takes less than a second.
const NEWEST_BYTES: usize = 64 * PAGE_BYTES;

/// A damage of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundDamage {
    pub(super) place: EventPlace,
    pub(super) why: String,
}

impl fmt::Display for FoundDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// A part of the log that was checked.
#[derive(Debug, Default)]
pub(super) struct CheckedPage {
    /// The position of the last event, where the next page goes on.
    pub(super) next: Position,
    /// True if the end of the log was reached.
    pub(super) end: bool,
    /// The number of events.
    pub(super) events: u64,
    pub(super) bytes: usize,
    pub(super) damage: Vec<FoundDamage>,
    /// The positions of whole events without a checksum, and the checksums that they should have.
    pub(super) unsummed: Vec<(Position, u32)>,
}

/// Checks at most `max` events after a position, and calls `each` with every event, or with its damage.
///
/// # Errors
/// If the file cannot be read there.
pub(super) fn check_page(
    log: &Connection,
    after: Position,
    max: usize,
    mut each: impl FnMut(Result<&RowContent<'_>, &FoundDamage>) -> Option<FoundDamage>,
) -> Result<CheckedPage, ReadError> {
    let mut statement = log
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e LEFT JOIN streams s ON s.id = e.stream
             WHERE e.position > ?1 ORDER BY e.position LIMIT ?2"
        ))
        .map_err(read_error)?;
    let mut rows = statement.query(params![after.0, max]).map_err(read_error)?;
    let mut page = CheckedPage { next: after, ..CheckedPage::default() };
    while page.bytes < PAGE_BYTES {
        let Some(row) = rows.next().map_err(read_error)? else { break };
        let position: u64 = row.get(2).map_err(read_error)?;
        if position != page.next.0 + 1 {
            page.damage.push(found(missing_position(page.next.0 + 1))?);
        }
        page.events += 1;
        page.next = Position(position);
        match check_checksum(log, row) {
            Ok(content) => {
                page.bytes += content.data.len() + content.metadata.len();
                if row.get::<_, Option<u32>>(9).map_err(read_error)?.is_none() {
                    page.unsummed.push((page.next, content.checksum()));
                }
                page.damage.extend(each(Ok(&content)));
            }
            Err(error) => {
                let damage = found(error)?;
                page.damage.extend(each(Err(&damage)));
                page.damage.push(damage);
            }
        }
    }
    page.end = page.next >= head(log).map_err(read_error)?;
    Ok(page)
}

/// Checks the newest events of a log that nobody else writes.
///
/// # Errors
/// If the file cannot be read there.
pub(super) fn check_newest(log: &Connection, head: Position) -> Result<CheckedPage, ReadError> {
    let mut newest = CheckedPage { next: first_to_check(log, head)?, ..CheckedPage::default() };
    while !newest.end {
        let page = check_page(log, newest.next, PAGE_EVENTS, |_| None)?;
        newest.next = page.next;
        newest.end = page.end;
        newest.events += page.events;
        newest.damage.extend(page.damage);
    }
    Ok(newest)
}

/// Returns the position after which the newest events begin.
fn first_to_check(log: &Connection, head: Position) -> Result<Position, ReadError> {
    let oldest = head.0.saturating_sub(NEWEST_EVENTS);
    // `length` reads no content, so even large events cost nothing here.
    let mut sizes = log
        .prepare_cached(
            "SELECT position, length(data) + length(metadata) FROM events WHERE position > ?1 ORDER BY position DESC",
        )
        .map_err(read_error)?;
    let mut rows = sizes.query([oldest]).map_err(read_error)?;
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(read_error)? {
        bytes += row.get::<_, usize>(1).map_err(read_error)?;
        if bytes > NEWEST_BYTES {
            return row.get(0).map(Position).map_err(read_error);
        }
    }
    Ok(Position(oldest))
}

/// Returns the damage that an error tells of, or the error if it tells of none.
fn found(error: ReadError) -> Result<FoundDamage, ReadError> {
    match error {
        ReadError::DamagedEvent { place, why } => Ok(FoundDamage { place, why }),
        error => Err(error),
    }
}
