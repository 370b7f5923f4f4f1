//! Conversions between the protocol's messages and ours.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tonic::Status;
use uuid::Uuid;

use crate::{
    EventFilter, ExpectedRevision, Position, ReadDirection, RecordedEvent, Revision, StreamName,
    append_request::{AppendRequest, ProposedEvent},
    node::proto::{
        shared::{self, Empty, StreamIdentifier, uuid::Structured, uuid::Value},
        streams::{
            AppendReq, ProposedMessage, ReadReq,
            append_req::{self, options::ExpectedStreamRevision},
            read_req::{
                self,
                options::{
                    self, AllOptions, CountOption, FilterOption, FilterOptions, StreamOption, StreamOptions,
                    SubscriptionOptions, UuidOption,
                    all_options::AllOption,
                    filter_options::{Expression, Filter, Window},
                    stream_options::RevisionOption,
                    uuid_option,
                },
            },
            read_resp::ReadEvent,
        },
    },
};

/// The number of events after which a checkpoint of a filtered subscription is due.
pub(super) const CHECKPOINT_EVENTS: u32 = 1000;

/// The expression that passes the types that do not belong to the server.
const USER_KINDS: &str = r"^[^\$].*";

/// The same, and the types of which the server's own events are that may delete a stream.
const USER_KINDS_AND_DELETIONS: &str = r"^([^\$].*|\$streamDeleted|\$metadata)$";

pub(super) fn stream_request(
    stream: &StreamName,
    from: Revision,
    direction: ReadDirection,
    max: usize,
) -> ReadReq {
    let revision = match direction {
        ReadDirection::Backwards if from >= i64::MAX as u64 => RevisionOption::End(Empty {}),
        _ => RevisionOption::Revision(from),
    };
    let from = StreamOption::Stream(StreamOptions {
        stream_identifier: Some(identifier(stream)),
        revision_option: Some(revision),
    });
    read_request(from, direction, CountOption::Count(max as u64), None)
}

/// Asks for events of the whole log. Forwards, the event at the place is the first; backwards, the one before it.
pub(super) fn log_request(
    from: AllOption,
    direction: ReadDirection,
    max: usize,
    filter: Option<&EventFilter>,
) -> ReadReq {
    let from = StreamOption::All(AllOptions { all_option: Some(from) });
    read_request(from, direction, CountOption::Count(max as u64), filter)
}

pub(super) fn subscription_request(after: Position, filter: &EventFilter) -> ReadReq {
    let from = StreamOption::All(AllOptions { all_option: Some(place(after)) });
    let count = CountOption::Subscription(SubscriptionOptions {});
    read_request(from, ReadDirection::Forwards, count, Some(filter))
}

fn read_request(
    from: StreamOption,
    direction: ReadDirection,
    count: CountOption,
    filter: Option<&EventFilter>,
) -> ReadReq {
    let direction = match direction {
        ReadDirection::Forwards => options::ReadDirection::Forwards,
        ReadDirection::Backwards => options::ReadDirection::Backwards,
    };
    let filter = match filter {
        Some(filter) => FilterOption::Filter(server_filter(filter)),
        None => FilterOption::NoFilter(Empty {}),
    };
    ReadReq {
        options: Some(read_req::Options {
            read_direction: direction.into(),
            resolve_links: false,
            uuid_option: Some(UuidOption { content: Some(uuid_option::Content::Structured(Empty {})) }),
            control_option: None,
            stream_option: Some(from),
            count_option: Some(count),
            filter_option: Some(filter),
        }),
    }
}

/// Returns the part of the filter that the server can apply. A server filters either by stream or by type, and
/// types by prefix, so [`passes`] applies the rest.
fn server_filter(filter: &EventFilter) -> FilterOptions {
    let prefixes = |prefix: Vec<String>| Expression { regex: String::new(), prefix };
    let filter = match (&filter.stream_prefix, &filter.kinds[..]) {
        // The metadata of a stream stands in a stream of its own.
        (Some(prefix), _) if filter.deletions => {
            Filter::StreamIdentifier(prefixes(vec![prefix.clone(), format!("$${prefix}")]))
        }
        (None, []) if filter.deletions => {
            let regex = USER_KINDS_AND_DELETIONS.to_owned();
            Filter::EventType(Expression { regex, prefix: Vec::new() })
        }
        (Some(prefix), _) => Filter::StreamIdentifier(prefixes(vec![prefix.clone()])),
        (None, []) => Filter::EventType(Expression { regex: USER_KINDS.to_owned(), prefix: Vec::new() }),
        (None, kinds) => Filter::EventType(prefixes(kinds.to_vec())),
    };
    FilterOptions {
        filter: Some(filter),
        window: Some(Window::Max(CHECKPOINT_EVENTS)),
        checkpoint_interval_multiplier: 1,
    }
}

/// Returns the place of an event in the log, or the log's start.
pub(super) fn place(position: Position) -> AllOption {
    match position {
        Position::START => AllOption::Start(Empty {}),
        Position(at) => AllOption::Position(options::Position { commit_position: at, prepare_position: at }),
    }
}

/// Returns the messages of an append: the stream, then the events.
pub(super) fn append_messages(request: AppendRequest) -> Vec<AppendReq> {
    let expected = match request.expected {
        ExpectedRevision::NoStream => ExpectedStreamRevision::NoStream(Empty {}),
        ExpectedRevision::Exact(revision) => ExpectedStreamRevision::Revision(revision),
        ExpectedRevision::Any => ExpectedStreamRevision::Any(Empty {}),
    };
    let options = append_req::Content::Options(append_req::Options {
        stream_identifier: Some(identifier(&request.stream)),
        expected_stream_revision: Some(expected),
    });
    let events =
        request.events.into_iter().map(|event| append_req::Content::ProposedMessage(proposed(event)));
    std::iter::once(options).chain(events).map(|content| AppendReq { content: Some(content) }).collect()
}

fn proposed(event: ProposedEvent) -> ProposedMessage {
    let (most, least) = event.id.as_u64_pair();
    let content = if event.json { "application/json" } else { "application/octet-stream" };
    ProposedMessage {
        id: Some(shared::Uuid {
            value: Some(Value::Structured(Structured {
                most_significant_bits: most.cast_signed(),
                least_significant_bits: least.cast_signed(),
            })),
        }),
        metadata: BTreeMap::from([
            ("type".to_owned(), event.kind),
            ("content-type".to_owned(), content.to_owned()),
        ]),
        custom_metadata: event.metadata,
        data: event.data,
    }
}

fn identifier(stream: &StreamName) -> StreamIdentifier {
    StreamIdentifier { stream_name: stream.as_str().to_owned().into() }
}

/// Returns true if an event passes the filter and does not belong to the server itself.
pub(super) fn passes(event: &RecordedEvent, filter: &EventFilter) -> bool {
    filter.passes_user(event.stream.as_str(), &event.kind)
}

/// Converts an event that a server sent.
///
/// # Errors
/// If the message has no event, no id, no type or no time, which no server sends.
pub(super) fn recorded(message: ReadEvent) -> Result<RecordedEvent, Status> {
    let incomplete = |what: &str| Status::data_loss(format!("the server sent an event without {what}"));
    let mut event = message.event.ok_or_else(|| incomplete("content"))?;
    let name = event.stream_identifier.ok_or_else(|| incomplete("a stream"))?.stream_name;
    let name = String::from_utf8(name.to_vec()).map_err(|_| incomplete("a readable stream name"))?;
    // In units of 100 ns since 1970.
    let recorded_at = event
        .metadata
        .get("created")
        .and_then(|ticks| ticks.parse::<i64>().ok())
        .and_then(|ticks| Timestamp::from_nanosecond(i128::from(ticks) * 100).ok())
        .ok_or_else(|| incomplete("a time of recording"))?;
    Ok(RecordedEvent {
        id: parse_id(event.id).ok_or_else(|| incomplete("an id"))?,
        stream: StreamName::recorded(name),
        revision: event.stream_revision,
        position: Position(event.commit_position),
        kind: event.metadata.remove("type").ok_or_else(|| incomplete("a type"))?,
        data: event.data,
        metadata: event.custom_metadata,
        recorded_at,
    })
}

fn parse_id(id: Option<shared::Uuid>) -> Option<Uuid> {
    match id?.value? {
        Value::Structured(Structured { most_significant_bits, least_significant_bits }) => {
            Some(Uuid::from_u64_pair(
                most_significant_bits.cast_unsigned(),
                least_significant_bits.cast_unsigned(),
            ))
        }
        Value::String(text) => text.parse().ok(),
    }
}
