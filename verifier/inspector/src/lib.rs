//! What keeps a container in bounds, told from inside it, and the report in
//! which it travels.
//!
//! An engine drops what it does not know without a word, and its books show
//! what was asked for. What holds, only the kernel says, and it says so to the
//! container: the verifier runs this program as it runs a participant's image,
//! and reads its [`Report`] before a node gets its first submission.
//!
//! - [`report`]: the facts, and how they are written down.
//! - [`gather`]: where the kernel tells them.

pub mod gather;
mod mounts;
pub mod report;

pub use report::{Fact, Report};
