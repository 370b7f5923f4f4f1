//! From the fields of a body to a form, from a form to an entry at its place.

use domain::challenge::{Challenge, FieldError, SubmissionForm};
use domain::submission::{Place, Submitted};
use http_edge::{FieldProblem, JsonObject};
use serde_json::Value;

use crate::{Gazetteer, PlaceError};

/// What a submission says, if all of it is right.
///
/// # Errors
/// Everything that is wrong, not only the first; one entry a field.
pub(super) fn read(
    fields: JsonObject,
    challenge: &Challenge,
    gazetteer: &Gazetteer,
) -> Result<Submitted, Vec<FieldProblem>> {
    let Typed { form, images_field, mut errors } = Typed::of(fields, challenge);
    let place = resolve(gazetteer, &form.location);
    let entry = match challenge.check(form) {
        Ok(entry) => Some(entry),
        Err(refused) => {
            let refused = refused.into_iter().map(|error| to_problem(error, images_field));
            let untold: Vec<_> =
                refused.filter(|error| !errors.iter().any(|told| told.field == error.field)).collect();
            errors.extend(untold);
            None
        }
    };
    match (entry, place) {
        (Some(entry), Ok(place)) if errors.is_empty() => return Ok(entry.into_submitted(place)),
        (_, Err(nowhere)) if errors.iter().all(|told| told.field != "location") => errors.push(nowhere),
        _ => {}
    }
    Err(errors)
}

/// The fields, sorted into a form as far as they are of the right type.
struct Typed {
    form: SubmissionForm,
    /// `images`, or `repo` as the original called it.
    images_field: &'static str,
    errors: Vec<FieldProblem>,
}

impl Typed {
    fn of(JsonObject(mut fields): JsonObject, challenge: &Challenge) -> Self {
        let mut errors = Vec::new();
        let name = text("name", fields.remove("name"), &mut errors);
        let twitter = text("twitter", fields.remove("twitter"), &mut errors);
        let location = text("location", fields.remove("location"), &mut errors);
        let (images_field, images) = match (fields.remove("images"), fields.remove("repo")) {
            (None, Some(repo)) => ("repo", Some(repo)),
            (Some(_), Some(_)) => {
                errors.push(FieldProblem::new("images", "Give either images or repo, not both."));
                ("images", None)
            }
            (images, None) => ("images", images),
        };
        let images = texts(images_field, images, &mut errors);
        let answers = fields
            .into_iter()
            .map(|(field, value)| {
                // What the challenge does not ask for, it refuses by name whatever it says.
                let known = challenge.answers.contains_key(&field);
                let answer = if known { text(&field, Some(value), &mut errors) } else { None };
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
        Self { form, images_field, errors }
    }
}

fn text(field: &str, value: Option<Value>, errors: &mut Vec<FieldProblem>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            errors.push(FieldProblem::new(field, "A text is expected."));
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
            errors.push(FieldProblem::new(field, "A list of image names is expected."));
            return Vec::new();
        }
    };
    list.collect::<Option<_>>().unwrap_or_else(|| {
        errors.push(FieldProblem::new(field, "Each image is given by its name, a text."));
        Vec::new()
    })
}

/// Names the field of the images as the client named it.
fn to_problem(error: FieldError, images_field: &str) -> FieldProblem {
    match error.field.strip_prefix("images") {
        Some(rest) => FieldProblem::new(format!("{images_field}{rest}"), error.message),
        None => FieldProblem::new(error.field, error.message),
    }
}

fn resolve(gazetteer: &Gazetteer, typed: &str) -> Result<Place, FieldProblem> {
    match gazetteer.resolve(typed) {
        Ok(place) => Ok(Place { city: place.city, country: place.country, lat: place.lat, lon: place.lon }),
        Err(why) => {
            let message = sentence(&why.to_string());
            let suggestions = match why {
                PlaceError::Empty | PlaceError::TooLong => Vec::new(),
                PlaceError::Unknown { nearest: places } | PlaceError::Ambiguous { candidates: places } => {
                    places.iter().map(ToString::to_string).collect()
                }
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
