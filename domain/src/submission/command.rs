//! The commands to a submission. The time arrives with the command.

use std::time::Duration;

use jiff::Timestamp;

use super::event::{JudgedImage, OrganiserAct, PulledImage, StartedImage, Submitted};
use super::failure::InterruptionCode;
use crate::challenge::Observation;

/// A wish to change a submission. [`decide`](super::decide()) turns it into events or a rejection.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A participant hands in a form that meets the rules.
    Submit(Box<Submitted>),
    /// A verifier claims the submission for one attempt.
    Claim {
        verifier: String,
        at: Timestamp,
        /// The moment after which the claim is void.
        deadline: Timestamp,
    },
    /// Nodes have pulled the images.
    RecordPulled {
        attempt: u32,
        /// The images that were pulled.
        images: Vec<PulledImage>,
    },
    /// The containers run.
    RecordStarted {
        attempt: u32,
        /// The images whose containers run.
        images: Vec<StartedImage>,
        /// True for the second run of an attempt, which confirms failures before they count.
        again: bool,
    },
    /// The verifier reports its observations, from which the verdict follows.
    Conclude {
        attempt: u32,
        observations: Vec<Observation>,
        /// The images that the verifier looked at.
        images: Vec<JudgedImage>,
    },
    /// The verifier cannot continue, by the platform's fault.
    Interrupt {
        attempt: u32,
        fault: PlatformFault,
        at: Timestamp,
        /// True if the platform ran an image of another owner since the attempt began or while it waited.
        others_run: bool,
    },
    /// A verifier has noticed that the deadline of a claim has passed.
    Expire { attempt: u32, at: Timestamp, others_run: bool },
    /// An organiser asks for another attempt.
    RequestRejudge(OrganiserAct),
    /// An organiser takes the submission off the map, now and whatever its verdict will be.
    Hide(OrganiserAct),
    /// An organiser lets a hidden submission count on the map again.
    Show(OrganiserAct),
    /// An organiser corrects the spelling of the name that is shown. It meets the challenge's rules for names.
    CorrectName { act: OrganiserAct, name: String },
    /// The participant withdraws the submission. It must never have had a verdict.
    Withdraw,
}

/// A fault of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformFault {
    pub code: InterruptionCode,
    /// A sentence for the operator.
    pub message: String,
    /// The time for which another attempt would be in vain, if it is known.
    pub pause: Option<Duration>,
}

impl PlatformFault {
    /// Makes a fault of which nobody knows how long it lasts.
    pub fn new(code: InterruptionCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), pause: None }
    }
}
