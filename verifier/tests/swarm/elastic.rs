//! Nodes join and leave while submissions run.

use std::time::{Duration, Instant};

use anyhow::Result;
use domain::{Event, SubmissionId};
use testbed::{App, Availability, Testbed, until};
use verifier::NodeState;

use crate::stage::{LIMIT, Stage, answer, assert_nothing_left, assert_nothing_left_on};

/// The longest time until a node has work after the Swarm calls it ready. It holds if no other test loads
/// the processors, so `make test` runs this test alone.
const AT_WORK: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_takes_work() -> Result<()> {
    let mut bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "joined", Some(1)).await?;
    // More work than the first node does until the second joins, from more owners than the first node has
    // slots.
    for round in 0..20 {
        for number in 0..4 {
            let image = pushed(&bed, number, round == 0, App::good).await?;
            stage.submit(&format!("owner{number}"), &[&image]).await?;
        }
    }
    stage.health(|health| health.slots() == 1).await?;
    bed.swarm.grow().await?;
    let joined = bed.swarm.nodes()[1].name().to_owned();
    let since = Instant::now();
    until("the node to have work", AT_WORK, async || {
        let history = stage.history().await.ok()?;
        history.iter().any(|(_, event)| ran_on(event, &joined)).then_some(())
    })
    .await?;
    println!("the node that joined had work after {:.1?}", since.elapsed());
    let health = stage.health(|health| health.slots() == 2).await?;
    assert!(health.nodes.iter().all(|node| node.state == NodeState::Ready), "{health:?}");
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_on_a_node_that_leaves_gets_its_verdict_elsewhere() -> Result<()> {
    let bed = Testbed::three().await?;
    let stage = Stage::start(&bed, "leaving", Some(2)).await?;
    let [first, _, third] = bed.swarm.nodes() else { panic!("three nodes") };
    let state_is = |state: NodeState| {
        let name = third.name();
        move |health: &verifier::Health| {
            health.nodes.iter().any(|node| node.name == name && node.state == state)
        }
    };

    // An operator drains the node.
    let submitted = under_way_on(&bed, &stage, 0, third.name()).await?;
    bed.swarm.set_availability(third, Availability::DRAIN).await?;
    stage.health(state_is(NodeState::Drained)).await?;
    all_pass(&stage, submitted).await?;
    bed.swarm.set_availability(third, Availability::ACTIVE).await?;
    stage.health(|health| health.slots() == 6).await?;

    // The node's power is cut.
    let submitted = under_way_on(&bed, &stage, 10, third.name()).await?;
    third.power_off();
    all_pass(&stage, submitted).await?;
    stage.health(state_is(NodeState::Down)).await?;

    // The node is removed from the Swarm for good.
    let gone = third.name();
    first.run(&["docker", "--host", &first.endpoint(), "node", "demote", gone]).await?;
    first.run(&["docker", "--host", &first.endpoint(), "node", "rm", "--force", gone]).await?;
    let health = stage.health(|health| health.nodes.len() == 2).await?;
    assert_eq!(health.slots(), 4);
    stage.stop().await?;
    assert_nothing_left_on(&bed.swarm.nodes()[..2]).await?;
    bed.stop().await
}

/// Submits apps that take some seconds, until one of them runs on the node.
async fn under_way_on(bed: &Testbed, stage: &Stage, from: u32, node: &str) -> Result<Vec<SubmissionId>> {
    let mut submitted = Vec::new();
    for number in from..from + 8 {
        let slow = |answer: &serde_json::Value| App::slow(answer, Duration::from_secs(2));
        let image = pushed(bed, number, true, slow).await?;
        submitted.push(stage.submit(&format!("owner{number}"), &[&image]).await?);
    }
    until("one to run on the node", LIMIT, async || {
        for id in &submitted {
            let events = stage.events(*id).await.ok()?;
            if events.last().is_some_and(|last| ran_on(last, node)) {
                return Some(());
            }
        }
        None
    })
    .await?;
    Ok(submitted)
}

async fn all_pass(stage: &Stage, submitted: Vec<SubmissionId>) -> Result<()> {
    for id in submitted {
        let verdict = stage.verdict(id).await?;
        assert!(verdict.reasons.is_empty(), "{:#?}", verdict.events);
    }
    Ok(())
}

async fn pushed(
    bed: &Testbed,
    number: u32,
    is_new: bool,
    app: impl Fn(&serde_json::Value) -> App,
) -> Result<String> {
    let owner = format!("owner{number}");
    let image = format!("{}/{owner}/app:latest", bed.registry.address());
    if is_new {
        bed.registry.push(&format!("{owner}/app"), &app(&answer(&owner, &[&image]))).await?;
    }
    Ok(image)
}

fn ran_on(event: &Event, node: &str) -> bool {
    matches!(event, Event::ContainersStarted(started) if started.images.iter().any(|image| image.node == node))
}
