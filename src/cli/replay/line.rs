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
pub(in crate::cli) struct Line {
    /// Its place in the log.
    pub(in crate::cli) position: u64,
    /// The stream that it belongs to.
    pub(in crate::cli) stream: String,
    /// Its number in that stream.
    pub(in crate::cli) revision: u64,
    /// The event's own id.
    id: Uuid,
    /// When it was recorded.
    pub(in crate::cli) recorded_at: Timestamp,
    /// The event's type.
    #[serde(rename = "type")]
    pub(in crate::cli) kind: String,
    /// What it says, as recorded.
    pub(in crate::cli) data: Option<Box<RawValue>>,
    /// What it says, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// What is known about it.
    metadata: Option<Box<RawValue>>,
    /// What is known about it, when that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
}

impl Line {
    /// The submission that it is an event of.
    pub(in crate::cli) fn submission(&self) -> Option<SubmissionId> {
        SubmissionId::from_stream(&self.stream)
    }

    /// The event, if it is one of a submission.
    ///
    /// # Errors
    /// When it is one but cannot be understood; names it.
    pub(in crate::cli) fn event(&self) -> Result<Option<Event>, String> {
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

impl From<&RecordedEvent> for Line {
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
