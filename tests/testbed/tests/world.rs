//! The world counts every packet that leaves a node or an ordinary container on it. Without this test, an
//! empty count would prove nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveContainerOptions};
use futures::TryStreamExt;
use serde_json::Value;
use testbed::{App, Layer, Node, Testbed, until};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn packets_that_leave_a_node_arrive_in_the_world_and_are_counted() -> Result<()> {
    let bed = Testbed::single().await?;
    let node = &bed.swarm.nodes()[0];
    assert_eq!(bed.world.arrived(), [], "a testbed at rest sends nothing anywhere");

    let page = node.run(&["curl", "-s", "--noproxy", "*", "-m", "5", "http://198.51.100.7:8080/"]).await?;
    assert_eq!(page, "the world\n");
    arrives(&bed, "198.51.100.7", "tcp 8080").await?;
    let page = node.run(&["curl", "-s", "--noproxy", "*", "-m", "5", "http://secret.example/"]).await?;
    assert_eq!(page, "the world\n");
    arrives(&bed, "203.0.113.53", "dns secret.example").await?;
    bed.world.forget();
    assert_eq!(bed.world.arrived(), []);

    for (target, to, what) in [
        ("tcp/203.0.113.9:22", "203.0.113.9", "tcp 22"),
        ("tcp/169.254.169.254:80", "169.254.169.254", "tcp 80"),
        ("udp/192.0.2.77:4789", "192.0.2.77", "udp 4789"),
        ("dns/203.0.113.53:53", "203.0.113.53", "dns a-secret.leak.example"),
    ] {
        let container = run(&bed, node, &App::playing(&["reach", target], &Value::Null)).await?;
        arrives(&bed, to, what).await?;
        remove(node, &container).await?;
    }
    let pings = App::playing(&["busybox-tricks"], &Value::Null).with_layers([Layer::busybox()?]);
    let container = run(&bed, node, &pings).await?;
    assert_eq!(exit_code(node, &container).await?, 99, "an ordinary container may open raw sockets");
    arrives(&bed, "198.51.100.1", "icmp").await?;
    remove(node, &container).await?;
    bed.stop().await
}

async fn arrives(bed: &Testbed, to: &str, what: &str) -> Result<()> {
    let from = bed.swarm.nodes()[0].address();
    let arrived = until("it to arrive", LIMIT, async || {
        let arrived = bed.world.arrived();
        let is_it = |seen: &testbed::Arrival| {
            seen.from.to_string() == from && seen.to.to_string() == to && seen.what == what
        };
        arrived.iter().any(is_it).then_some(())
    });
    arrived.await.with_context(|| format!("{what} to {to} is not among {:#?}", bed.world.arrived()))
}

/// Runs an app in an ordinary container on the engine's own bridge.
async fn run(bed: &Testbed, node: &Node, app: &App) -> Result<String> {
    let name = format!("alice/{}", app.mode.join("-").replace(['/', ':', '.'], "-"));
    let image = bed.registry.push(&name, app).await?;
    let docker = node.docker();
    let pull = CreateImageOptionsBuilder::new().from_image(&image).build();
    docker.create_image(Some(pull), None, None).try_for_each(|_| std::future::ready(Ok(()))).await?;
    let body = ContainerCreateBody { image: Some(image), ..Default::default() };
    let container = docker.create_container(None, body).await?.id;
    docker.start_container(&container, None).await?;
    Ok(container)
}

async fn exit_code(node: &Node, container: &str) -> Result<i64> {
    until("the container to end", LIMIT, async || {
        let state = node.docker().inspect_container(container, None).await.ok()?.state?;
        (state.running == Some(false)).then_some(state.exit_code).flatten()
    })
    .await
}

async fn remove(node: &Node, container: &str) -> Result<()> {
    let options = RemoveContainerOptions { force: true, ..Default::default() };
    Ok(node.docker().remove_container(container, Some(options)).await?)
}
