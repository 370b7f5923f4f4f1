//! Blocks of cells as they are stored: packed, because they are read by the
//! hundred and written by a batch that has the views for itself. Those of the
//! deepest zoom say how many pins each place has, too.

use std::collections::{BTreeSet, HashMap};

use event_store::Position;
use mongodb::ClientSession;
use mongodb::bson::Binary;
use mongodb::bson::spec::BinarySubtype;
use mongodb::error::Result;
use mongodb::options::FindOptions;
use serde::{Deserialize, Serialize};

use super::collections::Collections;
use super::transaction::{Write, among, find};
use crate::blocks::{Block, BlockId};
use crate::cells::{Cell, Cells, ZOOM_MAX};
use crate::square::Point;

/// A cell's number in its block, its sums, and the pins' positions.
const CELL_BYTES: usize = 2 + 4 + 4 + 8 + 8 + 8;

/// A place, and how many pins it has.
const PLACE_BYTES: usize = 4 + 4 + 4;

/// A block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockDocument {
    #[serde(rename = "_id")]
    id: i64,
    /// The end of the batch that wrote it.
    changed: Position,
    cells: Binary,
    /// Only in blocks of the deepest zoom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    places: Option<Binary>,
}

/// The blocks that a batch may touch, as they are stored.
pub(super) struct Stored(HashMap<BlockId, BlockDocument>);

impl Collections {
    /// Reads all blocks that these places are in.
    pub(super) async fn stored(
        &self,
        session: &mut ClientSession,
        points: impl IntoIterator<Item = Point>,
    ) -> Result<Stored> {
        let blocks: BTreeSet<BlockId> = points.into_iter().flat_map(BlockId::all_of).collect();
        let found = self.find_blocks(session, &blocks).await?;
        Ok(Stored(found.into_iter().map(|document| (BlockId(document.id), document)).collect()))
    }

    /// Those of these blocks that are stored.
    pub(super) async fn find_blocks(
        &self,
        session: &mut ClientSession,
        blocks: &BTreeSet<BlockId>,
    ) -> Result<Vec<BlockDocument>> {
        let ids = blocks.iter().map(|BlockId(id)| *id).collect();
        find(&self.blocks(), session, among(ids), FindOptions::default()).await
    }
}

impl Stored {
    /// How many pins the places in these blocks have.
    pub(super) fn places(&self) -> HashMap<Point, u64> {
        self.0.values().filter_map(|document| document.places.as_ref()).flat_map(places).collect()
    }

    /// What brings the stored blocks to where a batch that ends at `upto`
    /// leaves them: cells that differ by so much, and places with so many pins.
    pub(super) fn changed(
        mut self,
        differences: &Cells,
        places: &HashMap<Point, u64>,
        upto: Position,
    ) -> Result<Vec<Write>> {
        let mut places_in: HashMap<BlockId, Vec<(Point, u64)>> = HashMap::new();
        for (point, pins) in places.iter().filter(|(_, pins)| **pins > 0) {
            places_in.entry(BlockId::of(point.cell(ZOOM_MAX))).or_default().push((*point, *pins));
        }
        let changed = differences.blocks().map(|(id, differences)| {
            let before = self.0.remove(&id);
            let mut cells = before.as_ref().map(BlockDocument::cells).unwrap_or_default();
            differences.iter().for_each(|(index, by)| cells.add(index, by));
            let places = places_in.remove(&id).map(|places| packed(places.into_iter().map(packed_place)));
            let cells = packed(cells.iter().map(packed_cell));
            let after = BlockDocument { id: id.0, changed: upto, cells, places };
            if before.is_some() { Write::update(id.0, &after) } else { Write::insert(&after) }
        });
        changed.collect()
    }
}

impl BlockDocument {
    pub(super) fn id(&self) -> BlockId {
        BlockId(self.id)
    }

    pub(super) fn cells(&self) -> Block {
        self.cells.bytes.as_chunks().0.iter().map(cell).collect()
    }
}

fn packed<const BYTES: usize>(parts: impl Iterator<Item = [u8; BYTES]>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: parts.flatten().collect() }
}

fn packed_cell((index, cell): (u16, Cell)) -> [u8; CELL_BYTES] {
    let count = |n: i64| u32::try_from(n).unwrap_or(0).to_le_bytes();
    let mut bytes = [0; CELL_BYTES];
    bytes[..2].copy_from_slice(&index.to_le_bytes());
    bytes[2..6].copy_from_slice(&count(cell.count));
    bytes[6..10].copy_from_slice(&count(cell.places));
    bytes[10..18].copy_from_slice(&cell.x.to_le_bytes());
    bytes[18..26].copy_from_slice(&cell.y.to_le_bytes());
    bytes[26..].copy_from_slice(&cell.pin.to_le_bytes());
    bytes
}

fn cell(bytes: &[u8; CELL_BYTES]) -> (u16, Cell) {
    let count = |at| i64::from(u32::from_le_bytes(part(bytes, at)));
    let sum = |at| i64::from_le_bytes(part(bytes, at));
    let pin = u64::from_le_bytes(part(bytes, 26));
    let cell = Cell { count: count(2), places: count(6), x: sum(10), y: sum(18), pin };
    (u16::from_le_bytes(part(bytes, 0)), cell)
}

fn packed_place((point, pins): (Point, u64)) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..4].copy_from_slice(&point.x.to_le_bytes());
    bytes[4..8].copy_from_slice(&point.y.to_le_bytes());
    bytes[8..].copy_from_slice(&u32::try_from(pins).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

fn places(packed: &Binary) -> impl Iterator<Item = (Point, u64)> {
    packed.bytes.as_chunks::<PLACE_BYTES>().0.iter().map(|bytes| {
        let number = |at| u32::from_le_bytes(part(bytes, at));
        (Point { x: number(0), y: number(4) }, u64::from(number(8)))
    })
}

fn part<const BYTES: usize>(bytes: &[u8], at: usize) -> [u8; BYTES] {
    std::array::from_fn(|n| bytes[at + n])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cells::tests::{cells_of, pins};

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(pins in pins(40)) {
            let cells = cells_of(&pins);
            let points: HashMap<Point, u64> = pins.iter().zip(1..).map(|(pin, n)| (Point::of(pin), n)).collect();
            for (_, block) in cells.blocks() {
                let stored = packed(block.iter().map(packed_cell));
                let document = BlockDocument { id: 1, changed: Position(1), cells: stored, places: None };
                prop_assert_eq!(&document.cells(), block);
            }
            let stored = packed(points.iter().map(|(point, pins)| packed_place((*point, *pins))));
            prop_assert_eq!(places(&stored).collect::<HashMap<_, _>>(), points);
        }
    }
}
