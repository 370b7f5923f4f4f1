//! The local network that joins a testbed's hosts.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::Host;
use crate::run::run;
use crate::wait::until;

/// The number of this machine.
pub(crate) const US: u8 = 1;
/// The number of the host that plays the world.
pub(crate) const WORLD: u8 = 3;

/// The deadline for a dead host's cable to disappear. The kernel removes it within a second.
const LIMIT: Duration = Duration::from_secs(20);

/// The resolver configuration of a host. The world answers its queries.
const RESOLVER: &str = "nameserver 203.0.113.53\n";

/// A network of a testbed's hosts. Its bridge is in a host of its own, so this machine gets one cable, and
/// neither a bridge nor a firewall rule.
pub(crate) struct Lan {
    id: u8,
    hub: Host,
}

impl Lan {
    /// Starts the network 10.213.`id`.0/24. This machine is its host [`US`].
    pub(crate) async fn start(id: u8, under: &Path) -> Result<Self> {
        let hub = Host::start("hub", under).await?;
        hub.run(&["ip", "link", "add", "br0", "type", "bridge"]).await?;
        hub.run(&["ip", "link", "set", "br0", "up"]).await?;
        let lan = Self { id, hub };
        let cable = format!("mtb{id}");
        let hub_pid = lan.hub.pid()?.to_string();
        let address = format!("{}/24", lan.address(US));
        run("ip", ["link", "add", &cable, "type", "veth", "peer", "name", "uplink", "netns", &hub_pid])
            .await?;
        run("ip", ["address", "add", &address, "dev", &cable]).await?;
        run("ip", ["link", "set", &cable, "up"]).await?;
        lan.plug("uplink").await?;
        Ok(lan)
    }

    /// Returns the address of a host by its number.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.id, number)
    }

    /// Returns the name of the network's objects that are outside all hosts, such as control groups.
    pub(crate) fn name(&self) -> String {
        format!("muster-testbed-{}", self.id)
    }

    /// Returns the whole network as an address range.
    pub(crate) fn range(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Returns true if the kernel of this machine supports IPv6.
    pub(crate) fn has_v6(&self) -> bool {
        Path::new("/proc/net/if_inet6").exists()
    }

    /// Joins a host to the network, with its number. No host has a way out: all foreign traffic is routed
    /// to the host that plays the world.
    pub(crate) async fn join(&self, host: &Host, number: u8) -> Result<()> {
        let inside = format!("--net=/proc/{}/ns/net", host.pid()?);
        let hub = self.hub.pid()?.to_string();
        let address = format!("{}/24", self.address(number));
        let cable = format!("host{number}");
        // The cable of a host that was cut off stays in the hub for a moment.
        until("the host's old cable to go", LIMIT, async || {
            let old = self.hub.run(&["ip", "link", "show", &cable]).await;
            old.is_err().then_some(())
        })
        .await?;
        // Runs outside the host's process namespace, where the hub has a process number.
        run(
            "nsenter",
            [&inside, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", &cable, "netns", &hub],
        )
        .await?;
        self.plug(&cable).await?;
        host.run(&["ip", "address", "add", &address, "dev", "eth0"]).await?;
        host.run(&["ip", "link", "set", "eth0", "up"]).await?;
        let v6 = |number: u8| format!("fd00:213:{}::{number}", self.id);
        if self.has_v6() {
            let address = format!("{}/64", v6(number));
            host.run(&["ip", "address", "add", &address, "dev", "eth0", "nodad"]).await?;
        }
        if number == WORLD {
            return Ok(());
        }
        host.run(&["ip", "route", "add", "default", "via", &self.address(WORLD).to_string()]).await?;
        if self.has_v6() {
            host.run(&["ip", "route", "add", "default", "via", &v6(WORLD)]).await?;
        }
        let resolver = host.directory().join("resolv.conf");
        std::fs::write(&resolver, RESOLVER)?;
        let resolver = resolver.to_str().context("the path is plain")?;
        host.run(&["mount", "--bind", resolver, "/etc/resolv.conf"]).await?;
        Ok(())
    }

    /// Puts one end of a cable into the bridge.
    async fn plug(&self, cable: &str) -> Result<()> {
        self.hub.run(&["ip", "link", "set", cable, "master", "br0", "up"]).await?;
        Ok(())
    }
}
