//! What the operator is told: whether submissions are being verified, and what
//! becomes of each node.

/// Whether submissions are being verified, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What submissions wait for, in a sentence for the operator. `None`: they
    /// are being verified, as far as there are any.
    pub waiting: Option<String>,
    /// The nodes for participants' containers, by name, also those that cannot
    /// be used now; as a manager showed them last.
    pub nodes: Vec<NodeHealth>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    /// Its host name.
    pub name: String,
    /// Whether it can be used.
    pub state: NodeState,
    /// So many submissions may be under way on it at a time.
    pub slots: usize,
}

/// Whether a node can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Submissions are run on it.
    Ready,
    /// It has not been heard of since the managers elected a leader: what runs
    /// on it goes on, and nothing new is begun.
    Unheard,
    /// An operator wants nothing new on it: what runs on it goes on.
    Paused,
    /// An operator wants nothing on it: what ran on it runs elsewhere.
    Drained,
    /// It does not answer the managers: what ran on it runs elsewhere.
    Down,
    /// It must not be used.
    Refused {
        /// Why, in a sentence for the operator.
        why: String,
    },
}

impl Health {
    /// Nothing is verified, for this reason, and no node is known.
    pub(crate) fn waiting(why: &str) -> Self {
        Self { waiting: Some(why.to_owned()), nodes: Vec::new() }
    }

    /// The nodes that submissions are run on.
    pub fn ready(&self) -> impl Iterator<Item = &NodeHealth> {
        self.nodes.iter().filter(|node| node.state == NodeState::Ready)
    }

    /// How many submissions may be under way at a time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.nodes.iter().map(|node| node.slots).sum()
    }
}

impl NodeState {
    /// Whether what runs on the node may go on.
    pub(crate) fn keeps_running(&self) -> bool {
        matches!(self, Self::Ready | Self::Unheard | Self::Paused)
    }
}
