//! Deliveries from a log to receivers on this machine.

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::sandbox::{SandboxNode, SandboxNodeState, SandboxReported};
use domain::submission::{Event, SCHEMA};
use domain::testing::{failed, given_up, passed, submitted_by};
use event_store::testing::event_about;
use event_store::{Append, EventFilter, ExpectedRevision, Position, Read, SqliteStore, StreamName};
use projections::MemoryViews;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use super::notice::{NoticeKind, NoticeSubject, notices_of};
use super::*;

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The deadline of a test's waits.
const DEADLINE: Duration = Duration::from_secs(30);

/// A message as a receiver sees it.
#[derive(Debug, Clone)]
struct Arrival {
    id: String,
    body: Value,
    is_signed: bool,
    status: StatusCode,
}

/// A receiver that answers with these statuses first, and then with 204.
#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<Vec<StatusCode>>>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Receiver {
    /// Listens until the handle is aborted.
    async fn listen(&self, listener: TcpListener) -> JoinHandle<()> {
        let app = Router::new().fallback(receive).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
    }

    fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// Returns the ids that were accepted.
    fn accepted(&self) -> Vec<String> {
        let arrivals = self.arrivals();
        let mut ids: Vec<String> =
            arrivals.into_iter().filter(|one| one.status.is_success()).map(|one| one.id).collect();
        ids.sort_unstable();
        ids
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1]) {
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let age = jiff::Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac_sha256(&STANDARD.decode(SECRET).unwrap(), &signed)));
    let is_signed = age.abs() < 300 && text("webhook-signature") == expected;
    let mut answers = receiver.answers.lock().unwrap();
    let status = if answers.is_empty() { StatusCode::NO_CONTENT } else { answers.remove(0) };
    let body = serde_json::from_slice(&body).unwrap();
    receiver.arrivals.lock().unwrap().push(Arrival { id, body, is_signed, status });
    (status, [(header::LOCATION, "/elsewhere")])
}

/// Computes the code as RFC 2104 defines it, independently of the sender's library.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hook(name: &str, at: SocketAddr) -> String {
    format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://{at}/hook\"\nsecret = \"whsec_{SECRET}\"\n")
}

fn settings(hooks: &[String]) -> WebhookSettings {
    WebhookSettings::parse(&format!("allow = [\"127.0.0.1\"]\nqueue_long = 10\n{}", hooks.concat())).unwrap()
}

/// A process that delivers, and its hooks.
struct Delivering {
    boards: Vec<Arc<HookBoard>>,
    stopping: CancellationToken,
    ended: JoinHandle<anyhow::Result<()>>,
    length: watch::Sender<QueueLength>,
}

impl Delivering {
    fn start(log: &SqliteStore, data: &Path, settings: WebhookSettings) -> Self {
        let webhooks = Webhooks::new(settings);
        let (boards, stopping) = (webhooks.boards.clone(), CancellationToken::new());
        let (length, watched) = watch::channel(QueueLength::default());
        let views = Arc::new(MemoryViews::new());
        let sources = WebhookSources::new(Arc::new(log.clone()), views, watched, data);
        let ended = tokio::spawn(webhooks.deliver(sources, Metrics::new(), stopping.clone()));
        Self { boards, stopping, ended, length }
    }

    fn shown(&self, hook: usize) -> Value {
        serde_json::to_value(self.boards[hook].view()).unwrap()
    }

    /// Waits until every hook follows the log.
    async fn follow(&self) {
        eventually(|| (0..self.boards.len()).all(|hook| self.shown(hook)["trouble"].is_null())).await;
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

async fn eventually(is_true: impl FnMut() -> bool) {
    let mut is_true = is_true;
    let until = async {
        while !is_true() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, until).await.expect("it became true");
}

/// Appends these events to a stream of their own.
async fn append(log: &SqliteStore, id: u128, events: &[Event]) {
    let id = Uuid::from_u128(id);
    let events = events.iter().map(|event| event_about(id, SCHEMA, event.kind(), event.to_stored()));
    let stream = StreamName::of("submission", id);
    log.append(&stream, ExpectedRevision::Any, events.collect()).await.unwrap();
}

async fn append_pass(log: &SqliteStore, number: u128) {
    append(log, number, &[Event::Submitted(submitted_by(&format!("p{number}"))), passed(1)]).await;
}

#[tokio::test]
async fn each_event_arrives_once_over_failures_and_a_restart_while_the_receiver_is_down() {
    let home = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(home.path().join("events.sqlite")).unwrap();
    append_pass(&log, 99).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    let failures = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY];
    *receiver.answers.lock().unwrap() = failures.to_vec();
    let listening = receiver.listen(listener).await;

    let delivering = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
    delivering.follow().await;
    for number in 0..10 {
        append_pass(&log, number).await;
    }
    eventually(|| {
        delivering.boards[0].again.notify_one();
        receiver.accepted().len() == 10
    })
    .await;
    eventually(|| delivering.shown(0)["waiting"] == 0).await;
    assert_eq!(delivering.shown(0)["delivered"], 10);

    // The receiver goes, and then we do.
    listening.abort();
    assert!(listening.await.unwrap_err().is_cancelled());
    append_pass(&log, 10).await;
    eventually(|| delivering.shown(0)["last"]["failure"].is_string()).await;
    delivering.stop().await;
    for number in 11..20 {
        append_pass(&log, number).await;
    }
    let delivering = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
    eventually(|| delivering.shown(0)["waiting"] == 10).await;
    let failure = delivering.shown(0)["last"]["failure"].to_string();
    assert!(failure.contains("cannot be reached"), "{failure}");

    let _listening = receiver.listen(TcpListener::bind(at).await.unwrap()).await;
    eventually(|| {
        delivering.boards[0].again.notify_one();
        receiver.accepted().len() == 20
    })
    .await;
    eventually(|| delivering.shown(0)["waiting"] == 0).await;
    delivering.stop().await;

    let mut ids = receiver.accepted();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    let arrivals = receiver.arrivals();
    assert!(arrivals.iter().all(|one| one.is_signed && ids.contains(&one.id)));
    let names: std::collections::BTreeSet<String> =
        arrivals.iter().map(|one| one.body["data"]["name"].to_string()).collect();
    assert_eq!(names.len(), 20);
    assert!(!names.contains("\"p99\""), "a new hook hears nothing of before");
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other_hook() {
    let home = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(home.path().join("events.sqlite")).unwrap();
    // Connections are made, and nobody answers them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    let _listening = receiver.listen(listener).await;
    let hooks = [hook("slow", silent.local_addr().unwrap()), hook("ops", at)];
    let delivering = Delivering::start(&log, home.path(), settings(&hooks));
    delivering.follow().await;
    for number in 0..100 {
        append_pass(&log, number).await;
    }
    eventually(|| receiver.accepted().len() == 100).await;
    assert_eq!(delivering.shown(0)["delivered"], 0);
    delivering.stop().await;
}

#[tokio::test]
async fn one_process_delivers_and_a_second_takes_over() {
    let home = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(home.path().join("events.sqlite")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    let _listening = receiver.listen(listener).await;
    let first = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
    first.follow().await;
    let second = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
    append_pass(&log, 1).await;
    eventually(|| receiver.accepted().len() == 1).await;
    assert!(second.shown(0)["trouble"].to_string().contains("another process"));
    first.stop().await;
    second.follow().await;
    append_pass(&log, 2).await;
    eventually(|| receiver.accepted().len() == 2).await;
    second.stop().await;
}

#[tokio::test]
async fn a_long_queue_is_told_once_even_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(home.path().join("events.sqlite")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    let _listening = receiver.listen(listener).await;
    for _ in 0..2 {
        let delivering = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
        delivering.follow().await;
        eventually(|| {
            delivering.length.send_replace(QueueLength { waiting: 40, expected_wait_s: Some(90) });
            receiver.accepted().len() == 1
        })
        .await;
        delivering.stop().await;
    }
    let [told] = receiver.arrivals().try_into().unwrap();
    assert_eq!((&told.body["type"], &told.body["data"]["waiting"]), (&"queue_long".into(), &40.into()));
}

#[tokio::test]
async fn another_log_is_begun_at_its_end() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    let _listening = receiver.listen(listener).await;
    for (name, first) in [("one", 0), ("other", 10)] {
        let log = SqliteStore::open(home.path().join(name)).unwrap();
        append_pass(&log, first).await;
        append_pass(&log, first + 1).await;
        let delivering = Delivering::start(&log, home.path(), settings(&[hook("ops", at)]));
        delivering.follow().await;
        append_pass(&log, first + 2).await;
        let name = format!("p{}", first + 2);
        eventually(|| receiver.arrivals().iter().any(|one| one.body["data"]["name"] == *name)).await;
        delivering.stop().await;
    }
    assert_eq!(receiver.arrivals().len(), 2);
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_name_that_means_inside_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, receiver) = (listener.local_addr().unwrap(), Receiver::default());
    *receiver.answers.lock().unwrap() = vec![StatusCode::TEMPORARY_REDIRECT, StatusCode::FOUND];
    let _listening = receiver.listen(listener).await;
    let allowed = settings(&[hook("ops", at)]);
    let sender = MessageSender::new(&allowed).unwrap();
    let notice = notice::WebhookNotice::of_queue(1, None, Position(1));
    for tries in 1..=2 {
        let error = sender.send(&allowed.hooks[0], &notice).await.unwrap_err();
        assert!(error.why.contains("redirects are not followed"), "{error:?}");
        assert_eq!(receiver.arrivals().len(), tries);
    }

    let port = at.port();
    for name in ["localhost", "localhost.", "LOCALHOST", "foo.localhost"] {
        let text = format!(
            "[[webhook]]\nname = \"ops\"\nform = \"slack\"\nurl = \"https://{name}:{port}/secret-path\"\n"
        );
        let inside = WebhookSettings::parse(&text).unwrap();
        let sender = MessageSender::new(&inside).unwrap();
        let error = sender.send(&inside.hooks[0], &notice).await.unwrap_err();
        let is_unknown = name.contains('.') && !error.why.contains("inside");
        assert!(is_unknown || error.why.contains("an address inside"), "{name}: {error:?}");
        assert!(!error.why.contains("secret-path"), "{error:?}");
    }
    assert_eq!(receiver.arrivals().len(), 2);
}

#[tokio::test]
async fn events_become_notices_of_their_kinds() {
    let home = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(home.path().join("events.sqlite")).unwrap();
    append(&log, 1, &[Event::Submitted(submitted_by("ada")), failed(1, []), given_up(1)]).await;
    let unread = event_about(Uuid::from_u128(1), SCHEMA + 1, "Exploded", "{}");
    let stream = StreamName::of("submission", Uuid::from_u128(1));
    log.append(&stream, ExpectedRevision::Any, vec![unread]).await.unwrap();
    let stream = StreamName::new(SandboxReported::stream("v1")).unwrap();
    for state in [SandboxNodeState::Ready { slots: 1, grade: None }, SandboxNodeState::Down] {
        let nodes = vec![SandboxNode { name: "n1".to_owned(), state }];
        let report = SandboxReported { nodes, ..SandboxReported::default() };
        let event = event_about(Uuid::new_v4(), 1, SandboxReported::KIND, report.to_stored());
        log.append(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
    }

    let page = log.read_all(Position::START, &EventFilter::default(), 100).await.unwrap();
    let mut told = Vec::new();
    for event in &page.events {
        let notices = notices_of(&log, event, "ops", &NoticeKind::ALL).await.unwrap();
        assert_eq!(notices, notices_of(&log, event, "ops", &NoticeKind::ALL).await.unwrap());
        assert!(notices_of(&log, event, "ops", &[NoticeKind::QueueLong]).await.unwrap().is_empty());
        told.extend(notices);
    }
    let kinds: Vec<NoticeKind> = told.iter().map(|notice| notice.kind).collect();
    use NoticeKind::{Failed, NodeLost, Stuck};
    assert_eq!(kinds, [Failed, Stuck, Stuck, NodeLost]);
    for notice in &told[..3] {
        let NoticeSubject::Submission { entry: Some(entry), .. } = &notice.subject else {
            panic!("{notice:?}")
        };
        assert_eq!((entry.name.as_str(), entry.owner.as_str()), ("ada", "docker.io/ada"));
    }
    let mut ids: Vec<&String> = told.iter().map(|notice| &notice.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}
