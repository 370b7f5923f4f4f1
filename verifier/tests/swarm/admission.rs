//! Admission of nodes: a node gets work after a container of ours has seen from inside that the node's
//! walls hold, and no work while they do not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::Challenge;
use domain::challenge::OpenKernelWays;
use domain::sandbox::SandboxGrade;
use testbed::{App, Testbed};
use verifier::admission::{CheckState, InspectedNode, inspect_swarm};
use verifier::{Health, NodeState};

use crate::stage::{Stage, answer, assert_nothing_left};

/// The path of a seccomp profile on the host. The profile contains no filter.
const NO_FILTER: &str = "/run/no-seccomp.json";

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_ours_sees_what_holds_on_a_node() -> Result<()> {
    let bed = Testbed::single().await?;
    let began = Instant::now();
    let inspected = inspect_swarm(&bed.swarm.endpoints(), None, &Challenge::birthday()).await?;
    println!("inspected and tidied after {:?}", began.elapsed());
    let [InspectedNode { name, inspection }] = &inspected[..] else { panic!("one node: {inspected:?}") };
    assert_eq!(name, bed.swarm.nodes()[0].name());
    let sandbox = inspection.as_ref().map_err(Clone::clone)?;
    assert_eq!(sandbox.grade, SandboxGrade::ReadOnly, "nothing bounds what is written to a disk");
    let checks = &sandbox.checks;
    for check in checks {
        println!("{:?} {}: {} ({})", check.state, check.item, check.found, check.wanted);
        let fine = matches!(check.state, CheckState::Holds | CheckState::Advised);
        assert!(fine, "{check:?}");
    }
    for item in ["seccomp", "memory limit", "no-new-privileges", "the node's own address"] {
        let check = checks.iter().find(|check| check.item == item).context(item)?;
        assert_eq!(check.state, CheckState::Holds, "{check:?}");
    }
    // The engine's filter refuses these, and this engine lets others through.
    let ways = checks.iter().find(|check| check.item == "ways into the kernel").context("the ways")?;
    for closed in ["keyctl", "bpf", "userfaultfd", "mknod", "user-namespaces"] {
        assert!(!ways.found.contains(closed), "{ways:?}");
    }
    assert!(ways.found.contains("AF_VSOCK"), "the inspector did not try: {ways:?}");
    assert_nothing_left(&bed).await?;
    open_ways_close_the_node(&bed).await?;
    bed.stop().await
}

/// Runs a verifier whose challenge refuses nodes with open ways into the kernel, and then one whose challenge permits them.
async fn open_ways_close_the_node(bed: &Testbed) -> Result<()> {
    let mut stage = Stage::prepared(bed, "strict", Some(1))?;
    stage.change_rules(|rules| rules.sandbox.open_kernel_ways = OpenKernelWays::Refused).await?;
    stage.run()?;
    let is_refused = |health: &Health| {
        let is_why = |why: &String| why.contains("ways into the kernel is") && why.contains("AF_VSOCK");
        let refused = |state: &NodeState| matches!(state, NodeState::Refused { why } if is_why(why));
        health.pause_reason.as_ref().is_some_and(is_why)
            && health.nodes.iter().all(|node| refused(&node.state))
    };
    let health = stage.health(is_refused).await?;
    assert_eq!(health.slots(), 0);
    let image = format!("{}/ada/app:latest", bed.registry.address());
    bed.registry.push("ada/app", &App::good(&answer("ada", &[&image]))).await?;
    let id = stage.submit("ada", &[&image]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.events(id).await?.len(), 1, "it waits");

    stage.pause().await?;
    stage.change_rules(|rules| rules.sandbox.open_kernel_ways = OpenKernelWays::Permitted).await?;
    stage.run()?;
    assert!(stage.verdict(id).await?.reasons.is_empty());
    stage.stop().await?;
    assert_nothing_left(bed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_files_are_memory_is_writable_within_a_bound() -> Result<()> {
    let bed = Testbed::in_memory(1).await?;
    let node = &bed.swarm.nodes()[0];
    let root = node.docker().info().await?.docker_root_dir.context("a data root")?;
    let used_kib = async || -> Result<u64> {
        let text = node.run(&["df", "--output=used", "-k", &root]).await?;
        Ok(text.lines().last().context("two lines")?.trim().parse()?)
    };
    let before = used_kib().await?;
    let began = Instant::now();
    let inspected = inspect_swarm(&bed.swarm.endpoints(), None, &Challenge::birthday()).await?;
    println!("inspected and tidied after {:?}", began.elapsed());
    let sandbox = inspected[0].inspection.as_ref().map_err(Clone::clone)?;
    for check in &sandbox.checks {
        println!("{:?} {}: {} ({})", check.state, check.item, check.found, check.wanted);
    }
    assert_eq!(sandbox.grade, SandboxGrade::Writable, "{:#?}", sandbox.checks);
    let bounds: Vec<_> = sandbox.checks.iter().filter(|check| check.item == "bound of writing").collect();
    assert_eq!(bounds.len(), 2, "the root file system and a volume");
    assert!(bounds.iter().all(|check| check.state == CheckState::Holds), "{bounds:?}");
    // The image of the inspector stays.
    let after = used_kib().await?;
    assert!(after < before + (16 << 10), "{after} KiB are used, and {before} KiB were");
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drops_a_protection_gets_no_work_until_it_has_it() -> Result<()> {
    let bed = Testbed::three().await?;
    let [first, second, third] = bed.swarm.nodes() else { panic!("three nodes") };
    second.run(&["sh", "-c", &format!("echo '{{}}' >{NO_FILTER}")]).await?;
    second.kill().await?;
    second.restart_with(&[format!("--seccomp-profile={NO_FILTER}")]).await?;
    bed.swarm.settle().await?;

    let began = Instant::now();
    let stage = Stage::start(&bed, "gate", Some(1)).await?;
    let refused = |health: &Health, node: &testbed::Node| {
        let state = health.nodes.iter().find(|known| known.name == node.name()).map(|known| &known.state);
        matches!(state, Some(NodeState::Refused { why }) if why.contains("seccomp is 0"))
    };
    let health = stage.health(|health| refused(health, second) && health.slots() == 2).await?;
    println!("two admitted and one refused after {:?}", began.elapsed());
    assert_eq!(health.pause_reason, None);
    assert!(!refused(&health, first) && !refused(&health, third));

    // Work continues on the other two nodes.
    let mut submitted = Vec::new();
    for owner in ["ada", "bob", "cay", "dan"] {
        let image = format!("{}/{owner}/app:latest", bed.registry.address());
        bed.registry.push(&format!("{owner}/app"), &App::good(&answer(owner, &[&image]))).await?;
        submitted.push(stage.submit(owner, &[&image]).await?);
    }
    for id in submitted {
        let outcome = stage.verdict(id).await?;
        assert!(outcome.reasons.is_empty(), "{:?}", outcome.reasons);
        let text = format!("{:?}", outcome.events);
        assert!(!text.contains(&format!("{:?}", second.name())), "{text}");
    }

    // The node has its seccomp filter again after the restart, and is inspected again.
    second.power_off();
    let down = |health: &Health| {
        health.nodes.iter().any(|node| node.name == second.name() && node.state == NodeState::Down)
    };
    stage.health(down).await?;
    second.power_on().await?;
    bed.swarm.settle().await?;
    let ready = Instant::now();
    stage.health(|health| health.slots() == 3).await?;
    println!("admitted {:?} after it was back", ready.elapsed());
    assert!(ready.elapsed() < Duration::from_secs(60));
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
