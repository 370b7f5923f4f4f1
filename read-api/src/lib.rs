//! Everything that is read over HTTP: status, stats, pins, live streams, history and the web pages.
//!
//! [`router`] gives the routes and their description.

mod app;
mod compat_2016;
mod conditional;
mod map;
mod monitored;
mod organisers;
mod pages;
mod parameters;
mod past;
mod problem;
mod router;
mod sse;
mod submissions;

pub use app::ReadApi;
pub use map::tiles::{Tiles, TilesError};
pub use monitored::WatchedQueries;
pub use pages::not_found_page;
pub use router::router;
pub use sse::ReaderLimits;
