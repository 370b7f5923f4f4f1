//! The write half of the HTTP contract of 2016, for clients from that time. A wrong submission is answered with 200 and
//! a sentence.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http_edge::{ClientAddress, JsonObject, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{RateLimits, WriteApi, submissions::accept};

/// The body of a submission as in 2016. Handlers read the fields one by one, to name each that is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct CompetitionRequest {
    /// The name of the participant: 1 to 50 characters as people count them, unless the challenge says otherwise.
    name: String,
    /// The participant's Twitter account, such as `@ada`.
    twitter: Option<String>,
    /// The city and its country, such as `London, UK`.
    location: String,
    /// The names of the images.
    repo: Vec<String>,
    /// The answer to the challenge's question.
    vote: Option<String>,
}

/// The answer to a submission as in 2016.
#[derive(Serialize, ToSchema)]
pub(super) struct CompetitionAnswer {
    /// The submission's id, or a sentence that says what is wrong.
    response: String,
}

/// Submits images to the challenge, as in 2016.
#[utoipa::path(
    post,
    path = "/competition",
    tag = "as in 2016",
    request_body(
        content = CompetitionRequest,
        description = "The submission, as a client of 2016 sends it.",
        example = json!({
            "name": "Ada Lovelace", "twitter": "@ada", "location": "London, UK",
            "repo": ["ada/voting-app", "ada/result-app"], "vote": "Python",
        }),
    ),
    responses(
        (status = 200, description = "The id, or a sentence that says what is wrong.", body = CompetitionAnswer,
            example = json!({"response": "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11"})),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn compete(
    State(api): State<Arc<WriteApi>>,
    State(limits): State<Arc<RateLimits>>,
    client: ClientAddress,
    fields: Result<JsonObject, Problem>,
) -> Response {
    let response = match accept(&api, &limits, client, fields, Ok(None)).await {
        Ok(accepted) => accepted.id().to_string(),
        Err(problem) if is_wrong_input(&problem) => {
            format!("Your submission was not successful due to: {}", in_one_line(&problem))
        }
        Err(problem) => return problem.into_response(),
    };
    Json(CompetitionAnswer { response }).into_response()
}

/// Returns whether a sentence answers the problem: the client can correct the request, or the challenge is not open.
fn is_wrong_input(problem: &Problem) -> bool {
    matches!(problem.status().as_u16(), 400 | 409 | 413 | 415 | 422)
}

fn in_one_line(problem: &Problem) -> String {
    if problem.errors().is_empty() {
        return problem.detail().to_owned();
    }
    let errors: Vec<_> =
        problem.errors().iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    errors.join(" ")
}
