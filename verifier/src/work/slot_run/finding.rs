//! The finding about one image after a slot run, and its blame: the app, the slot, the node, or the platform.

use domain::challenge::Evidence;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};

/// The finding about one image.
#[derive(Debug)]
pub(crate) enum AppFinding {
    /// The app's own behaviour.
    Confirmed(Evidence),
    /// A failure that the slot or the node may have caused. It counts if a run in another slot shows the
    /// same.
    Suspected(FailureCode, String),
    /// The platform is at fault.
    PlatformFault(PlatformFault),
}

impl AppFinding {
    /// Returns the reason to try another slot, if there is one.
    pub(crate) fn doubt(&self) -> Option<&str> {
        match self {
            Self::Suspected(_, why) => Some(why),
            Self::PlatformFault(fault) if fault.code == InterruptionCode::SlotFailed => Some(&fault.message),
            Self::Confirmed(_) | Self::PlatformFault(_) => None,
        }
    }

    /// Returns the reason not to use the slot again, if its network or its relay failed or seems to have
    /// failed.
    pub(crate) fn slot_fault(&self) -> Option<&str> {
        match self {
            Self::Suspected(FailureCode::NothingOnPort, why) => Some(why),
            Self::Suspected(..) => None,
            _ => self.doubt(),
        }
    }

    /// Returns true if the node failed: it did not get the image, or it is ill.
    pub(crate) fn is_node_fault(&self) -> bool {
        let node_codes = [InterruptionCode::PullFailed, InterruptionCode::NodeIll];
        matches!(self, Self::PlatformFault(fault) if node_codes.contains(&fault.code))
    }

    /// Turns a confirmed failure into a suspicion.
    pub(super) fn suspected(self) -> Self {
        match self {
            Self::Confirmed(Evidence::Failure { code, message }) => Self::Suspected(code, message),
            known => known,
        }
    }

    /// Combines this finding with the `first` one, which another slot showed before. A suspicion is confirmed
    /// if both have the same failure code, and becomes a platform fault otherwise.
    pub(crate) fn after(self, first: &Self) -> Self {
        match (self, first) {
            (Self::Suspected(code, message), Self::Suspected(before, _)) if code == *before => {
                Self::Confirmed(Evidence::Failure { code, message })
            }
            (Self::Suspected(_, why), _) => {
                Self::PlatformFault(platform_fault(InterruptionCode::SlotFailed, &why))
            }
            (known, _) => known,
        }
    }
}

pub(super) fn platform_fault(code: InterruptionCode, message: &str) -> PlatformFault {
    PlatformFault { code, message: message.to_owned() }
}
