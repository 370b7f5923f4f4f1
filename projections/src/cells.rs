//! Pins by cells: for every zoom a grid over the Web Mercator square, each
//! cell about 64 pixels wide. Everything a cell knows is a sum, so a pin is
//! added and taken away in constant time, and the order does not matter.

use std::collections::HashMap;
use std::ops::AddAssign;

use event_store::Position;

use crate::area::Window;
use crate::blocks::{Address, Block, BlockId, Row};
use crate::square::{Point, WORLD};
use crate::view::Pin;

/// The highest zoom at which pins are clustered.
pub const ZOOM_MAX: u8 = 16;

/// How many zooms there are.
const ZOOMS: usize = ZOOM_MAX as usize + 1;

/// A cell's name. Cells of a zoom sort by rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CellId {
    pub(crate) zoom: u8,
    pub(crate) y: u32,
    /// From 0 on the first lap around the world; less, or more, on others.
    pub(crate) x: i32,
}

/// Sums over the pins in a cell, or differences of such sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    /// How many pins.
    pub(crate) count: i64,
    /// How many distinct places they have.
    pub(crate) places: i64,
    pub(crate) x: i64,
    pub(crate) y: i64,
    /// The exclusive or of the pins' positions: of one pin, its position.
    pub(crate) pin: u64,
}

/// The cells that have pins, of all zooms, on the first lap.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Cells(HashMap<BlockId, Block>);

impl CellId {
    /// The same cell on the first lap: the name that it is kept under.
    pub(crate) fn home(self) -> Self {
        Self { x: self.x.rem_euclid(cells_around(self.zoom)), ..self }
    }

    /// The four cells that this one is made of at the next zoom.
    pub(crate) fn children(self) -> [Self; 4] {
        let (zoom, y, x) = (self.zoom + 1, self.y * 2, self.x * 2);
        [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].map(|(y, x)| Self { zoom, y, x })
    }
}

impl Cell {
    /// What a pin at `point`, last changed at `position`, adds; `alone` there, it adds the place too.
    fn of(point: Point, position: Position, alone: bool) -> Self {
        let (x, y) = (i64::from(point.x), i64::from(point.y));
        Self { count: 1, places: i64::from(alone), x, y, pin: position.0 }
    }

    fn negated(self) -> Self {
        Self { count: -self.count, places: -self.places, x: -self.x, y: -self.y, pin: self.pin }
    }

    /// The same pins so many laps further east.
    fn ahead(self, laps: i32) -> Self {
        Self { x: self.x + i64::from(laps) * self.count * WORLD as i64, ..self }
    }

    /// The pins' centre: x, on the lap that the cell is on, and y.
    pub(crate) fn centre(&self) -> (i64, i64) {
        let count = self.count.max(1);
        (self.x.div_euclid(count), self.y.div_euclid(count))
    }

    /// The pins' centre on the map.
    pub(crate) fn place(&self) -> Point {
        let (x, y) = self.centre();
        let within = |at: i64| u32::try_from(at.rem_euclid(WORLD as i64)).unwrap_or(0);
        Point { x: within(x), y: within(y) }
    }
}

impl AddAssign for Cell {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.places += other.places;
        self.x += other.x;
        self.y += other.y;
        self.pin ^= other.pin;
    }
}

impl Cells {
    /// Adds a pin; `alone` when no other is at its place.
    pub(crate) fn add(&mut self, pin: &Pin, alone: bool) {
        let point = Point::of(pin);
        self.change(point, Cell::of(point, pin.position, alone));
    }

    /// Takes a pin away that was added; `alone` when no other is left at its place.
    pub(crate) fn remove(&mut self, pin: &Pin, alone: bool) {
        let point = Point::of(pin);
        self.change(point, Cell::of(point, pin.position, alone).negated());
    }

    /// A cell, on the lap that is asked for.
    pub(crate) fn get(&self, id: CellId) -> Option<Cell> {
        let laps = id.x.div_euclid(cells_around(id.zoom));
        let Address { block, index } = Address::of(id.home());
        Some(self.0.get(&block)?.get(index)?.ahead(laps))
    }

    /// The cells of a window that have pins, row by row from the west.
    pub(crate) fn within(&self, window: &Window) -> impl Iterator<Item = (CellId, Cell)> {
        let zoom = window.zoom;
        window.rows().flat_map(move |(y, lap, columns)| {
            let parts = Row::parts(zoom, y, columns).flat_map(|row| {
                let cells = self.0.get(&row.block).map(|block| block.range(row.indexes.clone()));
                let column = move |index: u16| row.left + u32::from(index - row.indexes.start);
                cells.unwrap_or_default().iter().map(move |(index, cell)| (column(*index), cell))
            });
            parts.map(move |(x, cell)| {
                let x = x.cast_signed() + lap * cells_around(zoom);
                (CellId { zoom, y, x }, cell.ahead(lap))
            })
        })
    }

    /// Puts a block in whole.
    pub(crate) fn put(&mut self, id: BlockId, block: Block) {
        self.0.insert(id, block);
    }

    /// Takes a block out.
    pub(crate) fn forget(&mut self, id: BlockId) {
        self.0.remove(&id);
    }

    /// Whether a block was put in, with cells or without.
    pub(crate) fn has(&self, id: BlockId) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        self.0.iter().map(|(id, block)| (*id, block))
    }

    fn change(&mut self, point: Point, by: Cell) {
        let addresses: [Address; ZOOMS] = std::array::from_fn(|zoom| Address::of(point.cell(zoom as u8)));
        for addresses in addresses.chunk_by(|one, other| one.block == other.block) {
            let block = self.0.entry(addresses[0].block).or_default();
            addresses.iter().for_each(|address| block.add(address.index, by));
            if block.is_empty() {
                self.0.remove(&addresses[0].block);
            }
        }
    }
}

/// The side of a cell in fixed-point units.
pub(crate) fn cell_side(zoom: u8) -> u64 {
    1 << cell_bits(zoom)
}

/// How many cells of a zoom there are around the world.
pub(crate) fn cells_around(zoom: u8) -> i32 {
    4 << zoom
}

/// How many bits of a place are within its cell: a zoom has four cells to a tile's side.
pub(crate) fn cell_bits(zoom: u8) -> u8 {
    30 - zoom
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::blocks::tests::cell_at;
    use crate::square::LAT_MAX;

    /// A pin at a place, changed last at a position.
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
            passes: 1,
            passed_at: jiff::Timestamp::UNIX_EPOCH,
            position: Position(position),
        }
    }

    /// Places all over the world, some of them near to each other.
    pub(crate) fn pins(max: usize) -> impl Strategy<Value = Vec<Pin>> {
        let far = (-90.0..=90.0, -180.0..=180.0);
        let near = (48.0..48.2, 2.0..2.3);
        let place = prop_oneof![far, near, Just((51.5, -0.1)), Just((51.5, -0.1001)), Just((0.0, 180.0))];
        proptest::collection::vec(place, 0..max).prop_map(|places| {
            places.iter().enumerate().map(|(n, (lat, lon))| pin(n as u64 + 1, *lat, *lon)).collect()
        })
    }

    pub(crate) fn cells_of<'a>(pins: impl IntoIterator<Item = &'a Pin>) -> Cells {
        let mut cells = Cells::default();
        pins.into_iter().for_each(|pin| cells.add(pin, false));
        cells
    }

    /// All cells of a zoom, row by row from the west.
    pub(crate) fn all(cells: &Cells, zoom: u8) -> impl Iterator<Item = (CellId, Cell)> {
        let cells = cells.blocks().flat_map(|(block, cells)| {
            cells.iter().map(move |(index, cell)| (cell_at(Address { block, index }), cell))
        });
        cells.filter(|(id, _)| id.zoom == zoom).collect::<BTreeMap<_, _>>().into_iter()
    }

    /// The same by another way: a look at every pin for every cell, in floating point.
    fn recounted(pins: &[Pin], zoom: u8) -> BTreeMap<(u32, i32), i64> {
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
    fn the_cells_of_other_laps_are_those_of_the_first() {
        let cells = cells_of([&pin(1, 10.0, 179.9), &pin(2, 10.0, -179.9)]);
        let window = Window { zoom: 3, rows: 0..32, columns: -2..34 };
        let seen: Vec<_> = cells.within(&window).collect();
        assert_eq!(seen.iter().map(|(id, _)| id.x).collect::<Vec<_>>(), [-1, 0, 31, 32]);
        for (id, cell) in seen {
            assert_eq!(cells.get(id), Some(cell));
            assert_eq!(cells.get(id.home()).unwrap().place(), cell.place());
            let (x, _) = cell.centre();
            assert_eq!(x.div_euclid(cell_side(3) as i64), i64::from(id.x));
        }
    }

    proptest! {
        #[test]
        fn cells_are_what_a_recount_finds(pins in pins(60)) {
            let cells = cells_of(&pins);
            for zoom in 0..=ZOOM_MAX {
                let counted: BTreeMap<_, _> =
                    all(&cells, zoom).map(|(id, cell)| ((id.y, id.x), cell.count)).collect();
                prop_assert_eq!(counted, recounted(&pins, zoom), "zoom {}", zoom);
            }
        }

        #[test]
        fn any_order_gives_the_same_cells_and_what_is_taken_away_leaves_nothing(
            pins in pins(40), order in proptest::collection::vec(any::<u32>(), 40)
        ) {
            let cells = cells_of(&pins);
            let mut shuffled: Vec<&Pin> = pins.iter().collect();
            shuffled.sort_by_key(|pin| order[pin.position.0 as usize - 1]);
            let mut other = cells_of(shuffled.iter().copied());
            prop_assert_eq!(&cells, &other);
            let (gone, left) = shuffled.split_at(shuffled.len() / 2);
            gone.iter().for_each(|pin| other.remove(pin, false));
            prop_assert_eq!(&cells_of(left.iter().copied()), &other);
            left.iter().for_each(|pin| other.remove(pin, false));
            prop_assert_eq!(other, Cells::default());
        }
    }
}
