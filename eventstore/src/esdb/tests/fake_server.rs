//! Servers of the tests: one that answers as its script says, and a cluster that has lost its leader.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, async_trait, metadata::MetadataMap, transport::Server};
use uuid::Uuid;

use super::connect;
use crate::{
    EsdbStore,
    node::proto::{
        gossip::{
            ClusterInfo, EndPoint, MemberInfo,
            gossip_server::{Gossip, GossipServer},
        },
        shared::{self, StreamIdentifier, uuid::Value},
        streams::{
            AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp,
            TombstoneReq, TombstoneResp, append_resp,
            read_req::options::{CountOption, StreamOption, all_options::AllOption},
            read_resp::{
                Content, ReadEvent, SubscriptionConfirmation,
                read_event::{Position as At, RecordedEvent},
            },
            streams_server::{Streams, StreamsServer},
        },
    },
};

/// A server that answers subscriptions from a script, and keeps them waiting when the script is over.
pub(super) struct FakeServer {
    pub(super) store: EsdbStore,
    pub(super) script: Arc<ServerScript>,
    pub(super) address: SocketAddr,
}

#[derive(Default)]
pub(super) struct ServerScript {
    answers: Mutex<VecDeque<Vec<Result<ReadResp, Status>>>>,
    /// The positions that subscriptions began after.
    asked: Mutex<Vec<u64>>,
    /// The number of reads that were no subscriptions.
    pub(super) reads: AtomicU64,
    /// The newest position.
    pub(super) head: AtomicU64,
    /// The number of events at the end of the log that are of streams of the server.
    pub(super) system_events: AtomicU64,
    /// A position at which no event begins.
    pub(super) invalid: AtomicU64,
    /// Positions whose events were removed, with the positions of the events after and before.
    pub(super) gone: Mutex<Vec<(u64, u64, u64)>>,
    /// True if this member of a cluster leads; a server alone always does.
    pub(super) leads: AtomicBool,
    /// True if no event stands at any position that a reader knows, as before they were replicated.
    pub(super) behind: AtomicBool,
    /// True if reads get no answer.
    pub(super) silent: AtomicBool,
    in_cluster: bool,
}

impl FakeServer {
    pub(super) async fn serve(answers: impl IntoIterator<Item = Vec<Result<ReadResp, Status>>>) -> Self {
        let script = Arc::new(ServerScript {
            answers: Mutex::new(answers.into_iter().collect()),
            ..ServerScript::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // As many calls of one connection as EventStoreDB takes.
        let server = Server::builder()
            .max_concurrent_streams(100)
            .add_service(StreamsServer::from_arc(Arc::clone(&script)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { store: connect(&format!("esdb://{address}?tls=false")).await, script, address }
    }

    /// Adds answers to the end of the script.
    pub(super) fn then(&self, answers: impl IntoIterator<Item = Vec<Result<ReadResp, Status>>>) {
        self.script.answers.lock().unwrap().extend(answers);
    }

    pub(super) fn asked(&self) -> Vec<u64> {
        self.script.asked.lock().unwrap().clone()
    }
}

/// A cluster of a follower that lives and two leaders that do not.
pub(super) struct FakeCluster {
    pub(super) script: Arc<ServerScript>,
    pub(super) follower: SocketAddr,
    /// An address at which nothing answers.
    pub(super) dead: SocketAddr,
}

struct FakeMembers {
    script: Arc<ServerScript>,
    follower: SocketAddr,
    dead: SocketAddr,
}

impl FakeCluster {
    pub(super) async fn serve(answers: impl IntoIterator<Item = Vec<Result<ReadResp, Status>>>) -> Self {
        let script = Arc::new(ServerScript {
            answers: Mutex::new(answers.into_iter().collect()),
            in_cluster: true,
            ..ServerScript::default()
        });
        script.head.store(9, Ordering::Relaxed);
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let follower = listener.local_addr().unwrap();
        let members = FakeMembers { script: Arc::clone(&script), follower, dead };
        let server = Server::builder()
            .add_service(StreamsServer::from_arc(Arc::clone(&script)))
            .add_service(GossipServer::new(members));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { script, follower, dead }
    }
}

#[async_trait]
impl Gossip for FakeMembers {
    async fn read(&self, _: Request<shared::Empty>) -> Result<Response<ClusterInfo>, Status> {
        let member = |address: SocketAddr, state, is_alive| MemberInfo {
            state,
            is_alive,
            http_end_point: Some(EndPoint { address: address.ip().to_string(), port: address.port().into() }),
            ..MemberInfo::default()
        };
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let state = if self.script.leads.load(Ordering::Relaxed) { 8 } else { 6 };
        Ok(Response::new(ClusterInfo {
            members: vec![
                member(nowhere, 8, false),
                member(self.dead, 8, true),
                member(self.follower, state, true),
            ],
        }))
    }
}

#[async_trait]
impl Streams for ServerScript {
    type ReadStream = stream::BoxStream<'static, Result<ReadResp, Status>>;
    type BatchAppendStream = stream::Empty<Result<BatchAppendResp, Status>>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        self.check_leader(request.metadata())?;
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let options = request.into_inner().options.unwrap();
        let place = match options.stream_option {
            Some(StreamOption::All(all)) => all.all_option.unwrap(),
            _ => return Err(Status::unimplemented("only $all")),
        };
        let at = match place {
            AllOption::Position(at) => at.commit_position,
            AllOption::Start(_) => 0,
            AllOption::End(_) => self.head.load(Ordering::Relaxed) + 1,
        };
        if let Some(CountOption::Count(count)) = options.count_option {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let events = self.read_events(at, count, options.read_direction == 1)?;
            return Ok(Response::new(stream::iter(events.into_iter().map(Ok)).boxed()));
        }
        self.asked.lock().unwrap().push(at);
        Ok(Response::new(match self.answers.lock().unwrap().pop_front() {
            Some(answers) => stream::iter(answers).boxed(),
            None => stream::pending().boxed(),
        }))
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        self.check_leader(request.metadata())?;
        let success = append_resp::Success {
            current_revision_option: Some(append_resp::success::CurrentRevisionOption::CurrentRevision(0)),
            position_option: Some(append_resp::success::PositionOption::Position(append_resp::Position {
                commit_position: 1,
                prepare_position: 1,
            })),
        };
        Ok(Response::new(AppendResp { result: Some(append_resp::Result::Success(success)) }))
    }

    async fn delete(&self, _: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn tombstone(&self, _: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn batch_append(
        &self,
        _: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}

impl ServerScript {
    fn check_leader(&self, headers: &MetadataMap) -> Result<(), Status> {
        let wanted = headers.get("requires-leader").is_some_and(|value| value == "true");
        if wanted && self.in_cluster && !self.leads.load(Ordering::Relaxed) {
            return Err(Status::unavailable("Server Is Not Ready"));
        }
        Ok(())
    }

    /// Returns one event for each position, but for those that are gone.
    fn read_events(&self, at: u64, count: u64, backwards: bool) -> Result<Vec<ReadResp>, Status> {
        if at > 0 && at == self.invalid.load(Ordering::Relaxed) {
            return Err(Status::unknown("Unexpected ReadAllResult: InvalidPosition"));
        }
        if at > 0 && !backwards && self.behind.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let gone = self.gone.lock().unwrap();
        if backwards {
            if let Some((.., before)) = gone.iter().find(|(_, after, _)| *after == at) {
                return Ok(vec![recorded(*before)]);
            }
            let system_from = self.head.load(Ordering::Relaxed) - self.system_events.load(Ordering::Relaxed);
            let newest = (1..at).rev().take(usize::try_from(count).unwrap());
            let event = |at| if at > system_from { recorded_in("$scavenges", at) } else { recorded(at) };
            return Ok(newest.map(event).collect());
        }
        let next = gone.iter().find(|(gone, ..)| *gone == at).map_or(at, |(_, next, _)| *next);
        Ok(vec![recorded(next)])
    }
}

pub(super) fn answer(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

pub(super) fn confirmation() -> ReadResp {
    answer(Content::Confirmation(SubscriptionConfirmation { subscription_id: "fake".to_owned() }))
}

pub(super) fn recorded(position: u64) -> ReadResp {
    recorded_in("fake", position)
}

pub(super) fn recorded_in(stream: &'static str, position: u64) -> ReadResp {
    let event = RecordedEvent {
        id: Some(shared::Uuid { value: Some(Value::String(id(position).to_string())) }),
        stream_identifier: Some(StreamIdentifier { stream_name: stream.into() }),
        stream_revision: position,
        prepare_position: position,
        commit_position: position,
        metadata: [("type", "Fake"), ("created", "0"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..RecordedEvent::default()
    };
    answer(Content::Event(ReadEvent {
        event: Some(event),
        link: None,
        position: Some(At::CommitPosition(position)),
    }))
}

/// Returns the error of a server that takes another for the leader.
pub(super) fn not_leader(leader: SocketAddr) -> Status {
    let mut status = Status::not_found("Leader info available");
    for (name, value) in [
        ("exception", "not-leader".to_owned()),
        ("leader-endpoint-host", leader.ip().to_string()),
        ("leader-endpoint-port", leader.port().to_string()),
    ] {
        status.metadata_mut().insert(name, value.parse().unwrap());
    }
    status
}

pub(super) fn id(position: u64) -> Uuid {
    Uuid::from_u128(position.into())
}
