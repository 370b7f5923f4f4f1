//! Judges evidence: compares each app's response with the submission, field by field, and derives the verdict from all
//! images.

use serde_json::{Map, Value};

use crate::image::ImageRef;
use crate::submission::{
    FailureCode, FieldDifference, ImageProbe, ProbeAnswer, ProbeOutcome, Reason, Submitted,
};
use crate::text::{contrasted, is_same, trimmed, visible};

use super::unique_keys::UniqueKeys;
use super::{Challenge, ProbeRules, RequiredImages};

const SHOWN_CHARS_MAX: usize = 200;

/// The UTF-8 byte-order mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The evidence about one image of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The image as it was submitted.
    pub image: ImageRef,
    pub evidence: Evidence,
}

/// The behaviour of an app when it was run and probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The app responded over HTTP.
    Http {
        /// The HTTP status.
        status: u16,
        /// The time from the first byte sent to the last one received, milliseconds.
        latency_ms: u64,
        /// The header `Location` of a redirect.
        redirect: Option<String>,
        /// The body, in any format.
        body: Vec<u8>,
        /// The seconds for which the app was probed and gave no better response. 0 if its first response
        /// counted.
        probed_for_s: u64,
        /// Sentences that explain a wrong status, such as the app's last output. Empty if there are none.
        explanation: String,
    },
    /// The app gave no response, by a fault of its image.
    Failure {
        code: FailureCode,
        /// A sentence on the failure, for the participant.
        message: String,
    },
}

/// The judgement of all observations of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The result for each observed image. If an image could not be probed, its failure is the outcome.
    pub probes: Vec<ImageProbe>,
    /// `None` if the verdict depends on images that are not yet observed.
    pub verdict: Option<Verdict>,
}

/// The verdict of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The submission does as the challenge asks.
    Passed,
    /// The submission does not, for all of these reasons.
    Failed(Vec<Reason>),
}

impl Challenge {
    /// Judges the observations of a submission's images. Observations of other images are ignored.
    pub fn judge(&self, submitted: &Submitted, observations: &[Observation]) -> Judgement {
        let mut probes = Vec::new();
        let mut reasons = Vec::new();
        for image in &submitted.images {
            if let Some(seen) = observations.iter().find(|seen| seen.image == *image) {
                let (probe, reason) = self.examine(submitted, seen);
                probes.push(probe);
                reasons.extend(reason);
            }
        }
        let passed = probes.len() - reasons.len();
        let all_seen = probes.len() == submitted.images.len();
        let verdict = match self.images.answering {
            RequiredImages::Any if passed > 0 => Some(Verdict::Passed),
            RequiredImages::All if passed == submitted.images.len() => Some(Verdict::Passed),
            RequiredImages::Any | RequiredImages::All => all_seen.then_some(Verdict::Failed(reasons)),
        };
        Judgement { probes, verdict }
    }

    fn examine(&self, submitted: &Submitted, seen: &Observation) -> (ImageProbe, Option<Reason>) {
        let ProbeRules::Http(rules) = &self.probe;
        let asked = format!("GET {}", rules.path);
        let (answers, finding) = match &seen.evidence {
            Evidence::Failure { code, message } => (vec![], Err((*code, message.clone(), vec![]))),
            Evidence::Http { status, latency_ms, redirect, body, probed_for_s, explanation } => {
                let finding = match status {
                    200 => self.compare(submitted, &rules.compare, body, &asked),
                    300..=399 => Err((
                        FailureCode::Redirected,
                        format!(
                            "{asked} was answered with {status}, to {}. Only one redirect to the same host and port is followed.",
                            shown(redirect.as_deref().unwrap_or("nowhere")),
                        ),
                        vec![],
                    )),
                    _ => Err((
                        FailureCode::BadStatus,
                        format!(
                            "{asked} was answered with status {status}{} where 200 was expected.{explanation}",
                            for_seconds(*probed_for_s)
                        ),
                        vec![],
                    )),
                };
                (vec![ProbeAnswer::Http { status: *status, latency_ms: *latency_ms }], finding)
            }
        };
        let image = seen.image.clone();
        let (outcome, message, differing) = match finding {
            Ok(()) => (ProbeOutcome::Matched, None, vec![]),
            Err((code, message, differing)) => (ProbeOutcome::Failed(code), Some(message), differing),
        };
        let reason = match (&outcome, &message) {
            (ProbeOutcome::Failed(code), Some(message)) => {
                Some(Reason { code: *code, image: Some(image.clone()), message: message.clone() })
            }
            _ => None,
        };
        (ImageProbe { image, outcome, answers, message, differing }, reason)
    }

    fn compare(
        &self,
        submitted: &Submitted,
        fields: &[String],
        body: &[u8],
        asked: &str,
    ) -> Result<(), (FailureCode, String, Vec<FieldDifference>)> {
        // Editors on Windows write the mark, and nobody sees it.
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let answer = match serde_json::from_slice::<UniqueKeys>(body) {
            Ok(UniqueKeys(Value::Object(answer))) => answer,
            Ok(_) => {
                let message =
                    format!("{asked} was answered with JSON that is not an object: {}", shown_bytes(body));
                return Err((FailureCode::NotJson, message, vec![]));
            }
            Err(error) => {
                let message =
                    format!("{asked} was answered with what is not JSON ({error}): {}", shown_bytes(body));
                return Err((FailureCode::NotJson, message, vec![]));
            }
        };
        let differing: Vec<FieldDifference> =
            fields.iter().filter_map(|field| self.difference(submitted, &answer, field)).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let fields: Vec<&str> = differing.iter().map(|difference| difference.field.as_str()).collect();
        let message = format!("{asked} was answered with another {} than was submitted.", fields.join(", "));
        Err((FailureCode::Mismatch, message, differing))
    }

    fn difference(
        &self,
        submitted: &Submitted,
        answer: &Map<String, Value>,
        field: &str,
    ) -> Option<FieldDifference> {
        // A submission names its images `repo` or `images`, so an answer may as well.
        let images = (field == "repo").then(|| answer.get("images")).flatten();
        let found = answer.get(field).or(images);
        let returned = found.unwrap_or(&Value::Null);
        let text = returned.as_str().map(trimmed);
        let is = |expected: &str| text.is_some_and(|text| is_same(text, expected));
        let (equal, expected) = match field {
            "name" => (is(&submitted.participant.name), submitted.participant.name.clone()),
            "twitter" => {
                let expected = submitted.participant.twitter.as_deref().unwrap_or_default();
                (is(expected) || (expected.is_empty() && returned.is_null()), expected.to_owned())
            }
            "location" => (is(&submitted.location.typed), submitted.location.typed.clone()),
            "repo" => (same_images(returned, &submitted.images), familiar(&submitted.images)),
            answered => {
                let expected = submitted.answers.get(answered).map(String::as_str).unwrap_or_default();
                let rule = self.answers.get(answered).filter(|rule| !rule.one_of.is_empty());
                let returned_choice = match (rule, text) {
                    (Some(rule), Some(text)) => rule.choice(text).unwrap_or(text),
                    (_, text) => text.unwrap_or_default(),
                };
                let equal = is_same(returned_choice, expected) && (returned.is_null() || text.is_some());
                (equal, expected.to_owned())
            }
        };
        if equal {
            return None;
        }
        let (expected, returned) = match found {
            Some(value) => told_apart(&expected, value),
            None => (shown(&expected), None),
        };
        Some(FieldDifference { field: field.to_owned(), expected, returned })
    }
}

fn for_seconds(seconds: u64) -> String {
    if seconds == 0 { String::new() } else { format!(" for {seconds} s,") }
}

/// Returns true if the answer lists the same images, in any order and any spelling of their names.
fn same_images(returned: &Value, images: &[ImageRef]) -> bool {
    let Some(listed) = returned.as_array() else { return false };
    let parsed: Option<Vec<ImageRef>> =
        listed.iter().map(|name| name.as_str().and_then(|name| name.parse().ok())).collect();
    let Some(mut parsed) = parsed else { return false };
    let mut images = images.to_vec();
    parsed.sort();
    images.sort();
    parsed == images
}

fn familiar(images: &[ImageRef]) -> String {
    images.iter().map(ImageRef::familiar).collect::<Vec<_>>().join(", ")
}

/// Returns the expected and the returned value in forms that people can tell apart.
fn told_apart(expected: &str, returned: &Value) -> (String, Option<String>) {
    let (text, kind) = match returned {
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (returned.to_string(), "array"),
        Value::Object(_) => (returned.to_string(), "object"),
        Value::Null | Value::Bool(_) | Value::Number(_) => (returned.to_string(), "value that is no string"),
    };
    let (expected, returned) = contrasted(expected, &text, SHOWN_CHARS_MAX);
    let returned = if returned == expected { format!("{returned} (a JSON {kind})") } else { returned };
    (expected, Some(returned))
}

fn shown_bytes(body: &[u8]) -> String {
    match body {
        [] => "nothing".to_owned(),
        // A character has at most four bytes.
        body => shown(&String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN_CHARS_MAX)])),
    }
}

/// Returns foreign text in a form that can be recorded.
pub(super) fn shown(text: &str) -> String {
    visible(text, SHOWN_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ada, answered, config_of};

    /// Returns the outcome for a response, and the fields that differ.
    fn judged(status: u16, body: impl Into<Vec<u8>>) -> (ProbeOutcome, Vec<String>) {
        let submitted = ada();
        let observation = Observation {
            image: submitted.images[0].clone(),
            evidence: Evidence::Http {
                status,
                latency_ms: 3,
                redirect: None,
                body: body.into(),
                probed_for_s: 0,
                explanation: String::new(),
            },
        };
        let probe = Challenge::birthday().judge(&submitted, &[observation]).probes.remove(0);
        (probe.outcome, probe.differing.into_iter().map(|d| d.field).collect())
    }

    fn with(field: &str, value: Value) -> Vec<u8> {
        let mut config = config_of(&ada());
        config[field] = value;
        config.to_string().into_bytes()
    }

    #[test]
    fn what_was_submitted_matches() {
        assert_eq!(judged(200, config_of(&ada()).to_string()), (ProbeOutcome::Matched, vec![]));
    }

    #[test]
    fn another_spelling_of_the_same_matches() {
        for (field, same) in [
            ("vote", Value::from("PYTHON")),
            ("repo", serde_json::json!(["docker.io/ada/result:latest", "ada/voting"])),
            ("name", Value::from(" Ada Lovelace ")),
            ("name", Value::from("\u{feff}Ada Lovelace\u{200b}")),
            ("repo", serde_json::json!(["index.docker.io/ada/result", "Docker.io/ada/voting"])),
        ] {
            assert_eq!(judged(200, with(field, same)), (ProbeOutcome::Matched, vec![]), "{field}");
        }
    }

    #[test]
    fn an_answer_may_begin_with_a_byte_order_mark() {
        let marked = format!("\u{feff}{}", config_of(&ada()));
        assert_eq!(judged(200, marked), (ProbeOutcome::Matched, vec![]));
    }

    #[test]
    fn an_answer_may_name_the_images_as_a_submission_may() {
        let mut config = config_of(&ada());
        let images = config.as_object_mut().unwrap().remove("repo").unwrap();
        config["images"] = images;
        assert_eq!(judged(200, config.to_string()), (ProbeOutcome::Matched, vec![]));
        config["images"] = serde_json::json!(["ada/other"]);
        assert_eq!(judged(200, config.to_string()).1, ["repo"]);
    }

    #[test]
    fn each_field_that_differs_is_named() {
        for (field, other) in [
            ("name", Value::from("Bob")),
            ("name", Value::Null),
            ("name", serde_json::json!(["Ada Lovelace"])),
            ("twitter", Value::from("@bob")),
            ("twitter", Value::from(7)),
            ("location", Value::from("london, uk")),
            ("repo", serde_json::json!(["ada/voting"])),
            ("repo", Value::from("ada/voting")),
            ("repo", serde_json::json!(["ada/voting", 3])),
            ("vote", Value::from("Cat")),
            ("vote", serde_json::json!({"a": 1})),
        ] {
            let (outcome, differing) = judged(200, with(field, other));
            assert_eq!(outcome, ProbeOutcome::Failed(FailureCode::Mismatch));
            assert_eq!(differing, [field]);
        }
    }

    /// Returns the difference for the name and the answer of one app.
    fn name_difference(name: &str, returned: Value) -> Option<(String, String)> {
        let mut submitted = ada();
        submitted.participant.name = name.into();
        let mut config = config_of(&submitted);
        config["name"] = returned;
        let evidence = Evidence::Http {
            status: 200,
            latency_ms: 3,
            redirect: None,
            body: config.to_string().into_bytes(),
            probed_for_s: 0,
            explanation: String::new(),
        };
        let observation = Observation { image: submitted.images[0].clone(), evidence };
        let mut probe = Challenge::birthday().judge(&submitted, &[observation]).probes.remove(0);
        probe.differing.pop().map(|difference| (difference.expected, difference.returned.unwrap()))
    }

    #[test]
    fn composed_and_decomposed_forms_of_a_text_match() {
        let (composed, decomposed) = ("Jos\u{e9} Nguy\u{1ec5}n", "Jose\u{301} Nguye\u{302}\u{303}n");
        assert_eq!(name_difference(composed, decomposed.into()), None);
        assert_eq!(name_difference(decomposed, composed.into()), None);
        assert!(name_difference(composed, "Jose Nguyen".into()).is_some());
    }

    #[test]
    fn a_difference_that_nobody_sees_is_shown_as_code_points() {
        let shown = |expected: &str, returned: &str| Some((expected.to_owned(), returned.to_owned()));
        assert_eq!(name_difference("Ada", "\u{410}da".into()), shown("<U+0041>da", "<U+0410>da"));
        assert_eq!(name_difference("Ada", "A\u{200b}da".into()), shown("Ada", "A<U+200B>da"));
        assert_eq!(name_difference("Bo A", "Bo  A".into()), shown("Bo A", "Bo <U+0020>A"));
        assert_eq!(name_difference("7", 7.into()), shown("7", "7 (a JSON value that is no string)"));
        assert_eq!(name_difference("Ada", "Bob".into()), shown("Ada", "Bob"));
    }

    #[test]
    fn what_is_not_a_json_object_is_not_json() {
        let deep = "[".repeat(100_000);
        let twice = r#"{"name":"Ada Lovelace","name":"Bob"}"#;
        for body in
            ["", "hello", "[]", "3", "{", "{}{}", "\u{feff}\u{feff}{}", r#"{"a":1e999999}"#, &deep, twice]
        {
            assert_eq!(
                judged(200, body).0,
                ProbeOutcome::Failed(FailureCode::NotJson),
                "{}",
                &body[..body.len().min(30)]
            );
        }
        assert_eq!(judged(200, vec![0xff, 0xfe]).0, ProbeOutcome::Failed(FailureCode::NotJson));
    }

    #[test]
    fn a_status_other_than_200_is_its_own_failure() {
        let right = config_of(&ada()).to_string();
        assert_eq!(judged(500, right.clone()).0, ProbeOutcome::Failed(FailureCode::BadStatus));
        assert_eq!(judged(204, right.clone()).0, ProbeOutcome::Failed(FailureCode::BadStatus));
        assert_eq!(judged(302, right).0, ProbeOutcome::Failed(FailureCode::Redirected));
    }

    #[test]
    fn any_needs_one_and_all_needs_every_one() {
        let submitted = ada();
        let any = Challenge::birthday();
        let mut all = any.clone();
        all.images.answering = RequiredImages::All;
        let right = answered(&submitted, 0);
        let other_right = answered(&submitted, 1);
        let missing = Observation {
            image: submitted.images[1].clone(),
            evidence: Evidence::Failure { code: FailureCode::ImageNotFound, message: "no".into() },
        };
        let verdict = |challenge: &Challenge, seen: &[&Observation]| {
            let seen: Vec<Observation> = seen.iter().map(|o| (*o).clone()).collect();
            challenge.judge(&submitted, &seen).verdict
        };
        assert_eq!(verdict(&any, &[]), None);
        assert_eq!(verdict(&any, &[&right]), Some(Verdict::Passed));
        assert_eq!(verdict(&any, &[&missing, &right]), Some(Verdict::Passed));
        assert_eq!(verdict(&any, &[&missing]), None);
        assert_eq!(verdict(&all, &[&right]), None);
        assert_eq!(verdict(&all, &[&right, &other_right]), Some(Verdict::Passed));
        let failed = verdict(&all, &[&right, &missing]).unwrap();
        assert!(matches!(failed, Verdict::Failed(reasons) if reasons[0].code == FailureCode::ImageNotFound));
    }

    #[test]
    fn foreign_text_is_recorded_short_and_printable() {
        let answer = Value::from("\u{1b}[31m".to_owned() + &"x".repeat(10_000));
        let (_, returned) = name_difference("Ada", answer).unwrap();
        assert!(returned.chars().count() <= SHOWN_CHARS_MAX + 1 && !returned.contains('\u{1b}'));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300), status in 0u16..1000) {
            judged(status, body);
        }
    }
}
