//! The verifier on a newer engine: what it gives a container, and endings whose words differ from engine to engine.

use std::time::Instant;

use anyhow::{Context, Result};
use domain::Challenge;
use domain::challenge::OpenKernelWays;
use domain::submission::FailureCode as Code;
use serde_json::{Value, json};
use testbed::{App, EngineVersion, Testbed};
use verifier::admission::{CheckState, inspect_swarm};

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_engine_keeps_every_wall_and_its_words_are_understood() -> Result<()> {
    let bed = Testbed::single_with(EngineVersion::Newer).await?;
    let version = bed.swarm.nodes()[0].docker().version().await?.version.context("a version")?;
    assert!(version.starts_with("26."), "{version}");

    let mut strict = Challenge::birthday();
    strict.sandbox.open_kernel_ways = OpenKernelWays::Refused;
    let inspected = inspect_swarm(&bed.swarm.endpoints(), None, &strict).await?;
    let sandbox = inspected[0].inspection.as_ref().map_err(Clone::clone)?;
    for check in &sandbox.checks {
        println!("{:?} {}: {} ({})", check.state, check.item, check.found, check.wanted);
        assert!(matches!(check.state, CheckState::Holds | CheckState::Advised), "{check:?}");
    }
    // The engine's own filter lets some of these through, and this is ours.
    let ways =
        sandbox.checks.iter().find(|check| check.item == "ways into the kernel").context("the ways")?;
    assert_eq!((ways.found.as_str(), ways.state), ("none", CheckState::Holds));

    let mut stage = Stage::prepared(&bed, "newer", Some(2))?;
    stage.change_rules(|rules| rules.sandbox.open_kernel_ways = OpenKernelWays::Refused).await?;
    stage.run()?;
    type Kind = (&'static str, fn(&Value) -> App, Option<(Code, &'static str)>);
    let kinds: [Kind; 7] = [
        ("good", App::good, None),
        ("wrong", |answer| App::wrong(answer, "vote"), Some((Code::Mismatch, "vote"))),
        ("exits", |_| App::exits(3, "no database"), Some((Code::ExitedEarly, "no database"))),
        ("memory", |answer| App::playing(&["memory"], answer), Some((Code::OutOfMemory, "64 MiB"))),
        (
            "no-program",
            |answer| App::good(answer).with("Entrypoint", json!(["/nope"])),
            Some((Code::DidNotStart, "/nope")),
        ),
        (
            "no-user",
            |answer| App::good(answer).with("User", json!("mallory")),
            Some((Code::DidNotStart, "mallory")),
        ),
        (
            "no-place",
            |answer| App::good(answer).with("WorkingDir", json!("/config.json")),
            Some((Code::DidNotStart, "config.json")),
        ),
    ];
    let began = Instant::now();
    let mut submitted = Vec::new();
    for (owner, app, expected) in kinds {
        let image = format!("{}/{owner}/app:latest", bed.registry.address());
        bed.registry.push(&format!("{owner}/app"), &app(&answer(owner, &[&image]))).await?;
        submitted.push((owner, stage.submit(owner, &[&image]).await?, expected));
    }
    for (owner, id, expected) in submitted {
        let outcome = stage.verdict(id).await?;
        let found = outcome.reasons.first().map(|reason| (reason.code, reason.message.as_str()));
        match (expected, found) {
            (None, None) => {}
            (Some((code, word)), Some((found, message))) if code == found && message.contains(word) => {}
            (expected, found) => panic!("{owner}: {expected:?}, but {found:?}: {:#?}", outcome.events),
        }
    }
    println!("seven verdicts after {:?}", began.elapsed());
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
