//! `/healthz`, `/readyz`, `/metrics`, and unknown paths.

use event_store::{LogCondition, Position};
use projections::ViewStore;
use read_api::ReaderLimits;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{LONDON, Messages, World, problem};

#[tokio::test]
async fn a_process_is_ready_when_its_views_have_applied_the_log_until_it_stops() {
    let world = World::starting(ReaderLimits::default()).await;
    let response = world.get("/readyz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let unready: Value = response.json().await.unwrap();
    assert!(unready["reasons"][0].as_str().unwrap().contains("caught up"), "{unready}");
    world.views.show_from(Position::START).await.unwrap();
    let well = json!({ "ready": true, "reasons": [], "verifying": { "ready": true, "reasons": [] } });
    assert_eq!(world.json("/readyz").await, well);
    world.submit("ada", LONDON).await;

    let response = world.get("/readyz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let unready: Value = response.json().await.unwrap();
    assert!(unready["reasons"][0].as_str().unwrap().contains("views"), "{unready}");

    world.project();
    world.settle().await;
    assert_eq!(world.get("/readyz").await.status(), StatusCode::OK);

    world.stopping.cancel();
    let response = world.get("/readyz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.json::<Value>().await.unwrap()["reasons"], json!(["the process is stopping"]));
    assert_eq!(world.get("/healthz").await.status(), StatusCode::OK, "the process is still alive");
}

#[tokio::test]
async fn a_process_serves_its_readers_while_nothing_is_verified_and_says_so() {
    let world = World::new().await;
    assert_eq!(world.json("/readyz/verifying").await, json!({ "ready": true, "reasons": [] }));
    world.pause_reason.send_replace(Some("v1: no manager answers".to_owned()));
    let paused = json!({ "ready": false, "reasons": ["v1: no manager answers"] });
    assert_eq!(world.json("/readyz").await["verifying"], paused);
    let response = world.get("/readyz/verifying").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.json::<Value>().await.unwrap(), paused);
}

#[tokio::test]
async fn a_process_is_not_ready_without_its_log() {
    let world = World::without_projection(ReaderLimits::default()).await;
    let id = world.submit("ada", LONDON).await;
    world.lose_the_log().await;
    // The submission is only in the log, so it cannot be read, but its existence is not denied.
    world.problem(&format!("/api/v1/submissions/{id}"), StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(world.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_process_whose_log_takes_no_appends_is_not_ready_and_damages_are_counted() {
    let world = World::new().await;
    let damages = vec!["position 3, revision 1, stream s: the checksum is wrong".to_owned()];
    world.log_condition.send_replace(LogCondition { damages, refusal: None });
    assert_eq!(world.get("/readyz").await.status(), StatusCode::OK, "the rest can be read and written");
    let metrics = world.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("muster_log_damages 1\n"), "{metrics}");

    let refusal = Some("the event log is damaged: position 9".to_owned());
    world.log_condition.send_modify(|condition| condition.refusal = refusal);
    let response = world.get("/readyz").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let reasons = json!(["the log takes no appends: the event log is damaged: position 9"]);
    assert_eq!(response.json::<Value>().await.unwrap()["reasons"], reasons);
}

#[tokio::test]
async fn requests_readers_and_views_are_counted() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    let id = world.submit("bob", LONDON).await;
    world.settle().await;
    world.json(&format!("/api/v1/submissions/{id}")).await;
    world.get("/nowhere").await;
    for made_up in ["BREW", "AAAAAAA"] {
        let method = reqwest::Method::from_bytes(made_up.as_bytes()).unwrap();
        world.client.request(method, world.url("/nowhere")).send().await.unwrap();
    }
    let _listening = Messages::open(&world, "/api/v1/live", None).await;

    let response = world.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        "muster_submissions{status=\"passed\"} 1",
        "muster_submissions{status=\"submitted\"} 1",
        "muster_pins 1",
        "muster_views_lag 0",
        "muster_live_readers 1",
        "muster_http_requests_total{method=\"GET\",route=\"/api/v1/submissions/{id}\",status=\"200\"} 1",
        "muster_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "muster_http_requests_total{method=\"other\",route=\"none\",status=\"404\"} 2",
        "muster_http_request_seconds_count{route=\"/api/v1/submissions/{id}\"} 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains(&id.to_string()), "no label contains an id");
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem() {
    let world = World::new().await;
    world.problem("/api/v2/stats", StatusCode::NOT_FOUND).await;
    let response = world.client.delete(world.url("/api/v1/stats")).send().await.unwrap();
    assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
}
