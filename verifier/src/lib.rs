//! Verifies submissions: takes the next one from the log, runs its images in a
//! sandbox on a Docker Swarm, asks them what the challenge asks, and reports
//! what it saw as commands. What passes, the domain decides.
//!
//! Any number of verifiers compete through the log alone. Each can be killed at
//! any moment: a claim that nobody reports on is interrupted at its deadline,
//! or at once when a verifier of the same name starts again.

mod health;
pub mod janitor;
mod registry;
pub mod relay;
mod sandbox;
mod swarm;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use commands::Commands;
use event_store::{EventStore, Read, ReadError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use crate::health::{Health, NodeHealth, NodeState};
use crate::janitor::{Housekeeping, Janitor};
use crate::registry::RegistryClient;
pub use crate::registry::{LoginsError, RegistryLogins};
pub use crate::sandbox::admission;
use crate::sandbox::report::SandboxReporter;
use crate::sandbox::slots::{Capacity, Slots};
use crate::swarm::{DockerSwarm, Engine, EnginesError, Swarm};
use crate::work::{AttemptRunner, RunContext, WorkLoop};

/// The longest name of a verifier: networks and hosts are named after it.
const NAME_MAX: usize = 30;

/// How a verifier is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierSettings {
    /// Its name, which no other running verifier of the same log or Swarm may
    /// have, and which it keeps over restarts: 1 to 30 lower-case letters,
    /// digits and hyphens, no hyphen first or last.
    pub name: String,
    /// The Swarm's managers: `unix:///PATH` or `tcp://HOST:PORT`, at least one.
    pub swarm: Vec<String>,
    /// The directory of `ca.pem`, `cert.pem` and `key.pem`, with which engines
    /// over TCP are spoken to. `None`: in the clear.
    pub swarm_certificates: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that speak plain HTTP, beside those on
    /// the loopback. The engines must be told the same.
    pub insecure_registries: Vec<String>,
    /// RegistryLogins for registries, for the lookup and for the nodes that pull. They
    /// should be allowed to read and nothing else: the Swarm keeps them.
    pub logins: RegistryLogins,
    /// How many submissions may be under way on each node at a time. `None`
    /// follows the nodes' processors and memory.
    pub slots_per_node: Option<usize>,
    /// How long a stop waits for the submissions under way before it puts them
    /// back into the queue.
    pub grace: Duration,
}

/// Why a verifier cannot be set up so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The name.
    #[error("{0:?} is not a verifier's name: 1 to 30 lower-case letters, digits and single hyphens within")]
    Name(String),
    /// The address of a manager, or what it is to be spoken to with.
    #[error("{0}")]
    Swarm(String),
    /// No manager is named.
    #[error("no Swarm manager is named: unix:///PATH or tcp://HOST:PORT")]
    NoSwarm,
    /// No slots.
    #[error("a node needs at least one slot")]
    NoSlots,
}

/// A verifier, ready to run.
pub struct Verifier {
    store: Arc<dyn EventStore>,
    commands: Commands,
    settings: VerifierSettings,
    engines: Vec<Arc<Engine>>,
    swarm: Arc<dyn Swarm>,
    health: watch::Sender<Health>,
}

impl Verifier {
    /// A verifier of the submissions in `store`, which reports through
    /// `commands` and runs by its challenge. Nothing happens before
    /// [`Verifier::run`].
    ///
    /// # Errors
    /// When a setting cannot be used; whether a manager answers is no matter.
    pub fn new(
        store: Arc<dyn EventStore>,
        commands: Commands,
        settings: VerifierSettings,
    ) -> Result<Self, SettingsError> {
        if !is_name(&settings.name) {
            return Err(SettingsError::Name(settings.name));
        }
        if settings.slots_per_node == Some(0) {
            return Err(SettingsError::NoSlots);
        }
        let engines = swarm::engines(&settings.swarm, settings.swarm_certificates.as_deref())?;
        if engines.is_empty() {
            return Err(SettingsError::NoSwarm);
        }
        let swarm = Arc::new(DockerSwarm::new(engines.clone(), settings.logins.clone(), &settings.name));
        let starting = Health::waiting("the verifier is starting");
        Ok(Self { store, commands, settings, engines, swarm, health: watch::Sender::new(starting) })
    }

    /// Whether submissions are being verified, and if not, why.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Verifies until `shutdown`. Then what is under way is finished, or put
    /// back into the queue after the grace, and the slots are removed.
    ///
    /// # Errors
    /// When the log cannot be read, now or ever.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ReadError> {
        let Self { store, commands, settings, engines, swarm, health } = self;
        // They end with this.
        let mut janitors = JoinSet::new();
        for engine in engines {
            janitors.spawn(Janitor::of(engine, Housekeeping::default()).run(shutdown.clone()));
        }
        let challenge = Arc::clone(commands.challenge());
        let memory_mib = challenge.limits.memory_mib.saturating_mul(challenge.images.max as u64);
        let capacity = Capacity { per_node: settings.slots_per_node, memory_mib };
        let told = health.subscribe();
        let limits = challenge.limits.clone();
        let slots = Slots::start(Arc::clone(&swarm), &settings.name, limits, capacity, health);
        let mut reports = SandboxReporter::new(Arc::clone(&store), &settings.name);
        let attempts = AttemptRunner {
            verifier: settings.name.clone(),
            store: Arc::clone(&store) as Arc<dyn Read>,
            commands: commands.clone(),
            registry: RegistryClient::new(settings.insecure_registries, settings.logins),
            context: RunContext { challenge, swarm, slots: slots.clone() },
        };
        let run = WorkLoop {
            store,
            commands,
            verifier: settings.name,
            attempts: Arc::new(attempts),
            slots,
            grace: settings.grace,
        };
        let ended = tokio::select! {
            ended = run.until(shutdown) => ended,
            never = reports.follow(told) => match never {},
        };
        reports.say_goodbye().await;
        ended
    }
}

impl From<EnginesError> for SettingsError {
    fn from(error: EnginesError) -> Self {
        Self::Swarm(error.to_string())
    }
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let parts = name.split('-');
    name.len() <= NAME_MAX && name.bytes().all(inner) && parts.clone().all(|part| !part.is_empty())
}
