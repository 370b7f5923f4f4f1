//! What the verifier asks of a Docker Swarm, in the verifier's own words: the
//! nodes that may run participants' containers, networks, services, their tasks,
//! and relays. Errors are told apart by what the caller does next.

mod api;
mod docker;
mod engine;
#[cfg(test)]
pub(crate) mod fake;
mod spec;
mod starts;
mod task;
mod tls;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::challenge::ResourceLimits;
use domain::submission::{InterruptionCode, PlatformFault};
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::health::NodeState;
use crate::relay::{Relay, RelayError, Request, Response};

pub(crate) use api::ApiError;
pub(crate) use docker::DockerSwarm;
pub(crate) use engine::{EndpointError, Engine};
pub(crate) use task::{Task, TaskEnding, TaskPhase};
pub(crate) use tls::CertificatesError;

/// The engines at these addresses, over TCP with the certificates in a
/// directory, if one is named.
pub(crate) fn engines(
    addresses: &[String],
    certificates: Option<&Path>,
) -> Result<Vec<Arc<Engine>>, EnginesError> {
    let tls = certificates.map(tls::config).transpose()?.map(Arc::new);
    let engines = addresses.iter().map(|text| Ok(Arc::new(Engine::new(text.parse()?, tls.clone()))));
    engines.collect()
}

/// Why there are no engines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnginesError {
    /// An address is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
}

/// Labels by which everything of ours is found again.
pub(crate) mod label {
    /// The name of the verifier that made it.
    pub(crate) const VERIFIER: &str = "muster.verifier";
    /// The name of the slot that it belongs to.
    pub(crate) const SLOT: &str = "muster.slot";
    /// The submission that is being verified.
    pub(crate) const SUBMISSION: &str = "muster.submission";
    /// The attempt at it.
    pub(crate) const ATTEMPT: &str = "muster.attempt";
    /// When the claim ends for which it was made, in seconds since 1970.
    pub(crate) const DEADLINE: &str = "muster.deadline";
    /// How many seconds after its creation a container is nobody's any more, by
    /// the clock of its own node.
    pub(crate) const TTL: &str = "muster.ttl";
    /// On nodes: participants' containers run here. As soon as one node has
    /// it, they run nowhere else.
    pub(crate) const SANDBOX: &str = "muster.sandbox";
}

/// Whether a slot of this name is in use.
pub(crate) type IsLive<'a> = &'a (dyn for<'name> Fn(&'name str) -> bool + Send + Sync);

/// Labels, by name.
pub(crate) type Labels = HashMap<String, String>;

/// A Docker Swarm. Every call ends by itself, within half a minute at most.
#[async_trait]
pub(crate) trait Swarm: Send + Sync {
    /// The nodes for participants' containers, whatever state they are in.
    async fn nodes(&self) -> Result<Vec<SwarmNode>, SwarmError>;

    /// The image of our own programs on a node, by the id that its engine gives
    /// it; `None` when none of the engines that are named is the node's.
    async fn own_image(&self, node: &str) -> Result<Option<String>, SwarmError>;

    /// Makes a slot's network, or finds the one of this name and these labels;
    /// its id.
    async fn ensure_network(&self, name: &str, labels: &Labels) -> Result<String, SwarmError>;

    /// Makes the service, or finds the one of this name and these labels; its
    /// id. One that the engine stripped of a protection is removed again.
    async fn ensure_service(&self, deployment: &Deployment) -> Result<String, SwarmError>;

    /// Every task of this verifier's services, also of removed ones as long as
    /// a container may be left.
    async fn tasks(&self) -> Result<Vec<Task>, SwarmError>;

    /// The ids of tasks of this verifier whose containers begin to run, from the
    /// engines that are named, sooner than [`Swarm::tasks`] shows it. Without an
    /// end, and not without gaps.
    fn starts(&self) -> BoxStream<'static, String>;

    /// The last lines that a task's container wrote.
    async fn last_lines(&self, task: &str) -> Result<LastLines, SwarmError>;

    /// Starts a relay in a network, on this node if its engine is among those
    /// that are named.
    async fn open_relay(
        &self,
        node: &str,
        network: &str,
        labels: &Labels,
    ) -> Result<Box<dyn SlotRelay>, SwarmError>;

    /// Removes a service, by its name or id. One that is gone is no error.
    async fn remove_service(&self, service: &str) -> Result<(), SwarmError>;

    /// Removes a network, by its id. One that is gone is no error.
    async fn remove_network(&self, network: &str) -> Result<(), SwarmError>;

    /// Removes this verifier's containers, of slots that are not live, from all
    /// engines that answer: a dead predecessor's relays, and what an engine
    /// that was away forgot to remove.
    async fn remove_orphans(&self, is_live: IsLive<'_>) -> Result<(), SwarmError>;

    /// The services and networks that verifiers made, this one and others.
    async fn owned_resources(&self) -> Result<OwnedResources, SwarmError>;
}

/// One relay: makes requests from within a slot.
#[async_trait]
pub(crate) trait SlotRelay: Send + Sync {
    /// Makes a request. An app that does not answer is a [`Response`] too.
    async fn probe(&mut self, request: Request) -> Result<Response, RelayError>;

    /// Whether it can still be asked.
    fn is_alive(&self) -> bool;

    /// Ends it, and waits until its container is removed.
    async fn close(self: Box<Self>) -> Result<(), RelayError>;
}

#[async_trait]
impl SlotRelay for Relay {
    async fn probe(&mut self, request: Request) -> Result<Response, RelayError> {
        Self::probe(self, request).await
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    async fn close(self: Box<Self>) -> Result<(), RelayError> {
        Self::close(*self).await
    }
}

/// A node for participants' containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwarmNode {
    /// As the Swarm knows it.
    pub(crate) id: String,
    /// Its host name.
    pub(crate) name: String,
    /// Its processors, in thousandths of one.
    pub(crate) milli_cpus: u64,
    /// Its memory, MiB.
    pub(crate) memory_mib: u64,
    /// Whether it can be used.
    pub(crate) state: NodeState,
    /// Its engine's version.
    pub(crate) engine: String,
    /// Its own address, if it has one that others reach.
    pub(crate) address: Option<IpAddr>,
}

/// One image that is to be run once, in one slot.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    /// The service's name; the same for the same slot, attempt and image.
    pub(crate) name: String,
    /// The image, by digest.
    pub(crate) image: String,
    /// Labels of the service and of its container.
    pub(crate) labels: Labels,
    /// The id of the node to run on.
    pub(crate) node: String,
    /// The id of the slot's network.
    pub(crate) network: String,
    /// Paths that the image wants to write to.
    pub(crate) volumes: Vec<String>,
    /// What it may use.
    pub(crate) limits: ResourceLimits,
}

/// The last lines that a task's container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastLines {
    /// Foreign text.
    pub(crate) text: Vec<u8>,
    /// Whether the node told them to their end, and so is there.
    pub(crate) are_all: bool,
}

/// What verifiers made.
#[derive(Debug, Default)]
pub(crate) struct OwnedResources {
    /// Services.
    pub(crate) services: Vec<OwnedResource>,
    /// Networks of slots.
    pub(crate) networks: Vec<OwnedResource>,
}

/// A service or network that a verifier made.
#[derive(Debug)]
pub(crate) struct OwnedResource {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: Labels,
    /// When it was made, if that is known.
    pub(crate) created: Option<Timestamp>,
}

/// Why the Swarm did not do what was asked. None is a participant's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwarmError {
    /// No manager can do it now; whether it was done is not known. Ask again.
    #[error("{0}")]
    Unavailable(String),
    /// It is still in use. Ask again.
    #[error("{0}")]
    InUse(String),
    /// It will not be done, however often it is asked.
    #[error("the Swarm refuses: {0}")]
    Refused(String),
    /// Participants' containers must not run there.
    #[error("the engine drops protections that were asked for: {}", .0.join(", "))]
    Unprotected(Vec<String>),
    /// There is no relay.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl From<SwarmError> for PlatformFault {
    fn from(error: SwarmError) -> Self {
        let code = match error {
            SwarmError::Unavailable(_) | SwarmError::InUse(_) | SwarmError::Refused(_) => {
                InterruptionCode::SwarmUnavailable
            }
            SwarmError::Unprotected(_) => InterruptionCode::NodeIll,
            SwarmError::Relay(_) => InterruptionCode::SlotFailed,
        };
        Self { code, message: error.to_string() }
    }
}
