//! Cells as they are stored: blocks of 16 × 16 cells at every third zoom, each
//! with the cells of the two zooms above that it covers. One pin touches six
//! documents, and a screen is a few dozen.
//!
//! A zoom's cells are packed, one after the other: they are read by the
//! thousand, and written by a batch that has the views for itself.

use std::collections::BTreeMap;

use mongodb::ClientSession;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;
use serde::{Deserialize, Serialize};

use super::collections::Collections;
use super::transaction::{among, find, replace};
use crate::cells::{Cell, CellId, Cells};

/// A cell's number in its block, its sums, and the pins' positions.
const CELL_BYTES: usize = 1 + 4 + 4 + 8 + 8 + 8;

/// The cells of three zooms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "_id")]
    id: i64,
    #[serde(default, rename = "0", skip_serializing_if = "Packed::is_empty")]
    zoom0: Packed,
    #[serde(default, rename = "1", skip_serializing_if = "Packed::is_empty")]
    zoom1: Packed,
    #[serde(default, rename = "2", skip_serializing_if = "Packed::is_empty")]
    zoom2: Packed,
}

/// The cells of one zoom that have pins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Packed(Binary);

/// Where a cell is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// The block's `_id`.
    pub(super) block: i64,
    /// Which of its three zooms.
    pub(super) level: u8,
    /// Which of its cells.
    index: u8,
}

impl Address {
    pub(super) fn of(id: CellId) -> Self {
        let CellId { zoom, y, x } = id.home();
        let (x, band) = (x.cast_unsigned(), (zoom + 1) / 3);
        let level = zoom + 1 - 3 * band;
        let side = side(level);
        let block = i64::from(band) << 32 | i64::from(y / side) << 16 | i64::from(x / side);
        let index = y % side * side + x % side;
        Self { block, level, index: u8::try_from(index).expect("a block has no more than 256 cells") }
    }
}

impl Collections {
    /// Adds differences to what is stored. Nobody else writes meanwhile: the
    /// session's transaction has claimed the views.
    pub(super) async fn add(&self, session: &mut ClientSession, differences: &Cells) -> Result<()> {
        let mut by_block: BTreeMap<i64, Vec<(Address, Cell)>> = BTreeMap::new();
        for (id, by) in differences.iter() {
            let address = Address::of(id);
            by_block.entry(address.block).or_default().push((address, by));
        }
        let ids = by_block.keys().copied().collect();
        let stored = find(&self.blocks(), session, among(ids), FindOptions::default()).await?;
        let mut stored: BTreeMap<i64, Block> = stored.into_iter().map(|block| (block.id, block)).collect();
        let writes = by_block.into_iter().map(|(id, differences)| {
            let mut block = stored.remove(&id).unwrap_or_else(|| Block::empty(id));
            differences
                .into_iter()
                .for_each(|(address, by)| block.level(address.level).add(address.index, by));
            replace(id, &block)
        });
        self.write(session, &self.blocks(), writes).await
    }
}

impl Block {
    fn empty(id: i64) -> Self {
        Self { id, zoom0: Packed::default(), zoom1: Packed::default(), zoom2: Packed::default() }
    }

    /// What must be read to know the cells of one of the three zooms.
    pub(super) fn projection(level: u8) -> Document {
        doc! { level.to_string(): 1 }
    }

    /// Puts the cells of a zoom that have pins into `cells`.
    pub(super) fn unpack(&self, level: u8, cells: &mut Cells) {
        let zoom = 3 * (self.id >> 32) as u8 + level - 1;
        let (top, left) = ((self.id >> 16 & 0xffff) as u32, (self.id & 0xffff) as u32);
        let side = side(level);
        for (index, cell) in [&self.zoom0, &self.zoom1, &self.zoom2][usize::from(level)].iter() {
            let (y, x) = (top * side + u32::from(index) / side, left * side + u32::from(index) % side);
            cells.put(CellId { zoom, y, x: x.cast_signed() }, cell);
        }
    }

    fn level(&mut self, level: u8) -> &mut Packed {
        match level {
            0 => &mut self.zoom0,
            1 => &mut self.zoom1,
            _ => &mut self.zoom2,
        }
    }
}

impl Packed {
    fn is_empty(&self) -> bool {
        self.0.bytes.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (u8, Cell)> {
        self.0.bytes.as_chunks::<CELL_BYTES>().0.iter().map(unpacked)
    }

    /// Adds to a cell, which goes when it has no pin left.
    fn add(&mut self, index: u8, by: Cell) {
        let (cells, _) = self.0.bytes.as_chunks_mut::<CELL_BYTES>();
        match cells.iter().position(|cell| cell[0] == index) {
            None => self.0.bytes.extend(packed(index, by)),
            Some(at) => {
                let (_, mut cell) = unpacked(&cells[at]);
                cell += by;
                if cell == Cell::default() {
                    self.0.bytes.drain(at * CELL_BYTES..(at + 1) * CELL_BYTES);
                } else {
                    cells[at] = packed(index, cell);
                }
            }
        }
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self(Binary { subtype: BinarySubtype::Generic, bytes: vec![] })
    }
}

fn packed(index: u8, cell: Cell) -> [u8; CELL_BYTES] {
    let count = |n: i64| u32::try_from(n).unwrap_or(0).to_le_bytes();
    let mut bytes = [index; CELL_BYTES];
    bytes[1..5].copy_from_slice(&count(cell.count));
    bytes[5..9].copy_from_slice(&count(cell.places));
    bytes[9..17].copy_from_slice(&cell.x.to_le_bytes());
    bytes[17..25].copy_from_slice(&cell.y.to_le_bytes());
    bytes[25..].copy_from_slice(&cell.pin.to_le_bytes());
    bytes
}

fn unpacked(bytes: &[u8; CELL_BYTES]) -> (u8, Cell) {
    let four = |at: usize| std::array::from_fn(|n| bytes[at + n]);
    let eight = |at: usize| std::array::from_fn(|n| bytes[at + n]);
    let count = |at| i64::from(u32::from_le_bytes(four(at)));
    let sum = |at| i64::from_le_bytes(eight(at));
    let cell =
        Cell { count: count(1), places: count(5), x: sum(9), y: sum(17), pin: sum(25).cast_unsigned() };
    (bytes[0], cell)
}

/// How many cells of a level a block has on each side.
fn side(level: u8) -> u32 {
    4 << level
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cells::{Point, ZOOM_MAX, tests::pins};

    #[test]
    fn an_address_leads_back_to_its_cell() {
        for point in [Point::at(51.5, -0.12), Point::at(-33.4, -70.6), Point { x: u32::MAX, y: u32::MAX }] {
            for zoom in 0..=ZOOM_MAX {
                let id = point.cell(zoom);
                let address = Address::of(id);
                let mut stored = Block::empty(address.block);
                stored.level(address.level).add(address.index, Cell { count: 1, ..Cell::default() });
                let mut cells = Cells::default();
                stored.unpack(address.level, &mut cells);
                assert_eq!(cells.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
            }
        }
    }

    #[test]
    fn a_pin_touches_six_blocks() {
        let mut cells = Cells::default();
        cells.add(&crate::cells::tests::pin(7, 51.5, -0.12));
        let blocks = cells.iter().map(|(id, _)| Address::of(id).block);
        assert_eq!(blocks.collect::<std::collections::BTreeSet<_>>().len(), 6);
    }

    proptest! {
        #[test]
        fn packed_cells_add_up_as_others_do(pins in pins(40), gone in 0..40usize) {
            let (mut cells, mut packed) = (Cells::default(), Packed::default());
            let (add, mut one) = (|packed: &mut Packed, by: &Cells| {
                for (id, by) in by.iter().filter(|(id, _)| id.zoom == 1) {
                    packed.add(Address::of(id).index, by);
                }
            }, Cells::default());
            for pin in &pins {
                cells.add(pin);
                one.add(pin);
                add(&mut packed, &std::mem::take(&mut one));
            }
            for pin in pins.iter().take(gone) {
                cells.remove(pin);
                one.remove(pin);
                add(&mut packed, &std::mem::take(&mut one));
            }
            let expected: BTreeMap<u8, Cell> = cells.iter().filter(|(id, _)| id.zoom == 1)
                .map(|(id, cell)| (Address::of(id).index, cell)).collect();
            prop_assert_eq!(packed.iter().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
