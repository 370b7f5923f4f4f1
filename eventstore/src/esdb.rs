//! The adapter for servers of EventStoreDB's protocol. It speaks the protocol itself, and not through the official
//! client, which cannot recover from what happens to servers: that client leaves Nagle's algorithm on, stays with
//! a server that died, panics, and loops for ever when a subscription ends well. The wire node is tested with it.
//!
//! ```text
//!   esdb ──> convert ──> cluster ──> connector
//!     └────> subscribe ────┘
//! ```
//!
//! Positions are the server's business: byte offsets with gaps. Most offsets are not the start of an event, and
//! only the position of an event is a place to read from.

#![expect(clippy::result_large_err, reason = "it is the size of tonic's own error")]

mod address;
mod call_error;
mod cluster;
mod connector;
mod convert;
mod known_servers;
mod moment_index;
mod subscribe;
#[cfg(test)]
mod tests;

pub use self::moment_index::IndexedPlace;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tonic::{Status, Streaming, codec::ProstCodec, codegen::http::uri::PathAndQuery};

use self::{
    address::ServerAddress,
    call_error::{CallError, CallSubject},
    cluster::{ChosenServer, ServerCluster, ServerNeed},
    convert::{passes, place, recorded},
    moment_index::MomentIndex,
};
use crate::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, StreamName, Subscribe, Subscription,
    append_request::AppendRequest,
    node::proto::{
        shared::Empty,
        streams::{
            AppendReq, AppendResp, ReadReq, ReadResp,
            append_resp::{
                self,
                success::{CurrentRevisionOption, PositionOption},
                wrong_expected_version,
            },
            read_req::options::all_options::AllOption,
            read_resp::Content,
        },
    },
};

/// The largest step by which a server's clock may be set back without hiding events from
/// [`Read::position_before`]. The clocks of one cluster differ by less.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(1);

/// The largest number of places in the log that are tried for a moment. Without one, the log is read from its start.
const PLACES_TRIED: usize = 8;

/// The number of events that one page of the log scans.
const PAGE_EVENTS: usize = 1000;

/// The number of bytes after which a page of the log ends early.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The reason why a store cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is not the address of an EventStoreDB. The error does not show it, because it may contain
    /// a password.
    #[error("the event store's address is malformed: {0}")]
    Address(String),
    /// The certificates that the address needs cannot be read.
    #[error("{0}")]
    Certificates(String),
}

/// An EventStoreDB, or another server of its protocol such as the wire node. The server needs version 23.10 or
/// later, which reports when a subscription has caught up.
#[derive(Clone)]
pub struct EsdbStore {
    cluster: Arc<ServerCluster>,
    index: Arc<MomentIndex>,
}

/// The events that a server sent.
#[derive(Default)]
struct ReadAnswer {
    events: Vec<RecordedEvent>,
    /// True if the rest was not awaited, because the answer grew too large.
    cut: bool,
    /// True if the server had to be the leader. Another may lack the newest events.
    led: bool,
}

impl EsdbStore {
    /// Returns true if the text begins as the address of a server does: `esdb://` or `kurrentdb://`, each also with
    /// `+discover`, and the like.
    pub fn is_address(text: &str) -> bool {
        ServerAddress::scheme(text).is_some()
    }

    /// Prepares the connection to a server or a cluster: `esdb://user:password@host:2113,…?tls=true`, or the same
    /// with `kurrentdb`. Does not wait until the server can be reached.
    ///
    /// # Errors
    /// If the address is malformed, or if the certificates that it needs cannot be read.
    pub async fn connect(address: &str) -> Result<Self, ConnectError> {
        let cluster = ServerCluster::new(ServerAddress::parse(address)?)?;
        Ok(Self { cluster: Arc::new(cluster), index: Arc::default() })
    }

    /// Learns places of the log by time that [`Self::places`] returned in an earlier process. Those of another log are
    /// recognised before they are used.
    pub fn learn_places(&self, places: Vec<IndexedPlace>) {
        self.index.learn(places);
    }

    /// Returns the places of the log by time that are known, in the order of their positions.
    pub fn places(&self) -> Vec<IndexedPlace> {
        self.index.places()
    }

    /// Reads what `request` asks for, and stops after `bytes_max`.
    async fn read(
        &self,
        request: ReadReq,
        subject: CallSubject,
        bytes_max: usize,
    ) -> Result<ReadAnswer, CallError> {
        let request = &request;
        let read = |server: ChosenServer| async move { read_from(&server, request.clone(), bytes_max).await };
        self.cluster.call(ServerNeed::AnyServer, subject, read).await
    }

    /// Reads at most `max` events of the log, with those of the server itself unless a filter is given.
    async fn read_log(
        &self,
        from: AllOption,
        direction: ReadDirection,
        max: usize,
        filter: Option<&EventFilter>,
    ) -> Result<ReadAnswer, CallError> {
        let request = convert::log_request(from, direction, max, filter);
        self.read(request, CallSubject::Log, usize::MAX).await
    }
}

/// Reads what `request` asks a server for, and stops after `bytes_max`.
async fn read_from(server: &ChosenServer, request: ReadReq, bytes_max: usize) -> Result<ReadAnswer, Status> {
    let mut messages = call_read(server, request).await?;
    let (mut answer, mut bytes) = (ReadAnswer { led: server.requires_leader, ..ReadAnswer::default() }, 0);
    while let Some(message) = messages.message().await? {
        // A stream that does not exist reads as empty.
        let Some(Content::Event(event)) = message.content else { continue };
        if bytes >= bytes_max {
            answer.cut = true;
            break;
        }
        let event = recorded(event)?;
        bytes += event.data.len() + event.metadata.len();
        answer.events.push(event);
    }
    Ok(answer)
}

/// Returns the error of a read whose answer is empty although an event of the log stands at `after`.
fn nothing_at(after: Position, led: bool) -> ReadError {
    match led {
        true => ReadError::BeyondEnd { after },
        false => ReadError::Unavailable(format!(
            "the cluster has no leader at present, and another server does not have position {after} yet"
        )),
    }
}

/// Calls a server's `Read`.
async fn call_read(server: &ChosenServer, request: ReadReq) -> Result<Streaming<ReadResp>, Status> {
    let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Read");
    let codec: ProstCodec<ReadReq, ReadResp> = ProstCodec::default();
    let answer = server.ready().await?.server_streaming(server.request(request), path, codec).await?;
    Ok(answer.into_inner())
}

/// Calls a server's `Append`.
async fn call_append(server: &ChosenServer, messages: Vec<AppendReq>) -> Result<AppendResp, Status> {
    let path = PathAndQuery::from_static("/event_store.client.streams.Streams/Append");
    let codec: ProstCodec<AppendReq, AppendResp> = ProstCodec::default();
    let request = server.request(futures::stream::iter(messages));
    Ok(server.ready().await?.client_streaming(request, path, codec).await?.into_inner())
}

/// Names the position that a reader gave in the error of its call.
fn at_position(error: CallError, after: Position) -> ReadError {
    match error {
        CallError::BeyondEnd => ReadError::BeyondEnd { after },
        CallError::OtherLog(why) => ReadError::OtherLog { after, why },
        CallError::Refused(why) => ReadError::Refused(format!("position {after}: {why}")),
        error => error.into(),
    }
}

impl fmt::Debug for EsdbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EsdbStore").field("hosts", &self.cluster.hosts()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Read for EsdbStore {
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        if max == 0 || (direction == ReadDirection::Forwards && from >= i64::MAX as u64) {
            return Ok(Vec::new());
        }
        let request = convert::stream_request(stream, from, direction, max);
        match self.read(request, CallSubject::Stream, usize::MAX).await {
            Ok(answer) => Ok(answer.events),
            Err(CallError::StreamDeleted) => Err(ReadError::StreamDeleted(stream.clone())),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        // The server begins with the event at `after` itself, hence one more.
        let request = convert::log_request(place(after), ReadDirection::Forwards, PAGE_EVENTS + 1, None);
        let answer = self.read(request, CallSubject::Log, PAGE_BYTES).await;
        let ReadAnswer { events, cut, led } = answer.map_err(|error| at_position(error, after))?;
        if events.is_empty() && after > Position::START {
            return Err(nothing_at(after, led));
        }
        let mut page =
            EventPage { events: Vec::new(), next: after, end: !cut && events.len() <= PAGE_EVENTS };
        for event in events {
            if page.events.len() == max {
                page.end = false;
                break;
            }
            if event.position <= after {
                continue;
            }
            page.next = event.position;
            if passes(&event, filter) {
                self.index.see(&event);
                page.events.push(event);
            }
        }
        Ok(page)
    }

    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        if position == Position::START {
            return Ok(None);
        }
        let answer = self.read_log(place(position), ReadDirection::Forwards, 1, None).await;
        let ReadAnswer { events, led, .. } = answer.map_err(|error| at_position(error, position))?;
        match events.into_iter().next() {
            // Of an event that was removed, the server shows the next one.
            Some(event) => Ok(Some(event).filter(|event| event.position == position)),
            None => Err(nothing_at(position, led)),
        }
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let all = EventFilter::default();
        let mut from = AllOption::End(Empty {});
        // The filter of the server passes types only, so its answer may be an event of a stream of the server.
        for max in [1, 32].into_iter().chain(std::iter::repeat(PAGE_EVENTS)) {
            let newest = self.read_log(from, ReadDirection::Backwards, max, Some(&all)).await?.events;
            if let Some(event) = newest.iter().find(|event| passes(event, &all)) {
                return Ok(event.position);
            }
            match newest.last() {
                Some(oldest) => from = place(oldest.position),
                None => break,
            }
        }
        Ok(Position::START)
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        let moment = moment.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN);
        for _ in 0..PLACES_TRIED {
            let Some((position, id)) = self.index.before(moment) else { break };
            match self.read_log(place(position), ReadDirection::Forwards, 1, None).await {
                Ok(found) if found.events.first().is_some_and(|event| event.id == id) => {
                    return Ok(position);
                }
                Ok(ReadAnswer { led: false, events, .. }) if events.is_empty() => {
                    return Err(nothing_at(position, false));
                }
                // The event was removed.
                Ok(ReadAnswer { events, .. }) if !events.is_empty() => self.index.forget(position),
                // This is another log.
                Ok(_) | Err(CallError::OtherLog(_) | CallError::BeyondEnd) => {
                    self.index.clear();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Position::START)
    }
}

#[async_trait]
impl Append for EsdbStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        let request = AppendRequest::validate(stream, expected, events)?;
        // The call may be repeated: the server recognises the ids.
        let messages = &convert::append_messages(request);
        let append = |server: ChosenServer| async move { call_append(&server, messages.clone()).await };
        let answered = self.cluster.call(ServerNeed::Leader, CallSubject::Stream, append).await;
        match answered {
            Ok(AppendResp { result: Some(append_resp::Result::Success(success)) }) => receipt(&success),
            Ok(AppendResp { result: Some(append_resp::Result::WrongExpectedVersion(conflict)) }) => {
                let actual = match conflict.current_revision_option {
                    Some(wrong_expected_version::CurrentRevisionOption::CurrentRevision(revision)) => {
                        Some(revision)
                    }
                    _ => None,
                };
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            Ok(AppendResp { result: None }) => Err(no_receipt()),
            Err(CallError::StreamDeleted) => {
                Err(AppendError::Refused(format!("the stream {stream} was deleted for good")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn receipt(success: &append_resp::Success) -> Result<AppendReceipt, AppendError> {
    match (success.current_revision_option, success.position_option) {
        (Some(CurrentRevisionOption::CurrentRevision(revision)), Some(PositionOption::Position(at))) => {
            Ok(AppendReceipt { revision, position: Position(at.commit_position) })
        }
        _ => Err(no_receipt()),
    }
}

fn no_receipt() -> AppendError {
    AppendError::Unavailable("the server did not say where it wrote the events".to_owned())
}

impl Subscribe for EsdbStore {
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription {
        subscribe::subscribe(self.clone(), after, filter)
    }
}
