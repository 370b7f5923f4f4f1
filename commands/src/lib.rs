//! Load, decide, append; the write API.

mod error;
mod gazetteer;
mod handler;

pub use error::CommandError;
pub use gazetteer::{Gazetteer, MAX_TYPED, Place, PlaceError, Suggestion};
pub use handler::{Actor, Cause, Commands, Handled};
