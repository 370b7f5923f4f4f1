//! A node joins while submissions wait.

use std::time::Duration;

use anyhow::Result;
use domain::Event;
use testbed::{App, Testbed, until};
use verifier::NodeState;

use crate::stage::{Stage, answer, assert_nothing_left};

/// A node that the Swarm takes for ready has work within this.
const AT_WORK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_takes_work() -> Result<()> {
    let mut bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "joined", Some(1)).await?;
    // More than the first node does until then, of more owners than it has slots.
    for round in 0..20 {
        for number in 0..4 {
            let image = pushed(&bed, number, round == 0).await?;
            stage.submit(&format!("owner{number}"), &[&image]).await?;
        }
    }
    stage.health(|health| health.slots() == 1).await?;
    bed.swarm.grow().await?;
    let joined = bed.swarm.nodes()[1].name().to_owned();
    until("the node to have work", AT_WORK, async || {
        let history = stage.history().await.ok()?;
        history.iter().any(|(_, event)| ran_on(event, &joined)).then_some(())
    })
    .await?;
    let health = stage.health(|health| health.slots() == 2).await?;
    assert!(health.nodes.iter().all(|node| node.state == NodeState::Ready), "{health:?}");
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

async fn pushed(bed: &Testbed, number: u32, is_new: bool) -> Result<String> {
    let owner = format!("owner{number}");
    let image = format!("{}/{owner}/app:latest", bed.registry.address());
    if is_new {
        bed.registry.push(&format!("{owner}/app"), &App::good(&answer(&owner, &[&image]))).await?;
    }
    Ok(image)
}

fn ran_on(event: &Event, node: &str) -> bool {
    matches!(event, Event::ContainersStarted(started) if started.images.iter().any(|image| image.node == node))
}
