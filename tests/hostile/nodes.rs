//! The nodes under attack: their state before and after, and the proof that packets that leave them are
//! counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use testbed::{App, Layer, Node, Testbed, until};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(30);

/// A command that lists everything that could be left on a node. Its last lines ask the kernel for the
/// network namespaces, links and processes of containers.
const STATE: &str = r#"
docker --host "$1" service ls --quiet | sed 's/^/service /'
docker --host "$1" ps --all --quiet | sed 's/^/container /'
docker --host "$1" volume ls --quiet | sed 's/^/volume /'
docker --host "$1" network ls --format 'network {{.Name}}'
ls /run/docker/netns | sed 's/^/namespace /'
ip -o link show type veth | sed 's/^[0-9]*: \([^@:]*\).*/link \1/'
ip -o link show type vxlan | sed 's/^[0-9]*: \([^@:]*\).*/link \1/'
ps -eo comm= | grep -E '^(participant|busybox|muster-relay)' | sed 's/^/process /' || true
"#;

/// The nodes, with a watcher of their containers' logs and of the kernel's ARP table.
pub(crate) struct Nodes<'a> {
    bed: &'a Testbed,
    largest_log: Arc<AtomicU64>,
    most_neighbours: Arc<AtomicU64>,
    watching: JoinHandle<()>,
}

/// The objects that exist on each node.
type State = BTreeMap<String, Vec<String>>;

impl<'a> Nodes<'a> {
    /// Starts to watch the logs that the engines keep of containers.
    pub(crate) fn new(bed: &'a Testbed) -> Self {
        let largest_log = Arc::new(AtomicU64::new(0));
        let folders: Vec<PathBuf> = bed.swarm.nodes().iter().map(containers).collect();
        let seen = Arc::clone(&largest_log);
        let most_neighbours = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&most_neighbours);
        let watching = tokio::spawn(async move {
            loop {
                let largest = folders.iter().map(|folder| largest_log_in(folder)).max().unwrap_or(0);
                seen.fetch_max(largest, Ordering::Relaxed);
                known.fetch_max(neighbours(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { bed, largest_log, most_neighbours, watching }
    }

    /// Returns the largest number of neighbours in the kernel's table that was seen. All hosts and containers share it.
    pub(crate) fn most_neighbours_seen(&self) -> u64 {
        self.most_neighbours.load(Ordering::Relaxed)
    }

    /// Returns the largest size of a container's log that was seen, in KiB, all files together.
    pub(crate) fn largest_log_seen(&self) -> u64 {
        self.largest_log.load(Ordering::Relaxed) / 1024
    }

    /// Does as operators are told to do: blocks the metadata address for the node itself, because an engine
    /// follows every redirect of a registry. Packets of containers do not meet this rule, and the sandbox
    /// stops them.
    pub(crate) async fn keep_engines_from_the_metadata(&self) {
        for node in self.bed.swarm.nodes() {
            let rule = ["iptables", "-w", "-A", "OUTPUT", "-d", "169.254.0.0/16", "-j", "REJECT"];
            node.run(&rule).await.unwrap();
        }
    }

    pub(crate) async fn state(&self) -> State {
        let mut state = State::new();
        for node in self.bed.swarm.nodes() {
            let listed = node.run(&["sh", "-c", STATE, "state", &node.endpoint()]).await.unwrap();
            let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
            lines.sort();
            state.insert(node.name().to_owned(), lines);
        }
        state
    }

    /// Counts the slots with a running relay.
    pub(crate) async fn relays(&self) -> u64 {
        let mut relays = 0;
        for node in self.bed.swarm.nodes() {
            let listed = node.run(&["pgrep", "--count", "--exact", "muster-relay"]).await;
            // `pgrep` ends with an error if it counts none.
            relays += listed.map_or(0, |count| count.trim().parse::<u64>().unwrap());
        }
        relays
    }

    /// Waits until every node has only the objects that it had before.
    pub(crate) async fn are_as(&self, before: &State, within: Duration) {
        let mut more = Vec::new();
        let cleared = until("everything to be cleared away", within, async || {
            more.clear();
            for (node, lines) in self.state().await {
                let new = lines.into_iter().filter(|line| !before[&node].contains(line));
                more.extend(new.map(|line| format!("{node}: {line}")));
            }
            more.is_empty().then_some(())
        });
        let cleared = cleared.await;
        assert!(cleared.is_ok(), "left behind: {more:#?}");
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Checks that the world counts the packets of a node and of an ordinary container, and that the attackers'
/// programs escape where there are no walls. Without this, an empty count would prove nothing.
pub(crate) async fn the_world_counts(bed: &Testbed) {
    for node in bed.swarm.nodes() {
        let page = node.run(&["curl", "-s", "--noproxy", "*", "-m", "5", "http://169.254.169.254/"]).await;
        assert_eq!(page.unwrap(), "the world\n");
    }
    let node = &bed.swarm.nodes()[0];
    for (what, target) in [
        ("tcp 443", "tcp/198.51.100.7:443"),
        ("udp 9999", "udp/198.51.100.7:9999"),
        ("dns a-secret.leak.example", "dns/203.0.113.53:53"),
    ] {
        let code = without_walls(bed, node, &App::playing(&["reach", target], &Value::Null), what).await;
        assert!(code == Some(99) || what.starts_with("udp"), "{target}: {code:?}");
    }
    let tricks = App::playing(&["busybox-tricks"], &Value::Null).with_layers([Layer::busybox().unwrap()]);
    assert_eq!(without_walls(bed, node, &tricks, "icmp").await, Some(99));
    for address in bed.swarm.nodes().iter().map(Node::address) {
        assert!(bed.world.arrived().iter().any(|seen| seen.from.to_string() == address), "of {address}");
    }
}

/// Runs an app in an ordinary container until one of its packets has arrived or the container has ended.
/// Returns the exit code.
async fn without_walls(bed: &Testbed, node: &Node, app: &App, arrives: &str) -> Option<i32> {
    let name = format!("control/{}", app.mode.join("-").replace(['/', ':', '.'], "-"));
    let image = bed.registry.push(&name, app).await.unwrap();
    let (endpoint, docker) = (node.endpoint(), "docker --host \"$1\"");
    let run = format!("{docker} run --detach \"$2\"");
    let container = node.run(&["sh", "-c", &run, "run", &endpoint, &image]).await.unwrap();
    let container = container.trim();
    let ended = format!("{docker} inspect --format '{{{{.State.Running}}}} {{{{.State.ExitCode}}}}' \"$2\"");
    let mut code = None;
    let done = until("an attack without walls to succeed", LIMIT, async || {
        let state = node.run(&["sh", "-c", &ended, "state", &endpoint, container]).await.ok()?;
        code = state.trim().strip_prefix("false ").and_then(|code| code.parse().ok());
        let has_arrived = bed.world.arrived().iter().any(|seen| seen.what == arrives);
        (has_arrived && (code.is_some() || arrives.starts_with("udp"))).then_some(())
    });
    done.await.unwrap_or_else(|error| panic!("{error}: {name}: {:#?}", bed.world.arrived()));
    let remove = format!("{docker} rm --force --volumes \"$2\"");
    node.run(&["sh", "-c", &remove, "remove", &endpoint, container]).await.unwrap();
    code
}

/// Returns the number of entries in the kernel's ARP table, all namespaces together.
fn neighbours() -> u64 {
    let table = std::fs::read_to_string("/proc/net/stat/arp_cache").unwrap_or_default();
    let entries = table.lines().nth(1).and_then(|line| line.split_whitespace().next());
    entries.and_then(|entries| u64::from_str_radix(entries, 16).ok()).unwrap_or(0)
}

/// Returns the directory in which an engine keeps its containers.
fn containers(node: &Node) -> PathBuf {
    node.data_root().unwrap().join("containers")
}

/// Returns the size of the largest log of a container, all files together, in bytes.
fn largest_log_in(folder: &Path) -> u64 {
    let of = |container: PathBuf| -> u64 {
        let files = std::fs::read_dir(container).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().contains("-json.log"));
        logs.filter_map(|log| Some(log.metadata().ok()?.len())).sum()
    };
    // Containers may be created and removed during the search.
    let containers = std::fs::read_dir(folder).into_iter().flatten().flatten();
    containers.map(|container| of(container.path())).max().unwrap_or(0)
}
