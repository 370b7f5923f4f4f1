//! The cleaning of a node that no manager leads.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, InspectContainerOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use futures::TryStreamExt;
use testbed::{App, until};

use super::scene::{Scene, told};

const LIMIT: Duration = Duration::from_secs(60);

/// Two of three managers are killed, so that the Swarm has no leader. A container whose time is over leaves
/// the third node, and then its image does. The image of a container that could not be created leaves too.
/// Foreign containers and images stay. An image that was only pulled stays until it has been run.
pub(super) async fn a_node_without_managers_is_kept_tidy(scene: &Scene) -> Result<()> {
    told("no manager is alive", async {
        let [first, second, third] = scene.bed.swarm.nodes() else { anyhow::bail!("three nodes") };
        let docker = third.docker();
        let image = async |owner: &str| -> Result<String> {
            let app = App::playing(&["silent"], &owner.into());
            let name = scene.bed.registry.push(&format!("{owner}/app"), &app).await?;
            let found = docker.inspect_registry_image(&name, None).await?;
            let digest = found.descriptor.digest.context("a digest")?;
            let name = format!("{}@{digest}", name.trim_end_matches(":latest"));
            pull(docker, &name).await?;
            Ok(name)
        };
        let (foreign, pulled, run) = (image("foreign").await?, image("pulled").await?, image("run").await?);
        let kept = create(docker, &foreign, &[], None).await?;
        let (alone, unmade) = (image("alone").await?, image("unmade").await?);
        first.kill().await?;
        second.kill().await?;

        let ours = [("muster.verifier", "v"), ("muster.submission", "s"), ("muster.ttl", "3")];
        let impossible = create(docker, &unmade, &ours, Some("/config.json")).await;
        ensure!(impossible.is_err(), "no container works in a file");
        let forgotten = create(docker, &run, &ours, None).await?;
        docker.start_container(&forgotten, None::<StartContainerOptions>).await?;
        until("the container to go", LIMIT, async || is_gone(docker, &forgotten).await.then_some(())).await?;
        for image in [&run, &unmade] {
            until("its image to go", LIMIT, async || {
                docker.inspect_image(image).await.is_err().then_some(())
            })
            .await
            .with_context(|| image.clone())?;
        }

        // The same time would have sufficed to remove the others.
        ensure!(!is_gone(docker, &kept).await, "a foreign container stays");
        for name in [&foreign, &alone, &pulled] {
            docker.inspect_image(name).await.with_context(|| format!("{name} stays"))?;
        }
        let late = create(docker, &pulled, &ours, None).await?;
        for container in [kept, late] {
            let options = RemoveContainerOptions { force: true, ..Default::default() };
            docker.remove_container(&container, Some(options)).await?;
        }
        until("it to go once it was used", LIMIT, async || {
            docker.inspect_image(&pulled).await.is_err().then_some(())
        })
        .await?;
        first.restart().await?;
        second.restart().await?;
        scene.bed.swarm.settle().await
    })
    .await
}

async fn pull(docker: &Docker, image: &str) -> Result<()> {
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    Ok(docker.create_image(Some(options), None, None).try_for_each(|_| std::future::ready(Ok(()))).await?)
}

/// Creates a container with these labels and this working directory. Returns the container's id.
async fn create(
    docker: &Docker,
    image: &str,
    labels: &[(&str, &str)],
    directory: Option<&str>,
) -> Result<String> {
    let body = ContainerCreateBody {
        working_dir: directory.map(str::to_owned),
        image: Some(image.to_owned()),
        labels: Some(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    Ok(docker.create_container(None::<CreateContainerOptions>, body).await?.id)
}

async fn is_gone(docker: &Docker, container: &str) -> bool {
    docker.inspect_container(container, None::<InspectContainerOptions>).await.is_err()
}
