//! A part of the world that somebody looks at: as a rectangle on the square,
//! and the cells that it touches.
//!
//! The world goes on at the date line: a look at it may begin on one lap around
//! the world and end on the next, so that neighbours there are neighbours.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::blocks::{BlockId, Row};
use crate::cells::{CellId, cell_bits, cells_around};
use crate::square::{WORLD, across, down, fixed};
use crate::view::BoundingBox;

/// A rectangle of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) zoom: u8,
    pub(crate) rows: Range<u32>,
    /// Of one lap or of several.
    pub(crate) columns: Range<i32>,
}

impl Window {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Its rows from the north, and for each lap that one spans its columns on the first lap.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u32, i32, Range<u32>)> + use<> {
        let Self { zoom, rows, columns } = self.clone();
        let around = cells_around(zoom);
        let laps = columns.start.div_euclid(around)..=(columns.end - 1).div_euclid(around);
        rows.flat_map(move |y| {
            let columns = columns.clone();
            let home = move |x: i32, lap: i32| (x - lap * around).clamp(0, around).cast_unsigned();
            laps.clone().map(move |lap| (y, lap, home(columns.start, lap)..home(columns.end, lap)))
        })
    }

    /// The blocks that its cells are in.
    pub(crate) fn blocks(&self) -> BTreeSet<BlockId> {
        let parts = self.rows().flat_map(|(y, _, columns)| Row::parts(self.zoom, y, columns));
        parts.map(|row| row.block).collect()
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
    pub(crate) fn of(bounds: BoundingBox) -> Option<Self> {
        let BoundingBox { west, south, east, north } = bounds;
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

    /// Returns the longer of the two sides in fixed-point units.
    pub(crate) fn longest_side(&self) -> u64 {
        (self.x.end - self.x.start).max(self.y.end - self.y.start)
    }

    pub(crate) fn contains(&self, (x, y): (i64, i64)) -> bool {
        let within = |span: &Range<u64>, at| u64::try_from(at).is_ok_and(|at| span.contains(&at));
        within(&self.x, x) && within(&self.y, y)
    }

    /// The cells that the area touches, and `margin` more on every side.
    pub(crate) fn window(&self, zoom: u8, margin: u32) -> Window {
        // Less than two laps of 2¹⁸ cells.
        let cell = |x: u64, y: u64| CellId {
            zoom,
            y: u32::try_from(y >> cell_bits(zoom)).unwrap_or(u32::MAX),
            x: i32::try_from(x >> cell_bits(zoom)).unwrap_or(i32::MAX),
        };
        Window::around(cell(self.x.start, self.y.start), cell(self.x.end - 1, self.y.end - 1), margin)
    }
}

/// From the one to the other, never empty.
fn span(from: f64, to: f64) -> Range<u64> {
    let from = u64::from(fixed(from));
    let to = (to * WORLD as f64) as u64;
    from..to.clamp(from + 1, WORLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_across_the_date_line_ends_on_the_next_lap() {
        let bounds = |west, east| BoundingBox { west, south: -10.0, east, north: 10.0 };
        let area = |west, east| Area::of(bounds(west, east)).unwrap();
        let side = WORLD / 36;
        assert_eq!(area(170.0, -170.0).x.end - area(170.0, -170.0).x.start, 2 * side + 1);
        assert_eq!(area(170.0, -170.0).window(0, 0).columns, 3..5);
        assert_eq!(area(-170.0, 170.0).x, side..35 * side + 3);
        assert_eq!(area(-180.0, 180.0).x, 0..WORLD);
        assert_eq!(area(180.0, -180.0).window(3, 0).columns, 31..33);
        assert_eq!(Area::of(BoundingBox { south: 11.0, ..bounds(0.0, 1.0) }), None);
        assert_eq!(area(5.0, 5.0).window(0, 0).len(), 2, "a line touches a cell of each half");
    }
}
