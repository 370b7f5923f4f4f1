//! Several processes behind one balancer: one leaves without hurting its clients, and each knows the keys of the others.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use testbed::until;

use crate::support::ports::free_address;
use crate::support::{System, ada};

/// A process that is killed at the end of its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
    let (data, address) = (tempfile::tempdir().unwrap(), free_address().to_string());
    std::fs::copy(system.files().join("data/key-space"), data.path().join("key-space")).unwrap();
    let other = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["serve", "commands", "--listen", &address])
        .args(["--eventstore", &format!("esdb://{}?tls=false", system.node())])
        .args(["--data", data.path().to_str().unwrap()])
        .args(["--challenge", system.files().join("challenge.toml").to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _other = Killed(other.unwrap());

    let first = system.submit("once", &ada()).await;
    let repeated = until("the other process to answer", Duration::from_secs(60), async || {
        let url = format!("http://{address}/api/v1/submissions");
        let post = system.http().post(url).header("idempotency-key", "once").json(&ada());
        let answer = post.send().await.ok().filter(|answer| answer.status().is_success())?;
        answer.json::<Value>().await.ok()
    });
    assert_eq!(repeated.await.unwrap()["id"], first);
}
