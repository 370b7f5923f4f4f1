//! Several processes behind one balancer: one leaves without hurting its clients, and each knows the keys of the others.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use testbed::until;

use crate::support::{Part, System, ada};

/// The time that Docker grants a container between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_behind_a_balancer_serves_until_the_balancer_knows_that_it_leaves() {
    let mut system = System::start_set(&["--trusted-proxies", "203.0.113.0/24"]).await;
    let stream = system.http().get(system.url("/api/v1/live")).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);

    let asked = Instant::now();
    system.ask_to_end();
    let refused = until("the process to say that it leaves", GRACE, async || {
        let answer = system.http().get(system.url("/readyz")).send().await.ok()?;
        (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    });
    let refused: Value = refused.await.unwrap().json().await.unwrap();
    assert_eq!(refused["reasons"][0], "the process is stopping");
    // Whoever asks before the balancer knows is served, and told to come back on another connection.
    let post = system.http().post(system.url("/api/v1/submissions")).json(&ada());
    let accepted = post.send().await.unwrap();
    assert_eq!(accepted.headers()["connection"], "close");
    assert!(accepted.status().is_success(), "{}", accepted.text().await.unwrap());

    stream.text().await.expect("the stream ends as a whole response");
    assert!(system.ended().await.success(), "{}", system.log_tail());
    assert!(asked.elapsed() < GRACE, "Docker would have killed it: {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_repeated_at_another_process_with_the_same_secret_submits_once() {
    let system = System::start_set(&[]).await;
    let other = system.clone_part(Part::Commands);
    let first = system.submit("once", &ada()).await;
    let repeated = until("the other process to answer", Duration::from_secs(60), async || {
        let url = format!("http://{}/api/v1/submissions", other.address);
        let post = system.http().post(url).header("idempotency-key", "once").json(&ada());
        let answer = post.send().await.ok().filter(|answer| answer.status().is_success())?;
        answer.json::<Value>().await.ok()
    });
    assert_eq!(repeated.await.unwrap()["id"], first);
}
