//! One submission, from the moment it is accepted to its verdict.
//!
//! ```text
//!   Submitted ──> waiting ── VerificationStarted ──> verifying ── Probed, Passed | Failed ──> judged
//!                    ^                                   │                                      │
//!                    ├──── VerificationInterrupted ──────┘  (platform's fault: queued again)    │
//!                    ├──────────────────────────── RejudgeRequested ────────────────────────────┘
//!                    └── GivenUp (after too many interruptions) ──> given up ── RejudgeRequested ──> waiting
//! ```
//!
//! Until the first verdict, `Withdrawn` ends a submission that waits or is verified. `Hidden` and `Shown` change no
//! state but only the map, and come at any time, as does `NameCorrected`.
//!
//! In reading order: the events ([`event`]), the state that they fold into ([`state`]), and the decisions on commands
//! ([`decide`](mod@decide)).

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
mod interruption;

#[cfg(test)]
mod hiding;
#[cfg(test)]
mod properties;

pub use command::{Command, PlatformFault};
pub use decide::{Rejection, decide, has_come};
pub use event::*;
pub use failure::{FailureCode, InterruptionCode, Reason};
pub use state::{AttemptStep, Claim, RetryTime, Submission, SubmissionFacts};

/// The category of the streams of submissions: `submission-<uuid>`.
pub const CATEGORY: &str = "submission";

/// The id of a submission. It is unguessable, because everyone who has it can read the submission's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SubmissionId(pub Uuid);

impl SubmissionId {
    /// Returns the submission whose stream has this name, or `None` if it is not a submission's. Another spelling of an
    /// id, e.g. in upper case, is not a submission's stream.
    pub fn from_stream(name: &str) -> Option<Self> {
        let text = name.strip_prefix(CATEGORY)?.strip_prefix('-')?;
        text.parse().ok().filter(|id: &Self| id.to_string() == text)
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
