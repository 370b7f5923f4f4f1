//! The index of pins by cell: the cells of all zooms that have pins, by block.

use std::collections::HashMap;

use super::block::{Block, BlockId, BlockRow, CellAddress};
use super::grid::{CellId, CellRange, CellSums, ZOOM_MAX, columns};
use super::mercator::MercatorPoint;
use crate::view::Pin;

/// The number of zooms.
const ZOOMS: usize = ZOOM_MAX as usize + 1;

/// The cells that have pins, or a part of them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CellIndex(HashMap<BlockId, Block>);

impl CellIndex {
    /// Adds a pin. `new_place` says that no other pin is at its place.
    pub(crate) fn add(&mut self, pin: &Pin, new_place: bool) {
        let point = MercatorPoint::from_pin(pin);
        self.change(point, CellSums::from_pin(point, pin.position, new_place));
    }

    /// Removes a pin that was added. `last_of_place` says that no other pin is left at its place.
    pub(crate) fn remove(&mut self, pin: &Pin, last_of_place: bool) {
        let point = MercatorPoint::from_pin(pin);
        self.change(point, CellSums::from_pin(point, pin.position, last_of_place).negated());
    }

    /// Returns the sums of a cell, shifted to the repetition of the world that `id` names.
    pub(crate) fn get(&self, id: CellId) -> Option<CellSums> {
        let worlds_east = id.x.div_euclid(columns(id.zoom));
        let CellAddress { block, index } = CellAddress::from_cell(id.wrapped());
        Some(self.0.get(&block)?.get(index)?.shifted_east(worlds_east))
    }

    /// Returns the cells of a range that have pins, row by row from the west.
    pub(crate) fn within(&self, range: &CellRange) -> impl Iterator<Item = (CellId, CellSums)> {
        let zoom = range.zoom;
        range.segments().flat_map(move |segment| {
            let cells = BlockRow::split(zoom, segment.y, segment.columns).flat_map(|row| {
                let cells = self.0.get(&row.block).map(|block| block.range(row.indexes.clone()));
                let column = move |index: u16| row.left + u32::from(index - row.indexes.start);
                cells.unwrap_or_default().iter().map(move |(index, sums)| (column(*index), sums))
            });
            cells.map(move |(x, sums)| {
                let x = x.cast_signed() + segment.worlds_east * columns(zoom);
                (CellId { zoom, y: segment.y, x }, sums.shifted_east(segment.worlds_east))
            })
        })
    }

    /// Inserts or replaces a block.
    pub(crate) fn insert_block(&mut self, id: BlockId, block: Block) {
        self.0.insert(id, block);
    }

    pub(crate) fn remove_block(&mut self, id: BlockId) {
        self.0.remove(&id);
    }

    /// Returns true if the block was inserted, even if it has no cells.
    pub(crate) fn has_block(&self, id: BlockId) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        self.0.iter().map(|(id, block)| (*id, block))
    }

    fn change(&mut self, point: MercatorPoint, by: CellSums) {
        let addresses: [CellAddress; ZOOMS] =
            std::array::from_fn(|zoom| CellAddress::from_cell(CellId::containing(point, zoom as u8)));
        for addresses in addresses.chunk_by(|one, other| one.block == other.block) {
            let block = self.0.entry(addresses[0].block).or_default();
            addresses.iter().for_each(|address| block.add(address.index, by));
            if block.is_empty() {
                self.0.remove(&addresses[0].block);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use event_store::Position;
    use proptest::prelude::*;

    use super::*;
    use crate::map::block::tests::cell_at;
    use crate::map::grid::cell_side;
    use crate::map::mercator::LAT_MAX;

    /// Returns a pin at a place that last changed at a position.
    pub(crate) fn pin(position: u64, lat: f64, lon: f64) -> Pin {
        Pin {
            owner: format!("docker.io/o{position}"),
            name: String::new(),
            twitter: None,
            city: String::new(),
            country: String::new(),
            lat,
            lon,
            answers: BTreeMap::new(),
            venue: None,
            former_venues: vec![],
            passes: 1,
            passed_at: jiff::Timestamp::UNIX_EPOCH,
            position: Position(position),
        }
    }

    /// Generates pins all over the world, some of them near to each other.
    pub(crate) fn pins(max: usize) -> impl Strategy<Value = Vec<Pin>> {
        let far = (-90.0..=90.0, -180.0..=180.0);
        let near = (48.0..48.2, 2.0..2.3);
        let place = prop_oneof![far, near, Just((51.5, -0.1)), Just((51.5, -0.1001)), Just((0.0, 180.0))];
        proptest::collection::vec(place, 0..max).prop_map(|places| {
            places.iter().enumerate().map(|(n, (lat, lon))| pin(n as u64 + 1, *lat, *lon)).collect()
        })
    }

    pub(crate) fn index_of<'a>(pins: impl IntoIterator<Item = &'a Pin>) -> CellIndex {
        let mut index = CellIndex::default();
        pins.into_iter().for_each(|pin| index.add(pin, false));
        index
    }

    /// Returns all cells of a zoom, row by row from the west.
    pub(crate) fn all_cells(index: &CellIndex, zoom: u8) -> impl Iterator<Item = (CellId, CellSums)> {
        let cells = index.blocks().flat_map(|(block, cells)| {
            cells.iter().map(move |(index, sums)| (cell_at(CellAddress { block, index }), sums))
        });
        cells.filter(|(id, _)| id.zoom == zoom).collect::<BTreeMap<_, _>>().into_iter()
    }

    /// Counts the pins of each cell in another way: pin by pin, in floating point.
    fn recount(pins: &[Pin], zoom: u8) -> BTreeMap<(u32, i32), i64> {
        let side = f64::from(4u32 << zoom);
        let mut counts = BTreeMap::new();
        for pin in pins {
            let lat = pin.lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
            let mercator = (std::f64::consts::FRAC_PI_4 + lat / 2.0).tan().ln();
            let y = (1.0 - mercator / std::f64::consts::PI) / 2.0 * side;
            let x = (pin.lon + 180.0) / 360.0 * side;
            let cell = |at: f64| at.clamp(0.0, side - 0.5);
            *counts.entry((cell(y) as u32, cell(x) as i32)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_cells_repeat_east_and_west_of_the_antimeridian() {
        let index = index_of([&pin(1, 10.0, 179.9), &pin(2, 10.0, -179.9)]);
        let range = CellRange { zoom: 3, rows: 0..32, columns: -2..34 };
        let found: Vec<_> = index.within(&range).collect();
        assert_eq!(found.iter().map(|(id, _)| id.x).collect::<Vec<_>>(), [-1, 0, 31, 32]);
        for (id, sums) in found {
            assert_eq!(index.get(id), Some(sums));
            assert_eq!(index.get(id.wrapped()).unwrap().wrapped_centre(), sums.wrapped_centre());
            let (x, _) = sums.centre();
            assert_eq!(x.div_euclid(cell_side(3) as i64), i64::from(id.x));
        }
    }

    proptest! {
        #[test]
        fn the_cells_count_as_many_pins_as_a_recount(pins in pins(60)) {
            let index = index_of(&pins);
            for zoom in 0..=ZOOM_MAX {
                let counted: BTreeMap<_, _> =
                    all_cells(&index, zoom).map(|(id, sums)| ((id.y, id.x), sums.count)).collect();
                prop_assert_eq!(counted, recount(&pins, zoom), "zoom {}", zoom);
            }
        }

        #[test]
        fn the_order_of_pins_does_not_matter_and_removed_pins_leave_nothing(
            pins in pins(40), order in proptest::collection::vec(any::<u32>(), 40)
        ) {
            let index = index_of(&pins);
            let mut shuffled: Vec<&Pin> = pins.iter().collect();
            shuffled.sort_by_key(|pin| order[pin.position.0 as usize - 1]);
            let mut other = index_of(shuffled.iter().copied());
            prop_assert_eq!(&index, &other);
            let (gone, left) = shuffled.split_at(shuffled.len() / 2);
            gone.iter().for_each(|pin| other.remove(pin, false));
            prop_assert_eq!(&index_of(left.iter().copied()), &other);
            left.iter().for_each(|pin| other.remove(pin, false));
            prop_assert_eq!(other, CellIndex::default());
        }
    }
}
