//! The client's faults, each provoked by a server that misbehaves on purpose.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, async_trait, transport::Server};
use uuid::Uuid;

use super::EsdbStore;
use crate::{
    Append, AppendError, EventFilter, ExpectedRevision, Position, Read, ReadDirection, ReadError,
    SqliteStore, Subscribe, Subscription, SubscriptionItem,
    node::{
        self,
        proto::{
            shared::{self, StreamIdentifier, uuid::Value},
            streams::{
                AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq,
                ReadResp, TombstoneReq, TombstoneResp,
                read_req::options::{StreamOption, all_options::AllOption},
                read_resp::{
                    CaughtUp, Checkpoint, Content, ReadEvent, StreamNotFound, SubscriptionConfirmation,
                    read_event::{Position as At, RecordedEvent},
                },
                streams_server::{Streams, StreamsServer},
            },
        },
    },
    testing::{event_of_size, new_stream},
};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_waits_for_a_server_that_starts_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let store = connect(&format!("esdb://{address}?tls=false")).await;
    let (appending, name) = (store.clone(), new_stream());
    let append = tokio::spawn({
        let name = name.clone();
        async move { appending.append(&name, ExpectedRevision::NoStream, vec![event_of_size(0)]).await }
    });
    // The first client is dead after its first connect, so wait for its successor.
    until(|| store.client.current_client().1 > 0).await;
    let folder = tempfile::TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), std::future::pending()));
    assert_eq!(append.await.unwrap().unwrap().revision, 0);
    assert_eq!(store.read_stream(&name, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_comes_is_unavailable_in_time() {
    let store = connect("esdb://127.0.0.1:1?tls=false").await;
    let started = Instant::now();
    let append = store.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await;
    assert!(matches!(append, Err(AppendError::Unavailable(_))), "{append:?}");
    assert!(started.elapsed() < super::CALL_DEADLINE + Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_of_a_cluster_is_left_for_another() {
    let folder = tempfile::TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let mut stops = Vec::new();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        hosts.push(listener.local_addr().unwrap());
        let stop = tokio_util::sync::CancellationToken::new();
        let node =
            node::serve(listener, log.clone(), node::NodeConfig::default(), stop.clone().cancelled_owned());
        stops.push((stop, tokio::spawn(node)));
    }
    let store = connect(&format!("esdb://{},{}?tls=false", hosts[0], hosts[1])).await;
    let name = new_stream();
    let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(name.as_str()));
    for (expected, stop) in [
        (ExpectedRevision::NoStream, None),
        (ExpectedRevision::Exact(0), Some(0)),
        (ExpectedRevision::Exact(1), Some(1)),
    ] {
        // One of the two stops hits the member in use. After both, no member is left, and one comes back.
        if let Some(n) = stop {
            let (stop, node): (_, tokio::task::JoinHandle<_>) = stops.remove(0);
            stop.cancel();
            node.await.unwrap().unwrap();
            if n == 1 {
                let listener = TcpListener::bind(hosts[0]).await.unwrap();
                let node =
                    node::serve(listener, log.clone(), node::NodeConfig::default(), std::future::pending());
                tokio::spawn(node);
            }
        }
        let written = event_of_size(0);
        store.append(&name, expected, vec![written.clone()]).await.unwrap();
        assert_eq!(next_event(&mut follower).await, written.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_ends_without_an_error_is_resumed() {
    let fake = FakeServer::serve([
        vec![Ok(confirmation()), Ok(recorded(1)), Ok(recorded(2))],
        vec![Ok(confirmation()), Ok(recorded(3)), Err(Status::unavailable("over"))],
        vec![Ok(confirmation()), Ok(recorded(4))],
    ])
    .await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    for position in 1..=4 {
        assert_eq!(next_event(&mut follower).await, id(position));
    }
    assert_eq!(fake.asked(), [0, 2, 3], "each resumes after the last event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_resumes_from_a_checkpoint_too() {
    let checkpoint = Checkpoint { commit_position: 7, prepare_position: 7, timestamp: None };
    let fake = FakeServer::serve([
        vec![Ok(confirmation()), Ok(recorded(1)), Ok(answer(Content::Checkpoint(checkpoint)))],
        vec![Ok(confirmation()), Ok(answer(Content::CaughtUp(CaughtUp::default()))), Ok(recorded(8))],
    ])
    .await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let mut deliveries = Vec::new();
    while deliveries.len() < 4 {
        deliveries.push(timeout(DEADLINE, follower.next()).await.unwrap().unwrap().unwrap());
    }
    assert_eq!(deliveries[1], SubscriptionItem::Checkpoint(Position(7)));
    assert_eq!(deliveries[2], SubscriptionItem::CaughtUp(Position(7)));
    assert!(matches!(&deliveries[3], SubscriptionItem::Event(event) if event.position == Position(8)));
    assert_eq!(fake.asked()[1], 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_client_does_not_end_a_subscription() {
    let not_found = StreamNotFound { stream_identifier: None };
    let fake = FakeServer::serve([
        vec![Ok(confirmation()), Ok(answer(Content::StreamNotFound(not_found)))],
        vec![Ok(confirmation()), Ok(recorded(1))],
    ])
    .await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    assert_eq!(next_event(&mut follower).await, id(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_always_breaks_off_is_resumed_with_pauses() {
    let fake =
        FakeServer::serve((0..200).map(|_| vec![Ok(confirmation()), Err(Status::unavailable("no"))])).await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let nothing = timeout(Duration::from_secs(2), follower.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let tries = fake.asked().len();
    assert!((2..20).contains(&tries), "{tries} tries in two seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_subscription_ends_with_the_reason() {
    let fake = FakeServer::serve([vec![Err(Status::permission_denied("no"))]]).await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let refused = timeout(DEADLINE, follower.next()).await.unwrap();
    assert!(matches!(refused, Some(Err(ReadError::Refused(_)))), "{refused:?}");
    assert!(follower.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_to_a_damaged_log_ends_with_that_reason() {
    let damaged = Err(Status::data_loss("page 7 is damaged"));
    let fake = FakeServer::serve([vec![Ok(confirmation()), Ok(recorded(1)), damaged]]).await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    assert_eq!(next_event(&mut follower).await, id(1));
    let corrupt = timeout(DEADLINE, follower.next()).await.unwrap();
    assert_eq!(corrupt, Some(Err(ReadError::Corrupt("page 7 is damaged".to_owned()))));
    assert!(follower.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_address_is_refused_and_its_password_not_shown() {
    for address in ["esdb://admin:secret@:2113", "http://admin:secret@host:2113", "secret", "esdb://h:secret"]
    {
        let error = EsdbStore::connect(address).await.unwrap_err().to_string();
        assert!(error.contains("malformed"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let error = EsdbStore::connect("esdb://h:1?tlsCaFile=/no/such/file").await.unwrap_err().to_string();
    assert!(error.contains("/no/such/file cannot be read"), "{error}");
}

/// A server that answers subscriptions from a script, and keeps them waiting when the script is over.
struct FakeServer {
    store: EsdbStore,
    script: Arc<ServerScript>,
}

#[derive(Default)]
struct ServerScript {
    answers: Mutex<VecDeque<Vec<Result<ReadResp, Status>>>>,
    /// The positions that subscriptions began after.
    asked: Mutex<Vec<u64>>,
}

impl FakeServer {
    async fn serve(answers: impl IntoIterator<Item = Vec<Result<ReadResp, Status>>>) -> Self {
        let script = Arc::new(ServerScript {
            answers: Mutex::new(answers.into_iter().collect()),
            ..ServerScript::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().add_service(StreamsServer::from_arc(Arc::clone(&script)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { store: connect(&format!("esdb://{address}?tls=false")).await, script }
    }

    fn asked(&self) -> Vec<u64> {
        self.script.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Streams for ServerScript {
    type ReadStream = stream::BoxStream<'static, Result<ReadResp, Status>>;
    type BatchAppendStream = stream::Empty<Result<BatchAppendResp, Status>>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        let options = request.into_inner().options.unwrap();
        let after = match options.stream_option {
            Some(StreamOption::All(all)) => match all.all_option {
                Some(AllOption::Position(at)) => at.commit_position,
                _ => 0,
            },
            _ => return Err(Status::unimplemented("only $all")),
        };
        if matches!(
            options.count_option,
            Some(node::proto::streams::read_req::options::CountOption::Count(_))
        ) {
            // The check whether the subscriber's position is beyond the end: it is not.
            return Ok(Response::new(stream::iter([Ok(recorded(after))]).boxed()));
        }
        self.asked.lock().unwrap().push(after);
        Ok(Response::new(match self.answers.lock().unwrap().pop_front() {
            Some(answers) => stream::iter(answers).boxed(),
            None => stream::pending().boxed(),
        }))
    }

    async fn append(&self, _: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        Err(Status::unimplemented("not in the script"))
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

fn answer(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

fn confirmation() -> ReadResp {
    answer(Content::Confirmation(SubscriptionConfirmation { subscription_id: "fake".to_owned() }))
}

fn recorded(position: u64) -> ReadResp {
    let event = RecordedEvent {
        id: Some(shared::Uuid { value: Some(Value::String(id(position).to_string())) }),
        stream_identifier: Some(StreamIdentifier { stream_name: "fake".into() }),
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

fn id(position: u64) -> Uuid {
    Uuid::from_u128(position.into())
}

async fn next_event(follower: &mut Subscription) -> Uuid {
    loop {
        let delivery =
            timeout(DEADLINE, follower.next()).await.expect("in time").expect("no end").expect("no error");
        if let SubscriptionItem::Event(event) = delivery {
            return event.id;
        }
    }
}

async fn connect(address: &str) -> EsdbStore {
    EsdbStore::connect(address).await.unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("it comes to be in time");
}
