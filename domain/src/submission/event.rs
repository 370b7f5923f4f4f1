//! The events of a submission. Their names and fields are the storage format, and their doc comments are the texts of
//! the HTTP API's description. History is never rewritten, so a change of a shape needs an upcaster in `upcast.rs`. The
//! test at the end lists the shapes that must stay readable.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::failure::FailureCode;
pub use super::interruption::{GivenUp, VerificationInterrupted};
use super::upcast::upcaster;
use crate::image::{Digest, ImageRef};
use crate::stored_event::EventDecodeError;

mod requests;
mod verdicts;

pub use requests::*;
pub use verdicts::*;

/// The version of the shapes below, kept with every event.
pub const SCHEMA: u32 = 2;

/// Makes the enum [`Event`] and its stored names from one list. Each event is stored under the name of its variant,
/// and its data is the type of the same name.
macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// A fact about a submission, recorded once and never changed.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(tag = "type", content = "data")]
        #[schema(as = EventSchema)]
        pub enum Event {
            $($(#[$doc])* $kind($kind),)*
        }

        impl Event {
            /// Every event type, as stored.
            pub const KINDS: [&str; [$(stringify!($kind)),*].len()] = [$(stringify!($kind)),*];

            /// Returns the event's type, as stored.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$kind(_) => stringify!($kind),)* }
            }

            /// Returns the event's data as JSON, as stored.
            pub fn to_stored(&self) -> Vec<u8> {
                let data = match self { $(Self::$kind(data) => serde_json::to_vec(data),)* };
                data.expect("events are plain data with text keys")
            }

            fn deserialize_data<'de, D: Deserializer<'de>>(kind: &str, data: D) -> Result<Self, D::Error> {
                match kind {
                    $(stringify!($kind) => Deserialize::deserialize(data).map(Self::$kind),)*
                    other => Err(D::Error::custom(format!("there is no event {other}"))),
                }
            }
        }
    };
}

events! {
    /// The submission was accepted. The position of this event is its place in the queue.
    Submitted,
    /// A verifier claimed the submission.
    VerificationStarted,
    /// Nodes have pulled images.
    ImagesPulled,
    /// The apps run.
    ContainersStarted,
    /// The apps were probed.
    Probed,
    /// The verdict: the submission does as the challenge asks.
    Passed,
    /// The verdict: the submission does not, by the participant's fault.
    Failed,
    /// The attempt ended without a verdict, by the platform's fault. The submission returns to the queue.
    VerificationInterrupted,
    /// An organiser asked for another attempt. The old verdict stays in the log.
    RejudgeRequested,
    /// An organiser hid the submission: it has no pin, whatever its verdict is.
    Hidden,
    /// An organiser shows the submission again: it has its pin if its newest verdict is "passed".
    Shown,
    /// The participant withdrew the submission before it had a verdict. It is never judged.
    Withdrawn,
    /// The platform could not run the submission, and does not try again by itself.
    GivenUp,
    /// An organiser corrected the spelling of the name that is shown. The name that was submitted stays in the history.
    NameCorrected,
}

/// The data of [`Event::Submitted`]: the entry of a participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The challenge and the version of its rules.
    pub challenge: ChallengeId,
    /// The personal data. No other field is personal.
    pub participant: Participant,
    /// The location as typed and as found in the gazetteer.
    pub location: Location,
    /// The images that are verified.
    pub images: Vec<ImageRef>,
    /// The further answers, by field name.
    pub answers: BTreeMap<String, String>,
    /// The registry namespace that all images share, e.g. `docker.io/alice`.
    pub owner: String,
    /// The short name of the venue that the participant belongs to. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// The line of the queue in which the submission waits, if not in its owner's own: a random name, which other submissions
    /// may share. Absent if the owner has its own line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lane: Option<Box<str>>,
}

/// The challenge and the rules that a submission was accepted under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeId {
    /// The id of the challenge.
    pub id: String,
    /// The digest of the challenge's rules.
    pub rules: String,
}

/// The person who submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// The name as shown on the map.
    pub name: String,
    /// The Twitter account: `@account`.
    #[schema(required)]
    pub twitter: Option<String>,
}

/// The participant's location: the text as typed, and the place that the text means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Location {
    /// The text as the participant typed it.
    pub typed: String,
    #[serde(flatten)]
    pub place: Place,
}

/// A place on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// The city's usual name.
    pub city: String,
    /// The ISO 3166 code of the country, two letters.
    pub country: String,
    /// The latitude in degrees north.
    pub lat: f64,
    /// The longitude in degrees east.
    pub lon: f64,
}

/// The data of [`Event::VerificationStarted`]: the claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerificationStarted {
    /// The number of the attempt, from 1 over the submission's whole life.
    pub attempt: u32,
    /// The name of the verifier that claimed the submission.
    pub verifier: String,
    /// The moment after which the claim is void.
    pub deadline: Timestamp,
}

/// The data of [`Event::ImagesPulled`]: images that have arrived on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImagesPulled {
    /// The attempt that the event belongs to.
    pub attempt: u32,
    /// The images that have arrived.
    pub images: Vec<PulledImage>,
}

/// One image on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PulledImage {
    /// The image's name as submitted.
    pub image: ImageRef,
    /// The digest that the registry gave for the name. Later attempts use the digest.
    pub digest: Digest,
    /// The compressed size in bytes.
    pub size_bytes: u64,
    /// The host name of the node.
    pub node: String,
    /// The time from the request to the complete image, in milliseconds.
    pub took_ms: u64,
}

/// The data of [`Event::ContainersStarted`]: containers that run. A second one in the same attempt tells that failures are
/// confirmed in another slot before they count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainersStarted {
    /// The attempt that the event belongs to.
    pub attempt: u32,
    /// The images whose containers run.
    pub images: Vec<StartedImage>,
}

/// One running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartedImage {
    /// The image's name as submitted.
    pub image: ImageRef,
    /// The host name of the node.
    pub node: String,
    /// The time from the request to the running container, in milliseconds.
    pub took_ms: u64,
}

/// The data of [`Event::Probed`]: the results of the probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// The attempt that the event belongs to.
    pub attempt: u32,
    /// The result for each image.
    pub images: Vec<ImageProbe>,
}

/// The result of the probe for one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageProbe {
    /// The image's name as submitted.
    pub image: ImageRef,
    /// The text `matched`, or the failure code.
    #[schema(value_type = String)]
    pub outcome: ProbeOutcome,
    /// The responses of the app, in the order of the requests; none if there was no response.
    pub answers: Vec<ProbeAnswer>,
    /// A sentence about the failure; `null` if the image matched.
    #[schema(required)]
    pub message: Option<String>,
    /// The fields whose values are not as submitted.
    pub differing: Vec<FieldDifference>,
}

/// One response of an app to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// A response over HTTP.
    Http {
        /// The status code of the HTTP response.
        status: u16,
        /// The time from the first byte sent to the last received, in milliseconds.
        latency_ms: u64,
    },
}

/// The outcome of a probe: `matched`, or a failure code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// The app answered with the values that were submitted.
    Matched,
    /// The app failed.
    #[serde(untagged)]
    Failed(FailureCode),
}

/// A field of an app's answer whose value is not as submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldDifference {
    /// The field's name in the answer.
    pub field: String,
    /// The value that was submitted.
    pub expected: String,
    /// The value in the answer; `null` if the field is missing.
    #[schema(required)]
    pub returned: Option<String>,
}

impl Submitted {
    /// Returns the name of the line in which the submission waits: of its lane, or otherwise of its owner. A lane has no slash
    /// in its name and an owner has, so neither is taken for the other.
    pub fn line(&self) -> &str {
        self.lane.as_deref().unwrap_or(&self.owner)
    }
}

impl Event {
    /// Returns the number of the attempt that the event belongs to, from 1, or `None` if it belongs to none.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::Submitted(_)
            | Self::RejudgeRequested(_)
            | Self::Hidden(_)
            | Self::Shown(_)
            | Self::NameCorrected(_)
            | Self::Withdrawn(_) => None,
            Self::VerificationStarted(VerificationStarted { attempt, .. })
            | Self::ImagesPulled(ImagesPulled { attempt, .. })
            | Self::ContainersStarted(ContainersStarted { attempt, .. })
            | Self::Probed(Probed { attempt, .. })
            | Self::Passed(Passed { attempt, .. })
            | Self::Failed(Failed { attempt, .. })
            | Self::VerificationInterrupted(VerificationInterrupted { attempt, .. })
            | Self::GivenUp(GivenUp { attempt, .. }) => Some(*attempt),
        }
    }

    /// Returns true for a verdict that rests on a run: it shows that the platform runs images.
    pub fn shows_a_run(&self) -> bool {
        match self {
            Self::Passed(_) => true,
            Self::Failed(failed) => failed.reasons.iter().any(|reason| reason.code.is_of_a_run()),
            _ => false,
        }
    }

    /// Reads a stored event of this or any older schema.
    ///
    /// # Errors
    /// If the type or the shape is not known, or a newer version wrote the event.
    pub fn from_stored(kind: &str, schema: u32, data: &[u8]) -> Result<Self, EventDecodeError> {
        if schema > SCHEMA {
            return Err(EventDecodeError::Newer(format!("{kind} has schema {schema}; upgrade to read it")));
        }
        if !Self::KINDS.contains(&kind) {
            return Err(EventDecodeError::Newer(format!("there is no event {kind}; upgrade to read it")));
        }
        let read = || match upcaster(kind, schema) {
            Some(upcast) => Self::deserialize_data(kind, upcast(serde_json::from_slice(data)?)),
            // Nearly all of a log has today's shapes, and is parsed straight into them.
            None => {
                let mut data = serde_json::Deserializer::from_slice(data);
                let event = Self::deserialize_data(kind, &mut data)?;
                data.end().map(|()| event)
            }
        };
        read().map_err(|error| EventDecodeError::Damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::Reason;
    use crate::testing::{one_of_each, with_optional_fields};

    /// If this test fails, stored history would become unreadable. Write an upcaster, keep the old line as a sample in
    /// `upcast.rs`, and then change the line here.
    #[test]
    fn the_storage_format_is_unchanged() {
        let stored: Vec<String> = one_of_each()
            .iter()
            .map(|event| format!("{} {}", event.kind(), String::from_utf8(event.to_stored()).unwrap()))
            .collect();
        let digest = "a1".repeat(32);
        let expected = [
            r#"Submitted {"challenge":{"id":"docker-birthday-3","rules":"sha256:r"},"participant":{"name":"Ada Lovelace","twitter":"@ada"},"location":{"typed":"London, UK","city":"London","country":"GB","lat":51.50853,"lon":-0.12574},"images":["docker.io/ada/voting:latest","docker.io/ada/result:latest"],"answers":{"vote":"Python"},"owner":"docker.io/ada"}"#.to_owned(),
            r#"VerificationStarted {"attempt":1,"verifier":"v1","deadline":"2016-03-21T12:05:00Z"}"#.to_owned(),
            format!(r#"ImagesPulled {{"attempt":1,"images":[{{"image":"docker.io/ada/voting:latest","digest":"sha256:{digest}","size_bytes":1000,"node":"n1","took_ms":20}}]}}"#),
            r#"ContainersStarted {"attempt":1,"images":[{"image":"docker.io/ada/voting:latest","node":"n1","took_ms":30}]}"#.to_owned(),
            r#"Probed {"attempt":1,"images":[{"image":"docker.io/ada/voting:latest","outcome":"matched","answers":[{"kind":"http","status":200,"latency_ms":2}],"message":null,"differing":[]},{"image":"docker.io/ada/result:latest","outcome":"mismatch","answers":[{"kind":"http","status":200,"latency_ms":2}],"message":"no","differing":[{"field":"name","expected":"Ada Lovelace","returned":null}]}]}"#.to_owned(),
            r#"Passed {"attempt":1}"#.to_owned(),
            r#"Failed {"attempt":1,"reasons":[{"code":"nothing_on_port","image":"docker.io/ada/voting:latest","message":"no","fault":"participant"}]}"#.to_owned(),
            r#"VerificationInterrupted {"attempt":1,"code":"no_capacity","message":"full","fault":"platform","retry_at":"2016-03-21T12:00:05Z"}"#.to_owned(),
            r#"RejudgeRequested {"by":"organiser","why":"new rules"}"#.to_owned(),
            r#"Hidden {"by":"organiser","why":"a slur"}"#.to_owned(),
            r#"Shown {"by":"organiser","why":"a name"}"#.to_owned(),
            "Withdrawn {}".to_owned(),
            r#"GivenUp {"attempt":1,"interruptions":13,"code":"no_capacity","message":"full"}"#.to_owned(),
            r#"NameCorrected {"by":"organiser","why":"a typo","name":"Ada King"}"#.to_owned(),
        ];
        assert_eq!(stored, expected);
    }

    /// As above, for the fields that not every event has.
    #[test]
    fn the_storage_format_of_optional_fields_is_unchanged() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let stored: Vec<String> = with_optional_fields()
            .iter()
            .map(|event| format!("{} {}", event.kind(), String::from_utf8(event.to_stored()).unwrap()))
            .collect();
        let basis = format!(
            r#""rules":"sha256:r","images":[{{"image":"docker.io/ada/voting:latest","digest":"{digest}"}}]"#
        );
        let expected = [
            format!(r#"Passed {{"attempt":1,{basis}}}"#),
            format!(r#"Failed {{"attempt":1,"reasons":[],{basis}}}"#),
            r#"RejudgeRequested {"by":"organiser","why":"new rules","rules":"sha256:r"}"#.to_owned(),
            r#"Hidden {"by":"Muster","why":"a word","held":true}"#.to_owned(),
            r#"Shown {"by":"organiser","why":"a name","person":"Grace"}"#.to_owned(),
        ];
        assert_eq!(stored[..expected.len()], expected);
        let ends =
            [r#""owner":"docker.io/ada","venue":"berlin"}"#, r#""owner":"docker.io/ada","lane":"l1"}"#];
        for (stored, end) in stored[expected.len()..].iter().zip(ends) {
            assert!(stored.ends_with(end), "{stored}");
        }
    }

    #[test]
    fn every_stored_event_reads_back_the_same() {
        for event in one_of_each().into_iter().chain(with_optional_fields()) {
            assert_eq!(Event::from_stored(event.kind(), SCHEMA, &event.to_stored()).unwrap(), event);
        }
    }

    #[test]
    fn every_type_is_listed_once() {
        let kinds: Vec<&str> = one_of_each().iter().map(Event::kind).collect();
        assert_eq!(kinds, Event::KINDS);
    }

    #[test]
    fn an_unknown_event_or_shape_is_refused_and_named() {
        let refused = |kind: &str, schema, data: &str| {
            Event::from_stored(kind, schema, data.as_bytes()).unwrap_err().to_string()
        };
        assert!(refused("Exploded", SCHEMA, "{}").contains("Exploded"));
        assert!(refused("Passed", SCHEMA + 1, r#"{"attempt":1}"#).contains("upgrade"));
        assert!(refused("Passed", SCHEMA, r#"{}"#).contains("attempt"));
        refused("Passed", SCHEMA, "{");
    }

    #[test]
    fn a_fault_of_anybody_else_is_refused() {
        let reason = r#"{"code":"bad_status","image":null,"message":"no","fault":"participant"}"#;
        assert!(serde_json::from_str::<Reason>(reason).is_ok());
        assert!(serde_json::from_str::<Reason>(&reason.replace("participant", "platform")).is_err());
    }
}
