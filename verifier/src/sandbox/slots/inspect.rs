//! Nodes are looked at before they get work, each in a slot that is for nothing
//! else.

use std::sync::Arc;

use tokio::time::Instant;

use super::Inner;
use super::plan::Stage;
use super::pool::Pool;
use crate::sandbox::admission::Site;
use crate::swarm::Node;

/// Begins to look at the nodes that are due.
pub(super) fn begin(inner: &Arc<Inner>) {
    let mut pool = inner.pool();
    let Some(mut next) = pool.next else { return };
    if pool.closed || !pool.reachable {
        return;
    }
    let pool = &mut *pool;
    for node in pool.ledger.due(&pool.nodes, Instant::now()) {
        let name = format!("muster-{}-{next}", inner.verifier);
        next += 1;
        pool.census.set(&name, &node.id, Stage::Inspecting);
        inner.work.spawn(inspect(Arc::clone(inner), name, node));
    }
    pool.next = Some(next);
}

async fn inspect(inner: Arc<Inner>, name: String, node: Node) {
    let swarm = Arc::clone(&inner.swarm);
    let mut site = Site::new(swarm, &inner.verifier, name.clone(), node.clone(), inner.limits.clone());
    let inspection = site.look().await;
    let useless = {
        let mut pool = inner.pool();
        pool.ledger.record(&node, &inspection, Instant::now());
        let Pool { ledger, nodes, .. } = &mut *pool;
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
