//! What can be asked of a submission. Time arrives with the command.

use jiff::Timestamp;

use super::event::{PulledImage, StartedImage, Submitted};
use super::failure::InterruptionCode;
use crate::challenge::Observation;

/// Something that is asked; [`decide`](super::decide()) says what comes of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A participant hands in an entry that meets the rules.
    Submit(Box<Submitted>),
    /// A verifier takes it on.
    Claim {
        /// Who.
        verifier: String,
        /// Now.
        at: Timestamp,
        /// Until when the claim holds.
        deadline: Timestamp,
    },
    /// The verifier has the images on nodes.
    RecordPulled {
        /// Of this attempt.
        attempt: u32,
        /// Those that arrived.
        images: Vec<PulledImage>,
    },
    /// The verifier sees the containers run.
    RecordStarted {
        /// Of this attempt.
        attempt: u32,
        /// Those that run.
        images: Vec<StartedImage>,
    },
    /// The verifier says what it saw; the verdict follows from it.
    Conclude {
        /// Of this attempt.
        attempt: u32,
        /// What each image did.
        observations: Vec<Observation>,
    },
    /// The verifier could not go on, by our fault.
    Interrupt {
        /// Of this attempt.
        attempt: u32,
        /// What failed.
        fault: PlatformFault,
        /// Now.
        at: Timestamp,
    },
    /// Anybody saw that a claim's deadline has passed.
    Expire {
        /// Of this attempt.
        attempt: u32,
        /// Now.
        at: Timestamp,
    },
    /// An organiser asks for another verdict.
    RequestRejudge {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

/// A fault of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformFault {
    /// Which.
    pub code: InterruptionCode,
    /// What exactly, for the operator.
    pub message: String,
}
