//! Organisers by name: their tokens, what each role permits, and the person in the events.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use commands::{Actor, Commands};
use domain::submission::Submitted;
use domain::{Challenge, Command, Event, SubmissionId};
use event_store::{Read, ReadDirection, StreamName};
use http_edge::{Metrics, Operations, OrganiserToken, OrganiserTokens, operations, server_routes};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::{Answer, App, TOKEN, ada, by, log, post, settings};

const TOKENS: &str = "/api/v1/tokens";

async fn add(app: &App, name: &str, role: &str) -> String {
    let answer = app.send_as(TOKEN, post(TOKENS, &json!({"name": name, "role": role}))).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["token"].as_str().unwrap().to_owned()
}

async fn revoke(app: &App, name: &str) -> Answer {
    app.send_as(TOKEN, Request::delete(format!("{TOKENS}/{name}")).body(Body::empty()).unwrap()).await
}

async fn hide(app: &App, token: &str, id: SubmissionId) -> Answer {
    app.send_as(token, post(&format!("/api/v1/submissions/{id}/hide"), &json!({"why": "a slur"}))).await
}

/// Submits as somebody of a venue.
async fn submit_at(app: &App, venue: Option<&str>) -> SubmissionId {
    let commands = Commands::new(Arc::clone(&app.log), Arc::new(Challenge::birthday()));
    let id = SubmissionId(Uuid::new_v4());
    let submitted = Submitted { venue: venue.map(str::to_owned), ..ada() };
    commands.handle(id, Command::Submit(Box::new(submitted)), by(Actor::Participant)).await.unwrap();
    id
}

/// Returns the newest event of a submission, and its metadata.
async fn newest(log: &dyn Read, id: SubmissionId) -> (Event, Value) {
    let stream = StreamName::of("submission", id.0);
    let recorded = log.read_stream(&stream, 0, ReadDirection::Forwards, 100).await.unwrap().pop().unwrap();
    (recorded.decode(Event::from_stored).unwrap(), serde_json::from_slice(&recorded.metadata).unwrap())
}

#[tokio::test]
async fn a_token_by_name_is_shown_once_names_its_person_and_is_revoked_at_once_in_every_process() {
    let (log, _directory) = log();
    let log = Arc::new(log);
    let (app, other) = (App::on(log.clone(), settings()), App::on(log.clone(), settings()));
    let secret = add(&app, "Grace Hopper", "organiser").await;
    let id = submit_at(&app, None).await;
    assert_eq!(hide(&other, &secret, id).await.status, 200);
    let (event, metadata) = newest(&*log, id).await;
    let Event::Hidden(hidden) = event else { panic!("{event:?}") };
    assert_eq!(hidden.act.person.as_deref(), Some("Grace Hopper"));
    assert_eq!(metadata["actor"], "organiser:Grace Hopper");

    let listed = app.send_as(TOKEN, Request::get(TOKENS).body(Body::empty()).unwrap()).await;
    assert_eq!(listed.body["tokens"][0]["name"], "Grace Hopper");
    let stream = StreamName::new("organisers-tokens").unwrap();
    let kept = log.read_stream(&stream, 0, ReadDirection::Forwards, 9).await.unwrap();
    assert!(!listed.body.to_string().contains(&secret));
    assert!(!kept.iter().any(|event| String::from_utf8_lossy(&event.data).contains(&secret[7..])));

    let again = app.send_as(TOKEN, post(TOKENS, &json!({"name": "Grace Hopper", "role": "analyst"}))).await;
    again.problem(409);
    assert_eq!(revoke(&app, "Grace%20Hopper").await.status, 204);
    hide(&other, &secret, id).await.problem(401);
    revoke(&app, "Grace%20Hopper").await.problem(404);
}

#[tokio::test]
async fn each_role_permits_its_own_and_no_more() {
    let (log, _directory) = log();
    let app = App::on(Arc::new(log), settings());
    let [berlin, analyst, operator] = [
        add(&app, "B", "venue:berlin").await,
        add(&app, "A", "analyst").await,
        add(&app, "O", "operator").await,
    ];
    let here = submit_at(&app, Some("berlin")).await;
    let (elsewhere, nowhere) = (submit_at(&app, Some("paris")).await, submit_at(&app, None).await);
    assert_eq!(hide(&app, &berlin, here).await.status, 200);
    for id in [elsewhere, nowhere] {
        assert!(hide(&app, &berlin, id).await.problem(403).detail().contains("berlin"));
    }
    for token in [&analyst, &operator] {
        hide(&app, token, here).await.problem(403);
    }
    for token in [&berlin, &analyst, &operator] {
        app.send_as(token, post(TOKENS, &json!({"name": "X", "role": "organiser"}))).await.problem(403);
    }
    let wrong = app.send_as(TOKEN, post(TOKENS, &json!({"name": " ", "role": "king", "x": 1}))).await;
    assert_eq!(wrong.problem(422).wrong_fields(), ["name", "role", "x"]);
    hide(&app, &format!("muster-{}", "0".repeat(64)), here).await.problem(401);
}

#[tokio::test]
async fn metrics_are_for_operators_where_the_public_api_is_served() {
    let (log, _directory) = log();
    let log = Arc::new(log);
    let app = App::on(log.clone(), settings());
    let (operator, analyst) = (add(&app, "O", "operator").await, add(&app, "A", "analyst").await);
    let served = |tokens| {
        let metrics = Metrics::new();
        let routes = operations(Operations {
            log: log.clone(),
            views: None,
            pause_reason: None,
            verifying: None,
            metrics: metrics.clone(),
            tokens,
            log_condition: None,
            leaving: CancellationToken::new(),
        });
        server_routes(routes, &metrics, || None)
    };
    let guarded = served(Some(OrganiserTokens::new(OrganiserToken::new(TOKEN), log.clone())));
    for (token, status) in [
        (None, 401),
        (Some("wrong"), 401),
        (Some(&*analyst), 403),
        (Some(&*operator), 200),
        (Some(TOKEN), 200),
    ] {
        let request = Request::get("/metrics");
        let request = token.map_or(Request::get("/metrics"), |token| {
            request.header("authorization", format!("Bearer {token}"))
        });
        let answer = guarded.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{token:?}");
    }
    let open = served(None).oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(open.status(), StatusCode::OK);
}
