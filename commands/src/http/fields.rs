//! Reads a submission from the fields of its body: fields → form → validated form → `Submitted` at its place.

use domain::ImageRef;
use domain::challenge::{Challenge, FieldError, SubmissionForm, VenueClaim};
use domain::submission::{Place, Submitted};
use http_edge::{FieldProblem, JsonObject};
use serde_json::Value;

use crate::{Gazetteer, PlaceError};

/// The reason why an entry would be refused.
#[derive(Debug)]
pub enum EntryError {
    /// It is not a JSON object. Holds the parser's reason.
    NotJson(String),
    /// All errors, at most one for each field.
    Fields(Vec<FieldProblem>),
}

/// Reads an entry that is not submitted yet, from its JSON. The images may come from any registry.
///
/// # Errors
/// The reason why the entry would be refused.
pub fn read_entry(json: &[u8], challenge: &Challenge) -> Result<Submitted, EntryError> {
    let fields = JsonObject::from_json(json).map_err(|error| EntryError::NotJson(error.to_string()))?;
    let mut challenge = challenge.clone();
    let named = ["images", "repo"].into_iter().filter_map(|field| fields.0.get(field)?.as_array()).flatten();
    let images = named.filter_map(|name| name.as_str()?.parse::<ImageRef>().ok());
    challenge.images.registries.extend(images.map(|image| image.registry().to_owned()));
    let fields = ParsedFields::parse(fields, &challenge);
    read(fields, &challenge, Gazetteer::shipped()).map_err(EntryError::Fields)
}

/// Reads the submission that the fields describe.
///
/// # Errors
/// All errors, at most one for each field.
pub(super) fn read(
    fields: ParsedFields,
    challenge: &Challenge,
    gazetteer: &Gazetteer,
) -> Result<Submitted, Vec<FieldProblem>> {
    let ParsedFields { form, images_field, mut errors, .. } = fields;
    let place = resolve(gazetteer, &form.location);
    let form = match challenge.check(form) {
        Ok(form) => Some(form),
        Err(refused) => {
            let refused = refused.into_iter().map(|error| to_problem(error, images_field));
            let unreported: Vec<_> = refused
                .filter(|error| !errors.iter().any(|reported| reported.field == error.field))
                .collect();
            errors.extend(unreported);
            None
        }
    };
    match (form, place) {
        (Some(form), Ok(place)) if errors.is_empty() => return Ok(form.into_submitted(place)),
        (_, Err(error)) if errors.iter().all(|reported| reported.field != "location") => errors.push(error),
        _ => {}
    }
    Err(errors)
}

/// The form that the fields make, with an error for each field of a wrong JSON type.
pub(super) struct ParsedFields {
    form: SubmissionForm,
    /// The submission's own words about its venue.
    pub(super) claim: VenueClaim,
    /// The client's name for the images: `images`, or `repo` as in 2016.
    images_field: &'static str,
    errors: Vec<FieldProblem>,
}

impl ParsedFields {
    /// Returns the form, unless a field has a wrong JSON type.
    pub(super) fn form(&self) -> Option<&SubmissionForm> {
        self.errors.is_empty().then_some(&self.form)
    }

    pub(super) fn parse(JsonObject(mut fields): JsonObject, challenge: &Challenge) -> Self {
        let mut errors = Vec::new();
        let name = text("name", fields.remove("name"), &mut errors);
        let twitter = text("twitter", fields.remove("twitter"), &mut errors);
        let location = text("location", fields.remove("location"), &mut errors);
        let (images_field, images) = match (fields.remove("images"), fields.remove("repo")) {
            (None, Some(repo)) => ("repo", Some(repo)),
            (Some(_), Some(_)) => {
                errors.push(FieldProblem::new("images", "Send either images or repo, not both."));
                ("images", None)
            }
            (images, None) => ("images", images),
        };
        let images = texts(images_field, images, &mut errors);
        // An answer of the challenge may have one of these names.
        let mut of_venue = |field: &str| match challenge.answers.contains_key(field) {
            true => None,
            false => text(field, fields.remove(field), &mut errors),
        };
        let claim = VenueClaim { venue: of_venue("venue"), code: of_venue("venue_code") };
        let answers = fields
            .into_iter()
            .map(|(field, value)| {
                // The challenge refuses an unknown field by its name, whatever its value is.
                let answer = match value {
                    Value::String(text) => Some(text),
                    value if challenge.answers.contains_key(&field) => text(&field, Some(value), &mut errors),
                    _ => None,
                };
                (field, answer.unwrap_or_default())
            })
            .collect();
        let form = SubmissionForm {
            name: name.unwrap_or_default(),
            twitter,
            location: location.unwrap_or_default(),
            images,
            answers,
        };
        Self { form, claim, images_field, errors }
    }
}

fn text(field: &str, value: Option<Value>, errors: &mut Vec<FieldProblem>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            errors.push(FieldProblem::new(field, "This must be a text."));
            None
        }
    }
}

fn texts(field: &str, value: Option<Value>, errors: &mut Vec<FieldProblem>) -> Vec<String> {
    let list = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list.into_iter().map(|item| match item {
            Value::String(text) => Some(text),
            _ => None,
        }),
        Some(_) => {
            errors.push(FieldProblem::new(field, "This must be a list of image names."));
            return Vec::new();
        }
    };
    list.collect::<Option<_>>().unwrap_or_else(|| {
        errors.push(FieldProblem::new(field, "Each image must be given by its name, a text."));
        Vec::new()
    })
}

/// Names the field of the images as the client named it.
pub(super) fn to_problem(error: FieldError, images_field: &str) -> FieldProblem {
    let field = match error.field.strip_prefix("images") {
        Some(rest) => format!("{images_field}{rest}"),
        None => error.field,
    };
    FieldProblem { field, message: error.message, suggestions: error.suggestions }
}

fn resolve(gazetteer: &Gazetteer, location: &str) -> Result<Place, FieldProblem> {
    match gazetteer.resolve(location) {
        Ok(place) => Ok(place.into()),
        Err(error) => {
            let message = sentence(&error.to_string());
            let suggestions = match error {
                PlaceError::Empty | PlaceError::TooLong => Vec::new(),
                PlaceError::Unknown { nearest: places }
                | PlaceError::Ambiguous { candidates: places }
                | PlaceError::Area { largest: places } => places.iter().map(ToString::to_string).collect(),
            };
            Err(FieldProblem { suggestions, ..FieldProblem::new("location", message) })
        }
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}
