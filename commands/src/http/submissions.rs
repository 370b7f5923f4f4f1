//! Submitting, and asking for another verdict.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Command, SubmissionId};
use event_store::Position;
use http_edge::{FieldProblem, JsonObject, Organiser, PathParameters, Problem};
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Actor, Cause};

use super::{
    Api, Limits, form,
    problem::{RETRY_AFTER, no_such_submission},
    take,
};

const KEY_HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 200;
const WHY_CHARS_MAX: usize = 500;
const BY_CHARS_MAX: usize = 50;

/// What is answered when a command was taken; it is on disk by then.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Opens the submission's status; nobody can guess it.
    #[schema(value_type = Uuid)]
    id: SubmissionId,
    /// Always `submitted`: it waits for a verifier.
    #[schema(value_type = String)]
    status: &'static str,
    /// The position of the event that says so, in the log.
    #[schema(value_type = u64)]
    position: Position,
    links: Links,
}

/// Where to go from here.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    /// The status, as JSON; `?wait=30s` waits until it changes.
    status: String,
    /// The same, live (SSE).
    events: String,
    /// The same, for people.
    page: String,
}

/// Submits images to the challenge. Answered once it is on disk; the verdict
/// follows in its status.
#[utoipa::path(
    post,
    path = "/api/v1/submissions",
    tag = "submissions",
    params((
        "Idempotency-Key" = Option<String>, Header,
        description = "1 to 200 visible ASCII characters. The same key with the same content gives the same answer \
            again and submits nothing twice.",
    )),
    request_body(
        content = Object,
        description = "name, location, images (or repo), twitter if you like, and the challenge's own questions: \
            see /api/v1/challenge.",
        example = json!({
            "name": "Ada Lovelace", "twitter": "@ada", "location": "London, UK",
            "images": ["ada/voting-app", "ada/result-app"], "vote": "Python",
        }),
    ),
    responses(
        (status = 202, description = "Submitted.", body = Accepted, headers(("Location" = String))),
        (status = 400, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The key was used for something else.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not said to be JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong: each, and what to write instead.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    State(limits): State<Arc<Limits>>,
    headers: HeaderMap,
    fields: JsonObject,
) -> Result<Accepted, Problem> {
    let key = idempotency_key(&headers)?;
    accept(&api, &limits, fields, key).await
}

/// Asks for another verdict on a submission that has one. The old verdict
/// stays in its history.
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/rejudge",
    tag = "organisers",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The submission.")),
    request_body(
        content = Object,
        description = "why, and by whom if you like.",
        example = json!({"why": "The probe was too strict until noon.", "by": "Grace"}),
    ),
    responses(
        (status = 202, description = "It waits to be verified again.", body = Accepted, headers(("Location" = String))),
        (status = 401, description = "Without the organisers' token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "No token is set here, so nobody may.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such submission.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has no verdict yet.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rejudge(
    State(api): State<Arc<Api>>,
    PathParameters(id): PathParameters<String>,
    _: Organiser,
    fields: JsonObject,
) -> Result<Accepted, Problem> {
    let id: SubmissionId = id.parse().map_err(|_| no_such_submission())?;
    let Request { why, by } = Request::of(fields).map_err(Problem::fields)?;
    let cause = Cause { actor: Actor::Organiser(by.clone()), id: Uuid::now_v7() };
    let handled = api.commands.handle(id, Command::RequestRejudge { by, why }, cause).await?;
    Ok(Accepted::new(id, handled.position))
}

/// Submits what the fields say, under an id that the key gives it.
pub(super) async fn accept(
    api: &Api,
    limits: &Limits,
    fields: JsonObject,
    key: Option<&str>,
) -> Result<Accepted, Problem> {
    let (challenge, gazetteer) = (Arc::clone(api.commands.challenge()), api.gazetteer);
    // A place that nobody knows is compared with every name that there is:
    // others' requests do not wait for that.
    let read = spawn_blocking(move || form::read(fields, &challenge, gazetteer));
    // It is not read when this process stops before its turn has come.
    let stops = |_| {
        Problem::unavailable("Muster is stopping. Nothing was recorded; send the same again soon.")
            .retry_after(RETRY_AFTER)
    };
    let submitted = read.await.map_err(stops)?.map_err(Problem::fields)?;
    take(limits.by_owner.as_ref(), || submitted.owner.clone())
        .map_err(|wait| Problem::too_many_requests(&format!("for images of {}", submitted.owner), wait))?;
    let id = api.submission_id(&submitted.owner, key);
    let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
    let position = api.commands.submit(id, submitted, cause).await?;
    Ok(Accepted::new(id, position))
}

impl Accepted {
    fn new(id: SubmissionId, position: Position) -> Self {
        let links = Links {
            status: format!("/api/v1/submissions/{id}"),
            events: format!("/api/v1/submissions/{id}/events"),
            page: format!("/s/{id}"),
        };
        Self { id, status: "submitted", position, links }
    }

    /// The submission.
    pub(super) fn id(&self) -> SubmissionId {
        self.id
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.links.status.clone())];
        (StatusCode::ACCEPTED, location, Json(self)).into_response()
    }
}

/// What an organiser says who asks for another verdict.
struct Request {
    why: String,
    by: String,
}

impl Request {
    fn of(JsonObject(mut fields): JsonObject) -> Result<Self, Vec<FieldProblem>> {
        let mut errors = Vec::new();
        let mut text = |field: &str, chars_max: usize, absent: &str| {
            let value = fields.remove(field);
            let typed = value.as_ref().map_or(Some(absent), |value| value.as_str()).map(str::trim);
            typed
                .filter(|typed| (1..=chars_max).contains(&typed.chars().count()))
                .map(str::to_owned)
                .unwrap_or_else(|| {
                    let message = format!("A text of 1 to {chars_max} characters is expected.");
                    errors.push(FieldProblem::new(field, message));
                    String::new()
                })
        };
        let why = text("why", WHY_CHARS_MAX, "");
        let by = text("by", BY_CHARS_MAX, "organiser");
        errors.extend(fields.keys().map(|field| FieldProblem::new(field, "There is no such field here.")));
        if errors.is_empty() { Ok(Self { why, by }) } else { Err(errors) }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return match headers.contains_key(KEY_HEADER) {
            true => Err(Problem::new(StatusCode::BAD_REQUEST, "Give one Idempotency-Key.")),
            false => Ok(None),
        };
    };
    let visible = |key: &&str| key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    match key.to_str().ok().filter(visible).filter(|key| !key.is_empty()) {
        Some(key) => Ok(Some(key)),
        None => {
            let detail = format!("An Idempotency-Key has 1 to {KEY_BYTES_MAX} visible ASCII characters.");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}
