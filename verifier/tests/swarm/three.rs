//! Three nodes, all of them managers: work continues after one is drained and after the leader dies.

use anyhow::Result;
use domain::submission::FailureCode;
use domain::{Event, SubmissionId};
use testbed::{App, Availability, Testbed};
use verifier::{NodeHealth, NodeState};

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_and_every_submission_gets_its_verdict() -> Result<()> {
    let bed = Testbed::three().await?;
    let stage = Stage::start(&bed, "three", Some(2)).await?;
    let [_, _, third] = bed.swarm.nodes() else { panic!("three nodes") };
    stage.health(|health| health.pause_reason.is_none() && health.slots() == 6).await?;

    let (first, used) = verified(&bed, &stage, 0..9).await?;
    assert!(used.len() > 1, "more than one node is used: {used:?}");
    assert_eq!(first, 9);

    bed.swarm.set_availability(third, Availability::DRAIN).await?;
    let health = stage.health(|health| health.slots() == 4).await?;
    let is_drained =
        |node: &NodeHealth| node.name == third.name() && node.state == NodeState::Drained && node.slots == 0;
    assert!(health.nodes.iter().any(is_drained), "{health:?}");
    let (second, used) = verified(&bed, &stage, 10..16).await?;
    assert_eq!(second, 6);
    assert!(!used.contains(third.name()), "{used:?}");

    // The leader dies while submissions are under way.
    bed.swarm.set_availability(third, Availability::ACTIVE).await?;
    let mut submitted = Vec::new();
    for number in 20..26 {
        submitted.push(submit(&bed, &stage, number).await?);
    }
    let leader = bed.swarm.leader().await?;
    leader.kill().await?;
    for (number, id) in submitted {
        judge(&stage, number, id).await?;
    }
    leader.restart().await?;
    bed.swarm.settle().await?;
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// Submits some apps and waits for their verdicts. Returns their number and the names of the nodes that ran
/// them.
async fn verified(
    bed: &Testbed,
    stage: &Stage,
    numbers: std::ops::Range<u32>,
) -> Result<(usize, std::collections::BTreeSet<String>)> {
    let mut submitted = Vec::new();
    for number in numbers {
        submitted.push(submit(bed, stage, number).await?);
    }
    let mut nodes = std::collections::BTreeSet::new();
    let count = submitted.len();
    for (number, id) in submitted {
        nodes.extend(judge(stage, number, id).await?);
    }
    Ok((count, nodes))
}

/// Submits an app. Every third app does not listen.
async fn submit(bed: &Testbed, stage: &Stage, number: u32) -> Result<(u32, SubmissionId)> {
    let owner = format!("owner{number}");
    let image = format!("{}/{owner}/app:latest", bed.registry.address());
    let answer = answer(&owner, &[&image]);
    let app = if number % 3 == 2 { App::playing(&["silent"], &answer) } else { App::good(&answer) };
    bed.registry.push(&format!("{owner}/app"), &app).await?;
    Ok((number, stage.submit(&owner, &[&image]).await?))
}

async fn judge(stage: &Stage, number: u32, id: SubmissionId) -> Result<Vec<String>> {
    let outcome = stage.verdict(id).await?;
    let code = outcome.reasons.first().map(|reason| reason.code);
    let expected = (number % 3 == 2).then_some(FailureCode::NothingOnPort);
    assert_eq!(code, expected, "{number}: {:#?}", outcome.events);
    let nodes = outcome.events.into_iter().flat_map(|event| match event {
        Event::ContainersStarted(started) => started.images,
        _ => Vec::new(),
    });
    Ok(nodes.map(|image| image.node).collect())
}
