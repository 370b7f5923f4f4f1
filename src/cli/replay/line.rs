//! One event of the history, in the form that travels: a line of NDJSON, the
//! same from the log and from a server.

use domain::{Event, SubmissionId};
use event_store::{EventMetadata, OneLine, RecordedEvent};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventLine {
    /// Its place in the log.
    pub(crate) position: u64,
    /// The stream that it belongs to.
    pub(crate) stream: String,
    /// Its number in that stream.
    pub(crate) revision: u64,
    /// The event's own id.
    id: Uuid,
    /// When it was recorded.
    pub(crate) recorded_at: Timestamp,
    /// The event's type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What it says, as recorded.
    pub(crate) data: Option<Box<RawValue>>,
    /// What it says, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// What is known about it.
    metadata: Option<Box<RawValue>>,
    /// What is known about it, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
}

impl EventLine {
    /// The submission that it is an event of.
    pub(crate) fn submission(&self) -> Option<SubmissionId> {
        SubmissionId::from_stream(&self.stream)
    }

    /// The event, if it is one of a submission.
    ///
    /// # Errors
    /// When it is one but cannot be understood; names it.
    pub(crate) fn event(&self) -> Result<Option<Event>, String> {
        if self.submission().is_none() {
            return Ok(None);
        }
        let read = || -> Result<Event, String> {
            let (Some(data), Some(metadata)) = (&self.data, &self.metadata) else {
                return Err("it is not JSON".to_owned());
            };
            let metadata: EventMetadata = serde_json::from_str(metadata.get()).map_err(|e| e.to_string())?;
            Event::from_stored(&self.kind, metadata.schema, data.get().as_bytes()).map_err(|e| e.to_string())
        };
        read().map(Some).map_err(|why| {
            format!("the event at position {} ({}) cannot be understood: {why}", self.position, self.kind)
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
