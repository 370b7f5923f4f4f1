//! The views in a real MongoDB replica set. MongoDB disappears and returns, and the views are rebuilt while
//! readers use them.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use testbed::{Mongo, until};

use crate::support::{Part, Shape, System};

/// The deadline for steps that wait for an election of MongoDB.
const ELECTED: Duration = Duration::from_secs(90);

/// The seconds without MongoDB, unless `MUSTER_TEST_AWAY_S` says otherwise.
const AWAY_S: u64 = 15;

fn entry(number: usize) -> Value {
    json!({
        "name": format!("Participant {number}"),
        "location": "London, UK",
        "images": [format!("registry.test:5000/owner{number}/app")],
        "vote": "Rust",
    })
}

async fn submit(system: &System, number: usize) -> String {
    system.submit(&number.to_string(), &entry(number)).await
}

/// Waits until the totals count this number of submissions.
async fn counted(system: &System, submissions: usize) {
    let mut stats = Value::Null;
    let counted = until("the totals", ELECTED, async || {
        let answer = system.http().get(system.url("/api/v1/stats")).send().await.ok()?;
        stats = answer.json().await.ok()?;
        (stats["submissions"]["submitted"] == submissions).then_some(())
    });
    counted.await.unwrap_or_else(|error| panic!("{error}: {stats:#}\n{}", system.log_tail()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_mongodb_is_away_reads_are_refused_and_submissions_are_accepted() {
    let mongo = Mongo::replica_set().await.unwrap();
    for member in mongo.members() {
        member.kill().await.unwrap();
    }
    // MongoDB is off when the processes start.
    let mut system = System::launched_over(mongo.uri().replace("/?", "/views?")).await;
    let ready = until("to be told why it waits", Duration::from_secs(30), async || {
        let answer = system.http().get(system.part_url(Part::ReadApi, "/readyz")).send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let reasons = answer.text().await.ok()?;
        reasons.contains("the views").then_some(())
    });
    ready.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    let alive = system.http().get(system.part_url(Part::ReadApi, "/healthz")).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    let first = submit(&system, 0).await;
    refused(&system, &first).await;
    assert!(
        system.said().contains("MongoDB does not answer; the views are unavailable"),
        "{}",
        system.log_tail()
    );

    for member in mongo.members() {
        member.restart().await.unwrap();
    }
    counted(&system, 1).await;
    system.ready().await;
    assert!(system.said().contains("MongoDB answers again"), "{}", system.log_tail());

    // MongoDB ends during operation, and for longer than the longest pause of the projector.
    for member in mongo.members() {
        member.kill().await.unwrap();
    }
    let away = std::env::var("MUSTER_TEST_AWAY_S").map_or(AWAY_S, |seconds| seconds.parse().unwrap());
    let (since, mut submitted) = (Instant::now(), 1);
    while since.elapsed() < Duration::from_secs(away) {
        submit(&system, submitted).await;
        submitted += 1;
        refused(&system, &first).await;
    }
    for member in mongo.members() {
        member.restart().await.unwrap();
    }
    counted(&system, submitted).await;
    system.ready().await;
    assert_eq!(system.status(&first).await.unwrap()["name"], "Participant 0");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    mongo.stop().await.unwrap();
}

/// Checks that every read of the views is refused soon, with a problem document, and that a status comes from the log.
async fn refused(system: &System, id: &str) {
    let asked = Instant::now();
    let status = system.get(&format!("/api/v1/submissions/{id}")).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "a status after {:?}", asked.elapsed());
    assert_eq!((&status["name"], &status["queue"]), (&"Participant 0".into(), &Value::Null));
    for path in ["/api/v1/stats", "/api/v1/pins?zoom=3", "/api/v1/pins/search?q=a"] {
        let asked = Instant::now();
        let answer = system.http().get(system.url(path)).send().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(12), "{path}: an answer after {:?}", asked.elapsed());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}\n{}", system.log_tail());
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], 503, "{problem:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_rebuilt_while_they_are_read() {
    let mut system = System::without_a_swarm(Shape::FiveProcesses).await;
    let views = system.views().to_owned();
    let first = submit(&system, 0).await;
    counted(&system, 1).await;
    let wire = format!("esdb://{}?tls=false", system.node());
    let rebuild = || {
        tokio::task::spawn_blocking({
            let (wire, views) = (wire.clone(), views.clone());
            move || muster(&["rebuild", "--eventstore", &wire, "--views", &views])
        })
    };

    let done = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(read_on(system.url("/api/v1"), first, Arc::clone(&done)));
    let (rebuilt, ()) = tokio::join!(rebuild(), async {
        for number in 1..10 {
            submit(&system, number).await;
        }
    });
    assert_done(rebuilt.unwrap());
    counted(&system, 10).await;

    // Without a projector, a reader sees the views of the last rebuild. The read API was not restarted.
    system.kill_part(Part::Projections);
    for number in 10..13 {
        submit(&system, number).await;
    }
    assert_eq!(system.get("/api/v1/stats").await["submissions"]["submitted"], 10);
    assert_done(rebuild().await.unwrap());
    counted(&system, 13).await;
    done.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 20, "too few reads to say anything");

    // A rebuild is refused if another process has the log's file open, and if the views belong to another
    // log.
    let (data, views) = (system.files().join("data"), ["--views", &views]);
    refused_with(&[&views[..], &["--data", data.to_str().unwrap()]].concat(), 1, "--eventstore esdb://");
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("data")).unwrap();
    let other = other.path().join("data");
    refused_with(
        &[&views[..], &["--data", other.to_str().unwrap()]].concat(),
        1,
        "the views follow another log than this one",
    );
    counted(&system, 13).await;
    assert!(system.terminate().await.success(), "{}", system.log_tail());
}

#[test]
fn a_rebuild_that_cannot_start_gives_the_reason() {
    let data = tempfile::tempdir().unwrap();
    let data = ["--data", data.path().to_str().unwrap()];
    let views = |views: &'static str| [&data[..], &["--views", views]].concat();
    refused_with(&data, 2, "are built at each start");
    refused_with(&views("postgres://127.0.0.1"), 2, "mongodb://");
    refused_with(&views("mongodb://"), 2, "not the address of a MongoDB");
    refused_with(&views("mongodb://127.0.0.1:9/views"), 3, "MongoDB");
    let mongo = ["--views", "mongodb://127.0.0.1:9/views"];
    refused_with(&[&mongo[..], &["--data", "/nonexistent"]].concat(), 1, "/nonexistent");
}

/// Reads until `done` is set. Every read must succeed, and no total may decrease. Returns the number of
/// reads.
async fn read_on(api: String, id: String, done: Arc<AtomicBool>) -> usize {
    let http = reqwest::Client::new();
    let (mut seen, mut reads) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let stats: Value = answer(&http, format!("{api}/stats")).await;
        let position = stats["position"].as_u64().unwrap();
        assert!(position >= seen, "{position} after {seen}");
        assert_eq!(answer(&http, format!("{api}/submissions/{id}")).await["name"], "Participant 0");
        (seen, reads) = (position, reads + 1);
    }
    reads
}

async fn answer(http: &reqwest::Client, url: String) -> Value {
    let answer = http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.url());
    answer.json().await.unwrap()
}

fn refused_with(arguments: &[&str], code: i32, named: &str) {
    let output = muster(&[&["rebuild"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.contains(named), "{arguments:?}: {said}");
}

fn assert_done(output: Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("rebuilt the views up to position"),
        "{output:?}"
    );
}

fn muster(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments).env_remove("MUSTER_VIEWS").env_remove("MUSTER_EVENTSTORE").output().unwrap()
}
