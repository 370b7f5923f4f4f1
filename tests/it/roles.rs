//! The roles as separate processes that share the log over the wire. They behave as one process does.

use std::process::Command;
use std::time::Duration;

use event_store::{EsdbStore, Read};
use projections::{MongoViews, ViewQueries};
use reqwest::StatusCode;
use serde_json::{Value, json};
use testbed::{App, Layer, Testbed, until};
use tokio::time::timeout;

use crate::support::system::TOKEN;
use crate::support::{Entry, Kind, Part, Shape, System, ada};

const JUDGED: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn without_mongodb_the_read_api_has_views_of_its_own() {
    let mut system = System::without_a_swarm(Shape::FourProcesses).await;
    let id = system.submit("one", &ada()).await;
    system.stats(|stats| stats["submissions"]["submitted"] == 1).await;
    system.kill_part(Part::ReadApi);
    system.restart().await;
    assert_eq!(system.status(&id).await.unwrap()["queue"]["position"], 1);
    assert!(system.terminate().await.success(), "{}", system.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_verify_submissions_and_rejudges() {
    let bed = Testbed::single().await.unwrap();
    let wrong = Entry::prepare(&bed.registry, "bob", Kind::WrongInOneField).await;
    let mut system = System::start_with_gate(&bed).await;
    let id = system.submit("wrong", &wrong.body).await;
    wrong.assert_deserved(&system.verdict(&id, JUDGED).await);

    let rejudge = system.url(&format!("/api/v1/submissions/{id}/rejudge"));
    let asked = system.http().post(rejudge).bearer_auth(TOKEN).json(&json!({ "why": "once more" }));
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let verdicts = until("the second verdict", JUDGED, async || {
        let status = system.status(&id).await?;
        let timeline = status["timeline"].as_array()?;
        (timeline.iter().filter(|entry| entry["type"] == "Failed").count() == 2).then_some(())
    });
    verdicts.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));

    refuses_and_passes_as_its_verifiers_would(&bed, &mut system).await;

    // The organiser sees the nodes that the verifier reported to the log.
    let node = until("the node to be seen", Duration::from_secs(20), async || {
        let sandbox =
            system.http().get(system.url("/api/v1/sandbox")).bearer_auth(TOKEN).send().await.ok()?;
        let sandbox: Value = sandbox.json().await.ok()?;
        let verifier = sandbox["verifiers"].get(0).filter(|verifier| verifier["trouble"].is_null())?;
        Some(verifier["nodes"][0].clone())
    });
    let node = node.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    assert_eq!((&node["name"], &node["state"]), (&json!(bed.swarm.nodes()[0].name()), &json!("ready")));
    assert!(node["slots"].as_u64().unwrap() > 0, "{node}");
    assert_eq!(system.status(&id).await.unwrap()["platform"], Value::Null);

    // With a Swarm, every process is ready, and its metrics count its work.
    for (part, counted) in [
        (Part::Log, "muster_log_position "),
        (
            Part::Commands,
            "muster_http_requests_total{method=\"POST\",route=\"/api/v1/submissions\",status=\"202\"} 3",
        ),
        (Part::Verifier, "muster_verifier_nodes 1"),
        (Part::Gate, "muster_verifier_registry_requests_total{status=\"2xx\"}"),
        (Part::ReadApi, "muster_submissions{status=\"failed\"} 2"),
        (Part::Projections, "muster_views_lag 0"),
    ] {
        let ready = until("it to be ready", Duration::from_secs(20), async || {
            let (status, said) = ask(&system, part, "/readyz").await?;
            (status == StatusCode::OK).then_some(said)
        });
        let ready: Value = serde_json::from_str(&ready.await.unwrap()).unwrap();
        assert_eq!((&ready["ready"], &ready["reasons"]), (&json!(true), &json!([])), "{part:?}");
        // A process that knows a verifier, or has the views, says that submissions are verified.
        let (knows, (status, verifying)) = (
            !matches!(part, Part::Log | Part::Commands | Part::Gate),
            ask(&system, part, "/readyz/verifying").await.unwrap(),
        );
        assert_eq!(ready.get("verifying").is_some(), knows, "{part:?}: {ready}");
        assert_eq!(
            status,
            if knows { StatusCode::OK } else { StatusCode::NOT_FOUND },
            "{part:?}: {verifying}"
        );
        let (_, metrics) = ask(&system, part, "/metrics").await.unwrap();
        assert!(metrics.contains(counted), "{part:?} lacks {counted}:\n{metrics}");
        let of_views = matches!(part, Part::ReadApi | Part::Projections);
        assert_eq!(metrics.contains("\nmuster_pins "), of_views, "{part:?}: {metrics}");
    }
    let (_, gates) = ask(&system, Part::Gate, "/metrics").await.unwrap();
    let fetched = figure(&gates, "muster_verifier_layers_fetched_bytes_total");
    assert!(fetched.is_some_and(|bytes| bytes >= 1000.0), "{gates}");
    let (_, metrics) = ask(&system, Part::Verifier, "/metrics").await.unwrap();
    assert_eq!(figure(&metrics, "muster_verifier_layers_fetched_bytes_total"), Some(0.0), "{metrics}");
    for (name, least) in [
        ("muster_verifier_attempts_total{outcome=\"failed\"}", 2.0),
        ("muster_verifier_attempt_seconds_count", 2.0),
        ("muster_verifier_step_seconds_count{step=\"probe\"}", 2.0),
        ("muster_verifier_sweeps_total{outcome=\"ok\"}", 1.0),
        ("muster_verifier_slots_by_state{state=\"ready\"}", 1.0),
        ("muster_verifier_queue_submissions{state=\"ready\"}", 0.0),
        ("muster_verifier_queue_oldest_seconds{state=\"paused\"}", 0.0),
        ("muster_verifier_interruptions_total{code=\"node_ill\"}", 0.0),
        ("muster_verifier_stuck_containers", 0.0),
    ] {
        let found = figure(&metrics, name);
        assert!(found.is_some_and(|found| found >= least), "{name} is {found:?} in\n{metrics}");
    }
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    bed.stop().await.unwrap();
}

/// Submits what the gate refuses, and what waits until the gate is back.
async fn refuses_and_passes_as_its_verifiers_would(bed: &Testbed, system: &mut System) {
    let app = App::playing(&["good"], &Value::Null).with_layers([Layer::fifo("etc/passwd").unwrap()]);
    let image = bed.registry.push("eve/app:latest", &app).await.unwrap();
    let mut body = ada();
    body["images"] = json!([image]);
    let id = system.submit("fifo", &body).await;
    let refused = system.verdict(&id, JUDGED).await;
    let reason = &refused["reasons"][0];
    assert_eq!(
        (&refused["status"], &reason["code"]),
        (&json!("failed"), &json!("image_refused")),
        "{refused:#}"
    );
    assert!(reason["message"].as_str().unwrap().contains("/etc/passwd is a FIFO"), "{reason:#}");

    system.kill_part(Part::Gate);
    says_why(system, Part::Verifier, "the gate at https://127.0.0.1").await;
    let good = Entry::prepare(&bed.registry, "gil", Kind::Good).await;
    let id = system.submit("good", &good.body).await;
    let told = until("the status to say why", Duration::from_secs(20), async || {
        let status = system.status(&id).await?;
        assert_eq!(status["status"], "submitted", "{status:#}");
        status["platform"].as_str().map(str::to_owned)
    });
    told.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    system.restart().await;
    good.assert_deserved(&system.verdict(&id, JUDGED).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_reached_after_mongodb_and_http_have_used_tls() {
    let nobody = "mongodb://127.0.0.1:9/views?tls=true&serverSelectionTimeoutMS=500&connectTimeoutMS=500";
    let views = MongoViews::open(nobody).await.unwrap();
    let asked = timeout(Duration::from_secs(20), views.checkpoint()).await;
    assert!(asked.expect("it gives up").is_err());
    assert!(reqwest::get("https://127.0.0.1:9/").await.is_err());
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let log = EsdbStore::connect(&format!("esdb://{}?tls=false", system.node())).await.unwrap();
    log.head().await.expect("the log answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_work_stays_up_and_gives_the_reason() {
    let mut system = System::without_a_swarm(Shape::FiveProcesses).await;
    says_why(&system, Part::Verifier, "/nonexistent/engine.sock").await;
    // The process that serves the readers is ready, and says that nothing is verified.
    for part in [Part::ReadApi, Part::Projections] {
        let said = until("it to say why nothing is verified", Duration::from_secs(20), async || {
            let (status, said) = ask(&system, part, "/readyz/verifying").await?;
            (status == StatusCode::SERVICE_UNAVAILABLE && said.contains("/nonexistent/engine.sock"))
                .then_some(())
        });
        said.await.unwrap_or_else(|error| panic!("{part:?}: {error}\n{}", system.log_tail()));
        assert_eq!(ask(&system, part, "/readyz").await.unwrap().0, StatusCode::OK, "{part:?}");
    }
    // Participants see the reason from another process.
    let id = system.submit("one", &ada()).await;
    let told = until("the status to say why", Duration::from_secs(20), async || {
        system.status(&id).await?["platform"].as_str()?.contains("Swarm").then_some(())
    });
    told.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    system.kill_part(Part::Log);
    for part in [Part::Commands, Part::Verifier, Part::ReadApi, Part::Projections] {
        says_why(&system, part, "the log").await;
        assert_eq!(ask(&system, part, "/healthz").await.unwrap(), (StatusCode::OK, "alive\n".to_owned()));
    }
    system.restart().await;
    assert_eq!(ask(&system, Part::Projections, "/readyz").await.unwrap().0, StatusCode::OK);
    assert!(system.terminate().await.success(), "{}", system.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_verifier_says_that_another_one_has_its_name() {
    let mut system = System::without_a_swarm(Shape::FourProcesses).await;
    says_why(&system, Part::Verifier, "/nonexistent/engine.sock").await;
    let clone = system.clone_part(Part::Verifier);
    let url = format!("http://{}/readyz", clone.address);
    let said = until("the clone to say why it is not ready", Duration::from_secs(30), async || {
        let said = system.http().get(&url).bearer_auth(TOKEN).send().await.ok()?.text().await.ok()?;
        said.contains("another verifier with the name").then_some(())
    });
    said.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    assert!(system.said().contains("a second verifier with the name"), "{}", system.log_tail());
    says_why(&system, Part::Verifier, "/nonexistent/engine.sock").await;
    drop(clone);
    assert!(system.terminate().await.success(), "{}", system.log_tail());
}

async fn says_why(system: &System, part: Part, why: &str) {
    let mut said = None;
    let unready = until("it to say why it is not ready", Duration::from_secs(20), async || {
        said = ask(system, part, "/readyz").await;
        let (status, reasons) = said.as_ref()?;
        (*status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains(why)).then_some(())
    });
    unready.await.unwrap_or_else(|error| panic!("{part:?}: {error}: {said:?}\n{}", system.log_tail()));
}

async fn ask(system: &System, part: Part, path: &str) -> Option<(StatusCode, String)> {
    let request = system.http().get(system.part_url(part, path)).bearer_auth(TOKEN);
    let answer = request.send().await.ok()?;
    Some((answer.status(), answer.text().await.ok()?))
}

/// Returns the value of a metric with these labels.
fn figure(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_role_without_a_needed_setting_names_it_in_one_line() {
    let run = |arguments: &[&str]| {
        let data = tempfile::tempdir().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).current_dir(&data).output();
        let output = command.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let esdb = ["--eventstore", "esdb://127.0.0.1:9?tls=false"];
    for (arguments, code, named) in [
        (vec!["serve", "commands", "--listen", "127.0.0.1:0"], 2, "muster eventstore"),
        ([&["serve", "projections"][..], &esdb].concat(), 1, "mongodb://"),
        ([&["eventstore", "--listen", "127.0.0.1:0"][..], &esdb].concat(), 2, "sqlite:PATH"),
        (vec!["serve", "gate"], 1, "--gate-listen"),
        (vec!["serve", "gate", "--gate-listen", "127.0.0.1:0"], 1, "--gate-secret"),
        (vec!["eventstore", "--listen", "0.0.0.0:0"], 2, "--eventstore-login"),
        (vec!["eventstore", "--listen", "0.0.0.0:0", "--login", "a:b"], 2, "--eventstore-tls"),
        (vec!["eventstore", "--listen", "0.0.0.0:0", "--tls", "a,b"], 2, "--eventstore-login"),
        (
            vec!["eventstore", "--listen", "127.0.0.1:0", "--tls", "/nowhere.crt,/nowhere.key"],
            1,
            "/nowhere.crt",
        ),
        (vec!["eventstore", "--listen", "127.0.0.1:0", "--login", "sesame"], 2, "USER:PASSWORD"),
    ] {
        let (ended, said) = run(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.lines().last().unwrap().contains(named), "{arguments:?}: {said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}
