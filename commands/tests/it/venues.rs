//! Venues: which one a submission belongs to, and their public facts.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use commands::{Gazetteer, WriteApiSettings, place_venues};
use domain::submission::Submitted;
use domain::{Challenge, Event, SubmissionId};
use event_store::{ReadDirection, StreamName};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{App, entry_with, from, log, post, post_text, settings};

const VENUES: &str = r#"
[[venues]]
name = "berlin"
title = "Berlin, c-base"
location = "Berlin, DE"
networks = ["203.0.113.0/24"]
code = "K7QF"

[[venues]]
name = "bar"
title = "Some bar"
location = "Paris, France"
"#;

const ELSEWHERE: &str = "198.51.100.1";

fn app() -> (App, TempDir) {
    app_with(settings())
}

fn app_with(settings: WriteApiSettings) -> (App, TempDir) {
    let (log, directory) = log();
    let file = format!("{}\n{VENUES}", include_str!("../../../domain/challenges/birthday.toml"));
    let challenge = Challenge::parse(&file).unwrap();
    let venues = place_venues(&challenge.venues, Gazetteer::shipped()).unwrap();
    (App::of(challenge, Arc::new(log), WriteApiSettings { venues, ..settings }), directory)
}

fn request(address: &str, key: &str, fields: Value) -> Request<Body> {
    let mut request = from(address, post("/api/v1/submissions", &entry_with(fields)));
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn venue_of(app: &App, id: SubmissionId) -> Option<String> {
    recorded(app, id).await.venue
}

async fn recorded(app: &App, id: SubmissionId) -> Submitted {
    let stream = StreamName::of("submission", id.0);
    let recorded = app.log.read_stream(&stream, 0, ReadDirection::Forwards, 1).await.unwrap();
    assert!(!String::from_utf8_lossy(&recorded[0].data).contains("203.0.113"), "no address is in the log");
    match recorded[0].decode(Event::from_stored).unwrap() {
        Event::Submitted(submitted) => submitted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_submission_belongs_to_the_venue_of_its_network_its_code_or_its_link() {
    let (app, _directory) = app();
    for (n, (address, fields, venue)) in [
        ("203.0.113.9", json!({}), Some("berlin")),
        (ELSEWHERE, json!({}), None),
        (ELSEWHERE, json!({"venue": "berlin", "venue_code": "k7 qf"}), Some("berlin")),
        (ELSEWHERE, json!({"venue_code": "K7QF"}), Some("berlin")),
        (ELSEWHERE, json!({"venue": "bar"}), Some("bar")),
        (ELSEWHERE, json!({"venue": "", "venue_code": null}), None),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = app.send(request(address, &n.to_string(), fields.clone())).await;
        assert_eq!(answer.status, 202, "{fields}: {}", answer.body);
        assert_eq!(venue_of(&app, answer.id()).await.as_deref(), venue, "{fields}");
    }
    let old =
        from("203.0.113.9", post("/competition", &entry_with(json!({"repo": ["ada/a"], "images": null}))));
    let id = app.send(old).await.body["response"].as_str().unwrap().parse().unwrap();
    assert_eq!(venue_of(&app, id).await.as_deref(), Some("berlin"));
}

#[tokio::test]
async fn a_wrong_code_or_an_unknown_venue_is_named_with_the_other_wrong_fields() {
    let (app, _directory) = app();
    for (fields, wrong) in [
        (json!({"venue": "berlin"}), vec!["venue_code"]),
        (json!({"venue": "berlin", "venue_code": "K7QG"}), vec!["venue_code"]),
        (json!({"venue_code": "K7QG"}), vec!["venue_code"]),
        (json!({"venue": "oslo"}), vec!["venue"]),
        (json!({"venue": 7}), vec!["venue"]),
        (json!({"venue": "oslo", "vote": "Cat"}), vec!["vote", "venue"]),
    ] {
        let answer = app.send(request(ELSEWHERE, "k", fields.clone())).await;
        assert_eq!(answer.problem(422).wrong_fields(), wrong, "{fields}");
        assert!(!answer.body.to_string().contains("K7QF"));
    }
}

#[tokio::test]
async fn a_repeated_key_is_answered_from_another_network_and_after_the_code_changed() {
    let (app, _directory) = app();
    let first = app.send(request("203.0.113.9", "k", json!({}))).await;
    let moved = app.send(request(ELSEWHERE, "k", json!({}))).await;
    assert_eq!((moved.status.as_u16(), moved.id()), (202, first.id()));
    let old_code = json!({"venue": "berlin", "venue_code": "OLD1"});
    assert_eq!(app.send(request(ELSEWHERE, "k", old_code)).await.id(), first.id());
    app.send(request(ELSEWHERE, "k", json!({"venue": "bar"}))).await.problem(409);
}

#[tokio::test]
async fn submissions_that_cannot_be_read_use_up_the_rate_of_an_address_and_not_that_of_a_venue() {
    let limits = WriteApiSettings { rate_by_address: Some("1/h,3".parse().unwrap()), ..settings() };
    let (app, _directory) = app_with(limits);
    for (address, refused) in [(ELSEWHERE, 429), ("203.0.113.9", 202)] {
        for _ in 0..3 {
            app.send(from(address, post_text("/api/v1/submissions", "[]"))).await.problem(400);
        }
        let answer = app.send(request(address, "k", json!({}))).await;
        assert_eq!(answer.status, refused, "{address}: {}", answer.body);
    }
}

#[tokio::test]
async fn many_owners_at_one_address_share_lanes_unless_they_are_in_a_venue() {
    let limits = WriteApiSettings { rate_by_address: Some("900/s,900".parse().unwrap()), ..settings() };
    let (app, _directory) = app_with(limits);
    for (address, most_of_their_own) in [(ELSEWHERE, 16), ("203.0.113.9", 20)] {
        let mut of_their_own = 0;
        for owner in 0..20 {
            let entry = entry_with(json!({"images": [format!("owner{owner}/app")]}));
            let answer = app.send(from(address, post("/api/v1/submissions", &entry))).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
            let submitted = recorded(&app, answer.id()).await;
            assert!(submitted.lane.as_ref().is_none_or(|lane| !lane.contains('/')), "{submitted:?}");
            of_their_own += usize::from(submitted.lane.is_none());
        }
        assert_eq!(of_their_own, most_of_their_own, "{address}");
    }
}

#[tokio::test]
async fn everybody_sees_the_venues_without_networks_and_codes() {
    let (app, _directory) = app();
    let challenge = app.get("/api/v1/challenge").await.body;
    let berlin = &challenge["venues"][0];
    assert_eq!((&berlin["name"], &berlin["title"]), (&json!("berlin"), &json!("Berlin, c-base")));
    assert_eq!(berlin["location"], "Berlin, DE");
    assert!(berlin["position"]["lat"].as_f64().is_some_and(|lat| (52.0..53.0).contains(&lat)));
    assert!(!challenge.to_string().contains("K7QF") && !challenge.to_string().contains("203.0.113"));
}
