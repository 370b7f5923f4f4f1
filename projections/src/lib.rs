//! The read model: the shape of every view, who writes it and who reads it.
//!
//! [`run`] follows the log and hands each batch of events to a [`ViewStore`]. What
//! an event means is said once, in [`project`], whoever stores it.

mod area;
mod blocks;
mod cells;
mod fold;
mod memory;
mod mongo;
mod owner;
pub mod project;
mod queue;
mod run;
mod spots;
mod square;
mod store;
mod totals;
pub mod view;

#[cfg(feature = "contract")]
pub mod contract;

pub use cells::ZOOM_MAX;
pub use memory::{HistoryPoint, MemoryViews};
pub use mongo::{MongoAddressError, MongoViews, RebuildError};
pub use run::{ProjectionError, run};
pub use store::{ApplyError, EventEnvelope, QueryError, ViewQueries, ViewStore};

pub(crate) use run::{BATCH, STREAM_PREFIX};
