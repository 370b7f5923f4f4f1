//! The events that say that the platform failed: an attempt without a verdict, and the end of all attempts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::failure::InterruptionCode;

/// The data of [`Event::VerificationInterrupted`]: the platform's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredInterruption", into = "StoredInterruption")]
pub struct VerificationInterrupted {
    /// The attempt that ends with this event.
    pub attempt: u32,
    pub code: InterruptionCode,
    /// One sentence for the operator.
    pub message: String,
    /// When the next attempt may start; `None` if it must wait until the platform is well.
    pub retry_at: Option<Timestamp>,
    /// True if the platform ran images of other owners meanwhile. Only these attempts count as tries.
    pub counts: bool,
}

/// A [`VerificationInterrupted`] as it is stored: readers of the raw history see whose fault it is.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(description = "The end of an attempt without a verdict, by the platform's fault.")]
struct StoredInterruption {
    /// The attempt that ends with this event.
    attempt: u32,
    /// The code of the platform's fault.
    code: InterruptionCode,
    /// One sentence for the operator.
    message: String,
    /// The constant `platform`: an interruption is never the participant's fault.
    fault: PlatformFaultTag,
    /// When the next attempt may start; `null` if it must wait until the platform is well.
    #[schema(required)]
    retry_at: Option<Timestamp>,
    /// True if the platform ran images of other owners meanwhile. Only these attempts count as tries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    counts: bool,
}

/// The constant `"platform"`. Any other text is refused when it is read.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PlatformFaultTag {
    Platform,
}

impl From<VerificationInterrupted> for StoredInterruption {
    fn from(event: VerificationInterrupted) -> Self {
        let VerificationInterrupted { attempt, code, message, retry_at, counts } = event;
        Self { attempt, code, message, fault: PlatformFaultTag::Platform, retry_at, counts }
    }
}

impl PartialSchema for VerificationInterrupted {
    fn schema() -> RefOr<Schema> {
        StoredInterruption::schema()
    }
}

impl ToSchema for VerificationInterrupted {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        StoredInterruption::schemas(schemas);
    }
}

impl From<StoredInterruption> for VerificationInterrupted {
    fn from(stored: StoredInterruption) -> Self {
        let StoredInterruption {
            attempt,
            code,
            message,
            fault: PlatformFaultTag::Platform,
            retry_at,
            counts,
        } = stored;
        Self { attempt, code, message, retry_at, counts }
    }
}

/// The data of [`Event::GivenUp`](super::Event::GivenUp): the platform's last fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivenUp {
    /// The attempt that was the last.
    pub attempt: u32,
    /// The number of attempts without a verdict since the submission was queued.
    pub interruptions: u32,
    /// The code of the last fault.
    pub code: InterruptionCode,
    /// One sentence for the operator.
    pub message: String,
}
