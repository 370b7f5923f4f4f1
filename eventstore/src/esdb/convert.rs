//! Conversions between the client's types and ours.

use ::esdb::{EventData, ResolvedEvent, StreamPosition};
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::{
    AppendError, EventFilter, ExpectedRevision, Position, ReadError, RecordedEvent, StreamName,
    append_request::ProposedEvent,
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

pub(super) fn event_data(event: ProposedEvent) -> Result<EventData, AppendError> {
    // Raw JSON, so that the data is stored byte by byte as it was given.
    let data: &RawValue = serde_json::from_slice(&event.data).map_err(|error| {
        AppendError::Refused(format!("the data of event {} is not JSON: {error}", event.id))
    })?;
    let event_data = EventData::json(&event.kind, &data).map_err(|error| {
        AppendError::Refused(format!("the data of event {} is not JSON: {error}", event.id))
    })?;
    Ok(event_data.id(event.id).metadata(event.metadata))
}

/// Returns true if an event passes the filter and does not belong to the server itself.
pub(super) fn passes(event: &::esdb::RecordedEvent, filter: &EventFilter) -> bool {
    filter.passes_user(&event.stream_id, &event.event_type)
}

pub(super) fn recorded(event: &ResolvedEvent) -> Result<RecordedEvent, ReadError> {
    let event = event.get_original_event();
    let stream = StreamName::recorded(event.stream_id.clone());
    // The client's own field has whole seconds only; this one has units of 100 ns.
    let recorded_at = event
        .metadata
        .get("created")
        .and_then(|ticks| ticks.parse::<i64>().ok())
        .and_then(|ticks| Timestamp::from_nanosecond(i128::from(ticks) * 100).ok())
        .ok_or_else(|| ReadError::Undecodable {
            kind: event.event_type.clone(),
            stream: stream.clone(),
            revision: event.revision,
            why: "it has no time of recording".to_owned(),
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
