//! Everything that is read over HTTP: status, stats, pins, live, history, the
//! web pages, and what operators watch.
//!
//! [`router`] gives the routes and their description, [`operations`] those that
//! any of our processes has for its operator; [`site`] makes one server of them
//! and of what others serve.

mod app;
mod auth;
mod compat;
mod conditional;
mod geojson;
mod history;
mod live;
mod map;
mod metrics;
mod moments;
mod ops;
mod organiser;
mod pages;
mod parameters;
mod problem;
mod sandbox;
mod site;
mod sse;
mod status;
mod statuses;
mod tiles;
mod timeline;

pub use app::{ReadApi, router};
pub use auth::Token;
pub use metrics::Metrics;
pub use ops::{Operations, operations};
pub use problem::Problem;
pub use site::site;
pub use sse::ReaderLimits;
pub use tiles::{Tiles, TilesError};
