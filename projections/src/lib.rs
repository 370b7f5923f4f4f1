//! The read model: the shape of every view, the projection that writes the
//! views, and the queries that read them.
//!
//! [`run`] subscribes to the log and applies each batch of events to a
//! [`ViewStore`]. The effects of an event are the same for every store: the
//! module `fold` computes them.

mod first_catch_up;
mod fold;
mod log_item;
mod log_places;
mod map;
mod memory;
mod mongo;
mod pin_index;
mod pin_map;
mod run;
mod search_keys;
mod shared_map;
mod store;
mod timeline_event;
pub mod view;

#[cfg(feature = "contract")]
pub mod contract;

pub use first_catch_up::{CatchUpProgress, FirstCatchUp};
pub use log_item::LogItem;
pub use log_places::LogPlace;
pub use map::ZOOM_MAX;
pub use memory::{HistoryPoint, MemoryViews, ViewSnapshots};
pub use mongo::{MongoAddressError, MongoViews, RebuildError};
pub use pin_map::PinMap;
pub use run::{ProjectionError, run};
pub use store::{ApplyError, EventEnvelope, QueryError, ViewQueries, ViewStore};

pub(crate) use run::{BATCH, STREAM_PREFIX};
