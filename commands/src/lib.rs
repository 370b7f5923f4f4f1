//! The write side: loads a submission, decides, appends. Also the write half of the HTTP API, and the gazetteer.
//!
//! [`Commands`] is the only way to change a submission. The write API's handlers and the verifier use it, and no other
//! crate appends to the streams of submissions.

mod error;
mod handler;
mod organiser_tokens;
mod published_rules;

mod http;
mod rate_limit;
mod share;
mod venues;
mod waiting;

mod gazetteer;

pub use error::CommandError;
pub use gazetteer::{Gazetteer, GazetteerPlace, PLACE_CHARS_MAX, PlaceError, PlaceSuggestion};
pub use handler::{Actor, Cause, Commands, HandledCommand, read_event};

pub use http::{EntryError, WriteApiSettings, read_entry, router};
pub use organiser_tokens::TokenChangeError;
pub use published_rules::RecordedRules;
pub use rate_limit::{RateLimit, RateLimitError};
pub use venues::{VenueLocationError, place_venues};
pub use waiting::{QueueLength, WaitingSubmissions};
