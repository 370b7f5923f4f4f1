//! The codes of failures and interruptions, with advice for the participant.

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::image::ImageRef;

/// Makes an enum of codes from one list of variants and their stored texts.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:tt,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the code as it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// A reason why a submission fails, which the participant can mend.
    FailureCode {
        /// The registry does not have the image.
        ImageNotFound = "image_not_found",
        /// The registry does not give the image to anonymous users.
        ImageForbidden = "image_forbidden",
        /// The image is larger than the challenge allows.
        ImageTooLarge = "image_too_large",
        /// The image was built for another processor or operating system.
        WrongPlatform = "wrong_platform",
        /// The image has a configuration or format that is not run here.
        ImageRefused = "image_refused",
        /// The container could not be started.
        DidNotStart = "did_not_start",
        /// The container ended before it was probed.
        ExitedEarly = "exited_early",
        /// The container used more memory than its limit.
        OutOfMemory = "out_of_memory",
        /// The container runs, but no process accepts connections on the port.
        NothingOnPort = "nothing_on_port",
        /// The app accepted the connection and did not respond in time.
        TimedOut = "timed_out",
        /// The response is not HTTP.
        BadHttp = "bad_http",
        /// The response is longer than its limit.
        AnswerTooLarge = "answer_too_large",
        /// The response has a status other than 200.
        BadStatus = "bad_status",
        /// The response is a redirect.
        Redirected = "redirected",
        /// The response is not a JSON object.
        NotJson = "not_json",
        /// The response is JSON, but its fields are not as submitted.
        Mismatch = "mismatch",
    }
}

impl FailureCode {
    /// Returns true for a failure of an app that ran on a node.
    pub fn is_of_a_run(self) -> bool {
        match self {
            Self::ImageNotFound
            | Self::ImageForbidden
            | Self::ImageTooLarge
            | Self::WrongPlatform
            | Self::ImageRefused
            | Self::DidNotStart => false,
            Self::ExitedEarly
            | Self::OutOfMemory
            | Self::NothingOnPort
            | Self::TimedOut
            | Self::BadHttp
            | Self::AnswerTooLarge
            | Self::BadStatus
            | Self::Redirected
            | Self::NotJson
            | Self::Mismatch => true,
        }
    }

    /// Returns advice on what the participant should do next.
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
                "Let the app answer at once: it must not wait for other services. Push, and submit again."
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

codes! {
    /// A reason why an attempt is interrupted, which only the platform can mend.
    InterruptionCode {
        /// The registry does not respond, or responds with an error of its own.
        RegistryUnavailable = "registry_unavailable",
        /// The registry limits the rate of our requests.
        RateLimited = "rate_limited",
        /// An image that the registry has did not arrive on a node in time.
        PullFailed = "pull_failed",
        /// No node has room.
        NoCapacity = "no_capacity",
        /// No manager responds, or the Swarm has no leader.
        SwarmUnavailable = "swarm_unavailable",
        /// The node is no longer reachable.
        NodeLost = "node_lost",
        /// The node has no disk space left, or its engine fails.
        NodeIll = "node_ill",
        /// The slot's network or its relay failed.
        SlotFailed = "slot_failed",
        /// The verifier disappeared, or missed the deadline of its claim.
        LeaseExpired = "lease_expired",
        /// An operator stopped the verifier during the attempt. It is no try.
        VerifierStopped = "verifier_stopped",
    }
}

impl InterruptionCode {
    /// Returns true if an interruption with this code may say something about the submission. An operator's stop does not.
    pub fn is_try(self) -> bool {
        self != Self::VerifierStopped
    }

    /// Returns an explanation for the waiting participant.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::RegistryUnavailable => "The image registry did not answer.",
            Self::RateLimited => "The image registry limits how fast we may ask.",
            Self::PullFailed => "The image did not arrive on our node.",
            Self::NoCapacity => "All our nodes are full.",
            Self::SwarmUnavailable => "Our Swarm did not answer.",
            Self::NodeLost => "The node that ran your app went away.",
            Self::NodeIll => "The node that was to run your app has a fault.",
            Self::SlotFailed => "The network around your app failed.",
            Self::LeaseExpired => "The verifier that had taken your submission went away.",
            Self::VerifierStopped => "The verifier that had taken your submission was stopped.",
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
    /// The code of the participant's failure.
    code: FailureCode,
    /// The image concerned; `null` if all are.
    #[schema(required)]
    image: Option<ImageRef>,
    /// One sentence for the participant.
    message: String,
    /// The constant `participant`: a failure is never the platform's fault.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_stored_as_its_text() {
        for code in FailureCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        for code in InterruptionCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
