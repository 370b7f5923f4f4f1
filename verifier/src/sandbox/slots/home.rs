//! The nodes on which submissions will run that have no slot yet. Their images are pulled there meanwhile.

use std::sync::Arc;

use domain::sandbox::SandboxGrade;

use super::{SlotKeeper, Slots};
use crate::swarm::NodeId;

/// The node that a submission was promised to, until it has a slot.
pub(crate) struct NodeHome {
    node: NodeId,
    keeper: Arc<SlotKeeper>,
}

impl NodeHome {
    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }
}

impl Drop for NodeHome {
    fn drop(&mut self) {
        self.keeper.pool().leave_home(&self.node);
    }
}

impl Slots {
    /// Chooses the node for a submission: one that is not `avoid`, that has room, with the highest grade, with the greatest weight,
    /// and with the fewest submissions, in this order. Returns `None` if no node of the grade gets work.
    pub(crate) fn choose_home(
        &self,
        avoid: Option<&NodeId>,
        grade: Option<SandboxGrade>,
        weight: impl Fn(&NodeId) -> u64,
    ) -> Option<NodeHome> {
        let node = self.keeper.pool().choose_home(avoid, grade, weight)?;
        Some(NodeHome { node, keeper: Arc::clone(&self.keeper) })
    }

    /// Returns true if a submission of this home need not wait for it: a slot there is ready, or the node gets no work any more.
    pub(crate) fn is_home_ready(&self, home: &NodeId) -> bool {
        self.keeper.pool().is_home_ready(home)
    }
}
