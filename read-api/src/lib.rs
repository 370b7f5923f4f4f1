//! Everything that is read over HTTP: status, stats, pins, live, history, the
//! web pages, and what operators watch.
//!
//! [`router`] gives the routes and their description, [`operations`] those that
//! any of our processes has for its operator; [`site`] makes one server of them
//! and of what others serve.

mod app;
mod auth;
mod compat_2016;
mod conditional;
mod map;
mod metrics;
mod ops;
mod organisers;
mod pages;
mod parameters;
mod past;
mod problem;
mod router;
mod site;
mod sse;
mod submissions;

pub use app::ReadApi;
pub use auth::Token;
pub use map::tiles::{Tiles, TilesError};
pub use metrics::Metrics;
pub use ops::{Operations, operations};
pub use problem::Problem;
pub use router::router;
pub use site::site;
pub use sse::ReaderLimits;
