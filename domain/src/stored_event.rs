//! Tells whose an event of the log is: ours, a stranger's, or ours and not to be read by this version.
//!
//! Our events stand in `submission-<uuid>`, `sandbox-<name>` or `challenge-<digest>` and carry our metadata. Anything else in a stream with
//! such a name is a stranger's and is set aside. Nothing in a log makes a reader of it end.

use serde::Deserialize;
use uuid::Uuid;

use crate::challenge::{self, ChallengePublished};
use crate::sandbox::{self, SandboxReported};
use crate::submission::{self, Event, SCHEMA, SubmissionId};

/// The category of the stream with the tokens of organisers, which this crate does not read.
const TOKENS_CATEGORY: &str = "organisers";

/// An event of the log, as far as its reader can tell.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredEvent {
    /// An event of a submission.
    Submission(SubmissionId, Box<Event>),
    /// A report on the sandbox of the verifier with this name.
    Sandbox(String, SandboxReported),
    /// The rules that submissions name by the digest in the stream's name.
    Rules(Box<ChallengePublished>),
    /// An event of a submission that this version cannot read. The submission stands still here, because its state after
    /// the event is not known.
    Unread(SubmissionId, UnreadEvent),
    /// An event of ours that this version cannot read and that changes no submission. It is passed over.
    Informing,
    /// An event of a stranger in a stream with a name of ours, and the reason why it is not ours. It is set aside.
    Foreign(String),
    /// An event of another program, in a stream of its own.
    Elsewhere,
}

/// The reason why an event of ours cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadEvent {
    pub cause: UnreadCause,
    /// The details, for the operator.
    pub why: String,
}

/// The kind of an [`UnreadEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadCause {
    /// A newer version wrote the event. A process of that version goes on with the submission.
    NewerVersion,
    /// The event is damaged.
    Damaged,
}

/// The reason why a stored event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventDecodeError {
    /// A newer version wrote the event, so a newer version can read it.
    #[error("a newer version wrote it: {0}")]
    Newer(String),
    /// The data has no shape that any version up to this one wrote.
    #[error("not an event of schema {SCHEMA} or older: {0}")]
    Damaged(String),
}

/// The metadata that each event of ours carries.
#[derive(Deserialize)]
struct OwnMetadata {
    schema: u32,
    #[serde(rename = "$correlationId")]
    _correlation_id: Uuid,
    #[serde(rename = "$causationId")]
    _causation_id: Uuid,
    #[serde(rename = "actor")]
    _actor: String,
    /// True if a reader that does not know the event may pass it over.
    #[serde(default)]
    informs: bool,
}

impl StoredEvent {
    /// Reads an event from its parts. Never fails: each event is one of the variants.
    pub fn read(stream: &str, kind: &str, metadata: &[u8], data: &[u8]) -> Self {
        let submission = SubmissionId::from_stream(stream);
        let verifier = SandboxReported::verifier(stream);
        let rules = ChallengePublished::digest_of_stream(stream);
        if submission.is_none() && verifier.is_none() && rules.is_none() {
            return match stream.strip_prefix(submission::CATEGORY) {
                Some(rest) if rest.starts_with('-') => {
                    Self::Foreign("its stream is not named after a submission".to_owned())
                }
                _ => Self::Elsewhere,
            };
        }
        let own: OwnMetadata = match serde_json::from_slice(metadata) {
            Ok(own) => own,
            Err(error) => return Self::Foreign(format!("its metadata is not Muster's: {error}")),
        };
        if let Some(digest) = rules {
            // Who needs rules that cannot be read says so.
            let published = ChallengePublished::from_stored(kind, own.schema, data).ok();
            let published = published.filter(|published| published.challenge.rules == digest);
            return published.map_or(Self::Informing, |published| Self::Rules(Box::new(published)));
        }
        match (submission, verifier) {
            (Some(id), _) => match Event::from_stored(kind, own.schema, data) {
                Ok(event) => Self::Submission(id, Box::new(event)),
                Err(EventDecodeError::Newer(_)) if own.informs => Self::Informing,
                Err(error) => Self::Unread(id, UnreadEvent::from(error)),
            },
            // A report says how a verifier is, and decides nothing.
            (None, verifier) => match SandboxReported::from_stored(kind, own.schema, data) {
                Ok(report) => Self::Sandbox(verifier.unwrap_or_default().to_owned(), report),
                Err(_) => Self::Informing,
            },
        }
    }

    /// Returns the event if it is a submission's and can be read.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Submission(_, event) => Some(*event),
            Self::Sandbox(..)
            | Self::Rules(..)
            | Self::Unread(..)
            | Self::Informing
            | Self::Foreign(_)
            | Self::Elsewhere => None,
        }
    }
}

impl UnreadCause {
    /// Returns the name of the cause in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewerVersion => "newer_version",
            Self::Damaged => "damaged",
        }
    }

    /// Returns a sentence for the participant.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::NewerVersion => {
                "A newer version of Muster has recorded something about this submission. \
                 It goes on as soon as that version runs here."
            }
            Self::Damaged => {
                "An event of this submission is damaged in our log, by no fault of yours. \
                 Ask the organiser: nothing happens to the submission until it is mended."
            }
        }
    }
}

impl From<EventDecodeError> for UnreadEvent {
    fn from(error: EventDecodeError) -> Self {
        let cause = match error {
            EventDecodeError::Newer(_) => UnreadCause::NewerVersion,
            EventDecodeError::Damaged(_) => UnreadCause::Damaged,
        };
        Self { cause, why: error.to_string() }
    }
}

/// Returns whether a stream has a name of ours, so that only we write to it.
pub fn is_our_stream(name: &str) -> bool {
    [submission::CATEGORY, sandbox::CATEGORY, challenge::CATEGORY, TOKENS_CATEGORY]
        .iter()
        .any(|category| name.strip_prefix(category).is_some_and(|rest| rest.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Challenge;
    use crate::testing::one_of_each;

    const ID: &str = "0192e0c8-0000-7000-8000-00000000000a";

    fn metadata(schema: u32, more: &str) -> String {
        format!(
            r#"{{"schema":{schema},"$correlationId":"{ID}","$causationId":"{ID}","actor":"participant"{more}}}"#
        )
    }

    fn read(stream: &str, kind: &str, metadata: &str, data: &str) -> StoredEvent {
        StoredEvent::read(stream, kind, metadata.as_bytes(), data.as_bytes())
    }

    #[test]
    fn ours_is_what_stands_in_our_stream_and_carries_our_metadata() {
        let id: SubmissionId = ID.parse().unwrap();
        let stream = format!("submission-{ID}");
        for event in one_of_each() {
            let data = String::from_utf8(event.to_stored()).unwrap();
            assert_eq!(
                read(&stream, event.kind(), &metadata(SCHEMA, ""), &data),
                StoredEvent::Submission(id, Box::new(event.clone()))
            );
            assert!(matches!(read(&stream, event.kind(), "{}", &data), StoredEvent::Foreign(_)));
        }
    }

    #[test]
    fn a_strangers_event_is_set_aside_wherever_it_stands_in_our_streams() {
        let own = metadata(SCHEMA, "");
        let shout = ID.to_uppercase();
        for stream in ["submission-stats".to_owned(), "submission-".to_owned(), format!("submission-{shout}")]
        {
            assert!(matches!(read(&stream, "Note", &own, "{}"), StoredEvent::Foreign(_)), "{stream}");
        }
        for stream in [format!("submission-{ID}"), "sandbox-mine".to_owned()] {
            for foreign in ["", "{", "[1]", "\u{0}", r#"{"by":"me"}"#, r#"{"$correlationId":"x"}"#] {
                for data in ["{}", "", "no JSON"] {
                    let event = read(&stream, "Note", foreign, data);
                    assert!(matches!(event, StoredEvent::Foreign(_)), "{stream} {foreign} {data}");
                }
            }
        }
        let rules = ChallengePublished::stream(&Challenge::birthday().digest()).unwrap();
        assert!(matches!(read(&rules, ChallengePublished::KIND, "{}", "{}"), StoredEvent::Foreign(_)));
        for stream in ["orders-1", "submissions", "sandbox", "notes-submission-1", "challenge-1"] {
            assert_eq!(read(stream, "Note", "", ""), StoredEvent::Elsewhere, "{stream}");
        }
    }

    #[test]
    fn what_a_newer_version_decided_is_waited_for_and_what_only_informs_is_passed_over() {
        let stream = format!("submission-{ID}");
        let cause = |kind: &str, metadata: &str, data: &str| match read(&stream, kind, metadata, data) {
            StoredEvent::Unread(_, unread) => unread.cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause("Exploded", &metadata(SCHEMA, ""), "{}"), UnreadCause::NewerVersion);
        let newer = metadata(SCHEMA + 1, "");
        assert_eq!(cause("Passed", &newer, r#"{"attempt":1}"#), UnreadCause::NewerVersion);
        assert_eq!(cause("Passed", &metadata(SCHEMA, ""), "{"), UnreadCause::Damaged);
        assert_eq!(cause("Passed", &metadata(SCHEMA, ""), "{}"), UnreadCause::Damaged);

        let informing = metadata(SCHEMA, r#","informs":true"#);
        assert_eq!(read(&stream, "Exploded", &informing, "{}"), StoredEvent::Informing);
        assert_eq!(cause("Passed", &informing, "{"), UnreadCause::Damaged);
        let report = r#"{"trouble":null,"nodes":[{"name":"a","state":"melted"}]}"#;
        assert_eq!(read("sandbox-v1", "SandboxReported", &metadata(1, ""), report), StoredEvent::Informing);
        assert_eq!(read("sandbox-v1", "SandboxPainted", &metadata(1, ""), "{}"), StoredEvent::Informing);
    }

    #[test]
    fn rules_are_read_from_their_stream_and_unknown_ones_are_passed_over() {
        let published = Challenge::birthday().published();
        let stream = ChallengePublished::stream(&published.challenge.rules).unwrap();
        let data = String::from_utf8(published.to_stored()).unwrap();
        let read_in = |stream: &str, kind: &str, data: &str| read(stream, kind, &metadata(1, ""), data);
        let read = |kind: &str, data: &str| read_in(&stream, kind, data);
        assert_eq!(read(ChallengePublished::KIND, &data), StoredEvent::Rules(Box::new(published)));
        assert_eq!(read(ChallengePublished::KIND, "{}"), StoredEvent::Informing);
        assert_eq!(read("ChallengeClosed", &data), StoredEvent::Informing);
        let other = ChallengePublished::stream(&Challenge::birthday().file_digest()).unwrap();
        assert_eq!(read_in(&other, ChallengePublished::KIND, &data), StoredEvent::Informing);
    }

    #[test]
    fn our_streams_are_told_by_their_names() {
        for (name, ours) in [
            ("submission-x", true),
            ("sandbox-v1", true),
            ("challenge-1", true),
            ("organisers-tokens", true),
            ("sandboxes-1", false),
            ("x", false),
        ] {
            assert_eq!(is_our_stream(name), ours, "{name}");
        }
    }
}
