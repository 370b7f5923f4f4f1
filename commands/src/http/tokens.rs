//! The requests by which organisers add, list and revoke tokens by name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::challenge::hidden_character;
use domain::text::{is_seen, trimmed};
use http_edge::{Administrator, FieldProblem, JsonObject, OrganiserRole, PathParameters, Problem};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::WriteApi;
use crate::TokenChangeError;

const NAME_CHARS_MAX: usize = 50;

/// The body of a request for a token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct TokenRequest {
    /// The name of the person, 1 to 50 characters.
    name: String,
    /// `organiser`, `venue:NAME`, `analyst` or `operator`.
    role: String,
}

/// A token that was made. This answer is the only one with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct NewToken {
    /// The name of the person.
    name: String,
    /// The role of the person: `organiser`, `venue:NAME`, `analyst` or `operator`.
    role: String,
    /// The secret, to be sent as `Authorization: Bearer TOKEN`.
    token: String,
}

/// The tokens by name that are taken.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    /// The tokens, by name.
    tokens: Vec<ListedToken>,
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedToken {
    /// The name of the person.
    name: String,
    /// The role of the person: `organiser`, `venue:NAME`, `analyst` or `operator`.
    role: String,
    /// The time at which the token was added.
    added_at: Timestamp,
    /// The name of the token by which it was added; null if that was the one that all share.
    #[schema(required)]
    added_by: Option<String>,
}

/// Adds a token by name.
///
/// The answer has the secret, which is shown only once: the log has its hash.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    operation_id = "add_token",
    tag = "organisers",
    security(("token" = [])),
    request_body(
        content = TokenRequest,
        description = "The name of the person, and the role.",
        example = json!({"name": "Grace", "role": "venue:berlin"}),
    ),
    responses(
        (status = 201, description = "The token, with its secret.", body = NewToken),
        (status = 400, description = "The body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role is not `organiser`, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is a token of this name.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be read or written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn add(
    State(api): State<Arc<WriteApi>>,
    administrator: Administrator,
    fields: JsonObject,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    let (name, role) = read_request(fields).map_err(Problem::fields)?;
    let token =
        api.commands.add_token(&name, &role, administrator.person.as_deref()).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(NewToken { name, role: role.to_string(), token })))
}

/// Lists the tokens by name, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    operation_id = "list_tokens",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, description = "The tokens that are taken.", body = TokenList),
        (status = 401, description = "The token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role is not `organiser`, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be read; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<WriteApi>>,
    _: Administrator,
) -> Result<Json<TokenList>, Problem> {
    let directory = api.commands.tokens().await?;
    let tokens = directory.tokens.into_values().map(|(token, added_at)| ListedToken {
        name: token.name,
        role: token.role.to_string(),
        added_at,
        added_by: token.person,
    });
    Ok(Json(TokenList { tokens: tokens.collect() }))
}

/// Revokes a token by name. No process takes it any more.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{name}",
    operation_id = "revoke_token",
    tag = "organisers",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the token")),
    responses(
        (status = 204, description = "The token is revoked."),
        (status = 400, description = "The name is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role is not `organiser`, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no token of this name.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be read or written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revoke(
    State(api): State<Arc<WriteApi>>,
    PathParameters(name): PathParameters<String>,
    administrator: Administrator,
) -> Result<StatusCode, Problem> {
    api.commands.revoke_token(&name, administrator.person.as_deref()).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the fields of a request for a token.
///
/// # Errors
/// Every wrong or unknown field.
fn read_request(JsonObject(mut fields): JsonObject) -> Result<(String, OrganiserRole), Vec<FieldProblem>> {
    let mut errors = Vec::new();
    let (name, role) = (fields.remove("name"), fields.remove("role"));
    let name = name.as_ref().and_then(Value::as_str).map(trimmed).unwrap_or_default();
    if !is_seen(name) || name.chars().count() > NAME_CHARS_MAX || hidden_character(name).is_some() {
        let message = format!("Write a name of 1 to {NAME_CHARS_MAX} characters that can be seen.");
        errors.push(FieldProblem::new("name", message));
    }
    let role = role.as_ref().and_then(Value::as_str).unwrap_or_default().parse();
    if role.is_err() {
        errors.push(FieldProblem::new("role", "A role is organiser, venue:NAME, analyst or operator."));
    }
    errors.extend(fields.keys().map(|field| FieldProblem::new(field, "There is no field of this name.")));
    match role {
        Ok(role) if errors.is_empty() => Ok((name.to_owned(), role)),
        _ => Err(errors),
    }
}

fn problem(error: TokenChangeError) -> Problem {
    match error {
        TokenChangeError::NameTaken => {
            Problem::new(StatusCode::CONFLICT, "There is a token of this name; revoke it first.")
        }
        TokenChangeError::TooMany => Problem::new(StatusCode::CONFLICT, error.to_string()),
        TokenChangeError::UnknownName => Problem::not_found("There is no token of this name."),
        TokenChangeError::Log(error) => error.into(),
    }
}
