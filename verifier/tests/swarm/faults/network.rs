//! Failures of the slots' networks.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions, RemoveContainerOptions};
use domain::submission::InterruptionCode;
use testbed::{App, until};

use super::scene::{NAME, Scene, told};

/// The longest time until a broken slot is set aside and its network removed.
const SET_ASIDE: Duration = Duration::from_secs(60);

/// Deletes the forwarding entries in an overlay's namespace, so that the overlay no longer knows the host
/// of any address.
const FORGET: &str = r#"
cd /run/docker/netns && in="nsenter --net=$1"
$in bridge fdb show | awk '/ dst / { print $1, $3, $5 }' | while read -r mac device host; do
    $in bridge fdb del "$mac" dev "$device" dst "$host" && echo forgot "$mac"
done"#;

/// The app works, but its responses no longer reach the relay.
pub(super) async fn an_overlay_that_lost_its_way_is_left_for_another(scene: &Scene) -> Result<()> {
    told("an overlay loses its forwarding entries", async {
        let id = scene.submit("cut-off", |answer| App::playing(&["late", "2"], answer)).await?;
        let (node, slot) = scene.running(id).await?;
        let first = &scene.bed.swarm.nodes()[0];
        let network = first.docker().inspect_network(&slot, None).await?.id.context("an id")?;
        let namespace = format!("1-{}", &network[..10]);
        let forgot = first.run(&["sh", "-c", FORGET, "forget", &namespace]).await?;
        ensure!(forgot.contains("forgot"), "there was nothing to forget in {namespace}");
        let (interruptions, passed) = scene.passes(id).await?;
        ensure!(interruptions.is_empty(), "{interruptions:?}");
        println!("          the app ran on {}, then on {passed}", node.name());
        until("the slot to be set aside", SET_ASIDE, async || {
            first.docker().inspect_network(&slot, None).await.is_err().then_some(())
        })
        .await
    })
    .await
}

/// Two slots get networks that are too small for them.
pub(super) async fn a_network_without_addresses_is_left_for_another(scene: &Scene) -> Result<()> {
    told("networks have no addresses left", async {
        let docker = scene.bed.swarm.nodes()[0].docker();
        let ours = HashMap::from([("label".to_owned(), vec![format!("muster.verifier={NAME}")])]);
        let networks =
            docker.list_networks(Some(ListNetworksOptions { filters: Some(ours.clone()) })).await?;
        let numbers =
            networks.iter().filter_map(|network| network.name.as_ref()?.rsplit('-').next()?.parse().ok());
        let last: u32 = numbers.max().context("slots have networks")?;
        // The verifier adopts networks that have the names of its next slots.
        for number in last + 1..last + 3 {
            let name = format!("muster-{NAME}-{number}");
            let subnet = format!("10.99.{}.0/30", number % 250);
            let config = IpamConfig { subnet: Some(subnet), ..Default::default() };
            let labels = [("muster.verifier", NAME), ("muster.slot", &name)];
            docker
                .create_network(NetworkCreateRequest {
                    name: name.clone(),
                    driver: Some("overlay".to_owned()),
                    internal: Some(true),
                    attachable: Some(true),
                    ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
                    labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                    ..Default::default()
                })
                .await?;
        }
        // The removal of two relays makes the verifier replace their slots.
        let relays = ListContainersOptions { filters: Some(ours), ..Default::default() };
        for relay in docker.list_containers(Some(relays)).await?.into_iter().take(2) {
            let options = RemoveContainerOptions { force: true, ..Default::default() };
            docker.remove_container(&relay.id.context("an id")?, Some(options)).await?;
        }
        let mut submitted = Vec::new();
        for number in 0..4 {
            submitted.push(scene.submit(&format!("crowded{number}"), App::good).await?);
        }
        for id in submitted {
            let (interruptions, _) = scene.passes(id).await?;
            let only_ours = interruptions.iter().all(|code| *code == InterruptionCode::SlotFailed);
            ensure!(only_ours, "{interruptions:?}");
        }
        Ok(())
    })
    .await
}
