//! Load, decide, append; the write API.
//!
//! [`Commands`] is the one way to change a submission: the write API's handlers
//! use it, and so does the verifier. Nobody else appends to submission streams.

mod error;
mod handler;

mod http;
mod rate;

mod gazetteer;

pub use error::CommandError;
pub use gazetteer::{Gazetteer, MAX_TYPED, Place, PlaceError, Suggestion};
pub use handler::{Actor, Cause, Commands, Handled};
pub use http::{Settings, router};
pub use rate::{Rate, RateError};
