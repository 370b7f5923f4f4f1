//! `GET /api/v1/sandbox`, the verifiers' nodes and slots.

use domain::sandbox::{
    RegistryPause, SCHEMA, SandboxGrade, SandboxNode, SandboxNodeState, SandboxRegistry, SandboxReported,
};
use domain::submission::{ContainersStarted, Event, StartedImage};
use event_store::testing::event_about;
use event_store::{Append, ExpectedRevision, StreamName};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{LONDON, TOKEN, World, passed, started};

#[tokio::test]
async fn organisers_see_each_node_its_slots_and_their_use() {
    let world = World::new().await;
    assert_eq!(seen(&world).await, json!({ "verifiers": [] }));
    let node = |name: &str, state| SandboxNode { name: name.to_owned(), state };
    let nodes = vec![
        node("n1", SandboxNodeState::Ready { slots: 4, grade: Some(SandboxGrade::Writable) }),
        node("n2", SandboxNodeState::Drained),
        node("n3", SandboxNodeState::Refused { reason: "it has no seccomp".to_owned() }),
    ];
    let until =
        |moment: &str| Some(RegistryPause { until: moment.parse().unwrap(), reason: "slow down".to_owned() });
    let limited =
        |name: &str, pause| SandboxRegistry { name: name.to_owned(), pause, pulls_remaining: Some(3) };
    let registries = vec![
        limited("docker.io", until("9000-01-01T00:00:00Z")),
        limited("ghcr.io", until("2020-01-01T00:00:00Z")),
    ];
    report(
        &world,
        "v1",
        SandboxReported {
            pause_reason: Some("the Swarm is being tidied".to_owned()),
            ..SandboxReported::default()
        },
    )
    .await;
    report(&world, "v1", SandboxReported { nodes, registries, ..SandboxReported::default() }).await;
    let gone =
        SandboxReported { pause_reason: Some("no manager answers".to_owned()), ..SandboxReported::default() };
    report(&world, "v0", gone).await;

    // Ada's submission is on a node, Bob's not yet, Cy's has a verdict, and Di's waits.
    for (owner, steps) in [
        ("ada", vec![started(1), running("n1")]),
        ("bob", vec![started(1)]),
        ("cy", vec![started(1), running("n1"), passed(1)]),
        ("di", vec![]),
    ] {
        let id = world.submit(owner, LONDON).await;
        if !steps.is_empty() {
            world.record(id, steps).await;
        }
    }
    world.settle().await;
    let seen = seen(&world).await;
    let (v0, v1) = (&seen["verifiers"][0], &seen["verifiers"][1]);
    assert_eq!((&v0["verifier"], &v0["trouble"]), (&json!("v0"), &json!("no manager answers")));
    assert_eq!((&v1["trouble"], &v1["slots"], &v1["under_way"]), (&Value::Null, &json!(4), &json!(2)));
    assert!(v1["since"].as_str().unwrap().ends_with('Z'), "{v1}");
    let expected = json!([
        { "name": "n1", "state": "ready", "reason": null, "grade": "writable", "slots": 4, "under_way": 1 },
        { "name": "n2", "state": "drained", "reason": null, "grade": null, "slots": 0, "under_way": 0 },
        { "name": "n3", "state": "refused", "reason": "it has no seccomp", "grade": null, "slots": 0, "under_way": 0 },
    ]);
    assert_eq!(v1["nodes"], expected);
    let limited = json!([
        { "name": "docker.io", "paused_until": "9000-01-01T00:00:00Z", "reason": "slow down", "pulls_remaining": 3 },
        { "name": "ghcr.io", "paused_until": null, "reason": null, "pulls_remaining": 3 },
    ]);
    assert_eq!((&v1["registries"], &v1["silent"]), (&limited, &json!(false)));
}

#[tokio::test]
async fn the_sandbox_is_for_organisers_only() {
    let world = World::new().await;
    world.problem("/api/v1/sandbox", StatusCode::UNAUTHORIZED).await;
}

/// A report of a sandbox is not an event of a submission, but a status is read from views that have applied it.
#[tokio::test]
async fn a_report_of_a_sandbox_does_not_delay_a_status() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    report(&world, "v1", SandboxReported::default()).await;
    world.settle().await;
    assert_eq!(world.json(&format!("/api/v1/submissions/{id}")).await["status"], "submitted");
}

async fn seen(world: &World) -> Value {
    let bearer = format!("Bearer {TOKEN}");
    let answer = world.get_with("/api/v1/sandbox", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

fn running(node: &str) -> Event {
    let image = "ada/app".parse().unwrap();
    let images = vec![StartedImage { image, node: node.to_owned(), took_ms: 20 }];
    Event::ContainersStarted(ContainersStarted { attempt: 1, images })
}

async fn report(world: &World, verifier: &str, sandbox: SandboxReported) {
    let event = event_about(Uuid::new_v4(), SCHEMA, SandboxReported::KIND, sandbox.to_stored());
    let stream = StreamName::new(SandboxReported::stream(verifier)).unwrap();
    world.store.append(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
}
