//! Twenty submissions of every kind on a Swarm of three hosts, with kills of our processes: each gets its
//! right verdict exactly once, and nothing of it is left.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use testbed::{Testbed, until};

use crate::support::{Entry, Part, Shape, System, in_both_shapes};

in_both_shapes! {
    every_submission_gets_one_verdict_although_muster_is_killed_again_and_again
}

const ALL_JUDGED: Duration = Duration::from_secs(240);
const CLEARED_AWAY: Duration = Duration::from_secs(60);

/// One shape is enough: the test with kills has the same verdicts in both.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_submissions_of_every_kind_get_the_right_verdict() {
    let bed = Testbed::three().await.unwrap();
    let entries = Entry::twenty(&bed.registry).await;
    let mut system = System::start_as(Shape::OneProcess, &bed).await;

    let ids = submit_all(&system, &entries).await;
    for (entry, id) in entries.iter().zip(&ids) {
        entry.assert_deserved(&system.verdict(id, ALL_JUDGED).await);
    }

    let passed = entries.iter().filter(|entry| entry.kind.deserves().0 == "passed").count();
    let failed = entries.len() - passed;
    let counted = |stats: &Value| {
        let judged = &stats["submissions"];
        judged["passed"] == passed && judged["failed"] == failed && stats["pins"] == passed
    };
    system.stats(counted).await;

    nothing_is_left(&bed).await;
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    bed.stop().await.unwrap();
}

async fn every_submission_gets_one_verdict_although_muster_is_killed_again_and_again(shape: Shape) {
    let bed = Testbed::three().await.unwrap();
    let entries = Entry::twenty(&bed.registry).await;
    let mut system = System::start_as(shape, &bed).await;

    let ids = submit_all(&system, &entries).await;
    for kill in 0..kills(shape) {
        // A quarter of the kills hits the start, the others hit verifications.
        let under_way = if kill % 4 == 0 { 0 } else { verifying_or_done(&system).await };
        // The delay must only differ from kill to kill and from run to run.
        let chance = u64::from(uuid::Uuid::new_v4().as_fields().0) % 1500;
        // Every second kill hits the verifier. The others hit the other parts in turn.
        let others = [Part::Log, Part::Commands, Part::ReadApi, Part::Projections];
        let part = if kill % 2 == 0 { Part::Verifier } else { others[kill / 2 % 4] };
        println!("kill {kill}: {under_way} under way, {part:?} {chance} ms later");
        tokio::time::sleep(Duration::from_millis(chance)).await;
        system.kill_part(part);
        system.restart().await;
    }

    for (entry, id) in entries.iter().zip(&ids) {
        entry.assert_deserved(&system.verdict(id, ALL_JUDGED).await);
    }
    // At least one kill hit a verification.
    system.stats(|stats| stats["interruptions"]["lease_expired"].as_u64() > Some(0)).await;
    nothing_is_left(&bed).await;
    bed.stop().await.unwrap();
}

/// Returns the number of kills. Most of them cost the rest of a lease, so more would be minutes. Of five processes each must
/// have its turn; one process has only a start and a verification to be hit in.
fn kills(shape: Shape) -> usize {
    match shape {
        Shape::OneProcess => 4,
        Shape::FourProcesses | Shape::FiveProcesses => 10,
    }
}

/// Waits until a submission is being verified or none is left to verify. Returns the number that is being
/// verified.
async fn verifying_or_done(system: &System) -> u64 {
    let under_way = until("something to be verified", Duration::from_secs(90), async || {
        let submissions = &system.get("/api/v1/stats").await["submissions"];
        let count = |status: &str| submissions[status].as_u64().unwrap_or(0);
        (count("verifying") > 0 || count("submitted") == 0).then(|| count("verifying"))
    });
    under_way.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()))
}

async fn submit_all(system: &System, entries: &[Entry]) -> Vec<String> {
    join_all(entries.iter().enumerate().map(async |(n, entry)| {
        let key = format!("entry-{n}");
        system.submit(&key, &entry.body).await
    }))
    .await
}

/// Waits until no service is left, and no node has a container or volume except for our own relays.
async fn nothing_is_left(bed: &Testbed) {
    let mut left = Value::Null;
    let cleared = until("everything to be cleared away", CLEARED_AWAY, async || {
        left = leftovers(bed).await;
        (left == Value::Object(Default::default())).then_some(())
    });
    let cleared = cleared.await;
    assert!(cleared.is_ok(), "left behind: {left:#}");
}

async fn leftovers(bed: &Testbed) -> Value {
    let mut left = serde_json::Map::new();
    for node in bed.swarm.nodes() {
        let docker = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
            let endpoint = node.endpoint();
            async move {
                let output = tokio::process::Command::new("docker")
                    .arg("--host")
                    .arg(endpoint)
                    .args(arguments)
                    .output()
                    .await
                    .unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap().trim().to_owned()
            }
        };
        let services = docker(&["service", "ls", "--quiet"]).await;
        let volumes = docker(&["volume", "ls", "--quiet"]).await;
        let containers = docker(&[
            "ps",
            "--all",
            "--filter",
            "label=com.docker.swarm.service.name",
            "--format",
            "{{.Names}}",
        ])
        .await;
        for (what, found) in [("services", services), ("volumes", volumes), ("containers", containers)] {
            if !found.is_empty() {
                left.insert(format!("{what} on {}", node.name()), found.into());
            }
        }
    }
    Value::Object(left)
}
