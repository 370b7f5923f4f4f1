//! The grid: at each zoom the Web Mercator square is cut into cells of about
//! 64 pixels. A cell holds only sums, so a pin is added and removed in constant
//! time, and the order of changes does not matter.
//!
//! The grid repeats east and west of the antimeridian: column −1 is the last
//! column once more, one world further west. [`CellId::wrapped`] returns the
//! column between 0 and [`columns`] under which a cell is stored.

use std::ops::{AddAssign, Range};

use event_store::Position;

use super::mercator::{MercatorPoint, WORLD_SIDE};

/// The highest zoom at which pins are clustered.
pub const ZOOM_MAX: u8 = 16;

/// The name of a cell. Cells of one zoom sort by rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CellId {
    pub(crate) zoom: u8,
    pub(crate) y: u32,
    /// The column; negative or beyond [`columns`] in a repetition of the world.
    pub(crate) x: i32,
}

/// Sums over the pins of a cell, or differences of such sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CellSums {
    /// The number of pins.
    pub(crate) count: i64,
    /// The number of distinct places of these pins.
    pub(crate) places: i64,
    pub(crate) x: i64,
    pub(crate) y: i64,
    /// The exclusive or of the pins' positions in the log: the position itself if there is one pin.
    pub(crate) pin: u64,
}

/// A rectangle of cells of one zoom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellRange {
    pub(crate) zoom: u8,
    pub(crate) rows: Range<u32>,
    /// The columns; they may cross the antimeridian.
    pub(crate) columns: Range<i32>,
}

/// The columns of one row of a [`CellRange`] that lie in one repetition of the world.
pub(crate) struct RowSegment {
    pub(crate) y: u32,
    /// The number of worlds between the stored columns and these: 0 in the world itself.
    pub(crate) worlds_east: i32,
    /// The columns under which the cells are stored.
    pub(crate) columns: Range<u32>,
}

impl CellId {
    /// Returns the cell of this zoom that contains `point`.
    pub(crate) fn containing(point: MercatorPoint, zoom: u8) -> Self {
        let bits = cell_bits(zoom);
        Self { zoom, y: point.y >> bits, x: (point.x >> bits).cast_signed() }
    }

    /// Returns the same cell with the column under which it is stored.
    pub(crate) fn wrapped(self) -> Self {
        Self { x: self.x.rem_euclid(columns(self.zoom)), ..self }
    }

    /// Returns the four cells that cover this cell at the next zoom.
    pub(crate) fn children(self) -> [Self; 4] {
        let (zoom, y, x) = (self.zoom + 1, self.y * 2, self.x * 2);
        [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].map(|(y, x)| Self { zoom, y, x })
    }
}

impl CellSums {
    /// Returns the sums of one pin at `point` that last changed at `position`. `new_place` says that no
    /// other pin is there.
    pub(crate) fn from_pin(point: MercatorPoint, position: Position, new_place: bool) -> Self {
        let (x, y) = (i64::from(point.x), i64::from(point.y));
        Self { count: 1, places: i64::from(new_place), x, y, pin: position.0 }
    }

    pub(crate) fn negated(self) -> Self {
        Self { count: -self.count, places: -self.places, x: -self.x, y: -self.y, pin: self.pin }
    }

    /// Returns the sums of the same pins `worlds` repetitions further east.
    pub(crate) fn shifted_east(self, worlds: i32) -> Self {
        Self { x: self.x + i64::from(worlds) * self.count * WORLD_SIDE as i64, ..self }
    }

    /// Returns the x and y of the pins' centre. The x may lie in a repetition of the world.
    pub(crate) fn centre(&self) -> (i64, i64) {
        let count = self.count.max(1);
        (self.x.div_euclid(count), self.y.div_euclid(count))
    }

    /// Returns the pins' centre within the world.
    pub(crate) fn wrapped_centre(&self) -> MercatorPoint {
        let (x, y) = self.centre();
        let within = |at: i64| u32::try_from(at.rem_euclid(WORLD_SIDE as i64)).unwrap_or(0);
        MercatorPoint { x: within(x), y: within(y) }
    }
}

impl AddAssign for CellSums {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.places += other.places;
        self.x += other.x;
        self.y += other.y;
        self.pin ^= other.pin;
    }
}

impl CellRange {
    /// Returns the cells from `first` to `last`, and `margin` more on every side.
    pub(crate) fn new(first: CellId, last: CellId, margin: u32) -> Self {
        let zoom = first.zoom;
        let rows = first.y.saturating_sub(margin)..(last.y + margin + 1).min(columns(zoom).cast_unsigned());
        let margin = margin.cast_signed();
        Self { zoom, rows, columns: first.x - margin..last.x + margin + 1 }
    }

    /// Returns its rows from the north, each cut at the antimeridian.
    pub(crate) fn segments(&self) -> impl Iterator<Item = RowSegment> + use<> {
        let around = columns(self.zoom);
        let (start, end) = (self.columns.start, self.columns.end);
        let worlds = start.div_euclid(around)..=(end - 1).div_euclid(around);
        self.rows.clone().flat_map(move |y| {
            let stored = move |x: i32, world: i32| (x - world * around).clamp(0, around).cast_unsigned();
            worlds.clone().map(move |world| RowSegment {
                y,
                worlds_east: world,
                columns: stored(start, world)..stored(end, world),
            })
        })
    }
}

/// Returns the side of a cell in fixed-point units.
pub(crate) fn cell_side(zoom: u8) -> u64 {
    1 << cell_bits(zoom)
}

/// Returns the number of columns around the world, and of rows: four to a tile.
pub(crate) fn columns(zoom: u8) -> i32 {
    4 << zoom
}

/// Returns the number of bits of a coordinate that are within a cell.
pub(crate) fn cell_bits(zoom: u8) -> u8 {
    30 - zoom
}
