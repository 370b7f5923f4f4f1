//! An event on its way in, and one that was recorded.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Position, ReadError, Revision, StreamName};

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Unique, for the writer sees to it; appending the event again is
    /// recognised by it.
    pub id: Uuid,
    /// The event's type, e.g. `Submitted`.
    pub kind: String,
    /// The event's content, a JSON document.
    pub data: Bytes,
    /// What is known about the event, beside what it says.
    pub metadata: EventMetadata,
}

/// What every event of ours carries beside its data. Names as in
/// EventStoreDB, whose tools understand `$correlationId` and `$causationId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The version of the event's shape.
    pub schema: u32,
    /// What belongs together: for us, the submission.
    #[serde(rename = "$correlationId")]
    pub correlation_id: Uuid,
    /// The event or request that caused this one.
    #[serde(rename = "$causationId")]
    pub causation_id: Uuid,
    /// Who did it: `participant`, `verifier:<name>`, `organiser:<name>`.
    pub actor: String,
}

/// An event as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// As given by the writer.
    pub id: Uuid,
    /// The stream that it belongs to.
    pub stream: StreamName,
    /// Its number in that stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// The event's type.
    pub kind: String,
    /// The event's content; JSON when we wrote it.
    pub data: Bytes,
    /// What is known about the event; [`EventMetadata`] as JSON when we wrote it.
    pub metadata: Bytes,
    /// When the store took it in.
    pub recorded_at: Timestamp,
}

impl RecordedEvent {
    /// The metadata of an event that we wrote.
    ///
    /// # Errors
    /// When it is not ours, or damaged.
    pub fn metadata(&self) -> Result<EventMetadata, ReadError> {
        self.parse(&self.metadata)
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    /// When the data is not the JSON of a `T`; the error names the event.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        self.parse(&self.data)
    }

    /// The event that this is to its domain, read by `decode` from the type,
    /// the version of the shape and the data.
    ///
    /// # Errors
    /// When the metadata is not ours or `decode` refuses; the error names the event.
    pub fn decode<T, E: std::fmt::Display>(
        &self,
        decode: impl FnOnce(&str, u32, &[u8]) -> Result<T, E>,
    ) -> Result<T, ReadError> {
        let schema = self.metadata()?.schema;
        decode(&self.kind, schema, &self.data).map_err(|error| self.undecodable(&error))
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ReadError> {
        serde_json::from_slice(bytes).map_err(|error| self.undecodable(&error))
    }

    fn undecodable(&self, why: &impl std::fmt::Display) -> ReadError {
        ReadError::Undecodable {
            kind: self.kind.clone(),
            stream: self.stream.clone(),
            revision: self.revision,
            why: why.to_string(),
        }
    }
}
