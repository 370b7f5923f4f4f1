//! Cells as they are stored: blocks of 8 × 8 cells at every third zoom, each
//! with the cells of the two zooms above that it covers. One pin touches six
//! documents, and a screen is a few dozen.

use std::collections::BTreeMap;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use serde::{Deserialize, Serialize};

use super::transaction::update;
use crate::cells::{Cell, CellId, Cells};

/// The cells of three zooms, each by its number in the block.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "_id")]
    id: i64,
    #[serde(default, rename = "0")]
    zoom0: BTreeMap<String, StoredCell>,
    #[serde(default, rename = "1")]
    zoom1: BTreeMap<String, StoredCell>,
    #[serde(default, rename = "2")]
    zoom2: BTreeMap<String, StoredCell>,
}

/// A cell's sums: count, places, x, y, and the pins' positions.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredCell {
    n: i64,
    p: i64,
    x: i64,
    y: i64,
    i: i64,
}

/// Where a cell is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// The block's `_id`.
    pub(super) block: i64,
    /// Which of its three zooms.
    pub(super) level: u8,
    /// Which of its cells.
    index: u32,
}

impl Address {
    pub(super) fn of(id: CellId) -> Self {
        let band = (id.zoom + 1) / 3;
        let level = id.zoom + 1 - 3 * band;
        let side = 2u32 << level;
        let block = i64::from(band) << 32 | i64::from(id.y / side) << 16 | i64::from(id.x / side);
        Self { block, level, index: id.y % side * side + id.x % side }
    }
}

impl Block {
    /// What must be read to know the cells of one of the three zooms.
    pub(super) fn projection(level: u8) -> Document {
        doc! { level.to_string(): 1 }
    }

    /// Puts the cells of a zoom that have pins into `cells`.
    pub(super) fn unpack(&self, level: u8, cells: &mut Cells) {
        let band = (self.id >> 32) as u8;
        let (top, left) = ((self.id >> 16 & 0xffff) as u32, (self.id & 0xffff) as u32);
        let side = 2u32 << level;
        let stored = [&self.zoom0, &self.zoom1, &self.zoom2][usize::from(level)];
        for (index, cell) in stored {
            let Ok(index) = index.parse::<u32>() else { continue };
            let zoom = 3 * band + level - 1;
            let id = CellId { zoom, y: top * side + index / side, x: left * side + index % side };
            if cell.n > 0 {
                cells.put(id, Cell::from(*cell));
            }
        }
    }
}

impl From<StoredCell> for Cell {
    fn from(stored: StoredCell) -> Self {
        let StoredCell { n, p, x, y, i } = stored;
        Self { count: n, places: p, x, y, pin: i.cast_unsigned() }
    }
}

/// The updates that add differences to what is stored.
pub(super) fn updates(differences: &Cells) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
    let mut blocks: BTreeMap<i64, (Document, Document)> = BTreeMap::new();
    for (id, by) in differences.iter() {
        let Address { block, level, index } = Address::of(id);
        let (sums, bits) = blocks.entry(block).or_default();
        for (field, by) in [("n", by.count), ("p", by.places), ("x", by.x), ("y", by.y)] {
            if by != 0 {
                sums.insert(format!("{level}.{index}.{field}"), by);
            }
        }
        if by.pin != 0 {
            bits.insert(format!("{level}.{index}.i"), doc! { "xor": by.pin.cast_signed() });
        }
    }
    let update_of = |(block, (sums, bits)): (i64, (Document, Document))| {
        let mut by = Document::new();
        for (operator, fields) in [("$inc", sums), ("$bit", bits)] {
            if !fields.is_empty() {
                by.insert(operator, fields);
            }
        }
        update(block, &by)
    };
    blocks.into_iter().map(update_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{Point, ZOOM_MAX};

    #[test]
    fn an_address_leads_back_to_its_cell() {
        for point in [Point::at(51.5, -0.12), Point::at(-33.4, -70.6), Point { x: u32::MAX, y: u32::MAX }] {
            for zoom in 0..=ZOOM_MAX {
                let id = point.cell(zoom);
                let Address { block, level, index } = Address::of(id);
                let mut stored = Block { id: block, ..Block::default() };
                let cell = StoredCell { n: 1, ..StoredCell::default() };
                [&mut stored.zoom0, &mut stored.zoom1, &mut stored.zoom2][usize::from(level)]
                    .insert(index.to_string(), cell);
                let mut cells = Cells::default();
                stored.unpack(level, &mut cells);
                assert_eq!(cells.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
            }
        }
    }

    #[test]
    fn a_pin_touches_six_blocks() {
        let mut cells = Cells::default();
        cells.add(&crate::cells::tests::pin(7, 51.5, -0.12));
        assert_eq!(updates(&cells).unwrap().len(), 6);
    }
}
