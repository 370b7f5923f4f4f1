//! The checksum of an event's row: a CRC-32 (of IEEE 802.3) over the whole content of the event. A CRC finds each flipped bit
//! and each burst of up to 32 bits for certain, however short the event, and any other damage but for one in four thousand
//! million. It protects from the disk, not from people: who changes a row can change its checksum.

use rusqlite::Row;

/// The content of an event's row. The name of the stream is covered too, because it stands in another row.
pub(super) struct RowContent<'a> {
    pub(super) stream: &'a str,
    pub(super) revision: u64,
    pub(super) position: u64,
    pub(super) id: &'a [u8],
    pub(super) kind: &'a str,
    pub(super) json: i64,
    pub(super) data: &'a [u8],
    pub(super) metadata: &'a [u8],
    pub(super) recorded_at_us: i64,
}

impl<'a> RowContent<'a> {
    /// Reads the content from a row that has the columns of [`COLUMNS`](super::pages::COLUMNS).
    pub(super) fn read(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            stream: row.get_ref(0)?.as_str()?,
            revision: row.get(1)?,
            position: row.get(2)?,
            id: row.get_ref(3)?.as_blob()?,
            kind: row.get_ref(4)?.as_str()?,
            data: row.get_ref(5)?.as_blob()?,
            metadata: row.get_ref(6)?.as_blob()?,
            recorded_at_us: row.get(7)?,
            json: row.get(8)?,
        })
    }

    /// Returns the checksum. The length of each text comes before it, so that no byte can move from one to the next.
    pub(super) fn checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.position.to_le_bytes());
        crc.update(&self.revision.to_le_bytes());
        crc.update(&self.recorded_at_us.to_le_bytes());
        crc.update(&self.json.to_le_bytes());
        for text in [self.stream.as_bytes(), self.id, self.kind.as_bytes(), self.data, self.metadata] {
            crc.update(&(text.len() as u64).to_le_bytes());
            crc.update(text);
        }
        crc.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: RowContent<'_> = RowContent {
        stream: "submission-1",
        revision: 2,
        position: 3,
        id: &[4; 16],
        kind: "Passed",
        json: 1,
        data: b"{}",
        metadata: b"{\"a\":1}",
        recorded_at_us: 5,
    };

    #[test]
    fn the_checksum_of_an_event_never_changes() {
        assert_eq!(EVENT.checksum(), 4_262_681_174, "files have it");
    }

    #[test]
    fn every_part_of_an_event_is_covered() {
        let changed = [
            RowContent { stream: "submission-2", ..EVENT },
            RowContent { revision: 3, ..EVENT },
            RowContent { position: 2, ..EVENT },
            RowContent { id: &[5; 16], ..EVENT },
            RowContent { kind: "Failed", ..EVENT },
            RowContent { json: 0, ..EVENT },
            RowContent { data: b"{} ", ..EVENT },
            RowContent { metadata: b"{\"a\":2}", ..EVENT },
            RowContent { recorded_at_us: 6, ..EVENT },
            RowContent { kind: "Passe", data: b"d{}", ..EVENT },
        ];
        for (nth, changed) in changed.iter().enumerate() {
            assert_ne!(changed.checksum(), EVENT.checksum(), "{nth}");
        }
    }
}
