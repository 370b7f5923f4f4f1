//! The read API: everything that is read over HTTP. These are the submissions' status, the public map, the live
//! streams, the organisers' history, and the web pages.
//!
//! [`router`] returns the routes with their description; [`http_edge::server_routes`] makes a server of them.

mod app;
mod compat_2016;
mod conditional;
mod map;
mod monitored;
mod organisers;
mod pages;
mod parameters;
mod past;
mod present;
mod problem;
mod readers;
mod router;
mod sse;
mod submissions;

pub use app::ReadApi;
pub use map::tiles::{MapTiles, MapTilesError};
pub use monitored::WatchedQueries;
pub use organisers::history_filter::HistoryFilter;
pub use pages::not_found_page;
pub use readers::ReaderLimits;
pub use router::router;
