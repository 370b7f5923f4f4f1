//! `POST /api/v1/submissions`, and the organiser's request for another verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::challenge::ChallengePhase;
use domain::submission::Submitted;
use domain::{Command, Rejection, SubmissionId};
use event_store::Position;
use http_edge::{ClientAddress, JsonObject, Organiser, PathParameters, Problem};
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::share::Share;
use crate::waiting::WaitingPlace;
use crate::{Actor, Cause, CommandError};

use super::{
    RateLimits, WriteApi,
    fields::{self, ParsedFields},
    organiser::{OrganiserRequest, organise},
    problem::stopping,
};

const KEY_HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 200;

/// The answer to a command that was accepted. The command's events are on disk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AcceptedCommand {
    /// The submission's id. It opens the status and cannot be guessed.
    #[schema(value_type = Uuid)]
    id: SubmissionId,
    /// Always `submitted`: the submission waits for a verifier.
    #[schema(value_type = String)]
    status: &'static str,
    /// The log's position of the event that the command led to.
    #[schema(value_type = u64)]
    position: Position,
    /// The paths at which the submission can be followed.
    links: SubmissionLinks,
}

/// The paths at which the submission can be followed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmissionLinks {
    /// The status as JSON; with `?wait=30s` the response waits for a change.
    status: String,
    /// The status as a live stream (server-sent events).
    events: String,
    /// The status as a page for people.
    page: String,
}

/// The body of a submission. Handlers read the fields one by one, to name each that is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct SubmissionRequest {
    /// The participant's name, to be shown on the map: 1 to 50 characters as people count them, unless the challenge says
    /// otherwise.
    name: String,
    /// The participant's Twitter account, such as `@ada`.
    twitter: Option<String>,
    /// The city and its country, such as `London, UK`.
    location: String,
    /// The names of the images, all of one owner. May be called `repo` instead.
    images: Vec<String>,
    /// The short name of the participant's venue, such as `berlin`. Without it, the code or the client's network decides.
    venue: Option<String>,
    /// The code that is told in the venue. Case and spaces do not count.
    venue_code: Option<String>,
    /// The further fields that `/api/v1/challenge` lists as answers.
    #[schema(additional_properties)]
    #[serde(flatten)]
    answers: BTreeMap<String, String>,
}

/// Submits images to the challenge.
///
/// The response is sent when the submission is on disk. Its status shows the verdict later.
#[utoipa::path(
    post,
    path = "/api/v1/submissions",
    tag = "submissions",
    params((
        "Idempotency-Key" = Option<String>, Header,
        description = "1 to 200 visible ASCII characters. A repeated key with the same content is answered like the \
            first request, whatever the rules and the owner's rate are by then, and nothing is submitted twice.",
    )),
    request_body(
        content = SubmissionRequest,
        description = "The submission. `/api/v1/challenge` describes its fields.",
        example = json!({
            "name": "Ada Lovelace", "twitter": "@ada", "location": "London, UK",
            "images": ["ada/voting-app", "ada/result-app"], "vote": "Python",
        }),
    ),
    responses(
        (status = 202, description = "The submission was accepted.", body = AcceptedCommand, headers(("Location" = String))),
        (status = 400, description = "The body is not a JSON object.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The key was used for a different submission, or the challenge is not open; the text names the moment.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; each is listed with what to write instead.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests, or too many submissions from this address wait; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written, or the queue is full; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn submit(
    State(api): State<Arc<WriteApi>>,
    State(limits): State<Arc<RateLimits>>,
    client: ClientAddress,
    headers: HeaderMap,
    fields: Result<JsonObject, Problem>,
) -> Result<AcceptedCommand, Problem> {
    accept(&api, &limits, client, fields, idempotency_key(&headers)).await
}

/// Requests another attempt at a submission that has a verdict, or that was given up.
///
/// The old verdict stays in the submission's history.
#[utoipa::path(
    post,
    path = "/api/v1/submissions/{id}/rejudge",
    tag = "organisers",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The id of the submission")),
    request_body(
        content = OrganiserRequest,
        description = "The reason, and the organiser's name.",
        example = json!({"why": "The probe was too strict until noon.", "by": "Grace"}),
    ),
    responses(
        (status = 202, description = "The submission waits for another attempt.", body = AcceptedCommand, headers(("Location" = String))),
        (status = 400, description = "The id or the body is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no submission of this id.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The submission has no verdict yet, or it was withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log by an operator.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 64 KiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The event log cannot be written; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rejudge(
    State(api): State<Arc<WriteApi>>,
    PathParameters(id): PathParameters<String>,
    organiser: Organiser,
    fields: JsonObject,
) -> Result<AcceptedCommand, Problem> {
    let (id, position) = organise(&api, &id, organiser, fields, Command::RequestRejudge).await?;
    Ok(AcceptedCommand::new(id, position))
}

/// Accepts a submission in this order: its body, the rate of requests, its idempotency key, the rules and the venue, the
/// challenge's period, the owner's rate and the bounds, the append. A repeated key counts as a request only, and its answer does
/// not depend on the rules, the places and the period of today. `/competition` takes the same steps.
pub(super) async fn accept(
    api: &WriteApi,
    limits: &RateLimits,
    client: ClientAddress,
    fields: Result<JsonObject, Problem>,
    key: Result<Option<&str>, Problem>,
) -> Result<AcceptedCommand, Problem> {
    let (network, now) = (Share::of_address(&api.commands.challenge().venues, client), Instant::now());
    let parsed = fields.and_then(|fields| Ok((ParsedFields::parse(fields, api.commands.challenge()), key?)));
    let owner = parsed.as_ref().ok().and_then(|(fields, _)| fields.form()?.owner());
    limits.admit_submission(&network, owner.as_deref(), client, now)?;
    let (fields, key) = parsed?;
    let use_of_key = use_of_key(api, &fields, key).await?;
    if let KeyUse::Repeated(accepted) = use_of_key {
        return Ok(accepted);
    }
    let (submitted, share) = validate(api, client, fields).await?;
    if let KeyUse::Taken = use_of_key {
        return Err(CommandError::Rejected(Rejection::AlreadySubmitted).into());
    }
    let id = api.submission_id(&submitted.owner, key);
    admit_moment(api, Timestamp::now())?;
    limits.admit_owner(&submitted.owner, client, now)?;
    let place = limits.admit_waiting(id, share, &submitted.owner)?;
    append(api, id, submitted, place).await
}

/// Refuses submissions outside the challenge's period.
///
/// # Errors
/// 409, with the moment.
fn admit_moment(api: &WriteApi, now: Timestamp) -> Result<(), Problem> {
    let detail = match api.commands.challenge().phase(now) {
        ChallengePhase::Open => return Ok(()),
        ChallengePhase::Before(opens) => {
            format!("The challenge opens at {opens}. Nothing was recorded; send the same request then.")
        }
        ChallengePhase::After(closes) => {
            format!(
                "The challenge closed at {closes}. Nothing was recorded, and no more submissions are taken."
            )
        }
    };
    Err(Problem::new(StatusCode::CONFLICT, detail))
}

/// The use that was made of a request's idempotency key before.
enum KeyUse {
    /// None, or there is no key.
    None,
    /// The same entry was accepted. Holds the answer of then.
    Repeated(AcceptedCommand),
    /// Another entry was accepted.
    Taken,
}

/// Looks up the key in the log.
async fn use_of_key(api: &WriteApi, fields: &ParsedFields, key: Option<&str>) -> Result<KeyUse, Problem> {
    let Some((key, form)) = key.zip(fields.form()) else { return Ok(KeyUse::None) };
    let Some(owner) = form.owner() else { return Ok(KeyUse::None) };
    let id = api.submission_id(&owner, Some(key));
    Ok(match api.commands.recorded(id).await? {
        None => KeyUse::None,
        Some((submitted, position))
            if form.is_record(&submitted, api.commands.challenge())
                && fields.claim.is_of(submitted.venue.as_deref()) =>
        {
            KeyUse::Repeated(AcceptedCommand::new(id, position))
        }
        Some(_) => KeyUse::Taken,
    })
}

/// Validates the fields, resolves the place, and finds the venue. Also returns the share in which the submission counts.
async fn validate(
    api: &WriteApi,
    client: ClientAddress,
    fields: ParsedFields,
) -> Result<(Submitted, Share), Problem> {
    let belonging = api.commands.challenge().venues.belonging(&fields.claim, client.ip());
    let (challenge, gazetteer) = (Arc::clone(api.commands.challenge()), api.gazetteer);
    // An unknown place is compared with every name in the gazetteer. Other requests do not wait for that.
    let reading = spawn_blocking(move || fields::read(fields, &challenge, gazetteer));
    // The task is cancelled if the process stops before a thread is free.
    let read = reading.await.map_err(|_| stopping("Nothing was recorded"))?;
    match (read, belonging) {
        (Ok(submitted), Ok(membership)) => {
            let share = Share::of_membership(membership.as_ref(), client);
            let venue = membership.map(|membership| membership.venue);
            Ok((Submitted { venue, ..submitted }, share))
        }
        (read, belonging) => {
            let mut errors = read.err().unwrap_or_default();
            errors.extend(belonging.err().map(|error| fields::to_problem(error, "images")));
            Err(Problem::fields(errors))
        }
    }
}

/// Appends in a task of its own. A client that hangs up meanwhile can neither lose the count of its submission nor avoid it.
///
/// If the append fails, its place is given back, even if the log wrote it and only the answer was lost. Such a submission
/// counts in the queue's length alone, and its end forgets nothing.
async fn append(
    api: &WriteApi,
    id: SubmissionId,
    submitted: Submitted,
    place: WaitingPlace,
) -> Result<AcceptedCommand, Problem> {
    let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
    let commands = api.commands.clone();
    let submitted = Submitted { lane: place.lane().map(Into::into), ..submitted };
    let appending = tokio::spawn(async move {
        let position = commands.submit(id, submitted, cause).await?;
        place.keep();
        Ok(position)
    });
    let appended: Result<_, CommandError> =
        appending.await.map_err(|_| stopping("It is not known whether this was recorded"))?;
    Ok(AcceptedCommand::new(id, appended?))
}

impl AcceptedCommand {
    fn new(id: SubmissionId, position: Position) -> Self {
        Self { id, status: "submitted", position, links: SubmissionLinks::new(id) }
    }

    pub(super) fn id(&self) -> SubmissionId {
        self.id
    }
}

impl SubmissionLinks {
    pub(super) fn new(id: SubmissionId) -> Self {
        Self {
            status: format!("/api/v1/submissions/{id}"),
            events: format!("/api/v1/submissions/{id}/events"),
            page: format!("/s/{id}"),
        }
    }
}

impl IntoResponse for AcceptedCommand {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.links.status.clone())];
        (StatusCode::ACCEPTED, location, Json(self)).into_response()
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return match headers.contains_key(KEY_HEADER) {
            true => Err(Problem::new(StatusCode::BAD_REQUEST, "Send only one Idempotency-Key.")),
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
