//! The look into an image's layers, before an engine gets the image. An engine unpacks layers as root, and opens some of
//! their files itself while it holds a container's lock: a FIFO there hangs it for ever, and a file without end takes
//! all of its memory. So each layer is read here first, as an engine would read it, within bounds. The gate keeps what it read, and
//! nodes get images from it alone if it listens.

mod archive;
mod arriving;
mod blob_store;
mod budget;
mod connections;
#[cfg(test)]
mod contract;
mod gate_process;
mod gate_server;
mod header;
mod image_gate;
mod image_room;
mod image_tree;
mod layer;
mod layer_gate;
mod layer_tree;
mod listener;
mod local_gate;
mod look_lines;
mod look_server;
mod memory;
mod pax;
mod reach;
mod remote_gate;
#[cfg(test)]
mod samples;
mod saved_image;
mod served_images;

use domain::submission::FailureCode;

pub(crate) use self::arriving::ArrivingBytes;
pub use self::gate_process::{GateProcess, GateProcessSettings};
pub(crate) use self::gate_server::GateServer;
pub use self::gate_server::GateSettings;
pub(crate) use self::image_gate::{
    AskedImage, ImageGate, LookPass, LookRequest, LookTerms, LookedImage, RunnableImage,
};
pub(crate) use self::image_tree::MountPlan;
pub(crate) use self::local_gate::LocalGate;
pub use self::look_lines::GateSecret;
pub use self::reach::{GateReach, gate_reach, remote_gate_address};
pub(crate) use self::remote_gate::RemoteGate;
pub use self::remote_gate::RemoteGateSettings;
pub(crate) use self::saved_image::{SavedImageError, look_into_saved};

/// The reason why a layer or an image gets no further. The participant is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LayerFlaw {
    /// No engine can unpack it.
    Broken(String),
    /// It holds what an engine or a neighbour cannot bear.
    Refused(String),
    /// It uses up the budget.
    TooLarge(String),
}

impl LayerFlaw {
    /// Returns the failure, with the message for the participant.
    pub(crate) fn into_failure(self) -> (FailureCode, String) {
        match self {
            Self::Broken(why) => (
                FailureCode::ImageRefused,
                format!(
                    "The image cannot be unpacked: {why}. Build it again with docker build, and push it."
                ),
            ),
            Self::Refused(why) => {
                (FailureCode::ImageRefused, format!("The image cannot be run here: {why}."))
            }
            Self::TooLarge(why) => (FailureCode::ImageTooLarge, format!("The image {why}.")),
        }
    }
}
