//! The submission: what can happen to it, what it then is, and what may happen
//! next. The challenge: the rules that it is held to. And the sandbox: where it
//! is verified.
//!
//! Everything here is a plain function of its arguments. Time, identifiers and
//! chance arrive with the command; nothing waits, reads or writes.

pub mod challenge;
pub mod image;
pub mod queue;
pub mod sandbox;
pub mod submission;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "constants of tests")]
pub mod testing;

pub use challenge::Challenge;
pub use image::{Digest, ImageRef};
pub use submission::{Command, Event, Rejection, Submission, SubmissionId, decide};

/// Every type of event that there is, as stored.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Event::KINDS.into_iter().chain([sandbox::SandboxReported::KIND])
}
