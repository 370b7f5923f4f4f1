//! The contract of the system that ran the challenge in 2016, for clients
//! written then: the answer to a wrong entry is 200 and a sentence.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http_edge::{JsonObject, Problem};
use serde_json::json;

use super::{Api, Limits, submissions::accept};

/// Submits images to the challenge, as in 2016.
#[utoipa::path(
    post,
    path = "/competition",
    tag = "as in 2016",
    request_body(
        content = Object,
        description = "name, twitter, location, repo, vote.",
        example = json!({
            "name": "Ada Lovelace", "twitter": "@ada", "location": "London, UK",
            "repo": ["ada/voting-app", "ada/result-app"], "vote": "Python",
        }),
    ),
    responses(
        (status = 200, description = "The id; or, when something is wrong, a sentence that says what.", body = Object, example = json!({"response": "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11"})),
        (status = 429, description = "Too many; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn compete(
    State(api): State<Arc<Api>>,
    State(limits): State<Arc<Limits>>,
    fields: Result<JsonObject, Problem>,
) -> Response {
    let accepted = match fields {
        Ok(fields) => accept(&api, &limits, fields, None).await,
        Err(problem) => Err(problem),
    };
    let response = match accepted {
        Ok(accepted) => accepted.id().to_string(),
        Err(problem) if is_wrong_input(&problem) => {
            format!("Your submission was not successful due to: {}", in_one_line(&problem))
        }
        Err(problem) => return problem.into_response(),
    };
    Json(json!({ "response": response })).into_response()
}

/// Returns whether the client can mend the request.
fn is_wrong_input(problem: &Problem) -> bool {
    matches!(problem.status().as_u16(), 400 | 413 | 415 | 422)
}

fn in_one_line(problem: &Problem) -> String {
    if problem.errors().is_empty() {
        return problem.detail().to_owned();
    }
    let errors: Vec<_> =
        problem.errors().iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    errors.join(" ")
}
