//! The read model: the shape of every view, who writes it and who reads it.

mod store;
pub mod view;

pub use store::{ApplyError, Envelope, Queries, QueryError, Views};
