//! Submissions wait while the platform cannot verify. The pause reason says why, and they are verified when
//! the platform works again.

use std::time::Duration;

use anyhow::{Context, Result};
use bollard::models::ServiceSpec;
use bollard::query_parameters::ListTasksOptions;
use domain::Event;
use domain::submission::InterruptionCode;
use testbed::{App, Testbed, until};
use verifier::Health;

use crate::stage::{LIMIT, Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_swarm_nothing_is_claimed_and_it_is_said_why() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("docker.sock");
    let endpoint = format!("unix://{}", socket.display());
    let mut stage = Stage::apart("nowhere", vec![endpoint.clone()], "registry.invalid".into(), None)?;
    stage.run()?;
    let id = stage.submit("ada", &["registry.invalid/ada/app:latest"]).await?;

    let says =
        |health: &Health, words: &str| health.pause_reason.as_ref().is_some_and(|why| why.contains(words));
    let health = stage.health(|health| says(health, &endpoint)).await?;
    assert!(says(&health, "no Swarm manager answers"), "{health:?}");
    // A claim takes much less than this, so a claim would be seen by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.events(id).await?.len(), 1);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "patient", Some(2)).await?;
    let image = bed.registry.push("ada/app", &App::good(&answer("ada", &[&image_of(&bed, "ada")]))).await?;
    stage.health(|health| health.pause_reason.is_none()).await?;
    bed.registry.stop().await?;
    let id = stage.submit("ada", &[&image]).await?;
    let unavailable = |event: &Event| {
        matches!(event, Event::VerificationInterrupted(interrupted)
            if interrupted.code == InterruptionCode::RegistryUnavailable)
    };
    stage.event(id, unavailable).await?;
    bed.registry.restart().await?;
    assert!(stage.verdict(id).await?.reasons.is_empty());
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_back_is_used_again() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "steady", Some(2)).await?;
    let image = bed.registry.push("ada/app", &App::good(&answer("ada", &[&image_of(&bed, "ada")]))).await?;
    stage.health(|health| health.pause_reason.is_none()).await?;
    let node = &bed.swarm.nodes()[0];
    node.kill().await?;
    stage.health(|health| health.pause_reason.is_some()).await?;
    let id = stage.submit("ada", &[&image]).await?;
    node.restart().await?;
    assert!(stage.verdict(id).await?.reasons.is_empty());
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_waits_while_a_strangers_service_fills_the_node() -> Result<()> {
    let bed = Testbed::single().await?;
    let docker = bed.swarm.nodes()[0].docker();
    let stage = Stage::start(&bed, "roomy", Some(1)).await?;
    let image = bed.registry.push("ada/app", &App::good(&answer("ada", &[&image_of(&bed, "ada")]))).await?;
    stage.health(|health| health.pause_reason.is_none()).await?;
    let memory = docker.info().await?.mem_total.context("the memory of the node")?;
    let service: ServiceSpec = serde_json::from_value(serde_json::json!({
        "Name": "greedy",
        "TaskTemplate": {
            "ContainerSpec": { "Image": image },
            "Resources": { "Reservations": { "MemoryBytes": memory - (32 << 20) } },
        },
    }))?;
    let service = docker.create_service(service, None).await?.id.context("an id")?;
    until("the node to be full", LIMIT, async || {
        let tasks = docker.list_tasks(None::<ListTasksOptions>).await.ok()?;
        tasks
            .iter()
            .any(|task| task.service_id.as_ref() == Some(&service) && task.node_id.is_some())
            .then_some(())
    })
    .await?;

    let id = stage.submit("ada", &[&image]).await?;
    let is_full = |event: &Event| {
        matches!(event, Event::VerificationInterrupted(interrupted)
            if interrupted.code == InterruptionCode::NoCapacity
                && interrupted.message.contains("insufficient resources"))
    };
    stage.event(id, is_full).await?;
    docker.delete_service(&service).await?;
    assert!(stage.verdict(id).await?.reasons.is_empty());
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

fn image_of(bed: &Testbed, owner: &str) -> String {
    format!("{}/{owner}/app:latest", bed.registry.address())
}
