//! The outside world, played by one host of the testbed. Every packet that leaves a node arrives here, and
//! nowhere else.
//!
//! The default route of every other host leads to the world, and all names are asked of it. It accepts
//! connections to any address on any port, and answers every question for a name. It counts each packet by
//! its source and destination. Therefore a test that nothing got out can fail.

mod answer;
mod packet;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use self::packet::Sight;
use crate::host::Host;
use crate::lan::{Lan, WORLD};

/// Address ranges that are reserved for documentation, and the address at which clouds give secrets to a
/// machine. The host answers for every address of each range.
const RANGES: [&str; 4] = ["192.0.2.1/24", "198.51.100.1/24", "203.0.113.1/24", "169.254.169.254/32"];
const RANGE_V6: &str = "2001:db8::1/32";

/// The highest number of kinds that are told apart. Further kinds are counted as the last.
const KINDS_MAX: usize = 1000;

/// The host that plays the world, until it is dropped.
pub struct World {
    address: Ipv4Addr,
    arrived: Arrived,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _host: Host,
}

/// Packets of one kind that arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// The source address. Packets of a container have the address of its node.
    pub from: IpAddr,
    /// The destination address.
    pub to: IpAddr,
    /// `tcp 80`, `udp 4789`, `dns secret.example`, `icmp`, ….
    pub what: String,
    /// The number of packets.
    pub packets: u64,
}

/// The number of packets of each kind.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<BTreeMap<Sight, u64>>>);

impl World {
    pub(crate) async fn start(lan: &Lan, under: &Path) -> Result<Self> {
        let host = Host::start("world", under).await?;
        lan.join(&host, WORLD).await?;
        for range in RANGES {
            host.run(&["ip", "address", "add", range, "dev", "lo"]).await?;
        }
        if lan.has_v6() {
            host.run(&["ip", "address", "add", RANGE_V6, "dev", "lo"]).await?;
        }
        for protocol in ["tcp", "udp"] {
            let port = answer::PORT.to_string();
            let rule =
                ["-A", "PREROUTING", "-i", "eth0", "-p", protocol, "-j", "REDIRECT", "--to-ports", &port];
            host.run(&[&["iptables", "-w", "-t", "nat"], &rule[..]].concat()).await?;
        }
        let (arrived, stopped) = (Arrived::default(), Arc::new(AtomicBool::new(false)));
        let sockets = in_network_of(&host, || Ok((packet::sockets()?, answer::sockets()?)))?;
        let (watched, (streams, datagrams)) = sockets;
        let mut threads = Vec::new();
        for socket in watched {
            let (arrived, stopped) = (arrived.clone(), Arc::clone(&stopped));
            threads.push(thread::spawn(move || packet::watch(socket, &stopped, |seen| arrived.count(seen))));
        }
        let (for_streams, for_datagrams) = (Arc::clone(&stopped), Arc::clone(&stopped));
        threads.push(thread::spawn(move || answer::streams(&streams, &for_streams)));
        threads.push(thread::spawn(move || answer::datagrams(&datagrams, &for_datagrams)));
        Ok(Self { address: lan.address(WORLD), arrived, stopped, threads, _host: host })
    }

    /// Returns the host's address within the testbed, where it can play a machine of ours. It answers and
    /// counts there too.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the packets that arrived since the start or since the last reset.
    pub fn arrived(&self) -> Vec<Arrival> {
        let arrived = self.arrived.lock();
        arrived
            .iter()
            .map(|((from, to, what), packets)| Arrival {
                from: *from,
                to: *to,
                what: what.clone(),
                packets: *packets,
            })
            .collect()
    }

    /// Resets the counts.
    pub fn forget(&self) {
        self.arrived.lock().clear();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The sockets of the threads would keep the host's network alive.
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Arrived {
    fn count(&self, (from, to, what): Sight) {
        let mut arrived = self.lock();
        let kind = (from, to, what);
        let kind = if arrived.len() < KINDS_MAX || arrived.contains_key(&kind) {
            kind
        } else {
            (from, to, "more".to_owned())
        };
        *arrived.entry(kind).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Sight, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sockets in a host's network. They stay there, whichever thread uses them.
fn in_network_of<T: Send + 'static>(
    host: &Host,
    make: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let space = File::open(format!("/proc/{}/ns/net", host.pid()?))?;
    // The thread is not used again, because it cannot return to its own network.
    let inside = thread::spawn(move || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
        make()
    });
    inside.join().map_err(|_| anyhow!("the thread that makes the world's sockets panicked"))?
}
