//! The geometry of the map and the clustering of pins. Each module uses only
//! those before it:
//!
//! ```text
//! mercator ← grid ← {viewport, block} ← index ← cluster
//! ```

pub(crate) mod block;
pub(crate) mod cluster;
pub(crate) mod grid;
pub(crate) mod index;
pub(crate) mod mercator;
pub(crate) mod viewport;

pub use grid::ZOOM_MAX;
