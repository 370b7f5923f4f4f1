//! The testbed itself: it starts, works across hosts, and leaves nothing behind.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::models::{
    ContainerCreateBody, EndpointSpec, EndpointSpecModeEnum, HostConfig, NetworkAttachmentConfig,
    NetworkCreateRequest, ServiceSpec, TaskSpec, TaskSpecContainerSpec, TaskSpecPlacement,
};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
};
use futures::TryStreamExt;
use serde_json::json;
use testbed::{App, Availability, Node, Testbed, until};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_swarm_of_one_runs_a_service_and_leaves_nothing() -> Result<()> {
    let bed = Testbed::single().await?;
    let app = App::good(&json!({ "name": "Alice" }));
    let image = bed.registry.push("alice/app", &app).await?;
    let node = &bed.swarm.nodes()[0];
    let names = names(node);

    run_service(&bed, "app", &image, node, vec![]).await?;
    let before = leftovers(&names);
    assert!(before.len() > 5, "the search finds a live testbed: {before:?}");

    bed.stop().await?;
    assert_eq!(leftovers(&names), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() -> Result<()> {
    // This test's own binary starts a testbed and is then killed.
    let mut owner = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = tokio::io::BufReader::new(owner.stdout.take().context("piped")?);
    let names = tokio::time::timeout(LIMIT, async {
        let mut line = String::new();
        while !line.starts_with("/tmp/") {
            line.clear();
            let read = tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await?;
            anyhow::ensure!(read > 0, "the victim ended by itself");
        }
        Ok(line.trim().to_owned())
    })
    .await??;
    assert!(leftovers(&names).len() > 5, "{:?}", leftovers(&names));

    owner.kill().await?;

    until("the victim's testbed to go", LIMIT, async || leftovers(&names).is_empty().then_some(())).await
}

/// The environment variable of the process that is killed.
const VICTIM: &str = "TESTBED_VICTIM";

/// Does nothing unless [`a_killed_owner_leaves_nothing`] started the process.
#[tokio::test]
async fn victim() -> Result<()> {
    if std::env::var_os(VICTIM).is_some() {
        let bed = Testbed::single().await?;
        println!("\n{}", names(&bed.swarm.nodes()[0]));
        tokio::time::sleep(LIMIT).await;
    }
    Ok(())
}

#[tokio::test]
async fn three_hosts_share_an_overlay_and_outlive_their_leader() -> Result<()> {
    let bed = Testbed::three().await?;
    let app = App::good(&json!({ "name": "Alice" }));
    let image = bed.registry.push("alice/app", &app).await?;
    let [first, second, third] = bed.swarm.nodes() else {
        panic!("three nodes");
    };
    let names = names(first);

    // A response travels from one host to another, over a network of the Swarm.
    let network = create_network(first).await?;
    let attached = NetworkAttachmentConfig { target: Some(network), ..Default::default() };
    let address = run_service(&bed, "app", &image, second, vec![attached]).await?;
    let answer = fetch(&bed, third, &address).await?;
    assert!(answer.contains("Alice"), "{answer}");

    // The killed leader is replaced, and joins again.
    let leader = bed.swarm.leader().await?;
    leader.kill().await?;
    let successor = bed.swarm.leader().await?;
    assert_ne!(successor.name(), leader.name());
    leader.restart().await?;
    bed.swarm.settle().await?;

    // After a power cut, a host is back with its old state.
    third.power_off();
    assert!(third.docker().ping().await.is_err());
    third.power_on().await?;
    bed.swarm.settle().await?;

    bed.swarm.label(second, "muster.sandbox", "true").await?;
    bed.swarm.set_availability(third, Availability::DRAIN).await?;
    let listed = first.docker().list_nodes(None).await?;
    let spec = |node: &str| {
        listed
            .iter()
            .find(|seen| {
                let description = seen.description.as_ref();
                description.and_then(|it| it.hostname.as_deref()) == Some(node)
            })
            .and_then(|seen| seen.spec.clone())
            .expect("every node is listed")
    };
    let labels = spec("node2").labels.unwrap_or_default();
    assert_eq!(labels.get("muster.sandbox").map(String::as_str), Some("true"));
    assert_eq!(spec("node3").availability, Some(Availability::DRAIN));

    bed.stop().await?;
    assert_eq!(leftovers(&names), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_stopped_registry_refuses_and_comes_back_with_its_images() -> Result<()> {
    let bed = Testbed::shared().await?;
    let image = bed.registry.push("bob/app", &App::good(&json!({}))).await?;
    let docker = bed.swarm.nodes()[0].docker();

    bed.registry.stop().await?;
    assert!(docker.inspect_registry_image(&image, None).await.is_err());
    bed.registry.restart().await?;
    docker.inspect_registry_image(&image, None).await?;
    Ok(())
}

/// Returns the directory of the node's testbed.
fn names(node: &Node) -> String {
    let socket = node.endpoint();
    let parts: Vec<&str> = socket.trim_start_matches("unix://").split('/').collect();
    parts[..parts.len() - 2].join("/")
}

/// Returns everything on this machine that has a testbed's name: processes, mounts, control groups, links,
/// files.
fn leftovers(directory: &str) -> Vec<String> {
    let id = directory.rsplit('/').next().unwrap_or_default();
    let search = format!(
        "pgrep -af '{directory}/[a-z]'
         grep -s '{directory}/' /proc/self/mounts
         find /sys/fs/cgroup -maxdepth 2 -name muster-testbed-{id}
         ls -d /sys/class/net/mtb{id} 2>/dev/null
         find {directory} -maxdepth 1 2>/dev/null"
    );
    let found = Command::new("sh").args(["-c", &search]).output().expect("sh runs");
    let found = String::from_utf8_lossy(&found.stdout);
    // The search finds itself, because its text contains the directory.
    found.lines().filter(|line| !line.contains("pgrep")).map(str::to_owned).collect()
}

async fn create_network(node: &Node) -> Result<String> {
    let created = node
        .docker()
        .create_network(NetworkCreateRequest {
            name: "slot".to_owned(),
            driver: Some("overlay".to_owned()),
            attachable: Some(true),
            internal: Some(true),
            ..Default::default()
        })
        .await?;
    Ok(created.id)
}

/// Starts a service on a node and waits until it runs. Returns its address, if it has a network.
async fn run_service(
    bed: &Testbed,
    name: &str,
    image: &str,
    on: &Node,
    networks: Vec<NetworkAttachmentConfig>,
) -> Result<String> {
    let spec = ServiceSpec {
        name: Some(name.to_owned()),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(image.to_owned()),
                ..Default::default()
            }),
            placement: Some(TaskSpecPlacement {
                constraints: Some(vec![format!("node.hostname=={}", on.name())]),
                ..Default::default()
            }),
            networks: Some(networks),
            ..Default::default()
        }),
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointSpecModeEnum::DNSRR), ..Default::default() }),
        ..Default::default()
    };
    bed.swarm.nodes()[0].docker().create_service(spec, None).await?;
    let label = format!("com.docker.swarm.service.name={name}");
    let filters = HashMap::from([("label", vec![label.as_str()])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    until("the service to run", LIMIT, async || {
        let running = on.docker().list_containers(Some(options.clone())).await.ok()?;
        let networks = running.into_iter().next()?.network_settings?.networks?;
        let address = networks.get("slot").and_then(|slot| slot.ip_address.clone());
        Some(address.unwrap_or_default())
    })
    .await
}

/// Returns the answer of an app to a container on another node of its network.
async fn fetch(bed: &Testbed, from: &Node, address: &str) -> Result<String> {
    let caller = App::playing(&["fetch", address], &json!({}));
    let image = bed.registry.push("alice/caller", &caller).await?;
    let docker = from.docker();
    let pull = CreateImageOptionsBuilder::new().from_image(&image).build();
    docker.create_image(Some(pull), None, None).try_for_each(|_| std::future::ready(Ok(()))).await?;
    let body = ContainerCreateBody {
        image: Some(image),
        host_config: Some(HostConfig { network_mode: Some("slot".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    let container = docker.create_container(None, body).await?.id;
    docker.start_container(&container, None).await?;
    docker.wait_container(&container, None).try_for_each(|_| std::future::ready(Ok(()))).await?;
    let options = LogsOptionsBuilder::new().stdout(true).build();
    let said: Vec<_> = docker.logs(&container, Some(options)).try_collect().await?;
    Ok(said.iter().map(ToString::to_string).collect())
}
