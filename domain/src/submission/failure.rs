//! Why a verification does not end well: whose fault it is, in one word, and
//! what to do next.

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::image::ImageRef;

/// What a participant can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The registry does not have it.
    ImageNotFound,
    /// The registry does not give it to everybody.
    ImageForbidden,
    /// Larger than the challenge allows.
    ImageTooLarge,
    /// Built for another processor or operating system.
    WrongPlatform,
    /// Its configuration or format is one that is not run here.
    ImageRefused,
    /// The container could not be started.
    DidNotStart,
    /// It ended before it was asked.
    ExitedEarly,
    /// It took more memory than it may.
    OutOfMemory,
    /// It runs, but nothing accepts connections.
    NothingOnPort,
    /// It accepted and did not answer in time.
    TimedOut,
    /// What it answered is not HTTP.
    BadHttp,
    /// The answer is longer than it may be.
    AnswerTooLarge,
    /// Not 200.
    BadStatus,
    /// It sends elsewhere.
    Redirected,
    /// Not a JSON object.
    NotJson,
    /// JSON, but not what was submitted.
    Mismatch,
}

impl FailureCode {
    /// What a participant does about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::ImageNotFound => "Check the spelling, push the image, and submit again.",
            Self::ImageForbidden => "Make the repository public, and submit again.",
            Self::ImageTooLarge => {
                "Start from a smaller base image or leave build tools out, push, and submit again."
            }
            Self::WrongPlatform => {
                "Build for linux/amd64 (docker build --platform linux/amd64), push, and submit again."
            }
            Self::ImageRefused => "Change what is named here in your Dockerfile, push, and submit again.",
            Self::DidNotStart => {
                "Run the image on your machine with docker run; mend the command it starts, push, and submit again."
            }
            Self::ExitedEarly => {
                "Run the image with docker run: it must go on running. Read its last lines here, push, and submit again."
            }
            Self::OutOfMemory => {
                "Run it with docker run --memory at the challenge's limit, make it use less, push, and submit again."
            }
            Self::NothingOnPort => {
                "Let the app listen on the challenge's port and on 0.0.0.0, not only on localhost; push, and submit again."
            }
            Self::TimedOut => {
                "Let the app answer at once: it may not wait for other services. Push, and submit again."
            }
            Self::BadHttp => "Use an ordinary HTTP/1.1 server; try it with curl. Push, and submit again.",
            Self::AnswerTooLarge => "Answer with the asked-for fields only, push, and submit again.",
            Self::BadStatus => {
                "Try the address with curl: it must answer with status 200. Push, and submit again."
            }
            Self::Redirected => "Answer at the address itself, without a redirect. Push, and submit again.",
            Self::NotJson => "Answer with one JSON object, each key once. Push, and submit again.",
            Self::Mismatch => {
                "Let the app's configuration say just what you submit, build, push, and submit again."
            }
        }
    }
}

/// What only the platform can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterruptionCode {
    /// The registry does not answer, or answers with an error of its own.
    RegistryUnavailable,
    /// The registry wants fewer requests.
    RateLimited,
    /// An image that the registry has did not arrive on a node in time.
    PullFailed,
    /// No node has room.
    NoCapacity,
    /// No manager answers, or the Swarm has no leader.
    SwarmUnavailable,
    /// The node went away.
    NodeLost,
    /// The node has no disk left, or its engine is ill.
    NodeIll,
    /// The slot's network or its relay failed.
    SlotFailed,
    /// The verifier went away, or took longer than it said.
    LeaseExpired,
}

impl InterruptionCode {
    /// What is told to somebody who waits.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::RegistryUnavailable => "The image registry did not answer.",
            Self::RateLimited => "The image registry limits how fast we may ask.",
            Self::PullFailed => "The image did not arrive on our node.",
            Self::NoCapacity => "All our nodes are full.",
            Self::SwarmUnavailable => "Our Swarm did not answer.",
            Self::NodeLost => "The node that ran your app went away.",
            Self::NodeIll => "The node that was to run your app is ill.",
            Self::SlotFailed => "The network around your app failed.",
            Self::LeaseExpired => "The verifier that had taken your submission went away.",
        }
    }
}

/// One reason of a failed verdict. A verdict never rests on a fault of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredReason", into = "StoredReason")]
pub struct Reason {
    pub code: FailureCode,
    /// The image concerned, or `None` if all are.
    pub image: Option<ImageRef>,
    /// One sentence for the participant.
    pub message: String,
}

/// A [`Reason`] as it is stored: readers of the raw history see whose fault it is.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(description = "One reason of a failed verdict.")]
struct StoredReason {
    code: FailureCode,
    image: Option<ImageRef>,
    message: String,
    fault: ParticipantFault,
}

/// The constant `"participant"`. Any other text is refused when it is read.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ParticipantFault {
    Participant,
}

impl From<Reason> for StoredReason {
    fn from(Reason { code, image, message }: Reason) -> Self {
        Self { code, image, message, fault: ParticipantFault::Participant }
    }
}

impl PartialSchema for Reason {
    fn schema() -> RefOr<Schema> {
        StoredReason::schema()
    }
}

impl ToSchema for Reason {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        StoredReason::schemas(schemas);
    }
}

impl From<StoredReason> for Reason {
    fn from(StoredReason { code, image, message, fault }: StoredReason) -> Self {
        let ParticipantFault::Participant = fault;
        Self { code, image, message }
    }
}
