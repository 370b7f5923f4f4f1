//! A stream's row: how far it goes, and what of it readers may see.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;

use crate::{Revision, StreamName};

/// The revision of a tombstone, and the `$tb` of a deleted stream.
pub(super) const END_OF_TIME: Revision = i64::MAX as Revision;

/// The type of the event that sets a stream's metadata.
pub(super) const METADATA_KIND: &str = "$metadata";

/// A stream that somebody wrote to, or set metadata of.
pub(super) struct Stream {
    pub(super) id: i64,
    /// `None` while it has metadata alone.
    pub(super) last_revision: Option<Revision>,
    limits: Limits,
}

/// What hides a stream's older events, as its metadata says it.
#[derive(Default, Deserialize)]
struct Limits {
    #[serde(rename = "$tb")]
    truncate_before: Option<Revision>,
    #[serde(rename = "$maxCount")]
    max_count: Option<u64>,
    #[serde(rename = "$maxAge")]
    max_age_s: Option<u64>,
}

impl Stream {
    pub(super) fn load(log: &Connection, name: &StreamName) -> rusqlite::Result<Option<Self>> {
        log.prepare_cached(
            "SELECT id, last_revision, truncate_before, max_count, max_age_s FROM streams WHERE name = ?1",
        )?
        .query_row([name.as_str()], Self::from_row)
        .optional()
    }

    pub(super) fn load_or_create(log: &Connection, name: &StreamName) -> rusqlite::Result<Self> {
        if let Some(stream) = Self::load(log, name)? {
            return Ok(stream);
        }
        // Of a stream's metadata only the newest counts.
        let max_count = name.described().map(|_| 1);
        let id = log
            .prepare_cached("INSERT INTO streams (name, max_count) VALUES (?1, ?2)")?
            .insert(params![name.as_str(), max_count])?;
        Ok(Self { id, last_revision: None, limits: Limits { max_count, ..Limits::default() } })
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let limits =
            Limits { truncate_before: Some(row.get(2)?), max_count: row.get(3)?, max_age_s: row.get(4)? };
        Ok(Self { id: row.get(0)?, last_revision: row.get(1)?, limits })
    }

    pub(super) fn next_revision(&self) -> Revision {
        self.last_revision.map_or(0, |last| last + 1)
    }

    /// Deleted for good.
    pub(super) fn is_gone(&self) -> bool {
        self.last_revision == Some(END_OF_TIME)
    }

    /// Deleted, until somebody writes to it again.
    pub(super) fn is_deleted(&self) -> bool {
        self.limits.truncate_before == Some(END_OF_TIME)
    }

    /// The oldest revision that readers may see.
    pub(super) fn oldest(&self) -> Revision {
        let counted = self.limits.max_count.map_or(0, |count| self.next_revision().saturating_sub(count));
        self.limits.truncate_before.unwrap_or(0).max(counted)
    }

    /// Since when events must be recorded for readers to see them, in
    /// microseconds since 1970.
    pub(super) fn since_us(&self) -> i64 {
        let Some(age_s) = self.limits.max_age_s else { return i64::MIN };
        let age_us = i64::try_from(age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Timestamp::now().as_microsecond().saturating_sub(age_us)
    }

    pub(super) fn set_last_revision(&self, log: &Connection, revision: Revision) -> rusqlite::Result<()> {
        log.prepare_cached("UPDATE streams SET last_revision = ?2 WHERE id = ?1")?
            .execute(params![self.id, revision])?;
        Ok(())
    }

    /// Takes over what the stream's metadata says. What is not metadata says
    /// nothing, as in EventStoreDB.
    pub(super) fn set_metadata(&self, log: &Connection, metadata: &[u8]) -> rusqlite::Result<()> {
        let limits: Limits = serde_json::from_slice(metadata).unwrap_or_default();
        // Metadata without a `$tb` revives a deleted stream, but not what was deleted.
        let floor = if self.is_deleted() { self.next_revision() } else { 0 };
        let bounded = |limit: Option<u64>| limit.filter(|limit| (1..=END_OF_TIME).contains(limit));
        log.prepare_cached(
            "UPDATE streams SET truncate_before = ?2, max_count = ?3, max_age_s = ?4 WHERE id = ?1",
        )?
        .execute(params![
            self.id,
            limits.truncate_before.unwrap_or(floor).min(END_OF_TIME),
            bounded(limits.max_count),
            bounded(limits.max_age_s),
        ])?;
        Ok(())
    }
}

/// Whether a stream was deleted for good, or is the metadata of one that was.
pub(super) fn is_gone(log: &Connection, name: &StreamName) -> rusqlite::Result<bool> {
    let gone = |name: &StreamName| Ok(Stream::load(log, name)?.is_some_and(|stream| stream.is_gone()));
    match name.described() {
        Some(described) => Ok(gone(&described)? || gone(name)?),
        None => gone(name),
    }
}
