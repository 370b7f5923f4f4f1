//! What a form needs to know: the challenge's questions, and how places are called.

use std::sync::Arc;

use axum::{Json, extract::State};
use domain::challenge::{
    ANSWER_CHARS_MAX, HttpProbeRules, LOCATION_CHARS_MAX, NAME_CHARS, ProbeRules, RequiredImages,
    TWITTER_LETTERS,
};
use http_edge::QueryParameters;
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
    /// The rules of the fields that every submission has.
    fields: FieldRules,
    images: ImagesGuide,
    /// What a submission says beside name, twitter, location and images.
    answers: Vec<AnswerGuide>,
    probe: ProbeGuide,
}

/// The rules of the fields that every submission has. Surrounding spaces do not count.
#[derive(Debug, Serialize, ToSchema)]
struct FieldRules {
    name: TextLength,
    twitter: TextPattern,
    location: TextLength,
    /// The length of each further answer, if it is given.
    answer: TextLength,
}

/// The length of a text, in Unicode characters.
#[derive(Debug, Serialize, ToSchema)]
struct TextLength {
    /// The smallest number of characters.
    min_chars: usize,
    /// The largest number of characters.
    max_chars: usize,
}

/// The form of a text.
#[derive(Debug, Serialize, ToSchema)]
struct TextPattern {
    /// A regular expression that the whole text matches, in the syntax of JavaScript.
    pattern: String,
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
    let ProbeRules::Http(HttpProbeRules { port, path, compare }) = challenge.probe.clone();
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
        fields: FieldRules::of_every_challenge(),
        images: ImagesGuide {
            min: challenge.images.min,
            max: challenge.images.max,
            registries: challenge.images.registries.clone(),
            answering: challenge.images.answering,
            size_max_mib: challenge.limits.image_mib,
        },
        answers: answers.collect(),
        probe: ProbeGuide { port, path, compare },
    })
}

impl FieldRules {
    fn of_every_challenge() -> Self {
        let (fewest, most) = (TWITTER_LETTERS.start(), TWITTER_LETTERS.end());
        Self {
            name: TextLength { min_chars: *NAME_CHARS.start(), max_chars: *NAME_CHARS.end() },
            twitter: TextPattern { pattern: format!("^@[A-Za-z0-9_]{{{fewest},{most}}}$") },
            location: TextLength { min_chars: 1, max_chars: LOCATION_CHARS_MAX },
            answer: TextLength { min_chars: 1, max_chars: ANSWER_CHARS_MAX },
        }
    }
}

/// Completes the name of a place.
#[utoipa::path(
    get,
    path = "/api/v1/places",
    tag = "submissions",
    params(Beginning),
    responses((status = 200, body = Places)),
)]
pub(super) async fn places(
    State(api): State<Arc<Api>>,
    QueryParameters(typed): QueryParameters<Beginning>,
) -> Json<Places> {
    let found = api.gazetteer.suggest(&typed.q, COMPLETIONS_MAX);
    Json(Places { places: found.iter().map(ToString::to_string).collect() })
}
