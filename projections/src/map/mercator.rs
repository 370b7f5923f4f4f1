//! Web Mercator: the projection of latitude and longitude onto a square.

use crate::view::Pin;

/// The side of the square in fixed-point units.
pub(crate) const WORLD_SIDE: u64 = 1 << 32;

/// The latitude of the square's edges. The projection has the poles at infinity.
pub(crate) const LAT_MAX: f64 = 85.051_128_779_806_6;

/// A position on the square in fixed-point units, from the north-west corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MercatorPoint {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

impl MercatorPoint {
    pub(crate) fn from_pin(pin: &Pin) -> Self {
        Self::project(pin.lat, pin.lon)
    }

    /// Projects degrees north and degrees east.
    pub(crate) fn project(lat: f64, lon: f64) -> Self {
        Self { x: to_units(x_of_lon(lon)), y: to_units(y_of_lat(lat)) }
    }

    /// Returns degrees north and degrees east.
    pub(crate) fn unproject(self) -> (f64, f64) {
        let fraction = |units: u32| (f64::from(units) + 0.5) / WORLD_SIDE as f64;
        let lat = (std::f64::consts::PI * (1.0 - 2.0 * fraction(self.y))).sinh().atan().to_degrees();
        (lat, fraction(self.x) * 360.0 - 180.0)
    }
}

/// Returns 0 for −180 degrees and 1 for 180.
pub(crate) fn x_of_lon(lon: f64) -> f64 {
    ((lon + 180.0) / 360.0).clamp(0.0, 1.0)
}

/// Returns 0 for the northern edge and 1 for the southern edge.
pub(crate) fn y_of_lat(lat: f64) -> f64 {
    let lat = lat.clamp(-LAT_MAX, LAT_MAX).to_radians();
    (0.5 - lat.tan().asinh() / (2.0 * std::f64::consts::PI)).clamp(0.0, 1.0)
}

/// Converts a fraction of the side to fixed-point units.
pub(crate) fn to_units(fraction: f64) -> u32 {
    // The cast turns NaN into 0, and saturates if the number is too large.
    (fraction * WORLD_SIDE as f64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_where_web_mercator_has_it() {
        assert_eq!(MercatorPoint::project(0.0, 0.0), MercatorPoint { x: 1 << 31, y: 1 << 31 });
        assert_eq!(MercatorPoint::project(90.0, -180.0), MercatorPoint { x: 0, y: 0 });
        assert_eq!(MercatorPoint::project(-90.0, 180.0), MercatorPoint { x: u32::MAX, y: u32::MAX });
        // The north-west corner of tile 16/32744/21792.
        let tile = MercatorPoint::project(51.508_742_458_803_33, -0.131_835_937_5);
        assert_eq!((tile.x >> 16, (tile.y + 4) >> 16), (32_744, 21_792));
        let (lat, lon) = MercatorPoint::project(51.50853, -0.12574).unproject();
        assert!((lat - 51.50853).abs() < 1e-6 && (lon + 0.12574).abs() < 1e-6, "{lat} {lon}");
    }
}
