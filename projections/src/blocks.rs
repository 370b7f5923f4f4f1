//! Blocks of cells: 16 × 16 cells of every third zoom, with the cells of the
//! two zooms above that are made of them. A pin is in six blocks and a screen
//! is a few dozen, in memory and in stores elsewhere.

use std::ops::Range;

use crate::cells::{Cell, CellId, ZOOM_MAX};
use crate::square::Point;

/// A block's name, as a number that a store can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) i64);

/// Where a cell is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) block: BlockId,
    /// The cell's number in it.
    pub(crate) index: u16,
}

/// The part of a zoom's row of cells that is in one block.
pub(crate) struct Row {
    pub(crate) block: BlockId,
    /// The cells' numbers in it.
    pub(crate) indexes: Range<u16>,
    /// The column of the first.
    pub(crate) left: u32,
}

/// The cells of a block that have pins.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Block(
    /// By their number: each zoom's after those of the zoom above, row by row.
    Vec<(u16, Cell)>,
);

impl Address {
    /// Of a cell on the first lap.
    pub(crate) fn of(id: CellId) -> Self {
        let (band, level) = band(id.zoom);
        let (side, x) = (side(level), id.x.cast_unsigned());
        Self { block: BlockId::new(band, id.y / side, x / side), index: index(level, id.y, x) }
    }
}

impl BlockId {
    /// The block that a cell on the first lap is in.
    pub(crate) fn of(id: CellId) -> Self {
        Address::of(id).block
    }

    /// All blocks that a place is in.
    pub(crate) fn all_of(point: Point) -> impl Iterator<Item = Self> {
        (1..=ZOOM_MAX).step_by(3).map(move |zoom| Self::of(point.cell(zoom)))
    }

    fn new(band: u8, row: u32, column: u32) -> Self {
        Self(i64::from(band) << 32 | i64::from(row) << 16 | i64::from(column))
    }
}

impl Row {
    /// The parts of a row, from the west; of columns on the first lap.
    pub(crate) fn parts(zoom: u8, y: u32, columns: Range<u32>) -> impl Iterator<Item = Self> {
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

    /// How many of its cells have pins.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: u16) -> Option<Cell> {
        let at = self.find(index).ok()?;
        Some(self.0[at].1)
    }

    /// The cells with these numbers that have pins.
    pub(crate) fn range(&self, indexes: Range<u16>) -> &[(u16, Cell)] {
        let from = self.find(indexes.start).unwrap_or_else(|at| at);
        let to = self.find(indexes.end).unwrap_or_else(|at| at);
        &self.0[from..to]
    }

    /// By their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, Cell)> {
        self.0.iter().copied()
    }

    /// Adds to a cell, which goes when nothing is left of it.
    pub(crate) fn add(&mut self, index: u16, by: Cell) {
        match self.find(index) {
            Err(at) => self.0.insert(at, (index, by)),
            Ok(at) => {
                self.0[at].1 += by;
                if self.0[at].1 == Cell::default() {
                    self.0.remove(at);
                }
            }
        }
    }

    fn find(&self, index: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&index, |(index, _)| *index)
    }
}

impl FromIterator<(u16, Cell)> for Block {
    /// Of cells in the order of their numbers.
    fn from_iter<T: IntoIterator<Item = (u16, Cell)>>(cells: T) -> Self {
        Self(cells.into_iter().collect())
    }
}

/// Which three zooms a zoom is kept with, and which of them it is. The first
/// band has but two, so that the last has the deepest zoom of all.
fn band(zoom: u8) -> (u8, u8) {
    ((zoom + 1) / 3, (zoom + 1) % 3)
}

/// How many cells of a level a block has on each side.
fn side(level: u8) -> u32 {
    4 << level
}

/// The number of a cell in its block.
fn index(level: u8, y: u32, x: u32) -> u16 {
    let side = side(level);
    first(level) + u16::try_from(y % side * side + x % side).expect("a block has 256 cells of a zoom")
}

/// The number of a level's first cell.
fn first(level: u8) -> u16 {
    [0, 4 * 4, 4 * 4 + 8 * 8][usize::from(level)]
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The cell that is kept there.
    pub(crate) fn cell_at(Address { block: BlockId(id), index }: Address) -> CellId {
        let level = (0..3).rfind(|level| first(*level) <= index).unwrap();
        let (side, index) = (side(level), u32::from(index - first(level)));
        let (top, left) = ((id >> 16 & 0xffff) as u32 * side, (id & 0xffff) as u32 * side);
        let zoom = 3 * (id >> 32) as u8 + level - 1;
        CellId { zoom, y: top + index / side, x: (left + index % side).cast_signed() }
    }

    proptest! {
        #[test]
        fn an_address_is_a_cells_own_and_a_row_leads_to_it(x: u32, y: u32, zoom in 0..=ZOOM_MAX, width in 1..40u32) {
            let id = Point { x, y }.cell(zoom);
            let address = Address::of(id);
            prop_assert_eq!(cell_at(address), id);
            let all: Vec<_> = BlockId::all_of(Point { x, y }).collect();
            prop_assert!(all.len() == 6 && all.contains(&address.block));
            let (column, end) = (id.x.cast_unsigned(), (id.x.cast_unsigned() + width).min(4 << zoom));
            let cells = Row::parts(zoom, id.y, column..end).flat_map(|row| {
                row.indexes.zip(row.left..).map(move |(index, x)| (Address { block: row.block, index }, x))
            });
            for ((address, x), expected) in cells.zip(column..end) {
                prop_assert_eq!(x, expected);
                prop_assert_eq!(address, Address::of(CellId { x: x.cast_signed(), ..id }));
            }
            prop_assert_eq!(Row::parts(zoom, id.y, column..end).map(|row| row.indexes.len()).sum::<usize>(), (end - column) as usize);
        }
    }
}
