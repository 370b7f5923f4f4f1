//! The admission of nodes: a node may run participants' containers if an inspector, run like a participant's
//! image, finds every wall in place.
//!
//! A manager only reports the settings that were asked for. An older engine silently leaves out settings that
//! it does not know, and a node's own configuration can switch a protection off. So each node is inspected
//! when it joins, when its engine changes, and every few minutes.

mod check;
mod inspection;
mod node_registry;

use std::path::Path;
use std::sync::Arc;

use domain::Challenge;
use domain::challenge::{OpenKernelWays, ResourceLimits};
use domain::sandbox::SandboxGrade;
use futures::future::join_all;
use uuid::Uuid;

pub use check::{Check, CheckState};
pub(crate) use inspection::Inspection;
pub(crate) use node_registry::NodeRegistry;

use crate::SettingsError;
use crate::health::NodeState;
use crate::registry::RegistryLogins;
use crate::swarm::{self, DockerSwarm, Swarm};

/// The result of an inspection.
pub type InspectionResult = Result<InspectedSandbox, InspectError>;

/// The sandbox of a node, as the inspector found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedSandbox {
    /// The highest grade whose walls the inspector tried and found in place.
    pub grade: SandboxGrade,
    /// One check for each wall of that grade.
    pub checks: Vec<Check>,
}

impl InspectedSandbox {
    fn new(grade: SandboxGrade, mut checks: Vec<Check>) -> Self {
        checks.push(check::grade(grade));
        Self { grade, checks }
    }
}

/// The reason why an inspection gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The inspector cannot be copied to the node.
    #[error("its engine is not among the configured ones, so the inspector cannot be copied there")]
    OutOfReach,
    /// The inspector did not run, or did not answer.
    #[error("the inspection failed: {0}")]
    Failed(String),
}

/// The demands on a node that an inspection tries.
#[derive(Debug, Clone)]
pub(crate) struct InspectionTerms {
    /// The limits of each app. An inspector runs under the same ones.
    pub(crate) limits: ResourceLimits,
    pub(crate) open_kernel_ways: OpenKernelWays,
}

impl From<&Challenge> for InspectionTerms {
    fn from(challenge: &Challenge) -> Self {
        Self { limits: challenge.limits.clone(), open_kernel_ways: challenge.sandbox.open_kernel_ways }
    }
}

/// A node and the result of its inspection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedNode {
    /// The node's host name.
    pub name: String,
    pub inspection: InspectionResult,
}

/// The reason why no node could be inspected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectSwarmError {
    /// An engine's address or the certificates cannot be used.
    #[error(transparent)]
    Engine(#[from] SettingsError),
    /// The managers did not report their nodes.
    #[error("{0}")]
    Swarm(String),
}

/// Inspects the nodes of a Swarm for the apps of a challenge. TCP connections use the certificates in
/// the directory, if one is given. A verifier may run at the same time. Takes a few seconds, and at most two
/// minutes.
///
/// # Errors
/// [`InspectSwarmError`]
pub async fn inspect_swarm(
    engines: &[String],
    certificates: Option<&Path>,
    challenge: &Challenge,
) -> Result<Vec<InspectedNode>, InspectSwarmError> {
    // A unique name, so that no verifier has the same.
    let name = format!("inspect-{}", Uuid::new_v4().as_fields().0);
    let engines = swarm::engines(engines, certificates).map_err(SettingsError::from)?;
    let swarm: Arc<dyn Swarm> = Arc::new(DockerSwarm::new(engines, RegistryLogins::default(), &name));
    let nodes = swarm.nodes().await.map_err(|error| InspectSwarmError::Swarm(error.to_string()))?;
    let inspected = nodes.into_iter().enumerate().map(|(number, node)| {
        let (swarm, terms) = (Arc::clone(&swarm), InspectionTerms::from(challenge));
        let slot = format!("muster-{name}-{number}");
        let verifier = name.clone();
        async move {
            let name = node.name.clone();
            if let NodeState::Refused { why } = node.state {
                return InspectedNode { name, inspection: Err(InspectError::Failed(why)) };
            }
            let mut inspection = Inspection::new(swarm, &verifier, slot, node, terms);
            let result = inspection.run().await;
            inspection.clean_up().await;
            InspectedNode { name, inspection: result }
        }
    });
    Ok(join_all(inspected).await)
}
