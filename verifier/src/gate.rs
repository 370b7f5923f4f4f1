//! The look into an image's layers, before an engine gets the image. An engine unpacks layers as root, and opens some of
//! their files itself while it holds a container's lock: a FIFO there hangs it for ever, and a file without end takes
//! all of its memory. So each layer is read here first, as an engine would read it, within bounds. The gate keeps what it read, and
//! nodes get images from it alone if it listens.

mod archive;
mod arriving;
mod blob_store;
mod budget;
mod gate_server;
mod header;
mod image_room;
mod image_tree;
mod layer;
mod layer_gate;
mod layer_tree;
mod listener;
mod memory;
mod pax;
mod reach;
#[cfg(test)]
mod samples;
mod saved_image;
mod served_images;

use domain::submission::FailureCode;

pub(crate) use self::arriving::ArrivingBytes;
pub(crate) use self::gate_server::GateServer;
pub use self::gate_server::GateSettings;
pub(crate) use self::image_tree::MountPlan;
pub(crate) use self::layer_gate::LayerGate;
pub use self::reach::{GateReach, gate_reach};
pub(crate) use self::saved_image::{SavedImageError, look_into_saved};
pub(crate) use self::served_images::{ImageSource, ServedPass};

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
