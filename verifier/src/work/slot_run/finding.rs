//! What a trial finds out about an image, and whom it concerns: the app, the
//! slot, the node, or us.

use domain::challenge::Evidence;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};

/// What was found out about one image.
#[derive(Debug)]
pub(crate) enum AppFinding {
    /// What it did.
    Confirmed(Evidence),
    /// What it seems to have done, unless it was the slot or the node: it counts
    /// once another slot shows the same.
    Suspected(FailureCode, String),
    /// A fault of ours.
    PlatformFault(PlatformFault),
}

impl AppFinding {
    /// Why another slot is to be tried.
    pub(crate) fn doubt(&self) -> Option<&str> {
        match self {
            Self::Suspected(_, why) => Some(why),
            Self::PlatformFault(fault) if fault.code == InterruptionCode::SlotFailed => Some(&fault.message),
            Self::Confirmed(_) | Self::PlatformFault(_) => None,
        }
    }

    /// Why the slot is not to be used again: its network or its relay failed, or
    /// so it seems.
    pub(crate) fn is_of_the_slot(&self) -> Option<&str> {
        match self {
            Self::Suspected(FailureCode::NothingOnPort, why) => Some(why),
            Self::Suspected(..) => None,
            _ => self.doubt(),
        }
    }

    /// Whether the node failed: it lost the image on the way, or is ill itself.
    pub(crate) fn is_of_the_node(&self) -> bool {
        let of_the_node = [InterruptionCode::PullFailed, InterruptionCode::NodeIll];
        matches!(self, Self::PlatformFault(fault) if of_the_node.contains(&fault.code))
    }

    /// What it means after what was found in `another` slot before.
    pub(crate) fn after(self, another: &Self) -> Self {
        match (self, another) {
            (Self::Suspected(code, message), Self::Suspected(before, _)) if code == *before => {
                Self::Confirmed(Evidence::Failure { code, message })
            }
            (Self::Suspected(_, why), _) => Self::PlatformFault(fault(InterruptionCode::SlotFailed, &why)),
            (known, _) => known,
        }
    }
}

/// A fault of ours, in these words.
pub(super) fn fault(code: InterruptionCode, message: &str) -> PlatformFault {
    PlatformFault { code, message: message.to_owned() }
}
