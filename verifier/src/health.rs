//! The health of a verifier, for the operator: the reason of a pause, and the state of each node.

use domain::sandbox::SandboxGrade;

/// The health of a verifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The reason why nothing is verified at present, for the operator. `None` while submissions are
    /// verified.
    pub pause_reason: Option<String>,
    /// The nodes for participants' containers in all states, by name, as a manager reported them last.
    pub nodes: Vec<NodeHealth>,
}

/// The health of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    /// The node's host name.
    pub name: String,
    pub state: NodeState,
    /// The number of submissions that may be under way on the node at a time.
    pub slots: usize,
    /// The grade of the node's sandbox. `None` until the node is admitted.
    pub grade: Option<SandboxGrade>,
}

/// The state of a node, as far as it matters for its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Submissions run on the node.
    Ready,
    /// The managers elected a leader, which has not heard of the node yet. Apps keep running, and no new ones
    /// start.
    Unheard,
    /// An operator paused the node. Apps keep running, and no new ones start.
    Paused,
    /// An operator drained the node. The Swarm stops its apps.
    Drained,
    /// The node does not answer the managers. The Swarm replaces its apps.
    Down,
    /// The node must not be used.
    Refused {
        /// The reason, for the operator.
        why: String,
    },
}

impl Health {
    /// Returns the health of a verifier that is paused for this reason and knows no node.
    pub(crate) fn paused(why: &str) -> Self {
        Self { pause_reason: Some(why.to_owned()), nodes: Vec::new() }
    }

    /// Returns the nodes that submissions run on.
    pub fn ready(&self) -> impl Iterator<Item = &NodeHealth> {
        self.nodes.iter().filter(|node| node.state == NodeState::Ready)
    }

    /// Returns the number of submissions that may be under way at a time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.nodes.iter().map(|node| node.slots).sum()
    }
}

impl NodeState {
    /// Returns true if apps on the node may keep running.
    pub(crate) fn keeps_running(&self) -> bool {
        matches!(self, Self::Ready | Self::Unheard | Self::Paused)
    }
}
