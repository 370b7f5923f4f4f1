//! The restrictions of a participant's container, as the container's engine reports them.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bollard::query_parameters::ListContainersOptions;
use domain::Event;
use testbed::{App, Testbed};

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_what_it_needs_and_no_more() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "strict", Some(1)).await?;
    let image = format!("{}/ada/app:latest", bed.registry.address());
    let mut app = App::playing(&["silent"], &answer("ada", &[&image]));
    app.extra.insert("Volumes".into(), serde_json::json!({ "/data": {} }));
    app.extra.insert("Healthcheck".into(), serde_json::json!({ "Test": ["CMD", "/nope"] }));
    bed.registry.push("ada/app", &app).await?;
    let id = stage.submit("ada", &[&image]).await?;
    stage.event(id, |event| matches!(event, Event::ContainersStarted(_))).await?;

    let docker = bed.swarm.nodes()[0].docker();
    let filters = HashMap::from([("label".to_owned(), vec![format!("muster.submission={id}")])]);
    let options = ListContainersOptions { filters: Some(filters), ..Default::default() };
    let listed = docker.list_containers(Some(options)).await?;
    let [container] = &listed[..] else { panic!("one container: {listed:#?}") };
    let found = docker.inspect_container(container.id.as_deref().context("an id")?, None).await?;

    let host = found.host_config.context("a host configuration")?;
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add.unwrap_or_default(), Vec::<String>::new());
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.pids_limit, Some(128));
    assert_eq!(host.dns, Some(vec!["127.0.0.1".to_owned()]));
    let mut mounts = Vec::new();
    for mount in found.mounts.unwrap_or_default() {
        assert_eq!(mount.typ.as_deref(), Some("tmpfs"), "{mount:?}");
        mounts.extend(mount.destination);
    }
    mounts.sort();
    assert_eq!(mounts, ["/data", "/run", "/tmp"]);
    let config = found.config.context("a configuration")?;
    // A node's janitor learns from this label when no verifier waits for the container any more.
    let labels = config.labels.context("labels")?;
    let ttl: u64 = labels.get("muster.ttl").context("a time to live")?.parse()?;
    assert!((1..600).contains(&ttl), "{ttl} s");
    assert_eq!(config.healthcheck.and_then(|check| check.test), Some(vec!["NONE".to_owned()]));
    assert_eq!(config.hostname.as_deref(), Some("app"));

    let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let [name] = &networks.keys().collect::<Vec<_>>()[..] else { panic!("one network: {networks:?}") };
    let network = docker.inspect_network(name, None).await?;
    assert_eq!((network.internal, network.driver.as_deref()), (Some(true), Some("overlay")));

    stage.verdict(id).await?;
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
