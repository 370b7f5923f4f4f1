//! Which nodes may run participants' containers: those where a container of ours,
//! made as theirs are, sees from inside that every wall stands.
//!
//! A manager's books show what was asked for. An older engine on a node leaves
//! out what it does not know, and a node's own settings can switch a protection
//! off: neither is told to anybody. So each node is looked at when it joins, when
//! its engine is another one, and now and then.

mod check;
mod inspection;
mod node_registry;

use std::path::Path;
use std::sync::Arc;

use domain::challenge::ResourceLimits;
use futures::future::join_all;
use uuid::Uuid;

pub use check::{Check, CheckState};
pub(crate) use inspection::Inspection;
pub(crate) use node_registry::NodeRegistry;

use crate::SettingsError;
use crate::health::NodeState;
use crate::registry::RegistryLogins;
use crate::swarm::{self, DockerSwarm, Swarm};

/// What an inspection of a node showed.
pub type InspectionResult = Result<Vec<Check>, InspectError>;

/// Why an inspection showed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Our own program cannot be brought to the node.
    #[error("none of the engines that are named is this node's, so our inspector cannot be brought there")]
    OutOfReach,
    /// The inspector did not run, or was not heard.
    #[error("the inspection failed: {0}")]
    Failed(String),
}

/// A node of a Swarm, as an inspection found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedNode {
    /// Its host name.
    pub name: String,
    /// What was seen.
    pub inspection: InspectionResult,
}

/// Why no node could be inspected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectSwarmError {
    /// An address is none, or the certificates cannot be used.
    #[error(transparent)]
    Engine(#[from] SettingsError),
    /// No manager answers.
    #[error("{0}")]
    Swarm(String),
}

/// Inspects the nodes of a Swarm, over TCP with the certificates in a directory,
/// if one is named, for containers with these limits; beside any verifier. Takes a few seconds, at most two minutes.
///
/// # Errors
/// [`InspectSwarmError`]
pub async fn inspect_swarm(
    engines: &[String],
    certificates: Option<&Path>,
    limits: &ResourceLimits,
) -> Result<Vec<InspectedNode>, InspectSwarmError> {
    // Of its own, so that it meets nobody else's.
    let name = format!("inspect-{}", Uuid::new_v4().as_fields().0);
    let engines = swarm::engines(engines, certificates).map_err(SettingsError::from)?;
    let swarm: Arc<dyn Swarm> = Arc::new(DockerSwarm::new(engines, RegistryLogins::default(), &name));
    let nodes = swarm.nodes().await.map_err(|error| InspectSwarmError::Swarm(error.to_string()))?;
    let inspected = nodes.into_iter().enumerate().map(|(number, node)| {
        let (swarm, limits) = (Arc::clone(&swarm), limits.clone());
        let slot = format!("muster-{name}-{number}");
        let verifier = name.clone();
        async move {
            let name = node.name.clone();
            if let NodeState::Refused { why } = node.state {
                return InspectedNode { name, inspection: Err(InspectError::Failed(why)) };
            }
            let mut site = Inspection::new(swarm, &verifier, slot, node, limits);
            let inspection = site.look().await;
            site.leave().await;
            InspectedNode { name, inspection }
        }
    });
    Ok(join_all(inspected).await)
}
