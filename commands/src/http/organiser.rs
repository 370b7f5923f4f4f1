//! The requests of organisers: their body, and the command that each leads to.

use axum::http::StatusCode;
use domain::challenge::hidden_character;
use domain::submission::OrganiserAct;
use domain::text::{is_seen, trimmed};
use domain::{Command, SubmissionId};
use event_store::Position;
use http_edge::{FieldProblem, JsonObject, Organiser, Problem};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Actor, Cause};

use super::WriteApi;
use super::problem::no_such_submission;

const WHY_CHARS_MAX: usize = 500;
const BY_CHARS_MAX: usize = 50;

/// The body of an organiser's request.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct OrganiserRequest {
    /// The reason, 1 to 500 characters on one line. The participant reads it.
    why: String,
    /// The name of the organiser, 1 to 50 characters; `organiser` if absent. The participant reads it.
    #[schema(required = false)]
    by: String,
}

/// The body of an organiser's correction.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in /openapi.json")]
pub(super) struct CorrectionRequest {
    /// The name as it is shown from now on. It meets the challenge's rules for names; refused words are the organiser's affair.
    name: String,
    /// The reason, 1 to 500 characters on one line. The participant reads it.
    why: String,
    /// The name of the organiser, 1 to 50 characters; `organiser` if absent. The participant reads it.
    #[schema(required = false)]
    by: String,
}

/// Carries out the command that an organiser's request leads to. Returns the log's position of the submission's newest event.
///
/// # Errors
/// Any problem of the id, the fields or the command.
pub(super) async fn organise(
    api: &WriteApi,
    id: &str,
    organiser: Organiser,
    fields: JsonObject,
    command: fn(OrganiserAct) -> Command,
) -> Result<(SubmissionId, Position), Problem> {
    let act = read_act(fields, Vec::new()).map_err(Problem::fields)?;
    handle(api, id, organiser, act, command).await
}

/// Carries out a correction. Returns the log's position of the submission's newest event.
///
/// # Errors
/// Any problem of the id, the fields or the command.
pub(super) async fn correct_name(
    api: &WriteApi,
    id: &str,
    organiser: Organiser,
    mut fields: JsonObject,
) -> Result<(SubmissionId, Position), Problem> {
    let typed = fields.0.remove("name");
    let name = typed.as_ref().and_then(Value::as_str).map(trimmed).unwrap_or_default();
    let fault = api.commands.challenge().name.fault(name).map(|why| FieldProblem::new("name", why));
    let act = read_act(fields, fault.into_iter().collect()).map_err(Problem::fields)?;
    let name = name.to_owned();
    handle(api, id, organiser, act, |act| Command::CorrectName { act, name }).await
}

async fn handle(
    api: &WriteApi,
    id: &str,
    organiser: Organiser,
    act: OrganiserAct,
    command: impl FnOnce(OrganiserAct) -> Command,
) -> Result<(SubmissionId, Position), Problem> {
    let id: SubmissionId = id.parse().map_err(|_| no_such_submission())?;
    admit_venue(api, id, organiser.venue.as_deref()).await?;
    let actor = Actor::Organiser(organiser.person.clone().unwrap_or_else(|| act.by.clone()));
    let act = OrganiserAct { person: organiser.person, ..act };
    let handled = api.commands.handle(id, command(act), Cause { actor, id: Uuid::now_v7() }).await?;
    Ok((id, handled.position))
}

/// Refuses an organiser of one venue the submissions of others.
///
/// # Errors
/// 403, or any error of the log.
async fn admit_venue(api: &WriteApi, id: SubmissionId, venue: Option<&str>) -> Result<(), Problem> {
    let Some(venue) = venue else { return Ok(()) };
    let (submitted, _) = api.commands.recorded(id).await?.ok_or_else(no_such_submission)?;
    if submitted.venue.as_deref() == Some(venue) {
        return Ok(());
    }
    let detail = format!("Your token is for the venue {venue}, to which this submission does not belong.");
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// Reads the reason and the organiser's name.
///
/// # Errors
/// `errors`, and every wrong or unknown field.
fn read_act(
    JsonObject(mut fields): JsonObject,
    mut errors: Vec<FieldProblem>,
) -> Result<OrganiserAct, Vec<FieldProblem>> {
    let mut text = |field: &str, chars_max: usize, default: &str| {
        let value = fields.remove(field);
        let text = value.as_ref().map_or(Some(default), |value| value.as_str()).map(trimmed);
        let fault = match text {
            Some(text) if is_seen(text) && text.chars().count() <= chars_max => {
                match hidden_character(text) {
                    None => return text.to_owned(),
                    Some(hidden) => {
                        let point = u32::from(hidden);
                        format!("A character cannot be seen (U+{point:04X}); write the text without.")
                    }
                }
            }
            _ => format!("Write a text of 1 to {chars_max} characters."),
        };
        errors.push(FieldProblem::new(field, fault));
        String::new()
    };
    let why = text("why", WHY_CHARS_MAX, "");
    let by = text("by", BY_CHARS_MAX, "organiser");
    errors.extend(fields.keys().map(|field| FieldProblem::new(field, "There is no field of this name.")));
    if errors.is_empty() { Ok(OrganiserAct { by, why, person: None }) } else { Err(errors) }
}
