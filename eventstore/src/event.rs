//! Events before and after they are recorded.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    Position, ReadError, Revision, StreamName,
    stream::{METADATA_KIND, TOMBSTONE_KIND},
};

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The id, which the writer makes unique. The store recognises a repeated append by it.
    pub id: Uuid,
    /// The event's type, e.g. `Submitted`.
    pub kind: String,
    /// The content of the event, a JSON document.
    pub data: Bytes,
    /// The facts about the event beside its content.
    pub metadata: EventMetadata,
}

/// The facts that each event of this application carries beside its data. The JSON names are those that
/// EventStoreDB's tools understand: `$correlationId` and `$causationId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The version of the event's stored shape.
    pub schema: u32,
    /// The id that related events share, e.g. the id of the submission.
    #[serde(rename = "$correlationId")]
    pub correlation_id: Uuid,
    /// The id of the event or the request that caused this event.
    #[serde(rename = "$causationId")]
    pub causation_id: Uuid,
    /// The actor: `participant`, `verifier:<name>` or `organiser:<name>`.
    pub actor: String,
    /// True if the event only informs: a reader that does not know its type may pass it over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub informs: bool,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// The id that the writer gave.
    pub id: Uuid,
    /// The stream of the event.
    pub stream: StreamName,
    /// The event's number in its stream.
    pub revision: Revision,
    /// The event's place in the log.
    pub position: Position,
    /// The type of the event.
    pub kind: String,
    /// The content of the event: JSON if this application wrote it.
    pub data: Bytes,
    /// The facts about the event: an [`EventMetadata`] as JSON if this application wrote it.
    pub metadata: Bytes,
    /// The moment at which the store recorded the event, by the store's clock.
    pub recorded_at: Timestamp,
}

/// The `$tb` of a deleted stream.
const DELETED_BEFORE: u64 = i64::MAX as u64;

/// The part of a stream's metadata that can delete the stream.
#[derive(Deserialize)]
struct DeletingLimits {
    #[serde(rename = "$tb")]
    truncate_before: Option<u64>,
}

impl RecordedEvent {
    /// Returns the stream that the event deletes, if it is an event of the store itself that deletes one: for good, or so
    /// that new events may follow.
    pub fn deleted_stream(&self) -> Option<StreamName> {
        if self.kind == TOMBSTONE_KIND {
            return Some(self.stream.clone());
        }
        let described = self.stream.described().filter(|_| self.kind == METADATA_KIND)?;
        let limits: DeletingLimits = serde_json::from_slice(&self.data).ok()?;
        (limits.truncate_before == Some(DELETED_BEFORE)).then_some(described)
    }

    /// Decodes the metadata of an event that this application wrote.
    ///
    /// # Errors
    /// [`ReadError::Undecodable`] if the metadata is not an [`EventMetadata`]. The error names the event.
    pub fn metadata(&self) -> Result<EventMetadata, ReadError> {
        self.parse(&self.metadata)
    }

    /// Decodes the data from JSON.
    ///
    /// # Errors
    /// [`ReadError::Undecodable`] if the data is not the JSON of a `T`. The error names the event.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        self.parse(&self.data)
    }

    /// Decodes the event with `decode`, which is given the type, the version of the stored shape and the
    /// data.
    ///
    /// # Errors
    /// [`ReadError::Undecodable`] if the metadata is not an [`EventMetadata`] or `decode` fails. The error
    /// names the event.
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
