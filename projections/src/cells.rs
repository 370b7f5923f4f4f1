//! Pins by cells: for every zoom a grid over the Web Mercator square, each
//! cell about 64 pixels wide. Everything a cell knows is a sum, so a pin is
//! added and taken away in constant time, and the order does not matter.
//!
//! The world goes on at the date line: a look at it may begin on one lap around
//! the world and end on the next, so that neighbours there are neighbours.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};

use event_store::Position;

use crate::view::{Bounds, Pin};

/// The deepest zoom.
pub(crate) const ZOOM_MAX: u8 = 16;

/// The side of the world in fixed-point units.
const WORLD: u64 = 1 << 32;

/// The poles are infinitely far away on this map; it ends here, as a square.
const LAT_MAX: f64 = 85.051_128_779_806_6;

/// A place on the Web Mercator square, in 2⁻³² of its side, from the north-west.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

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
#[derive(Debug, Default)]
pub(crate) struct Cells(BTreeMap<CellId, Cell>);

impl Point {
    pub(crate) fn of(pin: &Pin) -> Self {
        Self::at(pin.lat, pin.lon)
    }

    pub(crate) fn at(lat: f64, lon: f64) -> Self {
        Self { x: fixed(across(lon)), y: fixed(down(lat)) }
    }

    /// Degrees north and east.
    pub(crate) fn lat_lon(self) -> (f64, f64) {
        let part = |fixed: u32| (f64::from(fixed) + 0.5) / WORLD as f64;
        let lat = (std::f64::consts::PI * (1.0 - 2.0 * part(self.y))).sinh().atan().to_degrees();
        (lat, part(self.x) * 360.0 - 180.0)
    }

    pub(crate) fn cell(self, zoom: u8) -> CellId {
        CellId { zoom, y: self.y >> shift(zoom), x: (self.x >> shift(zoom)).cast_signed() }
    }
}

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
    /// What a pin at `point`, last changed at `position`, adds.
    fn of(point: Point, position: Position) -> Self {
        Self { count: 1, places: 0, x: i64::from(point.x), y: i64::from(point.y), pin: position.0 }
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
    /// Adds a pin.
    pub(crate) fn add(&mut self, pin: &Pin) {
        self.change(Point::of(pin), Cell::of(Point::of(pin), pin.position));
    }

    /// Takes a pin away that was added.
    pub(crate) fn remove(&mut self, pin: &Pin) {
        self.change(Point::of(pin), Cell::of(Point::of(pin), pin.position).negated());
    }

    /// Counts a place that got its first pin (1), or lost its last (−1).
    pub(crate) fn count_place(&mut self, point: Point, by: i64) {
        self.change(point, Cell { places: by, ..Cell::default() });
    }

    /// A cell, on the lap that is asked for.
    pub(crate) fn get(&self, id: CellId) -> Option<Cell> {
        let laps = id.x.div_euclid(cells_around(id.zoom));
        self.0.get(&id.home()).map(|cell| cell.ahead(laps))
    }

    /// Puts a cell in whole.
    pub(crate) fn put(&mut self, id: CellId, cell: Cell) {
        self.0.insert(id, cell);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CellId, Cell)> {
        self.0.iter().map(|(id, cell)| (*id, *cell))
    }

    /// The cells of a block that have pins, row by row from the west.
    pub(crate) fn within(&self, block: &Block) -> impl Iterator<Item = (CellId, Cell)> {
        let Block { zoom, rows, columns } = block.clone();
        let around = cells_around(zoom);
        rows.flat_map(move |y| {
            let laps = columns.start.div_euclid(around)..=(columns.end - 1).div_euclid(around);
            let columns = columns.clone();
            laps.flat_map(move |lap| {
                let home = |x: i32| CellId { zoom, y, x: (x - lap * around).clamp(0, around) };
                let cells = self.0.range(home(columns.start)..home(columns.end));
                cells.map(move |(id, cell)| (CellId { x: id.x + lap * around, ..*id }, cell.ahead(lap)))
            })
        })
    }

    fn change(&mut self, point: Point, by: Cell) {
        for zoom in 0..=ZOOM_MAX {
            let id = point.cell(zoom);
            let cell = self.0.entry(id).or_default();
            *cell += by;
            if *cell == Cell::default() {
                self.0.remove(&id);
            }
        }
    }
}

/// A rectangle of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) zoom: u8,
    pub(crate) rows: Range<u32>,
    /// Of one lap or of several.
    pub(crate) columns: Range<i32>,
}

impl Block {
    pub(crate) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The cells from `first` to `last`, and `margin` more on every side.
    pub(crate) fn around(first: CellId, last: CellId, margin: u32) -> Self {
        let zoom = first.zoom;
        let rows = first.y.saturating_sub(margin)..(last.y + margin + 1).min(4 << zoom);
        let margin = margin.cast_signed();
        Self { zoom, rows, columns: first.x - margin..last.x + margin + 1 }
    }
}

/// A rectangle on the square. One that spans the date line ends on the next lap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Area {
    x: Range<u64>,
    y: Range<u64>,
}

impl Area {
    /// What bounds mean on the square: nothing when they are upside down or
    /// not numbers.
    pub(crate) fn of(bounds: Bounds) -> Option<Self> {
        let Bounds { west, south, east, north } = bounds;
        if ![west, south, east, north].iter().all(|degrees| degrees.is_finite()) || south > north {
            return None;
        }
        let y = span(down(north), down(south));
        let x = match (across(west), across(east)) {
            _ if east - west >= 360.0 => 0..WORLD,
            (west, east) if west > east => span(west, 1.0).start..WORLD + span(0.0, east).end,
            (west, east) => span(west, east),
        };
        Some(Self { x, y })
    }

    pub(crate) fn contains(&self, (x, y): (i64, i64)) -> bool {
        let within = |span: &Range<u64>, at| u64::try_from(at).is_ok_and(|at| span.contains(&at));
        within(&self.x, x) && within(&self.y, y)
    }

    /// The cells that the area touches, and `margin` more on every side.
    pub(crate) fn block(&self, zoom: u8, margin: u32) -> Block {
        // Less than two laps of 2¹⁸ cells.
        let cell = |x: u64, y: u64| CellId {
            zoom,
            y: u32::try_from(y >> shift(zoom)).unwrap_or(u32::MAX),
            x: i32::try_from(x >> shift(zoom)).unwrap_or(i32::MAX),
        };
        Block::around(cell(self.x.start, self.y.start), cell(self.x.end - 1, self.y.end - 1), margin)
    }
}

/// The side of a cell in fixed-point units.
pub(crate) fn cell_side(zoom: u8) -> u64 {
    1 << shift(zoom)
}

/// How many cells of a zoom there are around the world.
fn cells_around(zoom: u8) -> i32 {
    4 << zoom
}

/// A zoom has four cells to a tile's side.
fn shift(zoom: u8) -> u8 {
    30 - zoom
}

/// From 0 at −180 degrees to 1 at 180.
fn across(lon: f64) -> f64 {
    ((lon + 180.0) / 360.0).clamp(0.0, 1.0)
}

/// From 0 in the north to 1 in the south.
fn down(lat: f64) -> f64 {
    let lat = lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
    (0.5 - lat.tan().asinh() / (2.0 * std::f64::consts::PI)).clamp(0.0, 1.0)
}

fn fixed(part: f64) -> u32 {
    // What is not a number becomes 0, what is too large the largest.
    (part * WORLD as f64) as u32
}

/// From the one to the other, never empty.
fn span(from: f64, to: f64) -> Range<u64> {
    let from = u64::from(fixed(from));
    let to = (to * WORLD as f64) as u64;
    from..to.clamp(from + 1, WORLD)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

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
        pins.into_iter().for_each(|pin| cells.add(pin));
        cells
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
    fn a_place_is_where_web_mercator_has_it() {
        assert_eq!(Point::at(0.0, 0.0), Point { x: 1 << 31, y: 1 << 31 });
        assert_eq!(Point::at(90.0, -180.0), Point { x: 0, y: 0 });
        assert_eq!(Point::at(-90.0, 180.0), Point { x: u32::MAX, y: u32::MAX });
        // Tile 16/32744/21792 begins here.
        let tile = Point::at(51.508_742_458_803_33, -0.131_835_937_5);
        assert_eq!((tile.x >> 16, (tile.y + 4) >> 16), (32_744, 21_792));
        let (lat, lon) = Point::at(51.50853, -0.12574).lat_lon();
        assert!((lat - 51.50853).abs() < 1e-6 && (lon + 0.12574).abs() < 1e-6, "{lat} {lon}");
    }

    #[test]
    fn a_box_across_the_date_line_ends_on_the_next_lap() {
        let bounds = |west, east| Bounds { west, south: -10.0, east, north: 10.0 };
        let area = |west, east| Area::of(bounds(west, east)).unwrap();
        let side = WORLD / 36;
        assert_eq!(area(170.0, -170.0).x.end - area(170.0, -170.0).x.start, 2 * side + 1);
        assert_eq!(area(170.0, -170.0).block(0, 0).columns, 3..5);
        assert_eq!(area(-170.0, 170.0).x, side..35 * side + 3);
        assert_eq!(area(-180.0, 180.0).x, 0..WORLD);
        assert_eq!(area(180.0, -180.0).block(3, 0).columns, 31..33);
        assert_eq!(Area::of(Bounds { south: 11.0, ..bounds(0.0, 1.0) }), None);
        assert_eq!(area(5.0, 5.0).block(0, 0).len(), 2, "a line touches a cell of each half");
    }

    #[test]
    fn the_cells_of_other_laps_are_those_of_the_first() {
        let cells = cells_of([&pin(1, 10.0, 179.9), &pin(2, 10.0, -179.9)]);
        let block = Block { zoom: 3, rows: 0..32, columns: -2..34 };
        let seen: Vec<_> = cells.within(&block).collect();
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
                let counted: BTreeMap<_, _> = cells
                    .iter()
                    .filter(|(id, _)| id.zoom == zoom)
                    .map(|(id, cell)| ((id.y, id.x), cell.count))
                    .collect();
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
            prop_assert_eq!(&cells.0, &other.0);
            let (gone, left) = shuffled.split_at(shuffled.len() / 2);
            gone.iter().for_each(|pin| other.remove(pin));
            prop_assert_eq!(&cells_of(left.iter().copied()).0, &other.0);
            left.iter().for_each(|pin| other.remove(pin));
            prop_assert!(other.0.is_empty());
        }
    }
}
