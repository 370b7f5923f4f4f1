//! The domain: the submission with its events, state and decisions; the challenge with its rules; the fair queue; and the
//! sandbox in which submissions are verified.
//!
//! Every function here depends on its arguments only. Time, ids and random numbers arrive with the command. Nothing waits,
//! reads or writes.

pub mod challenge;
pub mod image;
pub mod queue;
pub mod sandbox;
pub mod stored_event;
pub mod submission;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "constants of tests")]
pub mod testing;
pub mod text;

pub use challenge::Challenge;
pub use image::{Digest, ImageRef};
pub use stored_event::{StoredEvent, UnreadCause, UnreadEvent};
pub use submission::{Command, Event, Rejection, Submission, SubmissionId, decide};

/// Returns every event type, as stored.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Event::KINDS.into_iter().chain([sandbox::SandboxReported::KIND, challenge::ChallengePublished::KIND])
}
