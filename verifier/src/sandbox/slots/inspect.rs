//! The inspections of nodes before they get work, each in a slot of its own that no submission uses.

use std::sync::Arc;

use super::SlotKeeper;
use super::pool::PlannedSlot;
use crate::sandbox::admission::Inspection;

impl SlotKeeper {
    /// Starts the inspections of the nodes that are due.
    pub(super) fn inspect_due_nodes(self: &Arc<Self>) {
        let planned = self.pool().plan_inspections(&self.verifier);
        for planned in planned {
            self.work.spawn(Arc::clone(self).inspect(planned));
        }
    }

    async fn inspect(self: Arc<Self>, PlannedSlot { name, node }: PlannedSlot) {
        let swarm = Arc::clone(&self.swarm);
        let terms = self.inspection.clone();
        let mut inspection = Inspection::new(swarm, &self.verifier, name.clone(), node.clone(), terms);
        let result = inspection.run().await;
        let useless = self.pool().record_inspection(&node, &result);
        for (slot, why) in useless {
            self.retire(slot, why);
        }
        self.notify();
        inspection.clean_up().await;
        self.pool().forget(&name);
    }
}
