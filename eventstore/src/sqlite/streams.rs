//! The row of a stream: its newest revision, and the limits that hide its older events.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;

use crate::{Revision, StreamName};

/// The revision of a tombstone, and the `$tb` of a deleted stream.
pub(super) const TOMBSTONE_REVISION: Revision = i64::MAX as Revision;

/// The field of a stream's metadata that hides the revisions before it.
pub(super) const TRUNCATE_BEFORE: &str = "$tb";

/// A stream that has events, or metadata, or both.
pub(super) struct StreamRow {
    pub(super) id: i64,
    /// `None` if the stream has metadata but no events.
    pub(super) last_revision: Option<Revision>,
    limits: StreamLimits,
}

/// The limits in a stream's metadata that hide its older events.
#[derive(Default, Deserialize)]
struct StreamLimits {
    #[serde(rename = "$tb")]
    truncate_before: Option<Revision>,
    #[serde(rename = "$maxCount")]
    max_count: Option<u64>,
    #[serde(rename = "$maxAge")]
    max_age_s: Option<u64>,
}

impl StreamRow {
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
        // Only the newest metadata of a stream counts.
        let max_count = name.described().map(|_| 1);
        let id = log
            .prepare_cached("INSERT INTO streams (name, max_count) VALUES (?1, ?2)")?
            .insert(params![name.as_str(), max_count])?;
        Ok(Self { id, last_revision: None, limits: StreamLimits { max_count, ..StreamLimits::default() } })
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let limits = StreamLimits {
            truncate_before: Some(row.get(2)?),
            max_count: row.get(3)?,
            max_age_s: row.get(4)?,
        };
        Ok(Self { id: row.get(0)?, last_revision: row.get(1)?, limits })
    }

    pub(super) fn next_revision(&self) -> Revision {
        self.last_revision.map_or(0, |last| last + 1)
    }

    /// Returns true if the stream was deleted for good.
    pub(super) fn is_tombstoned(&self) -> bool {
        self.last_revision == Some(TOMBSTONE_REVISION)
    }

    /// Returns true if the stream was deleted and not written to since.
    pub(super) fn is_deleted(&self) -> bool {
        self.limits.truncate_before == Some(TOMBSTONE_REVISION)
    }

    /// Returns the oldest revision that readers may see.
    pub(super) fn oldest(&self) -> Revision {
        let counted = self.limits.max_count.map_or(0, |count| self.next_revision().saturating_sub(count));
        self.limits.truncate_before.unwrap_or(0).max(counted)
    }

    /// Returns true if events can be too old to be shown.
    pub(super) fn hides_by_age(&self) -> bool {
        self.limits.max_age_s.is_some()
    }

    /// Returns the moment, in microseconds since 1970, that the oldest visible event was recorded at or after.
    pub(super) fn since_us(&self) -> i64 {
        let Some(age_s) = self.limits.max_age_s else { return i64::MIN };
        let age_us = i64::try_from(age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Timestamp::now().as_microsecond().saturating_sub(age_us)
    }

    /// Returns true if the limits are those of the stream's newest metadata. `None` means that the stream has none, and
    /// `Some(None)` that it is not known.
    pub(super) fn hides_as(&self, metadata: Option<Option<&[u8]>>, name: &StreamName) -> bool {
        let limits = &self.limits;
        let Some(metadata) = metadata else {
            return limits.truncate_before == Some(0)
                && limits.max_count == name.described().map(|_| 1)
                && limits.max_age_s.is_none();
        };
        let Some(metadata) = metadata else { return true };
        let said = StreamLimits::parse(metadata);
        let hidden = limits.truncate_before.unwrap_or_default();
        limits.max_count == said.max_count
            && limits.max_age_s == said.max_age_s
            // Without a `$tb` the events are hidden that an earlier one deleted.
            && said.truncate_before.map_or(hidden <= self.next_revision(), |before| hidden == before)
    }

    pub(super) fn set_last_revision(&self, log: &Connection, revision: Revision) -> rusqlite::Result<()> {
        log.prepare_cached("UPDATE streams SET last_revision = ?2 WHERE id = ?1")?
            .execute(params![self.id, revision])?;
        Ok(())
    }

    /// Applies the limits of the stream's metadata.
    pub(super) fn set_metadata(&self, log: &Connection, metadata: &[u8]) -> rusqlite::Result<()> {
        let limits = StreamLimits::parse(metadata);
        // Metadata without a `$tb` revives a deleted stream, but not the events that were deleted.
        let floor = if self.is_deleted() { self.next_revision() } else { 0 };
        log.prepare_cached(
            "UPDATE streams SET truncate_before = ?2, max_count = ?3, max_age_s = ?4 WHERE id = ?1",
        )?
        .execute(params![
            self.id,
            limits.truncate_before.unwrap_or(floor),
            limits.max_count,
            limits.max_age_s,
        ])?;
        Ok(())
    }
}

impl StreamLimits {
    /// Reads the limits from a stream's metadata. Metadata that cannot be parsed sets none, as in EventStoreDB.
    fn parse(metadata: &[u8]) -> Self {
        let limits: Self = serde_json::from_slice(metadata).unwrap_or_default();
        let bounded = |limit: Option<u64>| limit.filter(|limit| (1..=TOMBSTONE_REVISION).contains(limit));
        Self {
            truncate_before: limits.truncate_before.map(|before| before.min(TOMBSTONE_REVISION)),
            max_count: bounded(limits.max_count),
            max_age_s: bounded(limits.max_age_s),
        }
    }
}

/// Returns true if the stream was deleted for good, or describes a stream that was.
pub(super) fn is_tombstoned(log: &Connection, name: &StreamName) -> rusqlite::Result<bool> {
    let tombstoned =
        |name: &StreamName| Ok(StreamRow::load(log, name)?.is_some_and(|stream| stream.is_tombstoned()));
    match name.described() {
        Some(described) => Ok(tombstoned(&described)? || tombstoned(name)?),
        None => tombstoned(name),
    }
}
