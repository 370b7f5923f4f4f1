//! Submissions with and without a Swarm: an accepted submission is safe, a refusal says why, and a waiting
//! submission gives its reason.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testbed::until;

use crate::support::ports::free_address;
use crate::support::system::TOKEN;
use crate::support::{Part, Shape, System, ada, in_both_shapes};

in_both_shapes! {
    without_a_swarm_submissions_are_accepted_and_their_status_has_the_reason
    an_accepted_submission_survives_a_kill
    each_wrong_field_has_its_own_entry
    an_unreadable_body_is_refused_with_the_reason
    a_client_over_its_rate_limit_gets_a_retry_time
}

async fn without_a_swarm_submissions_are_accepted_and_their_status_has_the_reason(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let id = system.submit("one", &ada()).await;
    // If the verifier is a separate process, only its operator sees the reason.
    let (url, word) = match shape {
        Shape::OneProcess => (system.url(&format!("/api/v1/submissions/{id}")), "Our Swarm"),
        _ => (system.part_url(Part::Verifier, "/readyz"), "/nonexistent/engine.sock"),
    };
    let said = until("the reason", Duration::from_secs(20), async || {
        let said = system.http().get(&url).send().await.ok()?.text().await.ok()?;
        said.contains(word).then_some(())
    });
    said.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    let status = system.status(&id).await.unwrap();
    assert_eq!(status["status"], "submitted", "{status:#}");
    let placed = until("its place in the queue", Duration::from_secs(20), async || {
        (system.status(&id).await?["queue"]["position"] == 1).then_some(())
    });
    placed.await.unwrap();
}

async fn an_accepted_submission_survives_a_kill(shape: Shape) {
    let mut system = System::without_a_swarm(shape).await;
    let id = system.submit("one", &ada()).await;
    system.kill();
    system.restart().await;
    assert_eq!(system.status(&id).await.unwrap()["name"], "Ada Lovelace");
    assert_eq!(system.submit("one", &ada()).await, id);
    assert_eq!(system.get("/api/v1/stats").await["submissions"]["submitted"], 1);
}

async fn each_wrong_field_has_its_own_entry(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let image = |name: &str| json!([name]);
    for (field, wrong, named) in [
        ("name", json!("\u{3164}"), "name"),
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

async fn an_unreadable_body_is_refused_with_the_reason(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    assert_eq!(post(&system, "{\"name\":".into()).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(post(&system, "x".repeat(10 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let unknown = format!("/api/v1/submissions/{}", uuid::Uuid::new_v4());
    for path in [unknown.as_str(), "/api/v1/submissions/7", "/nowhere"] {
        let answer = system.http().get(system.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

async fn a_client_over_its_rate_limit_gets_a_retry_time(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_trusted_proxies_have_a_rate_each() {
    let system = System::start_set(&["--trusted-proxies", "203.0.113.0/24,2001:db8::/32"]).await;
    let answer = async |through: &str| {
        let post = system.http().post(system.url("/api/v1/submissions")).header("x-forwarded-for", through);
        post.header("content-type", "application/json").body("{}").send().await.unwrap().status()
    };
    let mut refused = 0;
    for port in 2000..2600 {
        // The addresses that the client wrote in front do not make it another client.
        let through = format!("192.0.2.{}, 198.51.100.1:{port}, 203.0.113.5, 2001:db8::5", port % 250);
        refused += usize::from(answer(&through).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0);
    assert_eq!(answer("198.51.100.2, 203.0.113.5").await, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A message and its `webhook-id`.
type Message = (String, Value);

#[tokio::test(flavor = "multi_thread")]
async fn organisers_hear_of_a_long_queue_although_their_receiver_and_muster_were_down() {
    let (receiver, files) = (free_address(), tempfile::tempdir().unwrap());
    let file = files.path().join("webhooks.toml").display().to_string();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let hook = format!(
        "pages = \"https://muster.example\"\nqueue_long = 1\nallow = [\"127.0.0.1\"]\n\
         [[webhook]]\nname = \"ops\"\nurl = \"http://{receiver}/hook\"\nsecret = \"{secret}\"\n"
    );
    std::fs::write(&file, hook).unwrap();
    let mut system = System::start_set(&["--webhooks", &file]).await;
    system.submit("one", &ada()).await;
    shown(&system, |hook| hook["waiting"] == 1 && hook["last"]["failure"].is_string()).await;
    system.kill();
    system.restart().await;

    let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel::<Message>();
    let listener = tokio::net::TcpListener::bind(receiver).await.unwrap();
    let receive = async |State(sender): State<tokio::sync::mpsc::UnboundedSender<Message>>,
                         headers: HeaderMap,
                         body: axum::Json<Value>| {
        let _ = sender.send((headers["webhook-id"].to_str().unwrap().to_owned(), body.0));
    };
    let app = Router::new().fallback(receive).with_state(sender);
    let serving = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    let retry = system.http().post(system.url("/api/v1/webhooks/ops/retry"));
    assert_eq!(retry.bearer_auth(TOKEN).send().await.unwrap().status(), StatusCode::ACCEPTED);
    let (_, message) = messages.recv().await.unwrap();
    assert_eq!((&message["type"], &message["data"]["waiting"]), (&json!("queue_long"), &json!(1)));
    assert_eq!(message["data"]["link"], "https://muster.example/organise");
    shown(&system, |hook| hook["waiting"] == 0 && hook["delivered"] == 1).await;
    assert!(messages.try_recv().is_err(), "it is told once");

    let anybody = system.http().get(system.url("/api/v1/webhooks")).send().await.unwrap();
    assert_eq!(anybody.status(), StatusCode::UNAUTHORIZED);
    let metrics = system.http().get(system.url("/metrics")).bearer_auth(TOKEN).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let delivered = "muster_webhook_tries_total{webhook=\"ops\",outcome=\"delivered\"} 1";
    assert!(metrics.contains(delivered), "{metrics}");
    assert!(!system.log_tail().contains(&secret["whsec_".len()..]));
    serving.abort();
}

/// Waits until the state of the only webhook is such.
async fn shown(system: &System, is_so: impl Fn(&Value) -> bool) {
    let mut seen = Value::Null;
    let waited = until("the webhook's state", Duration::from_secs(30), async || {
        let answer =
            system.http().get(system.url("/api/v1/webhooks")).bearer_auth(TOKEN).send().await.ok()?;
        seen = answer.json().await.ok()?;
        is_so(&seen["webhooks"][0]).then_some(())
    });
    let waited = waited.await;
    waited.unwrap_or_else(|error| panic!("{error}: {seen:#}\n{}", system.log_tail()));
}

async fn post(system: &System, body: String) -> reqwest::Response {
    let post = system.http().post(system.url("/api/v1/submissions"));
    post.header("content-type", "application/json").body(body).send().await.unwrap()
}
