//! Nodes are looked at before they get work, each in a slot that is for nothing
//! else.

use std::sync::Arc;

use tokio::time::Instant;

use super::SlotKeeper;
use super::pool::SlotPool;
use super::slot_table::SlotState;
use crate::sandbox::admission::Inspection;
use crate::swarm::SwarmNode;

/// Begins to look at the nodes that are due.
pub(super) fn begin(inner: &Arc<SlotKeeper>) {
    let mut pool = inner.pool();
    let Some(mut next) = pool.next else { return };
    if pool.closed || !pool.reachable {
        return;
    }
    let pool = &mut *pool;
    for node in pool.ledger.due(&pool.nodes, Instant::now()) {
        let name = format!("muster-{}-{next}", inner.verifier);
        next += 1;
        pool.census.set(&name, &node.id, SlotState::Inspecting);
        inner.work.spawn(inspect(Arc::clone(inner), name, node));
    }
    pool.next = Some(next);
}

async fn inspect(inner: Arc<SlotKeeper>, name: String, node: SwarmNode) {
    let swarm = Arc::clone(&inner.swarm);
    let mut site = Inspection::new(swarm, &inner.verifier, name.clone(), node.clone(), inner.limits.clone());
    let inspection = site.look().await;
    let useless = {
        let mut pool = inner.pool();
        pool.ledger.record(&node, &inspection, Instant::now());
        let SlotPool { ledger, nodes, .. } = &mut *pool;
        ledger.mark(nodes);
        pool.take_useless()
    };
    for (slot, why) in useless {
        inner.retire(slot, why);
    }
    inner.changed.send_replace(());
    site.leave().await;
    inner.pool().census.remove(&name);
}
