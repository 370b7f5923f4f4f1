//! The restrictions of a participant's container, as the container's engine reports them.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bollard::query_parameters::ListContainersOptions;
use domain::Event;
use domain::sandbox::SandboxGrade;
use testbed::{App, Testbed};

use crate::stage::{Stage, answer, assert_nothing_left};

/// The capabilities that a container has in the grades above the lowest.
const CAPABILITIES: [&str; 7] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_container_gets_what_it_needs_and_no_more() -> Result<()> {
    gets_what_it_needs_and_no_more(Testbed::single().await?, SandboxGrade::ReadOnly).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writable_container_gets_what_it_needs_and_no_more() -> Result<()> {
    gets_what_it_needs_and_no_more(Testbed::in_memory(1).await?, SandboxGrade::Writable).await
}

async fn gets_what_it_needs_and_no_more(bed: Testbed, grade: SandboxGrade) -> Result<()> {
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
    let mut added = host.cap_add.unwrap_or_default();
    added.sort();
    assert_eq!(added, CAPABILITIES);
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.readonly_rootfs, Some(grade == SandboxGrade::ReadOnly));
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.pids_limit, Some(128));
    assert_eq!(host.dns, Some(vec!["127.0.0.1".to_owned()]));
    let kind = if grade == SandboxGrade::ReadOnly { "tmpfs" } else { "volume" };
    let mut mounts = Vec::new();
    for mount in found.mounts.unwrap_or_default() {
        assert_eq!(mount.typ.as_deref(), Some(kind), "{mount:?}");
        mounts.extend(mount.destination);
    }
    mounts.sort();
    if grade == SandboxGrade::ReadOnly {
        for place in ["/data", "/run", "/tmp", "/var/cache/nginx"] {
            assert!(mounts.iter().any(|mount| mount == place), "{place} is not in {mounts:?}");
        }
    } else {
        assert_eq!(mounts, ["/data"]);
    }
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

    // The relay beside it has the list of system calls itself, whatever the engine's version.
    let all = docker.list_containers(None::<ListContainersOptions>).await?;
    let relays: Vec<_> = all.iter().filter(|other| other.id != container.id).collect();
    assert!(!relays.is_empty(), "a relay runs: {all:#?}");
    for relay in relays {
        let found = docker.inspect_container(relay.id.as_deref().context("an id")?, None).await?;
        let options = found.host_config.and_then(|host| host.security_opt).unwrap_or_default();
        let lists = |option: &String| option.starts_with("seccomp={") && option.contains("epoll_wait");
        assert!(options.iter().any(lists), "{options:?}");
    }

    stage.verdict(id).await?;
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
