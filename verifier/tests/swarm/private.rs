//! A registry that refuses clients without a login: the verifier and the nodes use the operator's login,
//! and it appears nowhere else. With a gate the nodes need neither the login nor a way to the registry.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bollard::query_parameters::{EventsOptions, ListImagesOptions, ListServicesOptions};
use domain::Event;
use domain::submission::FailureCode;
use futures::TryStreamExt;
use jiff::Timestamp;
use testbed::{App, Testbed};
use verifier::{GateChoice, GateReach, GateSettings, RegistryLogins, gate_reach};

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_private_registry_is_run_with_the_operators_login() -> Result<()> {
    let bed = Testbed::single().await?;
    let address = bed.registry.address();
    let image = format!("{address}/ada/app:latest");
    bed.registry.push("ada/app", &App::playing(&["late", "1"], &answer("ada", &[&image]))).await?;
    let (user, password) = bed.registry.lock().await?;

    let stage = Stage::start(&bed, "stranger", Some(1)).await?;
    let id = stage.submit("ada", &[&image]).await?;
    let refused = stage.verdict(id).await?;
    assert_eq!(refused.reasons[0].code, FailureCode::ImageForbidden);
    stage.stop().await?;

    let auths = serde_json::json!({ "auths": { address: { "username": user, "password": password } } });
    let logins = RegistryLogins::parse(&auths.to_string())?;
    let node = &bed.swarm.nodes()[0];
    let registry: SocketAddr = address.parse()?;
    let (registry, port) = (registry.ip().to_string(), registry.port().to_string());
    let away = ["OUTPUT", "-p", "tcp", "-d", &registry, "--dport", &port, "-j", "REJECT"];
    node.run(&[&["iptables", "-I"], &away[..]].concat()).await?;
    the_gate_is_all_that_the_node_needs(&bed, &image, &logins).await?;
    node.run(&[&["iptables", "-D"], &away[..]].concat()).await?;

    let mut stage = Stage::prepared(&bed, "known", Some(1))?;
    stage.settings.logins = logins;
    stage.run()?;
    let id = stage.submit("ada", &[&image]).await?;
    stage.event(id, |event| matches!(event, Event::ContainersStarted(_))).await?;
    let service = running_service(&bed).await?;
    let passed = stage.verdict(id).await?;
    assert!(passed.reasons.is_empty(), "{:#?}", passed.events);
    for seen in [service, format!("{:?}", passed.events), format!("{:?}", stage.settings)] {
        assert!(!seen.contains(password), "{seen}");
    }
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// Runs an image of the registry on a node that cannot reach it and never had a part of the image.
async fn the_gate_is_all_that_the_node_needs(
    bed: &Testbed,
    image: &str,
    logins: &RegistryLogins,
) -> Result<()> {
    let node = &bed.swarm.nodes()[0];
    let mut stage = Stage::prepared(bed, "gated", Some(1))?;
    let listen = beside(bed.registry.address())?;
    let kept = tempfile::tempdir()?;
    stage.settings.logins = logins.clone();
    stage.settings.gate = GateChoice::Own(GateSettings {
        listen,
        address: None,
        tls: None,
        directory: kept.path().to_owned(),
        space_mib: 64,
    });
    stage.run()?;
    let id = stage.submit("ada", &[image]).await?;
    stage.event(id, |event| matches!(event, Event::ContainersStarted(_))).await?;
    let at_gate = format!("{listen}/{}/ada/app@sha256:", bed.registry.address().replace(':', "_"));
    let service = running_service(bed).await?;
    assert!(service.contains(&format!("\"Image\":\"{at_gate}")), "{service}");
    let passed = stage.verdict(id).await?;
    assert!(passed.reasons.is_empty(), "{:#?}", passed.events);
    let images = node.docker().list_images(None::<ListImagesOptions>).await?;
    let digests: Vec<_> = images.iter().flat_map(|image| &image.repo_digests).collect();
    assert!(digests.iter().any(|digest| digest.starts_with(&at_gate)), "{digests:?}");
    assert!(std::fs::read_dir(kept.path().join("sha256"))?.count() > 0);

    let began = passed.events.iter().find_map(|event| match event {
        Event::VerificationStarted(started) => Some(started.deadline),
        _ => None,
    });
    let longest = stage.challenge.attempt_max();
    let claimed = began.context("it was claimed")? - jiff::SignedDuration::try_from(longest)?;
    assert!(pulled_at(bed, &at_gate).await? < claimed, "the node has the image before the claim");

    let reach = async |address: SocketAddr| gate_reach(&node.endpoint(), None, &address.to_string()).await;
    assert_eq!(reach(listen).await, GateReach::Answered);
    stage.stop().await?;
    let gone = reach(listen).await;
    assert!(matches!(gone, GateReach::Failed(_)), "{gone:?}");
    assert_nothing_left(bed).await
}

/// Returns a free port of this machine in the registry's network, where the nodes reach it.
pub(crate) fn beside(registry: &str) -> Result<SocketAddr> {
    let SocketAddr::V4(registry) = registry.parse()? else { bail!("{registry} is not of a testbed") };
    let [a, b, c, _] = registry.ip().octets();
    Ok(std::net::TcpListener::bind(SocketAddr::from(([a, b, c, 1], 0)))?.local_addr()?)
}

/// Returns the moment at which the node had pulled an image whose name begins so.
async fn pulled_at(bed: &Testbed, name: &str) -> Result<Timestamp> {
    let of = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
    let options = EventsOptions {
        since: Some("0".to_owned()),
        until: Some(Timestamp::now().as_second().to_string()),
        filters: Some([of("type", "image"), of("event", "pull")].into()),
    };
    let mut events = bed.swarm.nodes()[0].docker().events(Some(options));
    while let Some(event) = events.try_next().await? {
        let is_it = event.actor.and_then(|actor| actor.id).is_some_and(|id| id.starts_with(name));
        if let Some(nanos) = event.time_nano.filter(|_| is_it) {
            return Ok(Timestamp::from_nanosecond(nanos.into())?);
        }
    }
    bail!("the node pulled nothing of {name}")
}

/// Returns the service that runs, as the manager has it.
async fn running_service(bed: &Testbed) -> Result<String> {
    let services = bed.swarm.nodes()[0].docker().list_services(None::<ListServicesOptions>).await?;
    Ok(serde_json::to_string(services.first().context("a service runs")?)?)
}
