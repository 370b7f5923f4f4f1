//! Blocks: neighbouring cells that are stored together. A block has 16 × 16 cells
//! of one zoom, and the 8 × 8 and 4 × 4 larger cells that cover the same area at
//! the two lower zooms. A pin is in six blocks and a screen in a few dozen, in
//! memory and in MongoDB.

use std::collections::BTreeSet;
use std::ops::Range;

use super::grid::{CellId, CellRange, CellSums, ZOOM_MAX};
use super::mercator::MercatorPoint;

/// The name of a block, as a number that a store can index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) i64);

/// A cell's block, and its number in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellAddress {
    pub(crate) block: BlockId,
    pub(crate) index: u16,
}

/// The part of a row of cells that lies in one block.
pub(crate) struct BlockRow {
    pub(crate) block: BlockId,
    /// The cells' numbers in the block.
    pub(crate) indexes: Range<u16>,
    /// The column of the first cell.
    pub(crate) left: u32,
}

/// The cells of a block that have pins.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Block(
    /// Sorted by the cells' numbers: zoom after zoom, and row after row within a zoom.
    Vec<(u16, CellSums)>,
);

impl CellAddress {
    /// Returns the address of a cell. The column must be wrapped ([`CellId::wrapped`]).
    pub(crate) fn from_cell(id: CellId) -> Self {
        let (band, level) = band(id.zoom);
        let (side, x) = (side(level), id.x.cast_unsigned());
        Self { block: BlockId::new(band, id.y / side, x / side), index: index(level, id.y, x) }
    }
}

impl BlockId {
    /// Returns the block of a cell. The column must be wrapped.
    pub(crate) fn from_cell(id: CellId) -> Self {
        CellAddress::from_cell(id).block
    }

    /// Returns all blocks that contain a point.
    pub(crate) fn containing(point: MercatorPoint) -> impl Iterator<Item = Self> {
        (1..=ZOOM_MAX).step_by(3).map(move |zoom| Self::from_cell(CellId::containing(point, zoom)))
    }

    fn new(band: u8, row: u32, column: u32) -> Self {
        Self(i64::from(band) << 32 | i64::from(row) << 16 | i64::from(column))
    }
}

impl BlockRow {
    /// Cuts a row at the edges of blocks, from the west. The columns must be wrapped.
    pub(crate) fn split(zoom: u8, y: u32, columns: Range<u32>) -> impl Iterator<Item = Self> {
        let (band, level) = band(zoom);
        let side = side(level);
        (columns.start / side..columns.end.div_ceil(side)).map(move |column| {
            let left = columns.start.max(column * side);
            let width = columns.end.min((column + 1) * side).saturating_sub(left);
            let first = index(level, y, left);
            let indexes = first..first + u16::try_from(width).expect("a block has at most 16 columns");
            Self { block: BlockId::new(band, y / side, column), indexes, left }
        })
    }
}

impl Block {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of cells that have pins.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: u16) -> Option<CellSums> {
        let at = self.find(index).ok()?;
        Some(self.0[at].1)
    }

    /// Returns the cells with these numbers that have pins.
    pub(crate) fn range(&self, indexes: Range<u16>) -> &[(u16, CellSums)] {
        let from = self.find(indexes.start).unwrap_or_else(|at| at);
        let to = self.find(indexes.end).unwrap_or_else(|at| at);
        &self.0[from..to]
    }

    /// Returns the cells that have pins, sorted by their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, CellSums)> {
        self.0.iter().copied()
    }

    /// Adds to the sums of a cell, and removes the cell if they become zero.
    pub(crate) fn add(&mut self, index: u16, by: CellSums) {
        match self.find(index) {
            Err(at) => self.0.insert(at, (index, by)),
            Ok(at) => {
                self.0[at].1 += by;
                if self.0[at].1 == CellSums::default() {
                    self.0.remove(at);
                }
            }
        }
    }

    fn find(&self, index: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&index, |(index, _)| *index)
    }
}

impl FromIterator<(u16, CellSums)> for Block {
    /// Collects cells that are sorted by their numbers.
    fn from_iter<T: IntoIterator<Item = (u16, CellSums)>>(cells: T) -> Self {
        Self(cells.into_iter().collect())
    }
}

/// Returns the blocks of a range of cells.
pub(crate) fn covering(range: &CellRange) -> BTreeSet<BlockId> {
    let rows = range.segments().flat_map(|row| BlockRow::split(range.zoom, row.y, row.columns));
    rows.map(|row| row.block).collect()
}

/// Returns a zoom's band and its level within the band. A band is three zooms that are stored together.
/// The first band has only two zooms, so that the last band ends with the highest zoom.
fn band(zoom: u8) -> (u8, u8) {
    ((zoom + 1) / 3, (zoom + 1) % 3)
}

/// Returns the number of cells of a level along each side of a block.
fn side(level: u8) -> u32 {
    4 << level
}

/// Returns the number of a cell in its block.
fn index(level: u8, y: u32, x: u32) -> u16 {
    let side = side(level);
    first_index(level) + u16::try_from(y % side * side + x % side).expect("a block has 256 cells of a zoom")
}

/// Returns the number of a level's first cell.
fn first_index(level: u8) -> u16 {
    [0, 4 * 4, 4 * 4 + 8 * 8][usize::from(level)]
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the cell at an address.
    pub(crate) fn cell_at(CellAddress { block: BlockId(id), index }: CellAddress) -> CellId {
        let level = (0..3).rfind(|level| first_index(*level) <= index).unwrap();
        let (side, index) = (side(level), u32::from(index - first_index(level)));
        let (top, left) = ((id >> 16 & 0xffff) as u32 * side, (id & 0xffff) as u32 * side);
        let zoom = 3 * (id >> 32) as u8 + level - 1;
        CellId { zoom, y: top + index / side, x: (left + index % side).cast_signed() }
    }

    proptest! {
        #[test]
        fn each_cell_has_its_own_address_and_a_split_row_leads_to_it(
            x: u32, y: u32, zoom in 0..=ZOOM_MAX, width in 1..40u32
        ) {
            let point = MercatorPoint { x, y };
            let id = CellId::containing(point, zoom);
            let address = CellAddress::from_cell(id);
            prop_assert_eq!(cell_at(address), id);
            let all: Vec<_> = BlockId::containing(point).collect();
            prop_assert!(all.len() == 6 && all.contains(&address.block));
            let (column, end) = (id.x.cast_unsigned(), (id.x.cast_unsigned() + width).min(4 << zoom));
            let cells = BlockRow::split(zoom, id.y, column..end).flat_map(|row| {
                row.indexes.zip(row.left..).map(move |(index, x)| (CellAddress { block: row.block, index }, x))
            });
            for ((address, x), expected) in cells.zip(column..end) {
                prop_assert_eq!(x, expected);
                prop_assert_eq!(address, CellAddress::from_cell(CellId { x: x.cast_signed(), ..id }));
            }
            let cells = BlockRow::split(zoom, id.y, column..end).map(|row| row.indexes.len()).sum::<usize>();
            prop_assert_eq!(cells, (end - column) as usize);
        }
    }
}
