//! Load, decide, append; the write API.

mod error;
mod handler;

pub use error::CommandError;
pub use handler::{Actor, Cause, Commands, Handled};
