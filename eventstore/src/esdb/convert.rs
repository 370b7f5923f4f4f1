//! Between the client's vocabulary and ours.

use ::esdb::{EventData, ResolvedEvent, StreamPosition};
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::{
    AppendError, EventFilter, ExpectedRevision, Position, ReadError, RecordedEvent, StreamName,
    sqlite::Proposed,
};

pub(super) fn expected_revision(expected: ExpectedRevision) -> ::esdb::ExpectedRevision {
    match expected {
        ExpectedRevision::NoStream => ::esdb::ExpectedRevision::NoStream,
        ExpectedRevision::Exact(revision) => ::esdb::ExpectedRevision::Exact(revision),
        ExpectedRevision::Any => ::esdb::ExpectedRevision::Any,
    }
}

pub(super) fn as_position(position: Position) -> StreamPosition<::esdb::Position> {
    match position {
        Position::START => StreamPosition::Start,
        Position(at) => StreamPosition::Position(::esdb::Position { commit: at, prepare: at }),
    }
}

pub(super) fn event_data(event: Proposed) -> Result<EventData, AppendError> {
    // Raw, so that the data is stored as it was given to us.
    let data: &RawValue = serde_json::from_slice(&event.data)
        .map_err(|error| AppendError::Refused(format!("the data of {} is not JSON: {error}", event.id)))?;
    let event_data = EventData::json(&event.kind, &data)
        .map_err(|error| AppendError::Refused(format!("the data of {} is not JSON: {error}", event.id)))?;
    Ok(event_data.id(event.id).metadata(event.metadata))
}

/// Whether an event passes the filter and is not the server's own.
pub(super) fn of_ours(event: &::esdb::RecordedEvent, filter: &EventFilter) -> bool {
    filter.passes_ours(&event.stream_id, &event.event_type)
}

pub(super) fn recorded(event: &ResolvedEvent) -> Result<RecordedEvent, ReadError> {
    let event = event.get_original_event();
    let stream = StreamName::recorded(event.stream_id.clone());
    // The client's own field is cut off at the second.
    let recorded_at = event
        .metadata
        .get("created")
        .and_then(|ticks| ticks.parse::<i64>().ok())
        .and_then(|ticks| Timestamp::from_nanosecond(i128::from(ticks) * 100).ok())
        .ok_or_else(|| ReadError::Undecodable {
            kind: event.event_type.clone(),
            stream: stream.clone(),
            revision: event.revision,
            why: "it does not say when it was recorded".to_owned(),
        })?;
    Ok(RecordedEvent {
        id: event.id,
        stream,
        revision: event.revision,
        position: Position(event.position.commit),
        kind: event.event_type.clone(),
        data: event.data.clone(),
        metadata: event.custom_metadata.clone(),
        recorded_at,
    })
}
