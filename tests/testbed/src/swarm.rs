//! A Docker Swarm: one engine per host, all of them managers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
/// The availability of a node: `ACTIVE`, `PAUSE` or `DRAIN`.
pub use bollard::models::NodeSpecAvailabilityEnum as Availability;
use bollard::models::{NodeSpec, NodeState, SwarmInitRequest, SwarmJoinRequest};
use bollard::query_parameters::UpdateNodeOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::future::{select_ok, try_join_all};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::engine::EngineVersion;
use crate::host::{Host, Process};
use crate::lan::Lan;
use crate::wait::until;

/// The deadline for an engine's start. It takes under a second, and a few seconds with leftovers.
const START: Duration = Duration::from_secs(60);
/// The deadline for an election. A round takes 10 to 20 s, and a split vote needs another round, which happens when
/// several managers start at once. Then the nodes find their leader within seconds.
const ELECTION: Duration = Duration::from_secs(180);
/// The deadline for an answer. An engine that answers at all takes less.
const ANSWER: Duration = Duration::from_secs(25);

/// A Swarm of engines, each on a host of its own.
pub struct Swarm {
    nodes: Vec<Node>,
    engine: EngineVersion,
}

/// The place where an engine keeps its images and containers.
#[derive(Clone, Copy)]
pub(crate) enum Storage {
    Disk,
    Memory,
}

/// The addresses of the Swarm's networks, and the size of each: as `docs/security.md` advises.
const POOL: &str = "10.0.0.0/8";
const SUBNET: u32 = 28;

impl Swarm {
    /// Starts the hosts `node1` to `nodeN`, one with each of these places for its files, and joins them. All are
    /// managers, so three of them survive the loss of any one.
    pub(crate) async fn start(
        lan: &Arc<Lan>,
        under: &Path,
        storage: &[Storage],
        engine: EngineVersion,
    ) -> Result<Self> {
        let starting = (1..).zip(storage).map(|(number, at)| Node::start(lan, under, number, *at, engine));
        let nodes: Vec<Node> = try_join_all(starting).await?;
        let swarm = Self { nodes, engine };
        let (first, others) = swarm.nodes.split_first().context("no node was asked for")?;
        first
            .docker
            .init_swarm(SwarmInitRequest {
                advertise_addr: Some(first.address()),
                listen_addr: Some(format!("{}:2377", first.address())),
                default_addr_pool: Some(vec![POOL.to_owned()]),
                subnet_size: Some(SUBNET),
                ..Default::default()
            })
            .await
            .context("swarm init")?;
        let tokens = first.docker.inspect_swarm().await?.join_tokens;
        let token = tokens.and_then(|tokens| tokens.manager);
        for node in others {
            node.join(first, token.clone()).await?;
        }
        swarm.settle().await?;
        Ok(swarm)
    }

    /// Starts one more host, with its files on disk, and joins it as a manager. Returns when the Swarm calls it ready.
    pub async fn grow(&mut self) -> Result<()> {
        let first = self.nodes.first().context("a Swarm has a node")?;
        let under = first.host.directory().parent().context("a host is under the testbed")?;
        let number = u8::try_from(self.nodes.len() + 1)?;
        let node = Node::start(&first.lan, under, number, Storage::Disk, self.engine).await?;
        let tokens = first.docker.inspect_swarm().await?.join_tokens;
        node.join(first, tokens.and_then(|tokens| tokens.manager)).await?;
        self.nodes.push(node);
        self.settle().await
    }

    /// Returns the nodes, `node1` first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the `unix://` address of every engine.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::endpoint).collect()
    }

    /// Returns the manager that leads now. Waits for the end of an election.
    pub async fn leader(&self) -> Result<&Node> {
        let id = until("a leader", ELECTION, async || {
            self.list().await.ok()?.into_iter().find_map(|node| {
                let leads = node.manager_status.as_ref()?.leader == Some(true);
                leads.then_some(node.id).flatten()
            })
        })
        .await?;
        for node in &self.nodes {
            if *node.id.lock().await == id {
                return Ok(node);
            }
        }
        bail!("the leader {id} is none of ours")
    }

    /// Waits until the managers call every node ready.
    pub async fn settle(&self) -> Result<()> {
        for node in &self.nodes {
            let info = node.docker.info().await?;
            let id = info.swarm.and_then(|swarm| swarm.node_id);
            *node.id.lock().await = id.context("the engine is in no Swarm")?;
        }
        let mut seen = String::from("no manager answered");
        until("every node to be ready", ELECTION, async || {
            let listed = self.list().await.ok()?;
            let state = |node: &bollard::models::Node| node.status.as_ref().and_then(|status| status.state);
            let ready = listed.iter().filter(|node| state(node) == Some(NodeState::READY)).count();
            seen = format!(
                "{:?}",
                listed.iter().map(|node| (state(node), &node.manager_status)).collect::<Vec<_>>()
            );
            (ready == self.nodes.len()).then_some(())
        })
        .await
        .context(seen)
    }

    /// Sets a label of a node, such as `muster.sandbox` = `true`.
    pub async fn label(&self, node: &Node, key: &str, value: &str) -> Result<()> {
        self.update(node, |spec| {
            spec.labels.get_or_insert_with(HashMap::new).insert(key.to_owned(), value.to_owned());
        })
        .await
    }

    /// Drains, pauses or activates a node.
    pub async fn set_availability(&self, node: &Node, to: Availability) -> Result<()> {
        self.update(node, |spec| spec.availability = Some(to)).await
    }

    /// Changes a node's settings in the Swarm. Tries again if another client changed them in between.
    async fn update(&self, node: &Node, change: impl Fn(&mut NodeSpec)) -> Result<()> {
        let id = node.id.lock().await.clone();
        let what = format!("a change of {} to be accepted", node.name());
        until(&what, ELECTION, async || {
            for manager in &self.nodes {
                let done = timeout(ANSWER, async {
                    let now = manager.docker.inspect_node(&id).await.ok()?;
                    let version = now.version?.index?;
                    let version = i64::try_from(version).ok()?;
                    let mut spec = now.spec?;
                    change(&mut spec);
                    let options = UpdateNodeOptions { version };
                    manager.docker.update_node(&id, spec, options).await.ok()
                });
                if let Ok(Some(())) = done.await {
                    return Some(());
                }
            }
            None
        })
        .await
    }

    /// Returns the nodes as the first manager that answers sees them.
    async fn list(&self) -> Result<Vec<bollard::models::Node>> {
        let asked = self.nodes.iter().map(|node| Box::pin(node.docker.list_nodes(None)));
        let (listed, _) = timeout(ANSWER, select_ok(asked)).await.context("no manager answers")??;
        Ok(listed)
    }
}

/// An engine on a host of its own.
pub struct Node {
    lan: Arc<Lan>,
    number: u8,
    host: Host,
    engine: EngineVersion,
    socket: PathBuf,
    docker: Docker,
    id: Mutex<String>,
    daemon: Mutex<Process>,
}

impl Node {
    async fn start(
        lan: &Arc<Lan>,
        under: &Path,
        number: u8,
        storage: Storage,
        engine: EngineVersion,
    ) -> Result<Self> {
        let host = Host::start(&format!("node{number}"), under).await?;
        engine.put_on(&host).await?;
        if let Storage::Memory = storage {
            const MOUNT: &str = r#"mkdir -p "$1" && mount -t tmpfs -o size=2g,nr_inodes=0 tmpfs "$1""#;
            let data = host.directory().join("data");
            host.run(&["sh", "-c", MOUNT, "mount", data.to_str().context("the path is plain")?]).await?;
        }
        lan.join(&host, address(number)).await?;
        let socket = host.directory().join("docker.sock");
        let mut daemon = spawn_daemon(lan, &host, &socket, &[])?;
        let docker = answering(&mut daemon, &socket).await?;
        Ok(Self {
            lan: Arc::clone(lan),
            number,
            engine,
            socket,
            docker,
            id: Mutex::new(String::new()),
            daemon: Mutex::new(daemon),
            host,
        })
    }

    async fn join(&self, first: &Self, token: Option<String>) -> Result<()> {
        let request = SwarmJoinRequest {
            advertise_addr: Some(self.address()),
            listen_addr: Some(format!("{}:2377", self.address())),
            remote_addrs: Some(vec![format!("{}:2377", first.address())]),
            join_token: token,
            ..Default::default()
        };
        let joined = self.docker.join_swarm(request).await;
        joined.with_context(|| format!("swarm join of {}", self.name()))
    }

    /// Returns the host's name, which is also the node's name in the Swarm: `node1`, ….
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Returns the host's address in the testbed's network.
    pub fn address(&self) -> String {
        self.lan.address(address(self.number)).to_string()
    }

    /// Returns the engine's address: `unix:///…`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the engine's data root, as a process outside the host sees it.
    pub fn data_root(&self) -> Result<PathBuf> {
        let data = self.host.directory().join("data");
        let data = data.strip_prefix("/").context("an absolute path")?;
        Ok(Path::new("/proc").join(self.host.pid()?.to_string()).join("root").join(data))
    }

    /// Returns a client of the engine.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Returns the node's id in the Swarm.
    pub async fn id(&self) -> String {
        self.id.lock().await.clone()
    }

    /// Runs a command on the host to its end. Returns its standard output.
    pub async fn run(&self, argv: &[&str]) -> Result<String> {
        self.host.run(argv).await
    }

    /// Ends the engine with SIGKILL. Its containers continue.
    pub async fn kill(&self) -> Result<()> {
        self.daemon.lock().await.kill(&self.host).await
    }

    /// Sends the engine a signal, named without SIG: `STOP`, `CONT`, ….
    pub async fn signal(&self, signal: &str) -> Result<()> {
        self.daemon.lock().await.signal(&self.host, signal).await
    }

    /// Starts the engine again after [`Node::kill`], and waits until it answers.
    pub async fn restart(&self) -> Result<()> {
        self.restart_with(&[]).await
    }

    /// Starts the engine again with further arguments, and waits until it answers.
    pub async fn restart_with(&self, more: &[String]) -> Result<()> {
        let mut daemon = self.daemon.lock().await;
        *daemon = spawn_daemon(&self.lan, &self.host, &self.socket, more)?;
        answering(&mut daemon, &self.socket).await?;
        Ok(())
    }

    /// Cuts the power of the whole host: engine, containers and network end at once.
    pub fn power_off(&self) {
        self.host.power_off();
    }

    /// Starts the host and its engine again after [`Node::power_off`].
    pub async fn power_on(&self) -> Result<()> {
        self.host.power_on().await?;
        self.engine.put_on(&self.host).await?;
        self.lan.join(&self.host, address(self.number)).await?;
        self.restart().await
    }
}

/// Returns a node's number in the network. The numbers 1 to 10 belong to other hosts.
fn address(number: u8) -> u8 {
    10 + number
}

fn spawn_daemon(lan: &Lan, host: &Host, socket: &Path, more: &[String]) -> Result<Process> {
    let data = format!("--data-root={}", host.directory().join("data").display());
    let socket = format!("--host=unix://{}", socket.display());
    let groups = format!("--cgroup-parent=/{}", lan.name());
    let registries = format!("--insecure-registry={}", lan.range());
    let mut argv = vec![
        "dockerd",
        &data,
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        &socket,
        &groups,
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--storage-driver=overlay2",
        &registries,
        // A service cannot choose this setting, so a sandbox node's engine has it.
        "--no-new-privileges",
    ];
    argv.extend(more.iter().map(String::as_str));
    host.spawn("dockerd", &argv)
}

/// Waits until the engine answers. Returns a client of it.
async fn answering(daemon: &mut Process, socket: &Path) -> Result<Docker> {
    let path = socket.to_str().context("the path is plain")?;
    until("the engine to answer", START, async || {
        if !matches!(daemon.exited(), Ok(None)) {
            return Some(Err(anyhow!("the engine ended:\n{}", daemon.last_words())));
        }
        // A client connects only after the engine has made its socket.
        let docker = Docker::connect_with_unix(path, 60, API_DEFAULT_VERSION).ok()?;
        docker.ping().await.ok().map(|_| Ok(docker))
    })
    .await?
}
