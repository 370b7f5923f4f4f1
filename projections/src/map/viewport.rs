//! The viewport: the part of the map that a reader looks at, as a rectangle on
//! the Web Mercator square, and the cells that it touches.
//!
//! A viewport may cross the antimeridian (RFC 7946, section 3.1.9). Its
//! rectangle then ends in the repetition of the world further east, so that
//! pins on both sides of the antimeridian are neighbours.

use std::ops::Range;

use super::grid::{CellId, CellRange, ZOOM_MAX, cell_bits};
use super::mercator::{WORLD_SIDE, to_units, x_of_lon, y_of_lat};
use crate::view::BoundingBox;

/// The longest side of a viewport in tiles of 256 pixels: 8,192 pixels. A larger
/// box is shown at a lower zoom, so no request costs more than a large screen.
const TILES_MAX: u64 = 32;

/// A bounding box and the zoom at which it is shown.
#[derive(Debug)]
pub(crate) struct Viewport {
    zoom: u8,
    /// `None` if the bounding box is upside down or has a coordinate that is no number.
    rectangle: Option<MercatorRectangle>,
}

/// A rectangle on the square. Across the antimeridian, `x` ends beyond the square's side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MercatorRectangle {
    x: Range<u64>,
    y: Range<u64>,
}

impl Viewport {
    /// Creates a viewport with the requested zoom, or the highest lower zoom at which no side of the box
    /// has more than [`TILES_MAX`] tiles.
    pub(crate) fn new(bounds: BoundingBox, requested_zoom: u8) -> Self {
        let rectangle = MercatorRectangle::project(bounds);
        let longest_side = rectangle.as_ref().map_or(0, MercatorRectangle::longest_side);
        let mut zoom = requested_zoom.min(ZOOM_MAX);
        while zoom > 0 && longest_side << zoom > TILES_MAX * WORLD_SIDE {
            zoom -= 1;
        }
        Self { zoom, rectangle }
    }

    pub(crate) fn zoom(&self) -> u8 {
        self.zoom
    }

    /// Returns true if the centre of a cell or cluster is in the viewport.
    pub(crate) fn contains(&self, (x, y): (i64, i64)) -> bool {
        let within = |span: &Range<u64>, at| u64::try_from(at).is_ok_and(|at| span.contains(&at));
        self.rectangle.as_ref().is_some_and(|rectangle| within(&rectangle.x, x) && within(&rectangle.y, y))
    }

    /// Returns the cells that the viewport touches, and `margin` more on every side.
    pub(crate) fn cells(&self, margin: u32) -> Option<CellRange> {
        self.rectangle.as_ref().map(|rectangle| rectangle.cells(self.zoom, margin))
    }
}

impl MercatorRectangle {
    fn project(bounds: BoundingBox) -> Option<Self> {
        let BoundingBox { west, south, east, north } = bounds;
        if ![west, south, east, north].iter().all(|degrees| degrees.is_finite()) || south > north {
            return None;
        }
        let y = span(y_of_lat(north), y_of_lat(south));
        let x = match (x_of_lon(west), x_of_lon(east)) {
            _ if east - west >= 360.0 => 0..WORLD_SIDE,
            (west, east) if west > east => span(west, 1.0).start..WORLD_SIDE + span(0.0, east).end,
            (west, east) => span(west, east),
        };
        Some(Self { x, y })
    }

    fn longest_side(&self) -> u64 {
        (self.x.end - self.x.start).max(self.y.end - self.y.start)
    }

    fn cells(&self, zoom: u8, margin: u32) -> CellRange {
        // Both fit: the rectangle spans less than two worlds of 2¹⁸ columns.
        let cell = |x: u64, y: u64| CellId {
            zoom,
            y: u32::try_from(y >> cell_bits(zoom)).unwrap_or(u32::MAX),
            x: i32::try_from(x >> cell_bits(zoom)).unwrap_or(i32::MAX),
        };
        CellRange::new(cell(self.x.start, self.y.start), cell(self.x.end - 1, self.y.end - 1), margin)
    }
}

/// Converts two fractions of the side to a range of units that is never empty.
fn span(from: f64, to: f64) -> Range<u64> {
    let from = u64::from(to_units(from));
    let to = (to * WORLD_SIDE as f64) as u64;
    from..to.clamp(from + 1, WORLD_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_across_the_antimeridian_ends_in_the_next_world() {
        let bounds = |west, east| BoundingBox { west, south: -10.0, east, north: 10.0 };
        let rectangle = |west, east| MercatorRectangle::project(bounds(west, east)).unwrap();
        let side = WORLD_SIDE / 36;
        assert_eq!(rectangle(170.0, -170.0).x.end - rectangle(170.0, -170.0).x.start, 2 * side + 1);
        assert_eq!(rectangle(170.0, -170.0).cells(0, 0).columns, 3..5);
        assert_eq!(rectangle(-170.0, 170.0).x, side..35 * side + 3);
        assert_eq!(rectangle(-180.0, 180.0).x, 0..WORLD_SIDE);
        assert_eq!(rectangle(180.0, -180.0).cells(3, 0).columns, 31..33);
        assert_eq!(MercatorRectangle::project(BoundingBox { south: 11.0, ..bounds(0.0, 1.0) }), None);
        assert_eq!(cells(&rectangle(5.0, 5.0).cells(0, 0)), 2, "a line touches a cell of each half");
    }

    #[test]
    fn a_viewport_of_the_world_has_zoom_5_and_one_of_a_city_the_highest_zoom() {
        let zoom =
            |west, south, east, north| Viewport::new(BoundingBox { west, south, east, north }, ZOOM_MAX).zoom;
        assert_eq!(zoom(-180.0, -90.0, 180.0, 90.0), 5);
        assert_eq!(zoom(-180.0, -85.0, 180.0, 85.0), 5);
        assert_eq!(zoom(-0.02, 51.49, 0.02, 51.51), 16);
        assert_eq!(zoom(179.99, -0.01, -179.99, 0.01), 16, "a narrow box across the antimeridian");
        assert_eq!(zoom(10.0, 0.0, -10.0, 1.0), 5, "all but twenty degrees");
        assert_eq!(zoom(5.0, 5.0, 5.0, 5.0), 16);
    }

    #[test]
    fn the_number_of_cells_depends_on_the_screen_and_not_on_the_zoom() {
        for zoom in 3..=16 {
            let width = 30.0 * 360.0 / f64::from(4u32 << zoom);
            let screen = BoundingBox { west: 0.0, south: 0.0, east: width, north: width / 2.0 };
            let cells = cells(&Viewport::new(screen, zoom).cells(7).unwrap());
            assert!(cells < 1800, "{cells} at zoom {zoom}");
        }
    }

    fn cells(range: &CellRange) -> usize {
        range.rows.len() * range.columns.len()
    }
}
