//! The data of the events that end an attempt with a verdict.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::image::{Digest, ImageRef};
use crate::submission::failure::Reason;

/// The data of [`Event::Passed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// The attempt that ends with this event.
    pub attempt: u32,
    #[serde(flatten)]
    pub basis: VerdictBasis,
}

/// The data of [`Event::Failed`]: the reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failed {
    /// The attempt that ends with this event.
    pub attempt: u32,
    /// All reasons for the verdict.
    pub reasons: Vec<Reason>,
    #[serde(flatten)]
    pub basis: VerdictBasis,
}

/// What a verdict rests on. Verdicts of versions before the publication of rules do not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictBasis {
    /// The digest of the rules by which the verdict was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The images that were looked at. An image that could not be looked up is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<JudgedImage>,
}

/// An image that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JudgedImage {
    /// The image's name as submitted.
    pub image: ImageRef,
    /// The digest of what was looked at under this name.
    pub digest: Digest,
}
