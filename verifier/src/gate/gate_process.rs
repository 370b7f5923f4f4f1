//! The gate in a process of its own, for verifiers elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::Challenge;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::gate_server::{GateServer, GateSettings};
use super::image_gate::ImageGate;
use super::local_gate::LocalGate;
use super::look_lines::GateSecret;
use super::look_server::LookServer;
use crate::metrics::VerifierMetrics;
use crate::registry::{RegistryClient, RegistryLogins};

/// The settings of a gate in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateProcessSettings {
    pub gate: GateSettings,
    /// The address at which verifiers ask it. Port 0 takes any free port.
    pub verifiers: SocketAddr,
    /// The secret that they present.
    pub secret: GateSecret,
    /// Registries (`host` or `host:port`) that speak plain HTTP, beside those on the loopback.
    pub insecure_registries: Vec<String>,
    /// Logins for registries. No node gets them.
    pub logins: RegistryLogins,
}

/// A gate with its sockets, ready to run.
pub struct GateProcess {
    nodes: GateServer,
    looks: LookServer,
    verifiers: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    metrics: VerifierMetrics,
}

impl GateProcess {
    /// Opens the gate's directory and its sockets.
    ///
    /// # Errors
    /// The reason why a setting cannot be used.
    pub fn new(settings: GateProcessSettings, challenge: &Challenge) -> Result<Self, String> {
        let GateProcessSettings { gate, verifiers, secret, insecure_registries, logins } = settings;
        let nodes = GateServer::open(&gate, challenge)?;
        let socket = std::net::TcpListener::bind(verifiers)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| format!("the gate cannot listen for verifiers on {verifiers}: {error}"))?;
        let metrics = VerifierMetrics::new(&challenge.images.registries);
        let hosts = challenge.images.registry_hosts.clone();
        let registry = RegistryClient::new(insecure_registries, logins, hosts, metrics.clone());
        let local: Arc<dyn ImageGate> =
            Arc::new(LocalGate::new(registry, Some(nodes.images()), metrics.clone()));
        let looks = LookServer::new(local, nodes.address().to_owned(), secret);
        Ok(Self { looks, verifiers: socket, tls: nodes.tls(), nodes, metrics })
    }

    /// Returns the metrics: those of a verifier, of which a gate counts registries and layers.
    pub fn metrics(&self) -> VerifierMetrics {
        self.metrics.clone()
    }

    /// Serves nodes and verifiers until `shutdown`.
    ///
    /// # Errors
    /// If a socket cannot be used.
    pub async fn run(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.verifiers)?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        tracing::info!("verifiers ask the gate at {scheme}://{}", listener.local_addr()?);
        let serving = async { tokio::join!(self.nodes.serve(), self.looks.serve(listener, self.tls)) };
        shutdown.run_until_cancelled(serving).await;
        Ok(())
    }
}
