//! Conversions between the protocol's messages and our types.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tonic::Status;
use uuid::Uuid;

use super::{
    proto::{
        shared::{self, Empty, StreamIdentifier, uuid::Structured, uuid::Value},
        streams::{
            ProposedMessage,
            read_resp::{ReadEvent, read_event::Position as At, read_event::RecordedEvent},
        },
    },
    status,
};
use crate::{
    Revision, StreamName,
    append_request::ProposedEvent,
    sqlite::{StoredEvent, WriteCondition},
};

/// The largest number of bytes in the name of a stream. Longer ones do not fit into the headers of an error.
const MAX_NAME_BYTES: usize = 2048;

/// The revision by which some clients say that they expect no stream.
const NO_STREAM_REVISION: Revision = Revision::MAX;

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

const TYPE: &str = "type";
const CONTENT_TYPE: &str = "content-type";

pub(super) fn stream_name(identifier: Option<StreamIdentifier>) -> Result<StreamName, Status> {
    let invalid = |why: &str| Status::invalid_argument(format!("the stream name {why}"));
    let identifier = identifier.ok_or_else(|| invalid("is missing"))?;
    let name = std::str::from_utf8(&identifier.stream_name).map_err(|_| invalid("is not UTF-8"))?;
    if name.is_empty() {
        return Err(invalid("is empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(invalid(&format!("is longer than {MAX_NAME_BYTES} bytes")));
    }
    // EventStoreDB takes names that the port does not.
    Ok(StreamName::recorded(name.to_owned()))
}

pub(super) fn expected_revision(revision: Revision) -> WriteCondition {
    if revision == NO_STREAM_REVISION { WriteCondition::NoStream } else { WriteCondition::Exact(revision) }
}

pub(super) fn identifier(stream: &StreamName) -> StreamIdentifier {
    StreamIdentifier { stream_name: stream.as_str().to_owned().into() }
}

/// Converts an id to text, or to the two halves that older clients expect.
pub(super) fn id(id: Uuid, text: bool) -> shared::Uuid {
    let value = if text {
        Value::String(id.to_string())
    } else {
        let (most, least) = id.as_u64_pair();
        Value::Structured(Structured {
            most_significant_bits: most.cast_signed(),
            least_significant_bits: least.cast_signed(),
        })
    };
    shared::Uuid { value: Some(value) }
}

pub(super) fn parse_id(id: Option<shared::Uuid>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.value) {
        Some(Value::Structured(Structured { most_significant_bits, least_significant_bits })) => {
            Ok(Uuid::from_u64_pair(
                most_significant_bits.cast_unsigned(),
                least_significant_bits.cast_unsigned(),
            ))
        }
        Some(Value::String(text)) => {
            text.parse().map_err(|_| Status::invalid_argument(format!("{text:?} is not a UUID")))
        }
        None => Err(Status::invalid_argument("the message has no UUID")),
    }
}

/// Returns the time in units of 100 ns since 1970.
pub(super) fn ticks(at: Timestamp) -> i64 {
    at.as_microsecond() * 10
}

pub(super) fn proposed(message: ProposedMessage) -> Result<ProposedEvent, Status> {
    let id = parse_id(message.id)?;
    if id.is_nil() {
        return Err(Status::invalid_argument("an event needs an id that is not zero"));
    }
    let mut metadata = message.metadata;
    let Some(kind) = metadata.remove(TYPE).filter(|kind| !kind.is_empty()) else {
        return Err(status::missing_metadata(TYPE));
    };
    let content = metadata.get(CONTENT_TYPE).ok_or_else(|| status::missing_metadata(CONTENT_TYPE))?;
    let json = content == JSON;
    Ok(ProposedEvent { id, kind, json, data: message.data, metadata: message.custom_metadata })
}

/// Converts an event, without resolving links.
pub(super) fn read_event(stored: StoredEvent, text_ids: bool) -> ReadEvent {
    let position = Some(At::CommitPosition(stored.event.position.0));
    ReadEvent { event: Some(recorded(stored, text_ids)), link: None, position }
}

/// Converts a link and the event that it links to; `target` is `None` if that event is hidden or deleted.
pub(super) fn resolved_link(link: StoredEvent, target: Option<StoredEvent>, text_ids: bool) -> ReadEvent {
    let position = Some(At::CommitPosition(link.event.position.0));
    let event = target.map(|target| recorded(target, text_ids));
    ReadEvent { event, link: Some(recorded(link, text_ids)), position }
}

fn recorded(StoredEvent { event, json }: StoredEvent, text_ids: bool) -> RecordedEvent {
    let content = if json { JSON } else { OCTETS };
    RecordedEvent {
        id: Some(id(event.id, text_ids)),
        stream_identifier: Some(identifier(&event.stream)),
        stream_revision: event.revision,
        prepare_position: event.position.0,
        commit_position: event.position.0,
        metadata: BTreeMap::from([
            (CONTENT_TYPE.to_owned(), content.to_owned()),
            ("created".to_owned(), ticks(event.recorded_at).to_string()),
            (TYPE.to_owned(), event.kind),
        ]),
        custom_metadata: event.metadata,
        data: event.data,
    }
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

pub(super) const NOTHING: Empty = Empty {};
