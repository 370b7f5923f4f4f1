//! What is accepted is safe, what is refused says why, and what waits says for
//! what: also when there is no Swarm.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use testbed::until;

use crate::support::System;

fn ada() -> Value {
    json!({
        "name": "Ada Lovelace",
        "twitter": "@ada",
        "location": "London, UK",
        "images": ["registry.test:5000/ada/app"],
        "vote": "Rust",
    })
}

async fn without_a_swarm() -> System {
    System::start_with("unix:///nonexistent/engine.sock".into(), "registry.test:5000".into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_swarm_submissions_are_accepted_and_say_why_they_wait() {
    let system = without_a_swarm().await;
    let id = system.submit("one", &ada()).await;
    let said = until("the reason", Duration::from_secs(20), async || {
        let status = system.status(&id).await?;
        assert_eq!(status["status"], "submitted", "{status:#}");
        status.to_string().contains("Swarm").then_some(status)
    });
    let status = said.await.unwrap();
    assert_eq!(status["queue"]["position"], 1, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_there_after_a_kill() {
    let mut system = without_a_swarm().await;
    let id = system.submit("one", &ada()).await;
    system.kill();
    system.restart().await;
    assert_eq!(system.status(&id).await.unwrap()["name"], "Ada Lovelace");
    assert_eq!(system.submit("one", &ada()).await, id);
    assert_eq!(system.get("/api/v1/stats").await["submissions"]["submitted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_has_its_own_entry() {
    let system = without_a_swarm().await;
    let image = |name: &str| json!([name]);
    for (field, wrong, named) in [
        ("name", json!("Al"), "name"),
        ("name", json!(7), "name"),
        ("twitter", json!("ada"), "twitter"),
        ("location", json!("Atlantis on Sea"), "location"),
        ("location", json!("Springfield"), "location"),
        ("vote", json!("Cat"), "vote"),
        ("colour", json!("red"), "colour"),
        ("images", image("registry.test:5000/ada/../x"), "images[0]"),
        ("images", image("registry.test:5000/ada/app@"), "images[0]"),
        ("images", image("registry.test:5000/ada/my app"), "images[0]"),
        ("images", image("docker.io/ada/app"), "images[0]"),
        ("images", json!(["a/b", "a/c", "a/d", "a/e"]), "images"),
    ] {
        let mut body = ada();
        body[field] = wrong.clone();
        let answer = post(&system, body.to_string()).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{field}: {wrong}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], named, "{problem:#}");
    }
    assert_eq!(system.get("/api/v1/stats").await["submissions"]["submitted"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_name() {
    let system = without_a_swarm().await;
    assert_eq!(post(&system, "{\"name\":".into()).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(post(&system, "x".repeat(10 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let unknown = format!("/api/v1/submissions/{}", uuid::Uuid::new_v4());
    for path in [unknown.as_str(), "/api/v1/submissions/7", "/nowhere"] {
        let answer = system.http().get(system.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let system = without_a_swarm().await;
    let mut refused = 0;
    for _ in 0..600 {
        let answer = post(&system, "{}".into()).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert!(system.status(&uuid::Uuid::new_v4().to_string()).await.is_none());
}

async fn post(system: &System, body: String) -> reqwest::Response {
    let post = system.http().post(system.url("/api/v1/submissions"));
    post.header("content-type", "application/json").body(body).send().await.unwrap()
}
