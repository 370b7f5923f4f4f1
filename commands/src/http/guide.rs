//! What a form needs to know: the challenge's questions, and how places are called.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use domain::challenge::RequiredImages;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;

/// How many places complete what was typed.
const COMPLETIONS_MAX: usize = 8;

/// The challenge, as far as a participant needs it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChallengeGuide {
    id: String,
    title: String,
    /// The digest of the rules; that of a submission is the one it was accepted under.
    rules: String,
    images: ImagesGuide,
    /// What a submission says beside name, twitter, location and images.
    answers: Vec<AnswerGuide>,
    probe: ProbeGuide,
}

/// Which images are taken.
#[derive(Debug, Serialize, ToSchema)]
struct ImagesGuide {
    min: usize,
    max: usize,
    registries: Vec<String>,
    /// `any` or `all` of them must answer as asked.
    #[schema(value_type = String)]
    answering: RequiredImages,
    /// Compressed, MiB.
    size_max_mib: u64,
}

/// One question of the challenge's own.
#[derive(Debug, Serialize, ToSchema)]
struct AnswerGuide {
    /// Its name in a submission.
    field: String,
    /// Its name for people.
    label: String,
    required: bool,
    /// The answer is one of these; empty when it is free.
    choices: Vec<String>,
}

/// What the images are asked.
#[derive(Debug, Serialize, ToSchema)]
struct ProbeGuide {
    port: u16,
    path: String,
    /// The fields of the answer that must be as submitted.
    compare: Vec<String>,
}

/// Places whose name begins as typed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Places {
    /// Names in full, the largest place first. Each is taken as a location.
    places: Vec<String>,
}

/// What was typed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Beginning {
    /// The beginning of a city's name, in any script.
    #[serde(default)]
    q: String,
}

/// The challenge: which images it takes and what else it asks.
#[utoipa::path(
    get,
    path = "/api/v1/challenge",
    tag = "submissions",
    responses((status = 200, body = ChallengeGuide)),
)]
pub(super) async fn challenge(State(api): State<Arc<Api>>) -> Json<ChallengeGuide> {
    let challenge = api.commands.challenge();
    let answers = challenge.answers.iter().map(|(field, rule)| AnswerGuide {
        field: field.clone(),
        label: rule.label.clone().unwrap_or_else(|| field.clone()),
        required: rule.required,
        choices: rule.one_of.clone(),
    });
    Json(ChallengeGuide {
        id: challenge.id.clone(),
        title: challenge.title.clone(),
        rules: challenge.digest(),
        images: ImagesGuide {
            min: challenge.images.min,
            max: challenge.images.max,
            registries: challenge.images.registries.clone(),
            answering: challenge.images.answering,
            size_max_mib: challenge.limits.image_mib,
        },
        answers: answers.collect(),
        probe: ProbeGuide {
            port: challenge.probe.port,
            path: challenge.probe.path.clone(),
            compare: challenge.probe.compare.clone(),
        },
    })
}

/// Completes the name of a place.
#[utoipa::path(
    get,
    path = "/api/v1/places",
    tag = "submissions",
    params(Beginning),
    responses((status = 200, body = Places)),
)]
pub(super) async fn places(State(api): State<Arc<Api>>, Query(typed): Query<Beginning>) -> Json<Places> {
    let found = api.gazetteer.suggest(&typed.q, COMPLETIONS_MAX);
    Json(Places { places: found.iter().map(ToString::to_string).collect() })
}
