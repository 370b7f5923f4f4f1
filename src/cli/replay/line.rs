//! One event of the history as a line of NDJSON. The log and a server give the same lines.

use domain::{Event, SubmissionId};
use event_store::{EventMetadata, OneLine, RecordedEvent};
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
    id: Uuid,
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

    /// Returns the event of a submission, or `None` if the event belongs to no submission.
    ///
    /// # Errors
    /// If it cannot be decoded. The error names its position.
    pub(crate) fn event(&self) -> Result<Option<Event>, String> {
        if self.submission().is_none() {
            return Ok(None);
        }
        let read = || -> Result<Event, String> {
            let (Some(data), Some(metadata)) = (&self.data, &self.metadata) else {
                return Err("its content is not JSON".to_owned());
            };
            let metadata: EventMetadata = serde_json::from_str(metadata.get()).map_err(|e| e.to_string())?;
            Event::from_stored(&self.kind, metadata.schema, data.get().as_bytes()).map_err(|e| e.to_string())
        };
        read().map(Some).map_err(|why| {
            format!("the event at position {} ({}) cannot be decoded: {why}", self.position, self.kind)
        })
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
