//! The protocol between a verifier and a gate elsewhere. A look is one request. Its answer is a line of JSON for each piece of news, and does
//! not end: the permission to pull the images lasts as long as the verifier keeps the connection open.

use std::time::Duration;

use bytes::Bytes;
use domain::sandbox::SandboxRegistry;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};
use domain::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::image_gate::{LookedImage, RunnableImage};
use crate::fetching::FetchingImage;
use crate::registry::LookupError;

/// The path of looks. Another number is another protocol.
pub(super) const LOOKS: &str = "/gate/v1/looks";

/// The path of the gate's state.
pub(super) const STATE: &str = "/gate/v1/state";

/// The longest time between two lines.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(5);

/// The secret that verifiers and their gate share. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct GateSecret(String);

/// A line of the answer to a look.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LookLine {
    /// Nothing is new.
    Alive,
    /// The images that are on their way to the gate.
    Fetching(Vec<FetchingImage>),
    /// The outcome.
    Looked(Vec<LookedLine>),
}

/// A [`LookedImage`] as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LookedLine {
    image: ImageRef,
    digest: Option<Digest>,
    outcome: OutcomeLine,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeLine {
    Runnable(RunnableImage),
    Failure { code: FailureCode, message: String },
    Fault { code: InterruptionCode, message: String, pause_ms: Option<u64> },
}

/// The state of a gate, for its verifiers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GateState {
    /// The address by which nodes pull from the gate.
    pub(super) address: String,
    /// The registries that limit requests.
    pub(super) registries: Vec<SandboxRegistry>,
}

impl GateSecret {
    pub fn new(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// Returns the value of the header `Authorization` that presents the secret.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Returns true if a header presents the secret. The time that it takes tells nothing about the secret.
    pub(super) fn is_in(&self, header: &[u8]) -> bool {
        Sha256::digest(header) == Sha256::digest(self.header())
    }
}

impl std::fmt::Debug for GateSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GateSecret(…)")
    }
}

impl LookLine {
    /// Returns the line with its end.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut text = serde_json::to_vec(self).expect("a line consists of texts and numbers");
        text.push(b'\n');
        text.into()
    }
}

impl From<LookedImage> for LookedLine {
    fn from(LookedImage { image, digest, outcome }: LookedImage) -> Self {
        let outcome = match outcome {
            Ok(runnable) => OutcomeLine::Runnable(runnable),
            Err(LookupError::Participant(code, message)) => OutcomeLine::Failure { code, message },
            Err(LookupError::Platform(PlatformFault { code, message, pause })) => {
                let pause_ms = pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                OutcomeLine::Fault { code, message, pause_ms }
            }
        };
        Self { image, digest, outcome }
    }
}

impl From<LookedLine> for LookedImage {
    fn from(LookedLine { image, digest, outcome }: LookedLine) -> Self {
        let outcome = match outcome {
            OutcomeLine::Runnable(runnable) => Ok(runnable),
            OutcomeLine::Failure { code, message } => Err(LookupError::Participant(code, message)),
            OutcomeLine::Fault { code, message, pause_ms } => {
                let pause = pause_ms.map(Duration::from_millis);
                Err(LookupError::Platform(PlatformFault { code, message, pause }))
            }
        };
        Self { image, digest, outcome }
    }
}
