//! The data of the events that people ask for, organisers and participants.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who asks for something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrganiserAct {
    /// The name that the organiser gave. The participant reads it.
    pub by: String,
    /// The reason that the organiser gave. The participant reads it.
    pub why: String,
    /// The name of the organiser's token. Absent if the token is the one that all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// The data of [`Event::RejudgeRequested`]: the organiser's wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejudgeRequested {
    #[serde(flatten)]
    pub act: OrganiserAct,
    /// The digest of the rules in force then, by which the submission is judged again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
}

/// The data of [`Event::Hidden`]: an organiser takes the submission off the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hidden {
    #[serde(flatten)]
    pub act: OrganiserAct,
    /// True if no organiser hid it: it has a refused word, and waits for an organiser's look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// The data of [`Event::Shown`]: an organiser lets the submission count on the map again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shown {
    #[serde(flatten)]
    pub act: OrganiserAct,
}

/// The data of [`Event::NameCorrected`]: an organiser corrects the spelling of the participant's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameCorrected {
    #[serde(flatten)]
    pub act: OrganiserAct,
    /// The name as it is shown from now on. The app still answers with the name that was submitted.
    pub name: String,
}

/// The data of [`Event::Withdrawn`]. There is none: the participant need not give a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawn {}
