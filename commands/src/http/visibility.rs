//! The requests that take a submission off the map or out of the queue: an organiser hides it and shows it again, its
//! participant withdraws it. A repeated request changes nothing and is answered alike.

use std::sync::Arc;

use axum::{Json, extract::State};
use domain::{Command, SubmissionId};
use event_store::Position;
use http_edge::{JsonObject, Organiser, PathParameters, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Actor, Cause};

use super::WriteApi;
use super::problem::no_such_submission;
use super::submissions::{OrganiserReason, SubmissionLinks};

/// The answer to a command that was carried out, now or by an earlier request. Its events are on disk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordedCommand {
    /// The id of the submission.
    #[schema(value_type = Uuid)]
    id: SubmissionId,
    /// The log's position of the submission's newest event.
    #[schema(value_type = u64)]
    position: Position,
    /// The paths at which the submission can be followed.
    links: SubmissionLinks,
}

/// The body of a request that hides a submission or shows it again.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct VisibilityRequest {
    /// The reason, 1 to 500 characters. The participant reads it.
    why: String,
    /// The name of the organiser, 1 to 50 characters; `organiser` if absent. The participant reads it.
    #[schema(required = false)]
    by: String,
}

/// Hides a submission from the map.
///
/// Its pin disappears, and no later verdict brings it back. If other submissions of the owner count, the pin moves to the newest
/// of them. The verdict, the status and the history stay.
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/hide",
    tag = "organisers",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The id of the submission")),
    request_body(
        content = VisibilityRequest,
        description = "The reason, and the organiser's name.",
        example = json!({"why": "The name is a slur.", "by": "Grace"}),
    ),
    responses(
        (status = 200, description = "The submission is hidden.", body = RecordedCommand),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "This server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn hide(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    _: Organiser,
    fields: JsonObject,
) -> Result<Json<RecordedCommand>, Problem> {
    let OrganiserReason { why, by } = OrganiserReason::from_fields(fields).map_err(Problem::fields)?;
    carry_out(&api, &id, Actor::Organiser(by.clone()), Command::Hide { by, why }).await
}

/// Shows a hidden submission on the map again.
///
/// It counts as it did before, if its newest verdict is "passed".
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/show",
    tag = "organisers",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The id of the submission")),
    request_body(
        content = VisibilityRequest,
        description = "The reason, and the organiser's name.",
        example = json!({"why": "It is a common name in Finland.", "by": "Grace"}),
    ),
    responses(
        (status = 200, description = "The submission is not hidden.", body = RecordedCommand),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "This server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    _: Organiser,
    fields: JsonObject,
) -> Result<Json<RecordedCommand>, Problem> {
    let OrganiserReason { why, by } = OrganiserReason::from_fields(fields).map_err(Problem::fields)?;
    carry_out(&api, &id, Actor::Organiser(by.clone()), Command::Show { by, why }).await
}

/// Withdraws a submission that had no verdict yet.
///
/// It leaves the queue, its attempt is stopped, and it is never judged. The id is the permission: only its participant knows it. The
/// request has no body.
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/withdraw",
    tag = "submissions",
    params(("id" = Uuid, Path, description = "The id of the submission")),
    responses(
        (status = 200, description = "The submission is withdrawn.", body = RecordedCommand),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission has a verdict already.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn withdraw(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<RecordedCommand>, Problem> {
    carry_out(&api, &id, Actor::Participant, Command::Withdraw).await
}

async fn carry_out(
    api: &WriteApi,
    id: &str,
    actor: Actor,
    command: Command,
) -> Result<Json<RecordedCommand>, Problem> {
    let id: SubmissionId = id.parse().map_err(|_| no_such_submission())?;
    let handled = api.commands.handle(id, command, Cause { actor, id: Uuid::now_v7() }).await?;
    Ok(Json(RecordedCommand { id, position: handled.position, links: SubmissionLinks::new(id) }))
}
