//! Commands on a real log: the rules of appending, and the write API as clients see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod described;
mod handler;
mod period;
mod published_rules;
mod rejections;
mod support;
mod tokens;
mod venues;
mod visibility;
mod write_api;
mod write_api_limits;
