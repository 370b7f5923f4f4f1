//! A server for tests that behaves like a real EventStoreDB where the node does not: positions are sparse offsets,
//! events of the server itself stand between the others, and each version refuses requests and sends checkpoints
//! in its own way. `tests/recordings` has the real servers' answers. A test can also put the server in trouble.

mod logins;
mod offsets;
mod trouble;

pub use trouble::ServerTrouble;

use std::future::Future;

use async_stream::try_stream;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait, transport::Server};
use uuid::Uuid;

use self::offsets::{OffsetKind, kind_of, offset};
use super::{
    MAX_MESSAGE_BYTES, ServeError, auth,
    event_format::response,
    features::{GossipMember, SupportedFeatures},
    listener,
    proto::{
        gossip::gossip_server::GossipServer,
        server_features::server_features_server::ServerFeaturesServer,
        shared::AllStreamPosition,
        streams::{
            AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp,
            TombstoneReq, TombstoneResp, append_resp, batch_append_resp, delete_resp,
            read_req::{
                Options,
                options::{
                    AllOptions, CountOption, FilterOption, ReadDirection, StreamOption,
                    all_options::AllOption, filter_options::Window,
                },
            },
            read_resp::{
                CaughtUp, Checkpoint, Content, Position as ToldPosition, ReadEvent, SubscriptionConfirmation,
                read_event,
            },
            streams_server::{Streams, StreamsServer},
            tombstone_resp,
        },
    },
    shared::{NodeContext, ResponseStream},
};
use crate::{
    Position, SqliteStore, StreamName,
    append_request::ProposedEvent,
    sqlite::{StreamWrite, WriteAction, WriteCondition},
};

/// The number of events that a server reads at once.
const SERVER_PAGE_EVENTS: u32 = 32;

/// The stream of the events that a server records of itself while it runs.
const STATISTICS: &str = "$stats-127.0.0.1:2113";

/// The stream of a new server's first event, and the event's data.
const SCAVENGES: &str = "$$$scavenges";
const SCAVENGES_METADATA: &str =
    r#"{"$maxAge":2592000,"$acl":{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}}"#;

/// The version of EventStoreDB that a server behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name of each version says all")]
pub enum ServerProfile {
    V23_10_8,
    V24_10_3,
    V24_10_14,
}

/// Serves `store` on `listener` as a real server would, until `shutdown` completes.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    store: SqliteStore,
    profile: ServerProfile,
    trouble: ServerTrouble,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    let member = GossipMember { host: address.ip().to_string(), port: address.port() };
    let stopping = CancellationToken::new();
    let node = NodeContext { store, stopping: stopping.clone() };
    let server = ProfiledServer { node, profile, trouble };
    server.record(SCAVENGES, "$metadata", SCAVENGES_METADATA).await;
    let streams = StreamsServer::new(server)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let _stop_when_dropped = stopping.clone().drop_guard();
    let shutdown = async move {
        shutdown.await;
        stopping.cancel();
    };
    Server::builder()
        .add_service(streams)
        .add_service(ServerFeaturesServer::new(SupportedFeatures))
        .add_service(GossipServer::new(member))
        .serve_with_incoming_shutdown(listener::slow_connections(listener), shutdown)
        .await?;
    Ok(())
}

#[derive(Clone)]
struct ProfiledServer {
    node: NodeContext,
    profile: ServerProfile,
    trouble: ServerTrouble,
}

/// The parts of a read or subscription that decide its answers.
#[derive(Clone, Copy, Default)]
struct AskedRead {
    subscribes: bool,
    filtered: bool,
    /// True if the first checkpoint is that of the log's beginning.
    begins_with_a_checkpoint: bool,
    /// The offset that the client named, and its meaning.
    from: Option<(u64, OffsetKind)>,
}

#[async_trait]
impl Streams for ProfiledServer {
    type ReadStream = ResponseStream<ReadResp>;
    type BatchAppendStream = ResponseStream<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        self.trouble.check_login(request.metadata(), reads_log(request.get_ref()))?;
        self.trouble.check_read(request.metadata())?;
        let mut read = request.into_inner();
        let asked = self.place(&mut read)?;
        match asked.from {
            Some((_, OffsetKind::Between)) => return Ok(Response::new(refused_subscription())),
            Some((_, OffsetKind::BeyondEnd(_))) if !asked.subscribes => {
                return Ok(Response::new(Box::pin(stream::empty())));
            }
            _ => {}
        }
        let answers = self.node.read(Request::new(read)).await?.into_inner();
        Ok(Response::new(self.clone().answers(answers, asked)))
    }

    async fn append(
        &self,
        mut request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        self.trouble.check_write(request.metadata())?;
        auth::admit(&mut request);
        let mut response = self.node.append(request).await?;
        if let Some(append_resp::Result::Success(success)) = &mut response.get_mut().result
            && let Some(append_resp::success::PositionOption::Position(at)) = &mut success.position_option
        {
            let offset = offset(Position(at.commit_position));
            *at = append_resp::Position { commit_position: offset, prepare_position: offset };
        }
        // So that one stands at the end of the log and between all others.
        self.record(STATISTICS, "$statsCollected", "{}").await;
        Ok(response)
    }

    async fn delete(&self, mut request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        self.trouble.check_write(request.metadata())?;
        auth::admit(&mut request);
        let mut response = self.node.delete(request).await?;
        if let Some(delete_resp::PositionOption::Position(at)) = &mut response.get_mut().position_option {
            let offset = offset(Position(at.commit_position));
            *at = delete_resp::Position { commit_position: offset, prepare_position: offset };
        }
        Ok(response)
    }

    async fn tombstone(&self, mut request: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        self.trouble.check_write(request.metadata())?;
        auth::admit(&mut request);
        let mut response = self.node.tombstone(request).await?;
        if let Some(tombstone_resp::PositionOption::Position(at)) = &mut response.get_mut().position_option {
            let offset = offset(Position(at.commit_position));
            *at = tombstone_resp::Position { commit_position: offset, prepare_position: offset };
        }
        Ok(response)
    }

    async fn batch_append(
        &self,
        mut request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        self.trouble.check_write(request.metadata())?;
        auth::admit(&mut request);
        let answers = self.node.batch_append(request).await?.into_inner();
        Ok(Response::new(Box::pin(answers.map(|answer| {
            let mut answer = answer?;
            if let Some(batch_append_resp::Result::Success(success)) = &mut answer.result
                && let Some(batch_append_resp::success::PositionOption::Position(at)) =
                    &mut success.position_option
            {
                let offset = offset(Position(at.commit_position));
                *at = AllStreamPosition { commit_position: offset, prepare_position: offset };
            }
            Ok(answer)
        }))))
    }
}

impl ProfiledServer {
    /// Records an event of the server itself.
    async fn record(&self, stream: &str, kind: &str, data: &'static str) {
        let event = ProposedEvent {
            id: Uuid::new_v4(),
            kind: kind.to_owned(),
            json: true,
            data: Bytes::from_static(data.as_bytes()),
            metadata: Bytes::new(),
        };
        let write = StreamWrite {
            stream: StreamName::recorded(stream.to_owned()),
            condition: WriteCondition::Any,
            action: WriteAction::Append(vec![event]),
        };
        if let Err(error) = self.node.store.write(write).await {
            tracing::warn!(?error, "the test server could not record an event of its own");
        }
    }

    /// Writes the embedded log's position in place of the offset that the client asked for.
    ///
    /// # Errors
    /// If the version refuses the offset before it answers.
    fn place(&self, read: &mut ReadReq) -> Result<AskedRead, Status> {
        let Some(options) = &mut read.options else {
            return Ok(AskedRead::default());
        };
        let backwards = options.read_direction() == ReadDirection::Backwards;
        let subscribes = matches!(options.count_option, Some(CountOption::Subscription(_)));
        let filtered = matches!(options.filter_option, Some(FilterOption::Filter(_)));
        let begins_with_a_checkpoint = subscribes && self.begins_with_a_checkpoint(options);
        let asked = AskedRead { subscribes, filtered, begins_with_a_checkpoint, from: None };
        let Some(StreamOption::All(AllOptions { all_option: Some(AllOption::Position(at)) })) =
            &mut options.stream_option
        else {
            return Ok(asked);
        };
        if at.prepare_position > at.commit_position {
            return Err(unforeseen());
        }
        let kind = kind_of(at.commit_position, *self.node.store.watch_head().borrow());
        let from = Some((at.commit_position, kind));
        match kind {
            OffsetKind::Place(position) | OffsetKind::BeyondEnd(position) => {
                let position = if subscribes { position } else { self.trouble.kept(position, backwards) };
                at.commit_position = position.0;
                at.prepare_position = position.0;
            }
            OffsetKind::Between => {}
        }
        match kind {
            OffsetKind::Between if subscribes && self.profile == ServerProfile::V23_10_8 => Err(unforeseen()),
            OffsetKind::Between if !subscribes => Err(self.invalid_position()),
            OffsetKind::BeyondEnd(_) if backwards => Err(self.invalid_position()),
            _ => Ok(AskedRead { from, ..asked }),
        }
    }

    fn begins_with_a_checkpoint(&self, options: &Options) -> bool {
        let Some(FilterOption::Filter(filter)) = &options.filter_option else { return false };
        let from_the_start = matches!(
            options.stream_option,
            Some(StreamOption::All(AllOptions { all_option: Some(AllOption::Start(_)) }))
        );
        let window = match filter.window {
            Some(Window::Max(max)) => max,
            Some(Window::Count(_)) | None => SERVER_PAGE_EVENTS,
        };
        let interval = u64::from(window) * u64::from(filter.checkpoint_interval_multiplier);
        from_the_start && interval <= u64::from(SERVER_PAGE_EVENTS) && self.profile != ServerProfile::V24_10_3
    }

    fn invalid_position(&self) -> Status {
        Status::unknown(match self.profile {
            ServerProfile::V23_10_8 => "Unexpected ReadAllResult: Error",
            ServerProfile::V24_10_3 | ServerProfile::V24_10_14 => "Unexpected ReadAllResult: InvalidPosition",
        })
    }

    /// Writes offsets in place of positions, and leaves out the answers that this version does not send.
    fn answers(self, mut answers: ResponseStream<ReadResp>, asked: AskedRead) -> ResponseStream<ReadResp> {
        let mut cut_off = self.trouble.watch_cut_off();
        let lost = self.lost_by_a_scavenge(asked);
        Box::pin(try_stream! {
            let mut live = false;
            // True once an event or a checkpoint was sent.
            let mut told = false;
            // A checkpoint that is sent unless the subscription is caught up next.
            let mut held: Option<Checkpoint> = None;
            loop {
                let answer = tokio::select! {
                    Ok(()) = cut_off.changed(), if live => Some(Err(too_slow())),
                    answer = answers.next() => answer,
                };
                let Some(answer) = answer else { return };
                match answer?.content {
                    Some(Content::Event(event)) => {
                        let position = position_of(&event);
                        if Some(position) == lost || self.trouble.is_scavenged(position) {
                            continue;
                        }
                        if let Some(checkpoint) = held.take() {
                            yield response(Content::Checkpoint(checkpoint));
                        }
                        told = true;
                        yield response(Content::Event(with_offsets(event)));
                    }
                    Some(Content::Checkpoint(checkpoint)) => {
                        if let Some(earlier) = held.replace(self.checkpoint(checkpoint)) {
                            told = true;
                            yield response(Content::Checkpoint(earlier));
                        }
                        if live && let Some(checkpoint) = held.take() {
                            yield response(Content::Checkpoint(checkpoint));
                        }
                    }
                    Some(Content::CaughtUp(caught_up)) => {
                        live = true;
                        if let Some(checkpoint) = self.last_checkpoint(held.take(), told, asked) {
                            yield response(Content::Checkpoint(checkpoint));
                        }
                        yield response(Content::CaughtUp(self.caught_up(caught_up, asked)));
                    }
                    Some(Content::Confirmation(confirmation)) => {
                        yield response(Content::Confirmation(confirmation));
                        if asked.begins_with_a_checkpoint {
                            yield response(Content::Checkpoint(self.checkpoint(Checkpoint::default())));
                        }
                    }
                    content => yield ReadResp { content },
                }
            }
        })
    }

    /// Returns the position of the event that 23.10.8 loses: the one after an event that a scavenge removed, if a
    /// filtered subscription is resumed there.
    fn lost_by_a_scavenge(&self, asked: AskedRead) -> Option<Position> {
        let Some((_, OffsetKind::Place(from))) = asked.from else { return None };
        let loses = self.profile == ServerProfile::V23_10_8 && asked.subscribes && asked.filtered;
        (loses && self.trouble.is_scavenged(from)).then(|| self.trouble.next_kept(from))
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> Checkpoint {
        let commit_position = offset(Position(checkpoint.commit_position));
        let timestamp = checkpoint.timestamp.filter(|_| self.profile == ServerProfile::V24_10_14);
        Checkpoint { commit_position, prepare_position: 0, timestamp }
    }

    /// Returns the checkpoint that a subscription gets when it is caught up.
    fn last_checkpoint(&self, held: Option<Checkpoint>, told: bool, asked: AskedRead) -> Option<Checkpoint> {
        match self.profile {
            ServerProfile::V24_10_14 => held,
            ServerProfile::V24_10_3 if asked.filtered && !told => {
                Some(Checkpoint { commit_position: u64::MAX, prepare_position: u64::MAX, timestamp: None })
            }
            ServerProfile::V24_10_3 => held,
            ServerProfile::V23_10_8 => None,
        }
    }

    fn caught_up(&self, caught_up: CaughtUp, asked: AskedRead) -> CaughtUp {
        if self.profile != ServerProfile::V24_10_14 {
            return CaughtUp::default();
        }
        let position = caught_up.position.map(|at| match asked.from {
            Some((offset, OffsetKind::BeyondEnd(_))) => {
                ToldPosition { commit_position: offset, prepare_position: offset }
            }
            _ => {
                let commit_position = offset(Position(at.commit_position));
                let prepare_position = offset(Position(at.prepare_position));
                ToldPosition { commit_position, prepare_position }
            }
        });
        CaughtUp { position, ..caught_up }
    }
}

fn reads_log(read: &ReadReq) -> bool {
    let of = read.options.as_ref().and_then(|options| options.stream_option.as_ref());
    matches!(of, Some(StreamOption::All(_)))
}

fn refused_subscription() -> ResponseStream<ReadResp> {
    let subscription_id = Uuid::new_v4().to_string();
    let confirmation = response(Content::Confirmation(SubscriptionConfirmation { subscription_id }));
    let refusal = Status::invalid_argument("Trying to read from an invalid position.");
    Box::pin(stream::iter([Ok(confirmation), Err(refusal)]))
}

fn position_of(event: &ReadEvent) -> Position {
    match event.position {
        Some(read_event::Position::CommitPosition(at)) => Position(at),
        Some(read_event::Position::NoPosition(_)) | None => Position::START,
    }
}

fn with_offsets(mut event: ReadEvent) -> ReadEvent {
    for recorded in [&mut event.event, &mut event.link].into_iter().flatten() {
        let offset = offset(Position(recorded.commit_position));
        (recorded.commit_position, recorded.prepare_position) = (offset, offset);
    }
    let offset = offset(position_of(&event));
    event.position = Some(read_event::Position::CommitPosition(offset));
    event
}

fn unforeseen() -> Status {
    Status::unknown("Exception was thrown by handler.")
}

fn too_slow() -> Status {
    Status::aborted(
        "Operation timed out: Consumer too slow to handle event while live. Client resubscription required.",
    )
}
