//! Pins by cells: for every zoom a grid over the Web Mercator square, each
//! cell about 64 pixels wide. Everything a cell knows is a sum, so a pin is
//! added and taken away in constant time, and the order does not matter.

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
    pub(crate) x: u32,
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

/// The cells that have pins, of all zooms.
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
        CellId { zoom, y: self.y >> shift(zoom), x: self.x >> shift(zoom) }
    }
}

impl CellId {
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

    /// The pins' centre.
    pub(crate) fn centre(&self) -> Point {
        let mean = |sum: i64| u32::try_from(sum / self.count.max(1)).unwrap_or(0);
        Point { x: mean(self.x), y: mean(self.y) }
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

    pub(crate) fn get(&self, id: CellId) -> Option<&Cell> {
        self.0.get(&id)
    }

    /// Puts a cell in whole.
    pub(crate) fn put(&mut self, id: CellId, cell: Cell) {
        self.0.insert(id, cell);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CellId, Cell)> {
        self.0.iter().map(|(id, cell)| (*id, *cell))
    }

    /// The cells of a block that have pins.
    pub(crate) fn within(&self, block: &Block) -> impl Iterator<Item = (CellId, Cell)> {
        let Block { zoom, rows, columns } = block.clone();
        rows.flat_map(move |y| {
            let id = |x| CellId { zoom, y, x };
            self.0.range(id(columns.start)..id(columns.end)).map(|(id, cell)| (*id, *cell))
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
    pub(crate) columns: Range<u32>,
}

impl Block {
    pub(crate) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// A rectangle on the square that does not span the date line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Area {
    x: Range<u64>,
    y: Range<u64>,
}

impl Area {
    /// What bounds mean on the square: nothing when they are upside down or
    /// not numbers, two areas when they span the date line.
    pub(crate) fn of(bounds: Bounds) -> Vec<Self> {
        let Bounds { west, south, east, north } = bounds;
        if ![west, south, east, north].iter().all(|degrees| degrees.is_finite()) || south > north {
            return vec![];
        }
        let y = span(down(north), down(south));
        let area = |x| Self { x, y: y.clone() };
        match (across(west), across(east)) {
            _ if east - west >= 360.0 => vec![area(0..WORLD)],
            (west, east) if west > east => vec![area(span(west, 1.0)), area(span(0.0, east))],
            (west, east) => vec![area(span(west, east))],
        }
    }

    pub(crate) fn contains(&self, point: Point) -> bool {
        self.x.contains(&point.x.into()) && self.y.contains(&point.y.into())
    }

    /// The cells that the area touches, and `margin` more on every side.
    pub(crate) fn block(&self, zoom: u8, margin: u32) -> Block {
        let side = 1u32 << (zoom + 2);
        let cells = |span: &Range<u64>| {
            let first = u32::try_from(span.start >> shift(zoom)).unwrap_or(side);
            let last = u32::try_from((span.end - 1) >> shift(zoom)).unwrap_or(side);
            first.saturating_sub(margin)..last.saturating_add(margin + 1).min(side)
        };
        Block { zoom, rows: cells(&self.y), columns: cells(&self.x) }
    }
}

/// The side of a cell in fixed-point units.
pub(crate) fn cell_side(zoom: u8) -> u64 {
    1 << shift(zoom)
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
    fn recounted(pins: &[Pin], zoom: u8) -> BTreeMap<(u32, u32), i64> {
        let side = f64::from(4u32 << zoom);
        let mut counts = BTreeMap::new();
        for pin in pins {
            let lat = pin.lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
            let mercator = (std::f64::consts::FRAC_PI_4 + lat / 2.0).tan().ln();
            let y = (1.0 - mercator / std::f64::consts::PI) / 2.0 * side;
            let x = (pin.lon + 180.0) / 360.0 * side;
            let cell = |at: f64| at.clamp(0.0, side - 0.5) as u32;
            *counts.entry((cell(y), cell(x))).or_default() += 1;
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
    fn a_box_across_the_date_line_is_two_areas() {
        let bounds = |west, east| Bounds { west, south: -10.0, east, north: 10.0 };
        assert_eq!(Area::of(bounds(170.0, -170.0)).len(), 2);
        assert_eq!(Area::of(bounds(-170.0, 170.0)).len(), 1);
        assert_eq!(Area::of(bounds(-180.0, 180.0))[0].x, 0..WORLD);
        assert_eq!(Area::of(Bounds { south: 11.0, ..bounds(0.0, 1.0) }), []);
        assert_eq!(Area::of(bounds(5.0, 5.0))[0].block(0, 0).len(), 2, "a line touches a cell of each half");
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
