//! Turns events of the log into changes of the views. Reading never fails: a stranger's event is set aside, and an event of
//! ours that this version cannot read makes its submission stand still.

use domain::{StoredEvent, SubmissionId, UnreadEvent};
use event_store::{Position, RecordedEvent};

use crate::EventEnvelope;
use crate::view::{DeletionView, SandboxView, SetAsideEvent, StandstillView};

/// An event of the log, as the views take it.
#[derive(Debug, Clone, PartialEq)]
pub enum LogItem {
    /// An event of a submission.
    Event(Box<EventEnvelope>),
    /// A report on a verifier's sandbox.
    Sandbox(Box<SandboxView>),
    /// The submission stands still from this event on.
    Standstill(Box<StandstillView>),
    /// A stranger's event in a stream with a name of ours.
    SetAside(Box<SetAsideEvent>),
    /// An operator deleted the stream of a submission.
    Deleted(DeletionView),
    /// Nothing up to this position concerns the views.
    Irrelevant(Position),
}

impl LogItem {
    /// Reads a recorded event.
    pub fn read(recorded: &RecordedEvent) -> Self {
        if let Some(deleted) = recorded.deleted_stream() {
            let id = SubmissionId::from_stream(deleted.as_str());
            let deletion = |id| DeletionView { id, position: recorded.position, at: recorded.recorded_at };
            return id.map_or(Self::Irrelevant(recorded.position), |id| Self::Deleted(deletion(id)));
        }
        let stream = recorded.stream.as_str();
        match StoredEvent::read(stream, &recorded.kind, &recorded.metadata, &recorded.data) {
            StoredEvent::Submission(id, event) => Self::Event(Box::new(EventEnvelope {
                event_id: recorded.id,
                id,
                revision: recorded.revision,
                position: recorded.position,
                recorded_at: recorded.recorded_at,
                event: *event,
            })),
            StoredEvent::Sandbox(verifier, sandbox) => Self::Sandbox(Box::new(SandboxView {
                verifier,
                position: recorded.position,
                since: recorded.recorded_at,
                sandbox,
            })),
            StoredEvent::Unread(id, UnreadEvent { cause, why }) => {
                Self::Standstill(Box::new(StandstillView {
                    id,
                    code: cause.as_str().to_owned(),
                    message: cause.explanation().to_owned(),
                    r#type: shortened(&recorded.kind),
                    why: shortened(&why),
                    position: recorded.position,
                    revision: recorded.revision,
                    since: recorded.recorded_at,
                }))
            }
            StoredEvent::Foreign(why) => Self::SetAside(Box::new(SetAsideEvent {
                position: recorded.position,
                stream: stream.to_owned(),
                revision: recorded.revision,
                r#type: shortened(&recorded.kind),
                at: recorded.recorded_at,
                why: shortened(&why),
            })),
            StoredEvent::Rules(_) | StoredEvent::Informing | StoredEvent::Elsewhere => {
                Self::Irrelevant(recorded.position)
            }
        }
    }

    /// Returns the event of a submission, if this is one.
    pub fn into_event(self) -> Option<EventEnvelope> {
        match self {
            Self::Event(envelope) => Some(*envelope),
            Self::Sandbox(_)
            | Self::Standstill(_)
            | Self::SetAside(_)
            | Self::Deleted(_)
            | Self::Irrelevant(_) => None,
        }
    }

    /// Returns the position of the event.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Event(envelope) => envelope.position,
            Self::Sandbox(sandbox) => sandbox.position,
            Self::Standstill(standstill) => standstill.position,
            Self::SetAside(event) => event.position,
            Self::Deleted(deletion) => deletion.position,
            Self::Irrelevant(position) => *position,
        }
    }
}

/// A part of the log that is applied together. A submission that stands still does so after the part's events.
#[derive(Debug, Default)]
pub(crate) struct LogBatch {
    pub(crate) events: Vec<EventEnvelope>,
    pub(crate) sandboxes: Vec<SandboxView>,
    pub(crate) set_aside: Vec<SetAsideEvent>,
    pub(crate) standstill: Option<StandstillView>,
    /// A deletion, in a part of its own.
    pub(crate) deletion: Option<DeletionView>,
    /// The position up to which the part reaches.
    pub(crate) upto: Position,
}

impl LogBatch {
    /// Splits items into parts, each of which ends where a submission comes to stand still or is deleted. The part reaches up to that
    /// event and not beyond: the event counts as applied only once the standstill is recorded.
    pub(crate) fn split(items: impl IntoIterator<Item = LogItem>) -> Vec<Self> {
        let (mut parts, mut part) = (Vec::new(), Self::default());
        for item in items {
            let position = item.position();
            match item {
                LogItem::Event(envelope) => part.events.push(*envelope),
                LogItem::Sandbox(sandbox) => part.sandboxes.push(*sandbox),
                LogItem::SetAside(event) => part.set_aside.push(*event),
                LogItem::Irrelevant(_) => {}
                LogItem::Standstill(standstill) => {
                    part.standstill = Some(*standstill);
                    parts.push(std::mem::take(&mut part));
                }
                LogItem::Deleted(deletion) => {
                    parts.push(std::mem::take(&mut part));
                    parts.push(Self { deletion: Some(deletion), upto: position, ..Self::default() });
                    continue;
                }
            }
            part.upto = part.upto.max(position);
        }
        parts.push(part);
        parts
    }
}

/// The longest text of a stranger that the views keep, in characters.
const TEXT_CHARS_MAX: usize = 200;

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
