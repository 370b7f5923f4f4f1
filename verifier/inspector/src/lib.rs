//! The inspector: the program that reports from inside a container which walls
//! hold, and the form of its report.
//!
//! An engine ignores settings that it does not know, and then shows the settings
//! that were requested. Only the kernel knows the settings that hold, and it shows
//! them to the container. So the verifier runs this program as it runs a
//! participant's image, and reads its [`InspectionReport`] before a node gets its first
//! submission.
//!
//! - [`report`]: the facts and their text form.
//! - [`gather`]: the kernel's files that show them.
//! - [`attempts`]: the trials that show which ways into the kernel are open.
//! - [`fill`]: the trial that shows whether writing is bounded.

#![deny(unsafe_code)]

pub mod attempts;
pub mod fill;
pub mod gather;
mod mounts;
pub mod report;

pub use report::{InspectionReport, SandboxFact};
