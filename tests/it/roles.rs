//! The roles as processes of their own, which meet in the log over the wire:
//! what holds for one process holds for several.

use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use testbed::{Mongo, Testbed, until};

use crate::support::entry::{Entry, Kind};
use crate::support::system::TOKEN;
use crate::support::{Shape, System};

const JUDGED: Duration = Duration::from_secs(120);

fn in_memory() -> Shape {
    Shape::Roles { views: "memory".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_accepted_is_there_after_all_of_them_were_killed() {
    let ada = json!({
        "name": "Ada Lovelace",
        "twitter": "@ada",
        "location": "London, UK",
        "images": ["registry.test:5000/ada/app"],
        "vote": "Rust",
    });
    let mut system = System::without_a_swarm(in_memory()).await;
    let id = system.submit("one", &ada).await;
    system.kill();
    system.restart().await;
    assert_eq!(system.submit("one", &ada).await, id);
    let status = system.status(&id).await.unwrap();
    assert_eq!((&status["name"], &status["status"]), (&json!("Ada Lovelace"), &json!("submitted")));
    assert_eq!(status["queue"]["position"], 1, "{status:#}");
    assert_eq!(system.get("/api/v1/stats").await["submissions"]["submitted"], 1);
    assert!(system.terminate().await.success(), "{}", system.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_and_a_replica_set_verify_what_is_submitted() {
    let (bed, mongo) = tokio::try_join!(Testbed::single(), Mongo::replica_set()).unwrap();
    let views = mongo.uri().replace("/?", "/roles?");
    let good = Entry::prepare(&bed.registry, "ada", Kind::Good).await;
    let wrong = Entry::prepare(&bed.registry, "bob", Kind::WrongInOneField).await;
    let mut system = System::start_as(Shape::Roles { views }, &bed).await;

    let ids = [system.submit("good", &good.body).await, system.submit("wrong", &wrong.body).await];
    good.assert_deserved(&system.verdict(&ids[0], JUDGED).await);
    wrong.assert_deserved(&system.verdict(&ids[1], JUDGED).await);
    let mut stats = Value::Null;
    let counted = until("the views to see both verdicts", Duration::from_secs(20), async || {
        stats = system.get("/api/v1/stats").await;
        let judged = &stats["submissions"];
        (judged["passed"] == 1 && judged["failed"] == 1 && stats["pins"] == 1).then_some(())
    });
    counted.await.unwrap_or_else(|error| panic!("{error}: {stats:#}\n{}", system.log_tail()));

    let rejudge = system.writes_url(&format!("/api/v1/submissions/{}/rejudge", ids[1]));
    let asked = system.http().post(rejudge).bearer_auth(TOKEN).json(&json!({ "why": "once more" }));
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let verdicts = until("the second verdict", JUDGED, async || {
        let status = system.status(&ids[1]).await?;
        let timeline = status["timeline"].as_array()?;
        (timeline.iter().filter(|entry| entry["type"] == "Failed").count() == 2).then_some(())
    });
    verdicts.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));

    assert!(system.terminate().await.success(), "{}", system.log_tail());
    tokio::try_join!(bed.stop(), mongo.stop()).unwrap();
}

#[test]
fn a_role_says_in_one_line_what_it_lacks() {
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
        (vec!["eventstore", "--listen", "0.0.0.0:0"], 2, "--eventstore-login"),
    ] {
        let (ended, said) = run(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.lines().last().unwrap().contains(named), "{arguments:?}: {said}");
    }
}
