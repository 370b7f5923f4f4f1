//! One submission, from the moment it is accepted to its verdict.
//!
//! ```text
//!   Submitted ──> waiting ── VerificationStarted ──> verifying ── Probed, Passed | Failed ──> judged
//!                    ^                                   │                                      │
//!                    ├──── VerificationInterrupted ──────┘  (our fault: back to the queue)      │
//!                    └──────────────────────────── RejudgeRequested ────────────────────────────┘
//! ```
//!
//! In reading order: what happened ([`event`]), what it then is ([`state`]),
//! what may happen next ([`decide`](mod@decide)).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub mod event;
mod upcast;

pub mod state;

pub mod command;
pub mod decide;
pub mod failure;

#[cfg(test)]
mod properties;

pub use command::{Command, PlatformFault};
pub use decide::{Rejection, decide};
pub use event::*;
pub use failure::{FailureCode, InterruptionCode, Reason};
pub use state::{AttemptStep, Claim, RetryTime, Submission, SubmissionFacts};

/// The category of the streams of submissions: `submission-<uuid>`.
pub const CATEGORY: &str = "submission";

/// A submission's identity: unguessable, for it opens its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SubmissionId(pub Uuid);

impl SubmissionId {
    /// The submission whose stream this is; `None` for a stream of something else.
    pub fn from_stream(name: &str) -> Option<Self> {
        name.strip_prefix(CATEGORY)?.strip_prefix('-')?.parse().ok()
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SubmissionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}
