//! The local network that joins a testbed's hosts.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::host::Host;
use crate::run::run;
use crate::wait::until;

/// The kernel removes a dead host's cable within a second.
const LIMIT: Duration = Duration::from_secs(20);

/// A bridge in a host of its own, so that this machine has no firewall rule and
/// no bridge of ours, only one cable to it.
pub(crate) struct Lan {
    id: u8,
    hub: Host,
}

impl Lan {
    /// Starts the network 10.213.`id`.0/24; this machine is its host 1.
    pub(crate) async fn start(id: u8, under: &Path) -> Result<Self> {
        let hub = Host::start("hub", under).await?;
        hub.run(&["ip", "link", "add", "br0", "type", "bridge"]).await?;
        hub.run(&["ip", "link", "set", "br0", "up"]).await?;
        let lan = Self { id, hub };
        let cable = format!("mtb{id}");
        let hub_pid = lan.hub.pid()?.to_string();
        let address = format!("{}/24", lan.address(1));
        run("ip", ["link", "add", &cable, "type", "veth", "peer", "name", "uplink", "netns", &hub_pid])
            .await?;
        run("ip", ["address", "add", &address, "dev", &cable]).await?;
        run("ip", ["link", "set", &cable, "up"]).await?;
        lan.plug("uplink").await?;
        Ok(lan)
    }

    /// The address of a host by its number.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.id, number)
    }

    /// The name of what bears names outside the hosts, as control groups do.
    pub(crate) fn name(&self) -> String {
        format!("muster-testbed-{}", self.id)
    }

    /// The whole network, for those who name ranges.
    pub(crate) fn range(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Joins a host, under its number. Nobody here has a way out.
    pub(crate) async fn join(&self, host: &Host, number: u8) -> Result<()> {
        let inside = format!("--net=/proc/{}/ns/net", host.pid()?);
        let hub = self.hub.pid()?.to_string();
        let address = format!("{}/24", self.address(number));
        let cable = format!("host{number}");
        // A host that was cut off left its cable in the hub for a moment.
        until("the host's old cable to go", LIMIT, async || {
            let old = self.hub.run(&["ip", "link", "show", &cable]).await;
            old.is_err().then_some(())
        })
        .await?;
        // From outside the host's process namespace, where the hub has a number.
        run(
            "nsenter",
            [&inside, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", &cable, "netns", &hub],
        )
        .await?;
        self.plug(&cable).await?;
        host.run(&["ip", "address", "add", &address, "dev", "eth0"]).await?;
        host.run(&["ip", "link", "set", "eth0", "up"]).await?;
        Ok(())
    }

    /// Puts one end of a cable into the bridge.
    async fn plug(&self, cable: &str) -> Result<()> {
        self.hub.run(&["ip", "link", "set", cable, "master", "br0", "up"]).await?;
        Ok(())
    }
}
