//! The requests that change how a submission is shown, and whether it is judged: an organiser hides it, shows it again and
//! corrects its name, its participant withdraws it. A repeated request changes nothing and is answered alike.

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
use super::organiser::{CorrectionRequest, OrganiserRequest, correct_name, organise};
use super::problem::no_such_submission;
use super::submissions::SubmissionLinks;

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
        content = OrganiserRequest,
        description = "The reason, and the organiser's name.",
        example = json!({"why": "The name is a slur.", "by": "Grace"}),
    ),
    responses(
        (status = 200, description = "The submission is hidden.", body = RecordedCommand),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log by an operator.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn hide(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    organiser: Organiser,
    fields: JsonObject,
) -> Result<Json<RecordedCommand>, Problem> {
    let (id, position) = organise(&api, &id, organiser, fields, Command::Hide).await?;
    Ok(Json(RecordedCommand::new(id, position)))
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
        content = OrganiserRequest,
        description = "The reason, and the organiser's name.",
        example = json!({"why": "It is a common name in Finland.", "by": "Grace"}),
    ),
    responses(
        (status = 200, description = "The submission is not hidden.", body = RecordedCommand),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log by an operator.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    organiser: Organiser,
    fields: JsonObject,
) -> Result<Json<RecordedCommand>, Problem> {
    let (id, position) = organise(&api, &id, organiser, fields, Command::Show).await?;
    Ok(Json(RecordedCommand::new(id, position)))
}

/// Corrects the spelling of the participant's name.
///
/// The pin, the status and the search show the new name. The name that was submitted stays in the history, and the app still answers
/// with it.
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/correct",
    tag = "organisers",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The id of the submission")),
    request_body(
        content = CorrectionRequest,
        description = "The name, the reason, and the organiser's name.",
        example = json!({"name": "Ada Lovelace", "why": "A typing error.", "by": "Grace"}),
    ),
    responses(
        (status = 200, description = "The name is shown as the request says.", body = RecordedCommand),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log by an operator.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn correct(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    organiser: Organiser,
    fields: JsonObject,
) -> Result<Json<RecordedCommand>, Problem> {
    let (id, position) = correct_name(&api, &id, organiser, fields).await?;
    Ok(Json(RecordedCommand::new(id, position)))
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
        (status = 400, description = "The id is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission has a verdict already.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log by an operator.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn withdraw(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<RecordedCommand>, Problem> {
    let id: SubmissionId = id.parse().map_err(|_| no_such_submission())?;
    let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
    let handled = api.commands.handle(id, Command::Withdraw, cause).await?;
    Ok(Json(RecordedCommand::new(id, handled.position)))
}

impl RecordedCommand {
    fn new(id: SubmissionId, position: Position) -> Self {
        Self { id, position, links: SubmissionLinks::new(id) }
    }
}
