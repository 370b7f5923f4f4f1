//! Starts the real parts that the tests need, and leaves nothing behind.
//!
//! A [`Testbed`] is a Docker Swarm of one host or of three, a registry, and a host that plays the outside
//! world. Only this machine reaches their network, and no packet leaves it. A testbed needs root and starts
//! in about two seconds. It ends with its test, even if the test is killed with SIGKILL.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use testbed::{App, Testbed};
//!
//! let bed = Testbed::single().await?;
//! let answer = serde_json::json!({ "name": "Alice" });
//! let image = bed.registry.push("alice/app:latest", &App::good(&answer)).await?;
//! let engine = bed.swarm.nodes()[0].endpoint();
//! // … submit `image` and let `engine` run it …
//! bed.stop().await
//! # }
//! ```

pub mod bare;

mod claim;
mod engine;
mod guest;
mod host;
mod image;
mod lan;
mod layer;
mod mongo;
mod registry;
mod rogue;
mod run;
mod swarm;
mod wait;
mod world;

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::OnceCell;

pub use engine::EngineVersion;
pub use guest::Guest;
pub use image::App;
pub use layer::Layer;
pub use mongo::{Member, Mongo};
pub use registry::Registry;
pub use rogue::{Misdeed, Rogue};
pub use swarm::{Availability, Node, Swarm};
pub use wait::until;
pub use world::{Arrival, World};

use claim::Claim;
use lan::Lan;
use swarm::Storage;

/// The programs that a testbed starts, and Debian's names for their packages.
const PARTS: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("docker-registry", "docker-registry"),
    ("nsenter", "util-linux"),
];

/// A Swarm, a registry and the world, on a network of their own.
pub struct Testbed {
    /// The Swarm.
    pub swarm: Swarm,
    /// The registry, which every node may pull from.
    pub registry: Registry,
    /// The outside world: every packet that leaves a host arrives there.
    pub world: World,
    lan: Arc<Lan>,
    claim: Claim,
}

impl Testbed {
    /// Starts a Swarm of one host.
    pub async fn single() -> Result<Self> {
        Self::start(&[Storage::Disk], EngineVersion::chosen()?).await
    }

    /// Returns this machine's own address, as the hosts reach it.
    pub fn own_address(&self) -> std::net::Ipv4Addr {
        self.lan.address(lan::US)
    }

    /// Starts a Swarm of one host with this version of the engine.
    pub async fn single_with(engine: EngineVersion) -> Result<Self> {
        Self::start(&[Storage::Disk], engine).await
    }

    /// Starts a Swarm of three hosts, all of them managers.
    pub async fn three() -> Result<Self> {
        Self::start(&[Storage::Disk; 3], EngineVersion::chosen()?).await
    }

    /// Starts a Swarm of so many hosts whose engines keep their files in memory. There a container's files
    /// count as its memory. Such a host does not survive a power cut.
    pub async fn in_memory(size: usize) -> Result<Self> {
        Self::start(&vec![Storage::Memory; size], EngineVersion::chosen()?).await
    }

    /// Starts a Swarm of two hosts, both managers: the first one's engine keeps its files in memory, the
    /// second one's on disk.
    pub async fn of_each_storage() -> Result<Self> {
        Self::start(&[Storage::Memory, Storage::Disk], EngineVersion::chosen()?).await
    }

    /// Returns the Swarm of one host that all tests of a binary share. A test that breaks the Swarm starts
    /// its own.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Testbed> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::single).await
    }

    /// Starts a host for processes of the test.
    pub async fn guest(&self) -> Result<Guest> {
        Guest::start(&self.lan, &self.claim.directory()).await
    }

    /// Starts a registry that misbehaves, in front of the real one.
    pub async fn rogue(&self) -> Result<Rogue> {
        Rogue::start(self.lan.address(lan::US), &self.registry).await
    }

    /// Ends everything at once, and waits until nothing of the testbed is left. Dropping a testbed does the
    /// same without waiting.
    ///
    /// # Errors
    ///
    /// Fails if something is left.
    pub async fn stop(self) -> Result<()> {
        drop((self.swarm, self.registry, self.world, self.lan));
        self.claim.release().await
    }

    async fn start(storage: &[Storage], engine: EngineVersion) -> Result<Self> {
        run::require(PARTS)?;
        let claim = Claim::take().await?;
        let under = claim.directory();
        let lan = Arc::new(Lan::start(claim.id(), &under).await?);
        let (swarm, registry, world) = tokio::try_join!(
            Swarm::start(&lan, &under, storage, engine),
            Registry::start(&lan, &under),
            World::start(&lan, &under),
        )?;
        Ok(Self { swarm, registry, world, lan, claim })
    }
}
