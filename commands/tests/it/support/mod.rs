//! A log and a write API for each test, and a client.

pub(crate) mod store;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use commands::{Actor, Cause, Commands, Gazetteer, WriteApiSettings, router};
use domain::challenge::SubmissionForm;
use domain::submission::{Place, Submitted};
use domain::{Challenge, Event, SubmissionId};
use event_store::{Append, EventFilter, Position, Read, ReadDirection, SqliteStore, StreamName};
use http_body_util::BodyExt;
use http_edge::{Metrics, OrganiserToken, server_routes};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const TOKEN: &str = "for organisers only";

/// A write API on a log of its own.
pub(crate) struct App {
    router: axum::Router,
    pub(crate) log: Arc<dyn Append>,
}

/// A response of the write API.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Creates a log in a directory that is removed when the handle is dropped.
pub(crate) fn log() -> (SqliteStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (SqliteStore::open(directory.path().join("log.sqlite")).unwrap(), directory)
}

pub(crate) fn settings() -> WriteApiSettings {
    WriteApiSettings {
        key_space: Uuid::from_u128(42),
        token: OrganiserToken::new(TOKEN),
        rate_by_address: None,
        rate_by_owner: None,
        ..WriteApiSettings::default()
    }
}

/// Returns Ada's submission as the domain has it.
pub(crate) fn ada() -> Submitted {
    let form = SubmissionForm {
        name: "Ada Lovelace".into(),
        twitter: Some("@ada".into()),
        location: "London, UK".into(),
        images: vec!["ada/voting".into(), "ada/result".into()],
        answers: [("vote".into(), "Python".into())].into(),
    };
    let place = Place { city: "London".into(), country: "GB".into(), lat: 51.50853, lon: -0.12574 };
    Challenge::birthday().check(form).unwrap().into_submitted(place)
}

/// Returns Ada's submission as a client sends it.
pub(crate) fn entry() -> Value {
    json!({
        "name": "Ada Lovelace", "twitter": "@ada", "location": "London, UK",
        "images": ["ada/voting", "ada/result"], "vote": "Python",
    })
}

/// Returns Ada's submission with changed fields; `null` removes a field.
pub(crate) fn entry_with(changes: Value) -> Value {
    let mut entry = entry();
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            entry.as_object_mut().unwrap().remove(field);
        } else {
            entry[field] = value.clone();
        }
    }
    entry
}

pub(crate) fn by(actor: Actor) -> Cause {
    Cause { actor, id: Uuid::now_v7() }
}

/// Returns the types of the events of a submission.
pub(crate) async fn history(log: &dyn Read, id: SubmissionId) -> Vec<&'static str> {
    let stream = StreamName::of("submission", id.0);
    let recorded = log.read_stream(&stream, 0, ReadDirection::Forwards, 1000).await.unwrap();
    recorded.iter().map(|event| event.decode(Event::from_stored).unwrap().kind()).collect()
}

impl App {
    pub(crate) fn on(log: Arc<dyn Append>, settings: WriteApiSettings) -> Self {
        Self::of(Challenge::birthday(), log, settings)
    }

    pub(crate) fn of(challenge: Challenge, log: Arc<dyn Append>, settings: WriteApiSettings) -> Self {
        let commands = Commands::new(Arc::clone(&log), Arc::new(challenge));
        let routes = router(commands, Gazetteer::shipped(), settings);
        Self { router: server_routes(routes, &Metrics::new(), || None), log }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with a bearer token.
    pub(crate) async fn send_as(&self, token: &str, mut request: Request<Body>) -> Answer {
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn submit(&self, entry: &Value) -> Answer {
        self.send(post("/api/v1/submissions", entry)).await
    }

    pub(crate) async fn submit_keyed(&self, key: &str, entry: &Value) -> Answer {
        let mut request = post("/api/v1/submissions", entry);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        self.send(request).await
    }

    /// Returns the number of events of submissions in the log.
    pub(crate) async fn recorded(&self) -> usize {
        let filter = EventFilter::stream_prefix("submission-");
        self.log.read_all(Position::START, &filter, 10_000).await.unwrap().events.len()
    }
}

impl Answer {
    pub(crate) fn id(&self) -> SubmissionId {
        self.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Asserts that the response is a problem document of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{}", self.body);
        self
    }

    /// Returns the fields that the problem document names.
    pub(crate) fn wrong_fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }

    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap()
    }
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    post_text(path, body.to_string())
}

pub(crate) fn post_text(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

pub(crate) fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    let address: IpAddr = address.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 40_000)));
    request
}
