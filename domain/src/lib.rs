//! The submission: what can happen to it, what it then is, and what may happen
//! next. And the challenge: the rules that it is held to.
//!
//! Everything here is a plain function of its arguments. Time, identifiers and
//! chance arrive with the command; nothing waits, reads or writes.

pub mod challenge;
pub mod image;
pub mod submission;

pub use challenge::Challenge;
pub use image::{Digest, ImageRef};
pub use submission::{Command, Event, Rejection, Submission, SubmissionId, decide};
