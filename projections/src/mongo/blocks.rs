//! Blocks of cells as they are stored: packed, because a query reads hundreds
//! of them. Blocks of the highest zoom also hold the number of pins at each place.

use std::collections::{BTreeSet, HashMap};

use event_store::Position;
use mongodb::ClientSession;
use mongodb::bson::Binary;
use mongodb::bson::spec::BinarySubtype;
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::collections::ViewCollections;
use super::documents::BlockDocument;
use super::transaction::{DocumentWrite, find, with_ids};
use crate::map::block::{Block, BlockId};
use crate::map::grid::{CellId, CellSums, ZOOM_MAX};
use crate::map::index::CellIndex;
use crate::map::mercator::MercatorPoint;

/// The size of a packed cell: its number in the block and its sums.
const CELL_BYTES: usize = 2 + 4 + 4 + 8 + 8 + 8;

/// The size of a packed place: its point and its number of pins.
const PLACE_BYTES: usize = 4 + 4 + 4;

/// The stored blocks that a batch may touch.
pub(super) struct StoredBlocks(HashMap<BlockId, BlockDocument>);

/// Finds the blocks that are stored.
pub(super) async fn find_blocks(
    collections: &ViewCollections,
    session: &mut ClientSession,
    blocks: &BTreeSet<BlockId>,
) -> Result<Vec<BlockDocument>> {
    let ids = blocks.iter().map(|BlockId(id)| *id).collect();
    find(&collections.blocks(), session, with_ids(ids), FindOptions::default()).await
}

/// Loads all blocks that contain these points.
pub(super) async fn load_blocks(
    collections: &ViewCollections,
    session: &mut ClientSession,
    points: impl IntoIterator<Item = MercatorPoint>,
) -> Result<StoredBlocks> {
    let blocks: BTreeSet<BlockId> = points.into_iter().flat_map(BlockId::containing).collect();
    let found = find_blocks(collections, session, &blocks).await?;
    Ok(StoredBlocks(found.into_iter().map(|document| (BlockId(document.id), document)).collect()))
}

impl StoredBlocks {
    /// Returns the number of pins at each place in these blocks.
    pub(super) fn places(&self) -> HashMap<MercatorPoint, u64> {
        self.0.values().filter_map(|document| document.places.as_ref()).flat_map(unpack_places).collect()
    }

    /// Returns the writes of a batch that ends at `upto`: adds the differences to the stored cells, and
    /// stores the number of pins at each place.
    pub(super) fn into_writes(
        mut self,
        differences: &CellIndex,
        places: &HashMap<MercatorPoint, u64>,
        upto: Position,
    ) -> Result<Vec<DocumentWrite>> {
        let mut places_in: HashMap<BlockId, Vec<(MercatorPoint, u64)>> = HashMap::new();
        for (point, pins) in places.iter().filter(|(_, pins)| **pins > 0) {
            let block = BlockId::from_cell(CellId::containing(*point, ZOOM_MAX));
            places_in.entry(block).or_default().push((*point, *pins));
        }
        let writes = differences.blocks().map(|(id, differences)| {
            let before = self.0.remove(&id);
            let mut block = before.as_ref().map(|document| unpack_block(&document.cells)).unwrap_or_default();
            differences.iter().for_each(|(index, by)| block.add(index, by));
            let after = BlockDocument {
                id: id.0,
                changed: upto,
                cells: pack_block(&block),
                places: places_in.remove(&id).map(pack_places),
            };
            if before.is_some() { DocumentWrite::update(id.0, &after) } else { DocumentWrite::insert(&after) }
        });
        writes.collect()
    }
}

pub(super) fn unpack_block(packed: &Binary) -> Block {
    packed.bytes.as_chunks().0.iter().map(unpack_cell).collect()
}

fn pack_block(block: &Block) -> Binary {
    binary(block.iter().map(pack_cell))
}

fn unpack_places(packed: &Binary) -> impl Iterator<Item = (MercatorPoint, u64)> {
    packed.bytes.as_chunks::<PLACE_BYTES>().0.iter().map(|bytes| {
        let number = |at| u32::from_le_bytes(part(bytes, at));
        (MercatorPoint { x: number(0), y: number(4) }, u64::from(number(8)))
    })
}

fn pack_places(places: impl IntoIterator<Item = (MercatorPoint, u64)>) -> Binary {
    binary(places.into_iter().map(pack_place))
}

fn pack_cell((index, sums): (u16, CellSums)) -> [u8; CELL_BYTES] {
    let count = |n: i64| u32::try_from(n).unwrap_or(0).to_le_bytes();
    let mut bytes = [0; CELL_BYTES];
    bytes[..2].copy_from_slice(&index.to_le_bytes());
    bytes[2..6].copy_from_slice(&count(sums.count));
    bytes[6..10].copy_from_slice(&count(sums.places));
    bytes[10..18].copy_from_slice(&sums.x.to_le_bytes());
    bytes[18..26].copy_from_slice(&sums.y.to_le_bytes());
    bytes[26..].copy_from_slice(&sums.pin.to_le_bytes());
    bytes
}

fn unpack_cell(bytes: &[u8; CELL_BYTES]) -> (u16, CellSums) {
    let count = |at| i64::from(u32::from_le_bytes(part(bytes, at)));
    let sum = |at| i64::from_le_bytes(part(bytes, at));
    let pin = u64::from_le_bytes(part(bytes, 26));
    let sums = CellSums { count: count(2), places: count(6), x: sum(10), y: sum(18), pin };
    (u16::from_le_bytes(part(bytes, 0)), sums)
}

fn pack_place((point, pins): (MercatorPoint, u64)) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..4].copy_from_slice(&point.x.to_le_bytes());
    bytes[4..8].copy_from_slice(&point.y.to_le_bytes());
    bytes[8..].copy_from_slice(&u32::try_from(pins).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

fn binary<const BYTES: usize>(parts: impl Iterator<Item = [u8; BYTES]>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: parts.flatten().collect() }
}

fn part<const BYTES: usize>(bytes: &[u8], at: usize) -> [u8; BYTES] {
    std::array::from_fn(|n| bytes[at + n])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::map::index::tests::{index_of, pins};

    proptest! {
        #[test]
        fn unpacking_is_the_inverse_of_packing(pins in pins(40)) {
            for (_, block) in index_of(&pins).blocks() {
                prop_assert_eq!(&unpack_block(&pack_block(block)), block);
            }
            let points = pins.iter().map(MercatorPoint::from_pin);
            let places: HashMap<MercatorPoint, u64> = points.zip(1..).collect();
            let packed = pack_places(places.clone());
            prop_assert_eq!(unpack_places(&packed).collect::<HashMap<_, _>>(), places);
        }
    }
}
