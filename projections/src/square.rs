//! The Web Mercator square: where on it a place is.

use crate::cells::{CellId, cell_bits};
use crate::view::Pin;

/// The side of the world in fixed-point units.
pub(crate) const WORLD: u64 = 1 << 32;

/// The poles are infinitely far away on this map; it ends here, as a square.
pub(crate) const LAT_MAX: f64 = 85.051_128_779_806_6;

/// A place on the Web Mercator square, in 2⁻³² of its side, from the north-west.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

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
        CellId { zoom, y: self.y >> cell_bits(zoom), x: (self.x >> cell_bits(zoom)).cast_signed() }
    }
}

/// From 0 at −180 degrees to 1 at 180.
pub(crate) fn across(lon: f64) -> f64 {
    ((lon + 180.0) / 360.0).clamp(0.0, 1.0)
}

/// From 0 in the north to 1 in the south.
pub(crate) fn down(lat: f64) -> f64 {
    let lat = lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
    (0.5 - lat.tan().asinh() / (2.0 * std::f64::consts::PI)).clamp(0.0, 1.0)
}

pub(crate) fn fixed(part: f64) -> u32 {
    // What is not a number becomes 0, what is too large the largest.
    (part * WORLD as f64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
