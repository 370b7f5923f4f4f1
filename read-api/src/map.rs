//! The routes of the public map: pins, totals, style, and the live stream.

pub(crate) mod feed;
pub(crate) mod geojson;
pub(crate) mod live;
pub(crate) mod pins;
pub(crate) mod stats;
pub(crate) mod style;
pub(crate) mod tiles;
pub(crate) mod venues;
