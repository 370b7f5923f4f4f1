//! The slots: each a network of its own on one node, with a relay in it, that
//! holds one submission at a time. A slot goes round:
//!
//! ```text
//!   preparing ──> ready ──> busy ──> cooling ──┐
//!                   ^                          ├──> retiring: ill, worn, or its node went away
//!                   └──────────────────────────┘
//! ```
//!
//! A container outlives its service for some seconds, so a slot cools down until
//! no task of it is left, while others are used. That makes a few more slots than
//! submissions under way. How many may be under way follows the nodes.

mod inspect;
mod lease;
mod pool;
mod slot_table;
mod sweep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::challenge::ResourceLimits;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::health::{Health, NodeHealth, NodeState};
use crate::sandbox::admission::NodeRegistry;
use crate::sandbox::tasks::{TaskPoller, TaskWatcher};
use crate::swarm::{Labels, Swarm, SwarmError, SwarmNode, label};

use lease::Leftovers;
pub(crate) use lease::SlotLease;
use pool::{Slot, SlotPool};
pub(crate) use slot_table::Capacity;
use slot_table::{SlotState, SlotTable};

/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often what others left behind is looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// An engine attaches few containers to networks at a time.
const PREPARED_AT_ONCE: usize = 3;
/// The pause after a slot could not be prepared.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a container may outlive its service before its slot is set aside.
const COOLING: Duration = Duration::from_secs(60);
/// How long a network may be in use after all left it.
const RETIRING: Duration = Duration::from_secs(60);
/// How long the managers may be away before a removal is left to the sweep.
const REMOVAL: Duration = Duration::from_secs(120);
/// New networks forget what went wrong in old ones.
const USES_MAX: u32 = 200;
/// How long a stop waits for slots to cool and to be removed.
const STOP: Duration = Duration::from_secs(30);
/// And for what is left then to be swept away.
const CLEAR: Duration = Duration::from_secs(10);

/// All slots of this verifier. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots {
    inner: Arc<SlotKeeper>,
}

struct SlotKeeper {
    swarm: Arc<dyn Swarm>,
    watch: TaskPoller,
    verifier: String,
    /// Within which each app is kept, and an inspector as if it were one.
    limits: ResourceLimits,
    pool: Mutex<SlotPool>,
    preparing: Semaphore,
    /// ProbeResult whenever a slot may have become ready, or be missing.
    changed: watch::Sender<()>,
    work: TaskTracker,
    health: watch::Sender<Health>,
}

impl Slots {
    /// Starts to keep slots, until [`Slots::close`].
    pub(crate) fn start(
        swarm: Arc<dyn Swarm>,
        verifier: &str,
        limits: ResourceLimits,
        capacity: Capacity,
        health: watch::Sender<Health>,
    ) -> Self {
        let inner = Arc::new(SlotKeeper {
            watch: TaskPoller::start(Arc::clone(&swarm)),
            swarm,
            verifier: verifier.to_owned(),
            limits,
            pool: Mutex::new(SlotPool {
                capacity,
                nodes: Vec::new(),
                ledger: NodeRegistry::default(),
                reachable: false,
                census: SlotTable::default(),
                ready: Vec::new(),
                doubted: HashMap::new(),
                next: None,
                trouble: None,
                closed: false,
            }),
            preparing: Semaphore::new(PREPARED_AT_ONCE),
            changed: watch::Sender::new(()),
            work: TaskTracker::new(),
            health,
        });
        inner.work.spawn(Arc::clone(&inner).keep());
        Self { inner }
    }

    /// Whether [`Slots::take`] would give one.
    pub(crate) fn has_free(&self) -> bool {
        self.inner.pool().pick(None).is_some()
    }

    /// A slot that is ready, if there is one and one more submission may be
    /// under way; on another node than `avoid` if possible.
    pub(crate) fn take(&self, avoid: Option<&str>) -> Option<SlotLease> {
        let slot = {
            let mut pool = self.inner.pool();
            let index = pool.pick(avoid)?;
            let slot = pool.ready.swap_remove(index);
            pool.census.set(&slot.name, &slot.node.id, SlotState::Busy);
            slot
        };
        self.inner.changed.send_replace(());
        Some(SlotLease::new(slot, self))
    }

    /// Waits for a slot until the deadline.
    pub(crate) async fn wait(&self, avoid: Option<&str>, deadline: Instant) -> Option<SlotLease> {
        let mut changes = self.changes();
        loop {
            if let Some(lease) = self.take(avoid) {
                return Some(lease);
            }
            timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
        }
    }

    /// Changes whenever a slot may have become ready.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.inner.changed.subscribe()
    }

    /// Whether what runs on the node goes on, as far as anybody knows.
    pub(crate) fn is_well(&self, node: &str) -> bool {
        self.inner.pool().keeps_running(node)
    }

    /// Removes all slots that are not in use and waits for those that cool.
    pub(crate) async fn close(&self) {
        let ready = {
            let mut pool = self.inner.pool();
            pool.closed = true;
            std::mem::take(&mut pool.ready)
        };
        // What waits for its turn to be prepared would only have to be removed.
        self.inner.preparing.close();
        for slot in ready {
            self.inner.retire(slot, "the verifier stops");
        }
        self.inner.changed.send_replace(());
        self.inner.work.close();
        let cooled = timeout(STOP, self.inner.work.wait()).await;
        let cleared = timeout(CLEAR, sweep::clear(&self.inner)).await;
        if cooled.is_err() || cleared.is_err() {
            tracing::warn!("the next start of {} sweeps what is left of its slots", self.inner.verifier);
        }
    }
}

impl SlotKeeper {
    fn pool(&self) -> MutexGuard<'_, SlotPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: Arc<Self>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.changed.subscribe();
        let mut swept: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if swept.is_none_or(|last| last.elapsed() >= SWEEP) && sweep::sweep(&self).await {
                        swept = Some(Instant::now());
                    }
                    self.look_at_nodes().await;
                }
                _ = changes.changed() => {}
            }
            let done = {
                let pool = self.pool();
                pool.closed && pool.census.in_use() == 0
            };
            if done {
                return;
            }
            inspect::begin(&self);
            self.prepare_missing();
            self.tell_health();
        }
    }

    async fn look_at_nodes(self: &Arc<Self>) {
        let nodes = self.swarm.nodes().await;
        let mut pool = self.pool();
        match nodes {
            Ok(mut nodes) => {
                pool.ledger.mark(&mut nodes);
                if !std::mem::replace(&mut pool.reachable, true) {
                    pool.trouble = None;
                }
                for node in nodes.iter().filter(|node| !pool.nodes.contains(node)) {
                    tracing::info!(node = node.name, state = ?node.state, "a node for participants' containers");
                }
                pool.nodes = nodes;
                let useless = pool.take_useless();
                drop(pool);
                for (slot, why) in useless {
                    self.retire(slot, why);
                }
            }
            Err(error) => {
                if std::mem::replace(&mut pool.reachable, false) {
                    tracing::warn!(%error, "no submission is taken until a manager answers");
                }
                pool.trouble = Some(error.to_string());
            }
        }
        self.changed.send_replace(());
    }

    /// Begins to prepare the slots that the nodes have room for.
    fn prepare_missing(self: &Arc<Self>) {
        let mut pool = self.pool();
        let Some(mut next) = pool.next else { return };
        if pool.closed || !pool.reachable {
            return;
        }
        // What is looked at needs the engines for itself, to be through soon.
        let admitted = pool.nodes.iter().filter(|node| pool.ledger.admits(&node.id)).cloned();
        let missing = pool.capacity.missing(&admitted.collect::<Vec<_>>(), &pool.census);
        for node in missing {
            let name = format!("muster-{}-{next}", self.verifier);
            next += 1;
            pool.census.set(&name, &node.id, SlotState::Preparing);
            self.work.spawn(Arc::clone(self).prepare(name, node));
        }
        pool.next = Some(next);
    }

    async fn prepare(self: Arc<Self>, name: String, node: SwarmNode) {
        let Ok(_turn) = self.preparing.acquire().await else { return };
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), self.verifier.clone()),
            (label::SLOT.to_owned(), name.clone()),
        ]);
        let prepared = async {
            let network = self.swarm.ensure_network(&name, &labels).await?;
            match self.swarm.open_relay(&node.id, &network, &labels).await {
                Ok(relay) => Ok(Slot { name: name.clone(), node: node.clone(), network, relay, uses: 0 }),
                Err(error) => {
                    if let Err(error) = self.swarm.remove_network(&network).await {
                        tracing::debug!(slot = name, %error, "its network is left to the sweep");
                    }
                    Err(error)
                }
            }
        };
        match prepared.await {
            Ok(slot) => self.put_ready(slot),
            Err(error) => {
                tracing::warn!(slot = name, node = node.name, %error, "a slot could not be prepared");
                self.pool().trouble = Some(error.to_string());
                sleep(PAUSE).await;
                self.pool().census.remove(&name);
                self.changed.send_replace(());
            }
        }
    }

    fn put_ready(self: &Arc<Self>, slot: Slot) {
        {
            let mut pool = self.pool();
            pool.trouble = None;
            if !pool.closed {
                pool.census.set(&slot.name, &slot.node.id, SlotState::Ready);
                pool.ready.push(slot);
                drop(pool);
                self.changed.send_replace(());
                return;
            }
        }
        self.retire(slot, "the verifier stops");
    }

    /// Removes what a submission left in its slot, and waits until it is gone.
    async fn cool(self: Arc<Self>, mut slot: Slot, mut tasks: TaskWatcher, left: Leftovers) {
        let Leftovers { services, creating, ill } = left;
        creating.close();
        creating.wait().await;
        let mut removed = true;
        for service in &services {
            removed &= within(REMOVAL, || self.swarm.remove_service(service)).await;
        }
        let since = Instant::now();
        let gone = tasks
            .until(since + COOLING, |seen| {
                (seen.at > since && seen.tasks.iter().all(|task| task.slot != slot.name)).then_some(())
            })
            .await;
        slot.uses += 1;
        let why = if gone.is_none() || !removed {
            Some("a task of it stays".to_owned())
        } else if let Some(why) = ill {
            Some(why)
        } else if !slot.relay.is_alive() {
            Some("its relay is gone".to_owned())
        } else {
            (slot.uses >= USES_MAX).then(|| "it was used often enough".to_owned())
        };
        match why {
            None => self.put_ready(slot),
            Some(why) => self.retire(slot, &why),
        }
    }

    /// Removes a slot in the background.
    fn retire(self: &Arc<Self>, slot: Slot, why: &str) {
        tracing::info!(slot = slot.name, node = slot.node.name, why, "a slot is set aside");
        self.pool().census.set(&slot.name, &slot.node.id, SlotState::Retiring);
        let inner = Arc::clone(self);
        self.work.spawn(async move {
            let Slot { name, network, relay, .. } = slot;
            if let Err(error) = relay.close().await {
                tracing::debug!(slot = name, %error, "its relay is left to end by itself");
            }
            if !within(RETIRING, || inner.swarm.remove_network(&network)).await {
                tracing::warn!(slot = name, "its network is left to the sweep");
            }
            inner.pool().census.remove(&name);
            inner.changed.send_replace(());
        });
        self.changed.send_replace(());
    }

    fn tell_health(&self) {
        let pool = self.pool();
        let waiting = match &pool.trouble {
            Some(why) if !pool.reachable || pool.census.usable() == 0 => Some(why.as_str()),
            _ if pool.nodes.iter().all(|node| node.state != NodeState::Ready) => {
                Some(pool.ledger.refused().unwrap_or("the Swarm has no node that is ready and active"))
            }
            _ if pool.next.is_none() => Some("the Swarm is being tidied"),
            _ if !pool.nodes.iter().any(|node| pool.ledger.admits(&node.id)) => {
                Some(pool.ledger.trouble().unwrap_or("the nodes are being looked at"))
            }
            _ => None,
        };
        let mut nodes: Vec<NodeHealth> = pool
            .nodes
            .iter()
            .map(|node| NodeHealth {
                name: node.name.clone(),
                state: node.state.clone(),
                slots: if pool.ledger.admits(&node.id) { pool.capacity.of_node(node) } else { 0 },
            })
            .collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let health = Health { waiting: waiting.map(str::to_owned), nodes };
        drop(pool);
        self.health.send_if_modified(|known| {
            let changed = *known != health;
            *known = health;
            changed
        });
    }
}

/// Asks until it is done, or `patience` is over.
async fn within<F>(patience: Duration, ask: impl Fn() -> F) -> bool
where
    F: Future<Output = Result<(), SwarmError>>,
{
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(100);
    loop {
        match ask().await {
            Ok(()) => return true,
            Err(SwarmError::Unavailable(_) | SwarmError::InUse(_)) if Instant::now() < deadline => {}
            Err(error) => {
                tracing::warn!(%error, "something could not be removed");
                return false;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests;
