//! The port to a Docker Swarm, in the verifier's own terms: the nodes that may run participants' containers,
//! networks, services, their tasks, and relays. Errors differ by the caller's next step.

mod api_error;
mod docker;
mod engine;
#[cfg(test)]
pub(crate) mod fake;
mod ids;
mod managers;
mod node;
mod orphans;
mod pull;
mod reservations;
pub(crate) mod seccomp;
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
use domain::sandbox::SandboxGrade;
use domain::submission::{InterruptionCode, PlatformFault};
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::fetching::ImageOnItsWay;
use crate::health::NodeState;
use crate::relay::{AppRequest, Relay, RelayError, RequestResult};

pub(crate) use api_error::ApiError;
pub(crate) use docker::DockerSwarm;
pub(crate) use engine::{EndpointError, Engine};
pub(crate) use ids::{NetworkId, NodeId, ServiceId, TaskId};
pub(crate) use spec::{CAPABILITY_BITS, container};
pub(crate) use task::{Task, TaskEnding, TaskPhase, ending};
pub(crate) use tls::CertificatesError;

/// The last lines of an app's output that are read, enough for the beginning of a long backtrace.
pub(crate) const LOG_LINES: &str = "80";
/// The largest part of an app's output that is read, in bytes.
pub(crate) const LOG_BYTES: usize = 16 << 10;

/// Returns the engines at these addresses. TCP connections use the certificates in the directory, if one is
/// given, and are unencrypted otherwise.
pub(crate) fn engines(
    addresses: &[String],
    certificates: Option<&Path>,
) -> Result<Vec<Arc<Engine>>, EnginesError> {
    let tls = certificates.map(tls::config).transpose()?.map(Arc::new);
    let engines = addresses.iter().map(|text| Ok(Arc::new(Engine::new(text.parse()?, tls.clone()))));
    engines.collect()
}

/// An address or a certificate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnginesError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
}

/// Labels that identify all objects that Muster creates in the Swarm.
pub(crate) mod label {
    /// The name of the verifier that created the object.
    pub(crate) const VERIFIER: &str = "muster.verifier";
    /// The name of the slot that the object belongs to.
    pub(crate) const SLOT: &str = "muster.slot";
    /// The id of the submission that is being verified.
    pub(crate) const SUBMISSION: &str = "muster.submission";
    /// The number of the attempt.
    pub(crate) const ATTEMPT: &str = "muster.attempt";
    /// The end of the claim that the object was created for, in seconds since 1970.
    pub(crate) const DEADLINE: &str = "muster.deadline";
    /// The lifetime of a container in seconds after its creation, by the clock of its own node. Afterwards
    /// the janitor removes the container.
    pub(crate) const TTL: &str = "muster.ttl";
    /// Marks a node for participants' containers. As soon as one node has this label, participants'
    /// containers run on no node without it.
    pub(crate) const SANDBOX: &str = "muster.sandbox";
}

/// Returns true if the slot of this name is in use.
pub(crate) type IsLive<'a> = &'a (dyn for<'name> Fn(&'name str) -> bool + Send + Sync);

/// The labels of an object, by name.
pub(crate) type Labels = HashMap<String, String>;

/// A Docker Swarm. Every call but a pull returns within half a minute, also if nothing answers.
#[async_trait]
pub(crate) trait Swarm: Send + Sync {
    /// Returns the nodes for participants' containers in every state.
    async fn nodes(&self) -> Result<Vec<SwarmNode>, SwarmError>;

    /// Returns the id of the image of Muster's own programs on a node, and imports the image if the node
    /// lacks it. Returns `None` if the node's engine is not among the configured ones.
    async fn own_image(&self, node: &NodeId) -> Result<Option<String>, SwarmError>;

    /// Pulls the image of this name to a node, through the node's own engine, and notes how far it is. The caller has a deadline.
    async fn pull(&self, node: &NodeId, image: &str, way: &ImageOnItsWay) -> Result<PullOutcome, SwarmError>;

    /// Creates a slot's network, or finds the network of this name and these labels.
    async fn ensure_network(&self, name: &str, labels: &Labels) -> Result<NetworkId, SwarmError>;

    /// Creates the service, or finds the service of this name and these labels. If the engine dropped a
    /// protection from the service, removes it again and returns [`SwarmError::Unprotected`].
    async fn ensure_service(&self, deployment: &Deployment) -> Result<ServiceId, SwarmError>;

    /// Returns every task of this verifier's services. Tasks of removed services are included for as long as
    /// their containers may exist.
    async fn tasks(&self) -> Result<Vec<Task>, SwarmError>;

    /// Returns this verifier's tasks whose containers start to run, as the configured engines report them:
    /// sooner than [`Swarm::tasks`] does. The stream never ends and may miss some.
    fn starts(&self) -> BoxStream<'static, TaskId>;

    /// Returns the last lines that a task's container wrote.
    async fn last_lines(&self, task: &TaskId) -> Result<LastLines, SwarmError>;

    /// Starts a relay in a network, on this node if its engine is among the configured ones.
    async fn open_relay(
        &self,
        node: &NodeId,
        network: &NetworkId,
        labels: &Labels,
    ) -> Result<Box<dyn SlotRelay>, SwarmError>;

    /// Removes a service. Succeeds if the service does not exist.
    async fn remove_service(&self, service: ServiceRef<'_>) -> Result<(), SwarmError>;

    /// Removes a network. Succeeds if the network does not exist.
    async fn remove_network(&self, network: &NetworkId) -> Result<(), SwarmError>;

    /// Removes this verifier's containers of slots that are not live from all engines that answer, each engine on its own.
    /// Such containers are relays of a dead predecessor, or containers that an engine failed to remove while it
    /// was away.
    async fn remove_orphans(&self, is_live: IsLive<'_>) -> Result<OrphanSweep, SwarmError>;

    /// Returns the services and networks that this verifier and other verifiers created.
    async fn owned_resources(&self) -> Result<OwnedResources, SwarmError>;
}

/// A relay that sends requests from within a slot.
#[async_trait]
pub(crate) trait SlotRelay: Send + Sync {
    /// Sends a request. If the app does not answer, the [`RequestResult`] says so.
    async fn probe(&mut self, request: AppRequest) -> Result<RequestResult, RelayError>;

    /// Returns true if the relay can still send requests.
    fn is_alive(&self) -> bool;

    /// Ends the relay and waits until its container is removed.
    async fn close(self: Box<Self>) -> Result<(), RelayError>;
}

#[async_trait]
impl SlotRelay for Relay {
    async fn probe(&mut self, request: AppRequest) -> Result<RequestResult, RelayError> {
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
    pub(crate) id: NodeId,
    /// The node's host name.
    pub(crate) name: String,
    /// The node's processors, in thousandths of one.
    pub(crate) milli_cpus: u64,
    /// The node's memory, MiB.
    pub(crate) memory_mib: u64,
    pub(crate) state: NodeState,
    /// The version of the node's engine.
    pub(crate) engine: String,
    /// The node's own address, if other hosts can reach one.
    pub(crate) address: Option<IpAddr>,
    pub(crate) others: OthersOnNode,
}

/// The parts of a node that are not this verifier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OthersOnNode {
    /// The memory and the processors that services of strangers reserved.
    pub(crate) memory_bytes: u64,
    pub(crate) milli_cpus: u64,
    /// The submissions that other verifiers have under way.
    pub(crate) submissions: usize,
}

/// The order to run one image once, in one slot.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    /// The service's name. The same slot, attempt and image give the same name.
    pub(crate) name: String,
    /// The image, by digest.
    pub(crate) image: String,
    /// Labels of the service and of its container.
    pub(crate) labels: Labels,
    /// The names of the image's labels that the container overrides.
    pub(crate) overridden: Vec<String>,
    pub(crate) node: NodeId,
    pub(crate) network: NetworkId,
    /// The grade of the node's sandbox.
    pub(crate) grade: SandboxGrade,
    /// Paths that the image declares as volumes, and may write to.
    pub(crate) volumes: Vec<String>,
    /// Further paths that the challenge makes writable.
    pub(crate) writable: Vec<String>,
    pub(crate) limits: ResourceLimits,
}

/// The outcome of a pull of an image to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullOutcome {
    Pulled,
    /// The node had the image.
    WasThere,
    /// The node's engine is not among the configured ones, or does not answer.
    OutOfReach,
}

/// A service, named in one of the two ways that the engine accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ServiceRef<'a> {
    Id(&'a ServiceId),
    Name(&'a str),
}

/// The last lines that a task's container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastLines {
    /// The app's own text, unchecked.
    pub(crate) text: Vec<u8>,
    /// True if the node sent the log to its end, which proves that the node is reachable.
    pub(crate) are_all: bool,
}

/// A container that an engine does not remove.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StuckContainer {
    pub(crate) node: NodeId,
    pub(crate) id: String,
}

/// The outcome of a removal of orphaned containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct OrphanSweep {
    /// The containers that an engine did not remove in time.
    pub(crate) stuck: Vec<StuckContainer>,
    /// The nodes whose engine told which containers it has. More may be stuck on the others.
    pub(crate) answered: Vec<NodeId>,
}

/// The services and networks that verifiers created.
#[derive(Debug, Default)]
pub(crate) struct OwnedResources {
    pub(crate) services: Vec<OwnedResource<ServiceId>>,
    pub(crate) networks: Vec<OwnedResource<NetworkId>>,
}

/// A service or network that a verifier created.
#[derive(Debug)]
pub(crate) struct OwnedResource<Id> {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    /// The time of creation, if the manager reports it.
    pub(crate) created: Option<Timestamp>,
}

/// The reason why the Swarm did not do what was asked. Never a participant's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwarmError {
    /// No manager can do it now, and it may or may not have been done. Try again.
    #[error("{0}")]
    Unavailable(String),
    /// The object is still in use. Try again.
    #[error("{0}")]
    InUse(String),
    /// The Swarm refuses. Trying again does not help.
    #[error("the Swarm refuses: {0}")]
    Refused(String),
    /// The node must not run participants' containers.
    #[error("the engine drops protections that were asked for: {}", .0.join(", "))]
    Unprotected(Vec<String>),
    /// The relay could not be started, or failed.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl ServiceRef<'_> {
    /// Returns the id or the name, as the engine's API takes it.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Name(name) => name,
        }
    }
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
        Self::new(code, error.to_string())
    }
}
