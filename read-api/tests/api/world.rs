//! Starts a server for each test, with its own log and views, and records the events of a test.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::SubmissionId;
use domain::challenge::Challenge;
use domain::challenge::Venues;
use domain::sandbox::ImageFetch;
use domain::submission::{
    ChallengeId, Event, Failed, FailureCode, InterruptionCode, Location, Participant, Passed, Reason,
    RejudgeRequested, SCHEMA, Submitted, VerdictBasis, VerificationInterrupted, VerificationStarted,
};
use domain::testing::{located_in, submitted_by};
use event_store::testing::event_about;
use event_store::{Append, ExpectedRevision, LogCondition, Position, Read, SqliteStore, StreamName};
use http_edge::{Metrics, Operations, OrganiserToken};
use projections::{MemoryViews, ViewQueries, ViewStore};
use read_api::{ReadApi, ReaderLimits, WatchedQueries};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::counting::CountingQueries;

/// The longest wait for an event that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const TOKEN: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) store: SqliteStore,
    pub(crate) views: Arc<MemoryViews>,
    /// The views as the server queries them.
    pub(crate) queries: Arc<CountingQueries>,
    pub(crate) pause_reason: watch::Sender<Option<String>>,
    pub(crate) unknown_rules: watch::Sender<BTreeSet<String>>,
    pub(crate) fetches: watch::Sender<HashMap<SubmissionId, ImageFetch>>,
    pub(crate) log_condition: watch::Sender<LogCondition>,
    pub(crate) stopping: CancellationToken,
    pub(crate) client: Client,
    address: SocketAddr,
    projecting: CancellationToken,
    server: CancellationToken,
    folder: tempfile::TempDir,
}

impl World {
    /// Starts a server whose views follow the log.
    pub(crate) async fn new() -> Self {
        let world = Self::without_projection(ReaderLimits::default()).await;
        world.project();
        world
    }

    /// Starts a server whose views are shown, and stand still until [`World::project`].
    pub(crate) async fn without_projection(readers: ReaderLimits) -> Self {
        let world = Self::starting(readers).await;
        world.views.show_from(Position::START).await.unwrap();
        world
    }

    /// Starts a server whose views have not been begun.
    pub(crate) async fn starting(readers: ReaderLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let views = Arc::new(MemoryViews::new());
        let queries = Arc::new(CountingQueries::new(views.clone()));
        let (pause_sender, pause_reason) = watch::channel(None);
        let (condition_sender, log_condition) = watch::channel(LogCondition::default());
        let (unknown_sender, unknown_rules) = watch::channel(BTreeSet::new());
        let (fetch_sender, fetches) = watch::channel(HashMap::new());
        let stopping = CancellationToken::new();
        let metrics = Metrics::new();
        let routes = read_api::router(ReadApi {
            queries: queries.clone(),
            log: Arc::new(store.clone()),
            subscribe: Arc::new(store.clone()),
            token: OrganiserToken::new(TOKEN),
            pause_cause: pause_reason.clone(),
            pause_reason: pause_reason.clone(),
            unknown_rules,
            fetches,
            tiles: None,
            metrics: metrics.clone(),
            readers,
            venues: venues(),
            stopping: stopping.clone(),
        });
        let routes = routes.merge(http_edge::operations(Operations {
            log: Arc::new(store.clone()),
            log_condition: Some(log_condition),
            views: Some(Arc::new(WatchedQueries(queries.clone()))),
            pause_reason: None,
            verifying: Some(pause_reason),
            metrics: metrics.clone(),
            tokens: None,
            leaving: stopping.clone(),
        }));
        let site = http_edge::server_routes(routes, &metrics, read_api::not_found_page);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = CancellationToken::new();
        let service = site.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(server.clone().run_until_cancelled_owned(axum::serve(listener, service).into_future()));
        Self {
            store,
            views,
            queries,
            pause_reason: pause_sender,
            log_condition: condition_sender,
            unknown_rules: unknown_sender,
            fetches: fetch_sender,
            stopping,
            client: Client::new(),
            address,
            projecting: CancellationToken::new(),
            server,
            folder,
        }
    }

    /// Makes the views follow the log.
    pub(crate) fn project(&self) {
        let running =
            projections::run(Arc::new(self.store.clone()), self.views.clone(), self.projecting.clone());
        tokio::spawn(async { running.await.unwrap() });
    }

    /// Makes the views stand still from now on.
    pub(crate) fn stop_projecting(&self) {
        self.projecting.cancel();
    }

    /// Removes the log's file.
    pub(crate) async fn lose_the_log(&self) {
        self.store.clone().close().await;
        std::fs::remove_file(self.folder.path().join("log.db")).unwrap();
    }

    /// Overwrites the log's file, except for its first page, which holds the schema.
    pub(crate) async fn damage_the_log(&self) {
        self.store.clone().close().await;
        let path = self.folder.path().join("log.db");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Sends a request with further headers.
    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = headers
            .iter()
            .fold(self.client.get(self.url(path)), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }

    /// Returns the JSON of a response that must be 200.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Returns the problem document of a response that must have this status.
    pub(crate) async fn problem(&self, path: &str, status: StatusCode) -> Value {
        problem(self.get(path).await, status).await
    }

    /// Records a submission. The views may not have applied it yet when this returns.
    pub(crate) async fn submit(&self, owner: &str, city: City) -> SubmissionId {
        let id = SubmissionId(Uuid::new_v4());
        self.record(id, [Event::Submitted(submitted(owner, city))]).await;
        id
    }

    /// Records a submission that passes.
    pub(crate) async fn pass(&self, owner: &str, city: City) -> SubmissionId {
        let id = self.submit(owner, city).await;
        self.record(id, [started(1), Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() })])
            .await;
        id
    }

    /// Appends events to a submission's stream.
    pub(crate) async fn record(&self, id: SubmissionId, events: impl IntoIterator<Item = Event>) -> Position {
        let events =
            events.into_iter().map(|event| event_about(id.0, SCHEMA, event.kind(), event.to_stored()));
        let stream = StreamName::of("submission", id.0);
        self.store.append(&stream, ExpectedRevision::Any, events.collect()).await.unwrap().position
    }

    /// Waits until the views have applied every event recorded so far.
    pub(crate) async fn settle(&self) {
        let head = self.store.head().await.unwrap();
        let mut checkpoint = self.views.watch();
        let reached = checkpoint.wait_for(|seen| *seen >= head);
        tokio::time::timeout(DEADLINE, reached).await.expect("the views follow the log").unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.projecting.cancel();
        self.stopping.cancel();
        self.server.cancel();
    }
}

/// Returns the problem document of a response that must have this status.
pub(crate) async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    problem
}

/// The city, its country, and its position in degrees north and east.
pub(crate) type City = (&'static str, &'static str, f64, f64);

pub(crate) const LONDON: City = ("London", "GB", 51.50853, -0.12574);
pub(crate) const TOKYO: City = ("Tokyo", "JP", 35.6895, 139.69171);
pub(crate) const SUVA: City = ("Suva", "FJ", -18.14161, 178.44149);
pub(crate) const APIA: City = ("Apia", "WS", -13.83333, -171.76666);

pub(crate) fn submitted(owner: &str, (city, country, lat, lon): City) -> Submitted {
    let location = located_in(city, country, lat, lon);
    Submitted {
        challenge: ChallengeId { id: "birthday".to_owned(), rules: Challenge::birthday().digest() },
        participant: Participant { name: format!("{owner} of {city}"), twitter: Some(format!("@{owner}")) },
        location: Location { typed: format!("{city}, {country}"), ..location },
        answers: BTreeMap::from([("vote".to_owned(), "Rust".to_owned())]),
        ..submitted_by(owner)
    }
}

pub(crate) fn started(attempt: u32) -> Event {
    let deadline = "2100-01-01T00:00:00Z".parse().unwrap();
    Event::VerificationStarted(VerificationStarted { attempt, verifier: "v1".to_owned(), deadline })
}

pub(crate) fn passed(attempt: u32) -> Event {
    Event::Passed(Passed { attempt, basis: VerdictBasis::default() })
}

pub(crate) fn failed(attempt: u32) -> Event {
    let message = "It did not answer within 2 s.".to_owned();
    let reason = Reason { code: FailureCode::TimedOut, image: None, message };
    Event::Failed(Failed { attempt, reasons: vec![reason], basis: VerdictBasis::default() })
}

pub(crate) fn interrupted(attempt: u32) -> Event {
    Event::VerificationInterrupted(VerificationInterrupted {
        attempt,
        code: InterruptionCode::NoCapacity,
        message: "full".to_owned(),
        retry_at: None,
        counts: false,
    })
}

pub(crate) fn rejudge() -> Event {
    Event::RejudgeRequested(RejudgeRequested { act: domain::testing::act("new rules"), rules: None })
}

/// A live stream, read message by message.
pub(crate) struct Messages {
    response: Response,
    read: String,
}

/// A message of a live stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) name: String,
    /// The position with which the id begins.
    pub(crate) id: Option<u64>,
    /// The whole id.
    pub(crate) whole_id: String,
    pub(crate) data: Value,
}

impl Messages {
    pub(crate) async fn open(world: &World, path: &str, last_event_id: Option<u64>) -> Self {
        Self::open_after(world, path, last_event_id.map(|id| id.to_string())).await
    }

    pub(crate) async fn open_after(world: &World, path: &str, last_event_id: Option<String>) -> Self {
        let id = last_event_id.clone().unwrap_or_default();
        let header = [("last-event-id", id.as_str())];
        let response = world.get_with(path, if last_event_id.is_some() { &header } else { &[] }).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// Returns the next message, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(DEADLINE, self.read_one()).await.expect("a message comes in time")
    }

    /// Returns the next message of this name.
    pub(crate) async fn next_named(&mut self, name: &str) -> Message {
        loop {
            let message = self.next().await.expect("the stream stays open");
            if message.name == name {
                return message;
            }
        }
    }

    async fn read_one(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let message = parse(&self.read[..end]);
                self.read.drain(..end + 2);
                if message.is_some() {
                    return message;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// Returns the message of a block, or `None` if the block is a comment or a setting.
fn parse(block: &str) -> Option<Message> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Message {
        name: field("event")?.to_owned(),
        id: field("id").map(|id| id.split('-').next().unwrap().parse().unwrap()),
        whole_id: field("id").unwrap_or_default().to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

/// Returns two venues without networks and codes.
fn venues() -> Venues {
    let venue = |name: &str| serde_json::json!({ "name": name, "title": name, "location": "Berlin, DE" });
    serde_json::from_value(serde_json::json!([venue("berlin"), venue("paris")])).unwrap()
}
