//! One event of the history as a line of NDJSON. The log and a server give the same lines.

use domain::{Event, StoredEvent, SubmissionId};
use event_store::{OneLine, RecordedEvent};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// An event with its place in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventLine {
    pub(crate) position: u64,
    pub(crate) stream: String,
    /// The event's number in its stream, from 0.
    pub(crate) revision: u64,
    pub(crate) id: Uuid,
    pub(crate) recorded_at: Timestamp,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The content of the event, if it is JSON.
    pub(crate) data: Option<Box<RawValue>>,
    /// The content of the event, if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// The metadata of the event, if it is JSON.
    metadata: Option<Box<RawValue>>,
    /// The metadata of the event, if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
}

impl EventLine {
    /// Returns the submission that the event belongs to, if any.
    pub(crate) fn submission(&self) -> Option<SubmissionId> {
        SubmissionId::from_stream(&self.stream)
    }

    /// Returns the event of a submission, or `None` if the event is none of ours or this version cannot read it. An export
    /// has the lines of such events too.
    pub(crate) fn event(&self) -> Option<Event> {
        let (data, metadata) = (self.data.as_deref()?.get(), self.metadata.as_deref()?.get());
        StoredEvent::read(&self.stream, &self.kind, metadata.as_bytes(), data.as_bytes()).into_event()
    }
}

impl From<&RecordedEvent> for EventLine {
    fn from(event: &RecordedEvent) -> Self {
        let (data, metadata) = (OneLine::from(&event.data[..]), OneLine::from(&event.metadata[..]));
        Self {
            position: event.position.0,
            stream: event.stream.as_str().to_owned(),
            revision: event.revision,
            id: event.id,
            recorded_at: event.recorded_at,
            kind: event.kind.clone(),
            data: data.json,
            data_base64: data.base64,
            metadata: metadata.json,
            metadata_base64: metadata.base64,
        }
    }
}
