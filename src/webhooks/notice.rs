//! The notices of webhooks, and the events of the log that they come from.

use std::collections::BTreeMap;

use domain::sandbox::{SandboxNodeState, SandboxReported};
use domain::submission::{Event, Failed, GivenUp, Submitted};
use domain::{StoredEvent, SubmissionId};
use event_store::{Position, Read, ReadDirection, ReadError, RecordedEvent, StreamName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// The number of nodes that one report may lose with a notice each.
const LOST_MAX: usize = 32;

/// The kind of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeKind {
    /// A submission passed.
    Passed,
    /// A submission failed.
    Failed,
    /// A submission was given up, or stands still because this version of Muster cannot read an event of it.
    Stuck,
    /// A node that took work does not any more, and no operator asked for it.
    NodeLost,
    /// The queue has become long.
    QueueLong,
}

/// A message to a webhook's receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WebhookNotice {
    /// The id of the message, the same at each try.
    pub(super) id: String,
    pub(super) kind: NoticeKind,
    /// The moment of the event.
    pub(super) at: Timestamp,
    /// The position of the event in the log. A long queue is no event: this is where the log was then.
    pub(super) position: Position,
    pub(super) subject: NoticeSubject,
}

/// The subject of a notice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoticeSubject {
    Submission {
        submission: SubmissionId,
        /// The entry, unless its event cannot be read.
        entry: Option<NoticeEntry>,
        /// The codes of the reasons.
        codes: Vec<String>,
        reason: Option<String>,
    },
    Node {
        node: String,
        verifier: String,
        reason: String,
    },
    Queue {
        waiting: u64,
        expected_wait_s: Option<u64>,
    },
}

/// The part of an entry that organisers are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NoticeEntry {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) city: String,
    pub(super) country: String,
    pub(super) lat: f64,
    pub(super) lon: f64,
}

impl NoticeKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Passed, Self::Failed, Self::Stuck, Self::NodeLost, Self::QueueLong];

    /// Returns the kind's name, as in the file and in a message.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::NodeLost => "node_lost",
            Self::QueueLong => "queue_long",
        }
    }
}

impl WebhookNotice {
    /// Returns the notice of a queue that has become long.
    pub(super) fn of_queue(waiting: u64, expected_wait_s: Option<u64>, position: Position) -> Self {
        let subject = NoticeSubject::Queue { waiting, expected_wait_s };
        let id = format!("msg_{}", Uuid::new_v4().simple());
        Self { id, kind: NoticeKind::QueueLong, at: Timestamp::now(), position, subject }
    }
}

/// Returns the notices of a recorded event that are of these kinds. The ids are the same at each reading of the event.
///
/// # Errors
/// If the log cannot be read, from which the entry or the report before come.
pub(super) async fn notices_of(
    log: &dyn Read,
    recorded: &RecordedEvent,
    hook: &str,
    kinds: &[NoticeKind],
) -> Result<Vec<WebhookNotice>, ReadError> {
    let stream = recorded.stream.as_str();
    let is_wanted = |kind: NoticeKind| kinds.contains(&kind);
    let found = match StoredEvent::read(stream, &recorded.kind, &recorded.metadata, &recorded.data) {
        StoredEvent::Submission(id, event) => match verdict(*event) {
            Some((kind, codes, reason)) if is_wanted(kind) => {
                let entry = entry(log, &recorded.stream).await?;
                vec![(kind, NoticeSubject::Submission { submission: id, entry, codes, reason })]
            }
            _ => Vec::new(),
        },
        StoredEvent::Unread(id, unread) if is_wanted(NoticeKind::Stuck) => {
            let entry = if recorded.revision == 0 { None } else { entry(log, &recorded.stream).await? };
            let codes = vec![unread.cause.as_str().to_owned()];
            let reason = Some(shortened(&unread.why, REASON_CHARS_MAX));
            vec![(NoticeKind::Stuck, NoticeSubject::Submission { submission: id, entry, codes, reason })]
        }
        StoredEvent::Sandbox(verifier, report) if is_wanted(NoticeKind::NodeLost) => {
            let before = report_before(log, recorded).await?;
            let lost = lost_nodes(before, report).into_iter().take(LOST_MAX);
            let subject = |(node, reason): (String, String)| NoticeSubject::Node {
                node: shortened(&node, NAME_CHARS_MAX),
                verifier: shortened(&verifier, NAME_CHARS_MAX),
                reason: shortened(&reason, REASON_CHARS_MAX),
            };
            lost.map(|lost| (NoticeKind::NodeLost, subject(lost))).collect()
        }
        _ => Vec::new(),
    };
    let notices = found.into_iter().enumerate().map(|(index, (kind, subject))| {
        let name = format!("{hook}/{index}");
        let id = format!("msg_{}", Uuid::new_v5(&recorded.id, name.as_bytes()).simple());
        WebhookNotice { id, kind, at: recorded.recorded_at, position: recorded.position, subject }
    });
    Ok(notices.collect())
}

/// Returns the kind of a submission's event, with codes and a reason, or `None` if organisers are not told of it.
fn verdict(event: Event) -> Option<(NoticeKind, Vec<String>, Option<String>)> {
    match event {
        Event::Passed(_) => Some((NoticeKind::Passed, Vec::new(), None)),
        Event::Failed(Failed { reasons, .. }) => {
            let mut codes: Vec<String> = reasons.iter().map(|r| r.code.as_str().to_owned()).collect();
            codes.dedup();
            let said: Vec<&str> = reasons.iter().map(|reason| reason.message.as_str()).collect();
            Some((NoticeKind::Failed, codes, Some(shortened(&said.join(" "), REASON_CHARS_MAX))))
        }
        Event::GivenUp(GivenUp { code, message, .. }) => {
            let reason = Some(shortened(&message, REASON_CHARS_MAX));
            Some((NoticeKind::Stuck, vec![code.as_str().to_owned()], reason))
        }
        _ => None,
    }
}

/// Returns the entry with which a submission's stream begins.
async fn entry(log: &dyn Read, stream: &StreamName) -> Result<Option<NoticeEntry>, ReadError> {
    let first = match log.read_stream(stream, 0, ReadDirection::Forwards, 1).await {
        Err(ReadError::StreamDeleted(_)) => return Ok(None),
        first => first?,
    };
    let event = first.first().and_then(|first| {
        StoredEvent::read(stream.as_str(), &first.kind, &first.metadata, &first.data).into_event()
    });
    let Some(Event::Submitted(Submitted { participant, location, owner, .. })) = event else {
        return Ok(None);
    };
    let place = location.place;
    Ok(Some(NoticeEntry {
        name: shortened(&participant.name, NAME_CHARS_MAX),
        owner: shortened(&owner, NAME_CHARS_MAX),
        city: shortened(&place.city, NAME_CHARS_MAX),
        country: place.country,
        lat: place.lat,
        lon: place.lon,
    }))
}

/// Returns the report before this one of the same verifier, or an empty one.
async fn report_before(log: &dyn Read, recorded: &RecordedEvent) -> Result<SandboxReported, ReadError> {
    let Some(before) = recorded.revision.checked_sub(1) else { return Ok(SandboxReported::default()) };
    let stream = &recorded.stream;
    let found = match log.read_stream(stream, before, ReadDirection::Backwards, 1).await {
        Err(ReadError::StreamDeleted(_)) => return Ok(SandboxReported::default()),
        found => found?,
    };
    let report = found
        .first()
        .map(|event| StoredEvent::read(stream.as_str(), &event.kind, &event.metadata, &event.data));
    match report {
        Some(StoredEvent::Sandbox(_, report)) => Ok(report),
        _ => Ok(SandboxReported::default()),
    }
}

/// Returns the nodes that took work before and do not now, with the reasons. A report without any node is of a verifier
/// that sees no Swarm, and tells nothing about nodes.
fn lost_nodes(before: SandboxReported, now: SandboxReported) -> Vec<(String, String)> {
    if now.nodes.is_empty() {
        return Vec::new();
    }
    let now: BTreeMap<String, SandboxNodeState> =
        now.nodes.into_iter().map(|node| (node.name, node.state)).collect();
    let lost = before.nodes.into_iter().filter_map(|node| {
        let was_ready = matches!(node.state, SandboxNodeState::Ready { .. });
        let reason = match now.get(&node.name) {
            Some(SandboxNodeState::Down) if was_ready || node.state == SandboxNodeState::Paused => {
                "it does not respond".to_owned()
            }
            Some(SandboxNodeState::Refused { reason }) if was_ready => reason.clone(),
            None if was_ready => "the Swarm does not have it any more".to_owned(),
            _ => return None,
        };
        Some((node.name, reason))
    });
    lost.collect()
}

fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use domain::sandbox::SandboxNode;

    use super::*;

    fn report(nodes: &[(&str, SandboxNodeState)]) -> SandboxReported {
        let nodes = nodes
            .iter()
            .map(|(name, state)| SandboxNode { name: (*name).to_owned(), state: state.clone() })
            .collect();
        SandboxReported { nodes, ..SandboxReported::default() }
    }

    #[test]
    fn a_node_is_lost_if_nobody_took_it_away() {
        use SandboxNodeState::{Down, Drained, Paused, Ready, Refused};

        let ready = Ready { slots: 2, grade: None };
        let refused = Refused { reason: "no quota".to_owned() };
        let before = report(&[
            ("a", ready.clone()),
            ("b", ready.clone()),
            ("c", ready.clone()),
            ("d", ready.clone()),
            ("e", Paused),
            ("f", Drained),
            ("g", Down),
            ("h", ready.clone()),
            ("i", Paused),
        ]);
        let now = report(&[
            ("a", Down),
            ("b", refused),
            ("d", Drained),
            ("e", Down),
            ("f", Down),
            ("g", Down),
            ("h", ready),
        ]);
        let names = |lost: Vec<(String, String)>| lost.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(lost_nodes(before.clone(), now.clone())), ["a", "b", "c", "e"]);
        assert!(lost_nodes(before, SandboxReported::default()).is_empty());
        assert!(lost_nodes(now.clone(), now).is_empty());
    }
}
