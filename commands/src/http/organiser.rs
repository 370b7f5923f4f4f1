//! The requests of organisers: their body, and the command that each leads to.

use domain::challenge::hidden_character;
use domain::text::{is_seen, trimmed};
use domain::{Command, SubmissionId};
use event_store::Position;
use http_edge::{FieldProblem, JsonObject, Problem};
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

/// The reason of an organiser's command, and the organiser's name.
pub(super) struct OrganiserReason {
    pub(super) why: String,
    pub(super) by: String,
}

/// Carries out the command that an organiser's request leads to. Returns the log's position of the submission's newest event.
///
/// # Errors
/// Any problem of the id, the fields or the command.
pub(super) async fn organise(
    api: &WriteApi,
    id: &str,
    fields: JsonObject,
    command: fn(OrganiserReason) -> Command,
) -> Result<(SubmissionId, Position), Problem> {
    let id: SubmissionId = id.parse().map_err(|_| no_such_submission())?;
    let reason = OrganiserReason::from_fields(fields).map_err(Problem::fields)?;
    let cause = Cause { actor: Actor::Organiser(reason.by.clone()), id: Uuid::now_v7() };
    let handled = api.commands.handle(id, command(reason), cause).await?;
    Ok((id, handled.position))
}

impl OrganiserReason {
    /// Reads the fields of a body.
    ///
    /// # Errors
    /// Every wrong or unknown field.
    fn from_fields(JsonObject(mut fields): JsonObject) -> Result<Self, Vec<FieldProblem>> {
        let mut errors = Vec::new();
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
        if errors.is_empty() { Ok(Self { why, by }) } else { Err(errors) }
    }
}
