//! What can happen to a submission. These names and fields are the storage
//! format: history is never rewritten, so a change here needs an upcaster
//! beside it, and the test at the end says what must stay readable.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::failure::{FailureCode, InterruptionCode, Reason};
use super::upcast::upcaster;
use crate::image::{Digest, ImageRef};

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
}

/// See [`Event::Submitted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The challenge and the version of its rules.
    pub challenge: ChallengeId,
    /// All that is personal, and nothing else is.
    pub participant: Participant,
    /// Where they are.
    pub location: Location,
    /// What to verify.
    pub images: Vec<ImageRef>,
    /// Further answers, by field.
    pub answers: BTreeMap<String, String>,
    /// The registry namespace that all images share, e.g. `docker.io/alice`.
    pub owner: String,
}

/// Which rules a submission was accepted under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChallengeId {
    /// The challenge's id.
    pub id: String,
    /// The digest of its rules.
    pub rules: String,
}

/// Who submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// As shown on the map.
    pub name: String,
    /// `@account`.
    pub twitter: Option<String>,
}

/// Where they are: what was typed, and the place that it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Location {
    /// The words of the participant.
    pub typed: String,
    /// What they mean.
    #[serde(flatten)]
    pub place: Place,
}

/// A place on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// The city's usual name.
    pub city: String,
    /// ISO 3166 code of two letters.
    pub country: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// See [`Event::VerificationStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerificationStarted {
    /// From 1, over the submission's whole life.
    pub attempt: u32,
    /// Who claimed it.
    pub verifier: String,
    /// After this moment the claim is void.
    pub deadline: Timestamp,
}

/// See [`Event::ImagesPulled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImagesPulled {
    /// The attempt that this belongs to.
    pub attempt: u32,
    /// Those that arrived.
    pub images: Vec<PulledImage>,
}

/// One image on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PulledImage {
    /// As submitted.
    pub image: ImageRef,
    /// What the registry says it is now; later attempts use this.
    pub digest: Digest,
    /// Compressed, bytes.
    pub size_bytes: u64,
    /// The node's host name.
    pub node: String,
    /// From asking to having, milliseconds.
    pub took_ms: u64,
}

/// See [`Event::ContainersStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainersStarted {
    /// The attempt that this belongs to.
    pub attempt: u32,
    /// Those that run.
    pub images: Vec<StartedImage>,
}

/// One running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartedImage {
    /// As submitted.
    pub image: ImageRef,
    /// The node's host name.
    pub node: String,
    /// From asking to running, milliseconds.
    pub took_ms: u64,
}

/// See [`Event::Probed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// The attempt that this belongs to.
    pub attempt: u32,
    /// What each image answered, or why it could not.
    pub images: Vec<ImageProbe>,
}

/// What one image answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageProbe {
    /// As submitted.
    pub image: ImageRef,
    /// `matched`, or the code of the failure.
    #[schema(value_type = String)]
    pub outcome: ProbeOutcome,
    /// The responses of the app, in the order of the requests; none if there was no response.
    pub answers: Vec<ProbeAnswer>,
    /// What exactly went wrong.
    pub message: Option<String>,
    /// The fields that are not as submitted.
    pub differing: Vec<FieldDifference>,
}

/// One response of an app to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// A response over HTTP.
    Http {
        status: u16,
        /// From the first byte sent to the last received, milliseconds.
        latency_ms: u64,
    },
}

/// How a probe went: `matched`, or the code of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// It answered what was submitted.
    Matched,
    /// It did not.
    #[serde(untagged)]
    Failed(FailureCode),
}

/// A field that is not as submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldDifference {
    /// Its name in the answer.
    pub field: String,
    /// What was submitted.
    pub expected: String,
    /// What was answered; `None` when the field is missing.
    pub returned: Option<String>,
}

/// See [`Event::Passed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// The attempt that ends with this.
    pub attempt: u32,
}

/// See [`Event::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failed {
    /// The attempt that ends with this.
    pub attempt: u32,
    /// Every reason.
    pub reasons: Vec<Reason>,
}

/// See [`Event::VerificationInterrupted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredInterruption", into = "StoredInterruption")]
pub struct VerificationInterrupted {
    /// The attempt that ends with this event.
    pub attempt: u32,
    pub code: InterruptionCode,
    /// One sentence for the operator.
    pub message: String,
    /// When the next attempt may start; `None` if it must wait until the platform is well.
    pub retry_at: Option<Timestamp>,
}

/// A [`VerificationInterrupted`] as it is stored: readers of the raw history see whose fault it is.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(description = "No verdict, by a fault of the platform.")]
struct StoredInterruption {
    attempt: u32,
    code: InterruptionCode,
    message: String,
    fault: PlatformFaultTag,
    retry_at: Option<Timestamp>,
}

/// The constant `"platform"`. Any other text is refused when it is read.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PlatformFaultTag {
    Platform,
}

impl From<VerificationInterrupted> for StoredInterruption {
    fn from(event: VerificationInterrupted) -> Self {
        let VerificationInterrupted { attempt, code, message, retry_at } = event;
        Self { attempt, code, message, fault: PlatformFaultTag::Platform, retry_at }
    }
}

impl PartialSchema for VerificationInterrupted {
    fn schema() -> RefOr<Schema> {
        StoredInterruption::schema()
    }
}

impl ToSchema for VerificationInterrupted {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        StoredInterruption::schemas(schemas);
    }
}

impl From<StoredInterruption> for VerificationInterrupted {
    fn from(stored: StoredInterruption) -> Self {
        let StoredInterruption { attempt, code, message, fault: PlatformFaultTag::Platform, retry_at } =
            stored;
        Self { attempt, code, message, retry_at }
    }
}

/// See [`Event::RejudgeRequested`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejudgeRequested {
    /// The organiser.
    pub by: String,
    /// Their reason.
    pub why: String,
}

/// Why a stored event is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an event of schema {SCHEMA} or older: {0}")]
pub struct EventDecodeError(String);

impl Event {
    /// Returns the number of the attempt that the event belongs to, from 1, or `None` if it belongs to none.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::Submitted(_) | Self::RejudgeRequested(_) => None,
            Self::VerificationStarted(VerificationStarted { attempt, .. })
            | Self::ImagesPulled(ImagesPulled { attempt, .. })
            | Self::ContainersStarted(ContainersStarted { attempt, .. })
            | Self::Probed(Probed { attempt, .. })
            | Self::Passed(Passed { attempt })
            | Self::Failed(Failed { attempt, .. })
            | Self::VerificationInterrupted(VerificationInterrupted { attempt, .. }) => Some(*attempt),
        }
    }

    /// Reads a stored event of this or any older schema.
    ///
    /// # Errors
    /// When its type or shape is not known, or it was written by a newer version.
    pub fn from_stored(kind: &str, schema: u32, data: &[u8]) -> Result<Self, EventDecodeError> {
        if schema > SCHEMA {
            return Err(EventDecodeError(format!("{kind} has schema {schema}; upgrade to read it")));
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
        read().map_err(|error| EventDecodeError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::one_of_each;

    /// If this test goes red, history would become unreadable: write an
    /// upcaster, keep the old line as a sample in `upcast.rs`, then change it.
    #[test]
    fn the_storage_format_is_this() {
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
        ];
        assert_eq!(stored, expected);
    }

    #[test]
    fn what_is_stored_reads_back_the_same() {
        for event in one_of_each() {
            assert_eq!(Event::from_stored(event.kind(), SCHEMA, &event.to_stored()).unwrap(), event);
        }
    }

    #[test]
    fn every_type_is_listed_once() {
        let kinds: Vec<&str> = one_of_each().iter().map(Event::kind).collect();
        assert_eq!(kinds, Event::KINDS);
    }

    #[test]
    fn what_is_not_known_is_refused_and_named() {
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
