//! Verifies submissions: claims the next one of the queue, runs its images in a sandbox on a Docker Swarm,
//! probes them, and reports the observations as commands. The domain decides the verdict.
//!
//! Any number of verifiers compete through the log alone. Each can be killed at any moment: a claim without a
//! report is interrupted at its deadline, or at once when a verifier of the same name starts.

mod fetching;
mod gate;
mod health;
pub mod janitor;
mod metrics;
mod registry;
pub mod relay;
mod sandbox;
mod swarm;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use commands::Commands;
use domain::sandbox::SandboxGrade;
use event_store::{EventStore, Read, ReadError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fetching::FetchBoard;
pub use crate::gate::{
    GateProcess, GateProcessSettings, GateReach, GateSecret, GateSettings, RemoteGateSettings, gate_reach,
    remote_gate_address,
};
use crate::gate::{GateServer, ImageGate, LocalGate, RemoteGate};
pub use crate::health::{Health, NodeHealth, NodeState};
use crate::janitor::{Housekeeping, Janitor};
pub use crate::metrics::VerifierMetrics;
use crate::registry::RegistryClient;
pub use crate::registry::{LoginsError, RegistryLogins, docker_hub_pulls};
pub use crate::sandbox::admission;
use crate::sandbox::admission::InspectionTerms;
use crate::sandbox::report::SandboxReporter;
use crate::sandbox::slots::{Capacity, SlotTerms, Slots};
use crate::swarm::{DockerSwarm, Engine, EnginesError, Swarm};
pub use crate::work::trial;
use crate::work::{AttemptRunner, NodePulls, RunContext, WorkLoop};

/// The longest name of a verifier, because names of networks contain it.
const NAME_MAX: usize = 30;

/// The settings of a verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierSettings {
    /// The verifier's name, which it keeps over restarts and which no other running verifier of the same log
    /// or Swarm may have: 1 to 30 lower-case letters, digits and hyphens, with no hyphen first, last or
    /// beside another.
    pub name: String,
    /// The addresses of the Swarm's managers, at least one: `unix:///PATH` or `tcp://HOST:PORT`.
    pub swarm: Vec<String>,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem` for TCP connections to engines. If `None`, these
    /// connections are unencrypted.
    pub swarm_certificates: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that speak plain HTTP, beside those on the loopback. The engines
    /// need the same setting.
    pub insecure_registries: Vec<String>,
    /// Logins for registries. Without a gate the nodes get them as well, because they pull for themselves. They should permit
    /// reading only, because the Swarm then stores them.
    pub logins: RegistryLogins,
    pub gate: GateChoice,
    /// The number of submissions that may be under way on each node at a time. `None` derives it from the
    /// node's processors and memory.
    pub slots_per_node: Option<usize>,
    /// The time that attempts under way have to finish when the verifier stops. Afterwards they are
    /// interrupted, and their submissions return to the queue.
    pub grace: Duration,
}

/// The gate that looks into a verifier's images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GateChoice {
    /// One in the verifier's process that keeps nothing. The nodes pull from the registries.
    #[default]
    Registries,
    /// One in the verifier's process. The nodes pull from it.
    Own(GateSettings),
    /// One in another process. The nodes pull from it.
    Remote(RemoteGateSettings),
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "{0:?} is not a verifier's name: use 1 to 30 lower-case letters, digits and single hyphens within"
    )]
    Name(String),
    /// A manager's address or the certificates cannot be used.
    #[error("{0}")]
    Swarm(String),
    #[error("no Swarm manager is configured: give at least one as unix:///PATH or tcp://HOST:PORT")]
    NoSwarm,
    #[error("0 slots per node: set at least 1")]
    NoSlots,
    /// The gate cannot listen, or keep anything.
    #[error("{0}")]
    Gate(String),
}

/// A verifier, ready to run.
pub struct Verifier {
    store: Arc<dyn EventStore>,
    commands: Commands,
    settings: VerifierSettings,
    engines: Vec<Arc<Engine>>,
    swarm: Arc<dyn Swarm>,
    gate: GateParts,
    health: watch::Sender<Health>,
    metrics: VerifierMetrics,
}

/// The parts of the gate that a verifier uses.
enum GateParts {
    Own(Option<GateServer>),
    Remote(RemoteGate),
}

impl Verifier {
    /// Sets up a verifier of the submissions in `store`, which reports through `commands` and follows its
    /// challenge. Opens the gate's socket, and does nothing else before [`Verifier::run`].
    ///
    /// # Errors
    /// If a setting cannot be used. The managers need not answer yet.
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
        let challenge = commands.challenge();
        let gate = match &settings.gate {
            GateChoice::Registries => Ok(GateParts::Own(None)),
            GateChoice::Own(gate) => {
                GateServer::open(gate, challenge).map(|server| GateParts::Own(Some(server)))
            }
            GateChoice::Remote(gate) => RemoteGate::new(gate).map(GateParts::Remote),
        };
        let gate = gate.map_err(SettingsError::Gate)?;
        let starting = Health::paused("the verifier is starting");
        let metrics = VerifierMetrics::new(&commands.challenge().images.registries);
        let health = watch::Sender::new(starting);
        Ok(Self { store, commands, settings, engines, swarm, gate, health, metrics })
    }

    /// Returns a receiver of the verifier's health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Returns the metrics, which count from [`Verifier::run`] on.
    pub fn metrics(&self) -> VerifierMetrics {
        self.metrics.clone()
    }

    /// Verifies until `shutdown`. Then waits for the attempts under way, interrupts them after the grace
    /// period, and removes the slots.
    ///
    /// # Errors
    /// If the log cannot be read and trying again cannot help.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ReadError> {
        let Self { store, commands, settings, engines, swarm, gate, health, metrics } = self;
        // These tasks end when the set is dropped at the end of this function.
        let mut background = JoinSet::new();
        for engine in engines {
            background.spawn(Janitor::for_engine(engine, Housekeeping::default()).run(shutdown.clone()));
        }
        let (fault, faults) = watch::channel(None);
        let mut reporter = SandboxReporter::new(Arc::clone(&store), &settings.name, fault);
        let met = reporter.meet_predecessor(&health);
        // Nothing was begun, and whatever has this name may belong to the other run.
        let Some(fault) = shutdown.run_until_cancelled(met).await else { return Ok(()) };
        let challenge = Arc::clone(commands.challenge());
        let memory_mib = challenge.limits.memory_mib.saturating_mul(challenge.images.max as u64);
        let capacity = Capacity { per_node: settings.slots_per_node, memory_mib };
        let reported = health.subscribe();
        let lowest = challenge.sandbox.grade.unwrap_or(SandboxGrade::Bare);
        let inspection = InspectionTerms::from(&*challenge);
        let terms = SlotTerms { inspection, lowest, capacity, fault };
        let slots = Slots::start(Arc::clone(&swarm), &settings.name, terms, health, metrics.clone());
        background.spawn({
            let slots = slots.clone();
            async move { slots.heed_fault(faults).await }
        });
        let gate: Arc<dyn ImageGate> = match gate {
            GateParts::Own(server) => {
                let hosts = challenge.images.registry_hosts.clone();
                let (insecure, logins) = (settings.insecure_registries, settings.logins);
                let registry = RegistryClient::new(insecure, logins, hosts, metrics.clone());
                let served = server.as_ref().map(GateServer::images);
                if let Some(server) = server {
                    background.spawn(server.serve());
                }
                Arc::new(LocalGate::new(registry, served, metrics.clone()))
            }
            GateParts::Remote(gate) => {
                let gate = Arc::new(gate);
                let following = Arc::clone(&gate);
                background.spawn(async move { match following.follow().await {} });
                gate
            }
        };
        let limited = gate.limited();
        background.spawn({
            let (slots, trouble) = (slots.clone(), gate.trouble());
            async move { slots.heed_gate(trouble).await }
        });
        let fetches = FetchBoard::default();
        let (fetch_reports, reported_fetches) = watch::channel(Vec::new());
        background.spawn({
            let fetches = fetches.clone();
            async move { match fetches.report_to(&fetch_reports).await {} }
        });
        let attempts = AttemptRunner {
            verifier: settings.name.clone(),
            store: Arc::clone(&store) as Arc<dyn Read>,
            commands: commands.clone(),
            gate,
            pulls: NodePulls::default(),
            fetches,
            runs: Arc::default(),
            ledger: Mutex::default(),
            context: RunContext { challenge, swarm, slots: slots.clone() },
            unknown_rules: watch::Sender::default(),
            metrics,
        };
        let unknown_rules = attempts.unknown_rules.subscribe();
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
            never = reporter.record_changes(reported, limited, unknown_rules, reported_fetches) => match never {},
        };
        reporter.record_stop().await;
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
