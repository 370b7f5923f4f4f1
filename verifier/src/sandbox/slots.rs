//! The slots. Each is a network on one node with a relay in it, and holds one submission at a time:
//!
//! ```text
//!   preparing ──> ready ──> busy ──> cooling ──┐
//!                   ^                          ├──> retiring: faulty, used up, or its node went away
//!                   └──────────────────────────┘
//! ```
//!
//! A container outlives its service by some seconds. So a slot cools until no task of it is left, while other
//! slots are used. This needs a few more slots than submissions under way. The nodes' resources limit the
//! number of submissions under way.

mod fault;
mod home;
mod inspect;
mod lease;
mod pool;
mod slot_table;
mod sweep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::metrics::VerifierMetrics;
use crate::sandbox::admission::InspectionTerms;
use crate::sandbox::tasks::{TaskPoller, TaskWatcher};
use crate::swarm::{Labels, NodeId, ServiceRef, Swarm, SwarmError, label};

pub(crate) use fault::VerifierFault;
pub(crate) use home::NodeHome;
use lease::Leftovers;
pub(crate) use lease::SlotLease;
use pool::{PlannedSlot, Slot, SlotPool};
pub(crate) use slot_table::Capacity;
use slot_table::SlotState;

/// The interval between two requests for the nodes.
const NODES_INTERVAL: Duration = Duration::from_secs(2);
/// The number of slots of a node that are prepared at the same time. An engine can attach few containers to networks at
/// once.
const PREPARED_AT_ONCE: usize = 3;
/// The pause after a slot could not be prepared.
const PAUSE: Duration = Duration::from_secs(3);
/// The longest time for which a container may outlive its service before its slot is retired.
const COOLING: Duration = Duration::from_secs(60);
/// The longest time for which a network may be in use after its containers ended.
const RETIRING: Duration = Duration::from_secs(60);
/// The time for which the removal of a service is retried before it is left to the sweep.
const REMOVAL: Duration = Duration::from_secs(120);
/// The number of uses after which a slot is replaced, so that a slow fault of its network does not last.
const USES_MAX: u32 = 200;
/// The time that slots have to cool and to be removed when the verifier stops.
const STOP: Duration = Duration::from_secs(30);
/// The time for the last sweep when the verifier stops.
const LAST_SWEEP: Duration = Duration::from_secs(10);

/// All slots of this verifier. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots {
    keeper: Arc<SlotKeeper>,
}

/// Creates, cleans and removes slots in background tasks.
struct SlotKeeper {
    swarm: Arc<dyn Swarm>,
    tasks: TaskPoller,
    verifier: String,
    inspection: InspectionTerms,
    pool: Mutex<SlotPool>,
    /// The turns to prepare a slot, for each node. So no slot waits for another node's engine.
    preparing: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
    /// Changes whenever a slot may have become ready or may be missing.
    changed: watch::Sender<()>,
    work: TaskTracker,
    health: watch::Sender<Health>,
    metrics: VerifierMetrics,
}

/// The terms for the slots of a verifier.
pub(crate) struct SlotTerms {
    pub(crate) inspection: InspectionTerms,
    /// The lowest grade of a node that gets slots.
    pub(crate) lowest: SandboxGrade,
    pub(crate) capacity: Capacity,
    /// The reason why nothing may begin from the start, if there is one.
    pub(crate) fault: Option<VerifierFault>,
}

impl Slots {
    /// Starts to keep slots on the nodes that the terms allow, until [`Slots::close`].
    pub(crate) fn start(
        swarm: Arc<dyn Swarm>,
        verifier: &str,
        terms: SlotTerms,
        health: watch::Sender<Health>,
        metrics: VerifierMetrics,
    ) -> Self {
        let SlotTerms { inspection, lowest, capacity, fault } = terms;
        let mut pool = SlotPool::new(capacity, lowest);
        pool.fault = fault;
        let keeper = Arc::new(SlotKeeper {
            tasks: TaskPoller::start(Arc::clone(&swarm)),
            swarm,
            verifier: verifier.to_owned(),
            inspection,
            pool: Mutex::new(pool),
            preparing: Mutex::default(),
            changed: watch::Sender::new(()),
            work: TaskTracker::new(),
            health,
            metrics,
        });
        keeper.work.spawn(Arc::clone(&keeper).run());
        keeper.work.spawn(Arc::clone(&keeper).keep_sweeping());
        Self { keeper }
    }

    /// Returns true if [`Slots::take`] would return a slot.
    pub(crate) fn has_free(&self) -> bool {
        self.keeper.pool().has_free()
    }

    /// Returns true if submissions are verified at present, also if no slot is free.
    pub(crate) fn are_in_use(&self) -> bool {
        self.keeper.health.borrow().pause_reason.is_none()
    }

    /// Takes a ready slot for a new attempt, if possible on its home, and on another node than `avoid`. Returns `None` if no slot is ready,
    /// if as many submissions are under way as the nodes allow, or if another attempt waits for the ready ones.
    pub(crate) fn take(&self, avoid: Option<&NodeId>, home: Option<&NodeId>) -> Option<SlotLease> {
        let slot = self.keeper.pool().take_first(avoid, home)?;
        Some(self.lend(slot))
    }

    /// Records that a node seems ill, so that other nodes are preferred for a while.
    pub(crate) fn doubt(&self, node: &NodeId) {
        tracing::warn!("node {node} seems ill; other nodes are preferred for a while");
        self.keeper.pool().doubt(node);
    }

    /// Waits until the deadline for a slot on a node of at least this grade, if possible on another node than
    /// `avoid`. New attempts leave such slots to it meanwhile.
    pub(crate) async fn wait(
        &self,
        avoid: Option<&NodeId>,
        grade: SandboxGrade,
        deadline: Instant,
    ) -> Option<SlotLease> {
        let _waiting = WaitingGuard::new(&self.keeper, grade);
        let mut changes = self.changes();
        loop {
            let slot = self.keeper.pool().take_second(avoid, grade);
            if let Some(slot) = slot {
                return Some(self.lend(slot));
            }
            timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
        }
    }

    /// Returns a receiver that changes whenever a slot may have become ready.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.keeper.changed.subscribe()
    }

    /// Returns the highest grade of the nodes that get work.
    pub(crate) fn highest_grade(&self) -> Option<SandboxGrade> {
        self.keeper.pool().highest_grade()
    }

    fn lend(&self, slot: Slot) -> SlotLease {
        self.keeper.notify();
        SlotLease::new(slot, self)
    }

    /// Returns true if apps on the node keep running, as far as the managers know.
    pub(crate) fn is_well(&self, node: &NodeId) -> bool {
        self.keeper.pool().keeps_running(node)
    }

    /// Removes all slots that are not in use, and waits for those that cool.
    pub(crate) async fn close(&self) {
        let ready = self.keeper.pool().close();
        // A slot that is not prepared yet would only have to be removed again.
        self.keeper.turns().values().for_each(|turns| turns.close());
        for slot in ready {
            self.keeper.retire(slot, "the verifier stops");
        }
        self.keeper.notify();
        self.keeper.work.close();
        let cooled = timeout(STOP, self.keeper.work.wait()).await;
        let swept = timeout(LAST_SWEEP, self.keeper.sweep_all()).await;
        if cooled.is_err() || swept.is_err() {
            tracing::warn!(
                "shutdown: not all slots of {0} could be removed; the next start of {0} removes them",
                self.keeper.verifier
            );
        }
    }
}

impl SlotKeeper {
    fn pool(&self) -> MutexGuard<'_, SlotPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Semaphore>>> {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all that wait for a change of the slots.
    fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Keeps the nodes, the slots and the health up to date until the pool is closed and no slot is in use.
    async fn run(self: Arc<Self>) {
        let mut ticks = interval(NODES_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.changed.subscribe();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.update_nodes().await,
                _ = changes.changed() => {}
            }
            if self.pool().is_drained() {
                return;
            }
            if self.pool().fault.is_none() {
                self.inspect_due_nodes();
                self.prepare_missing();
            }
            self.publish_health();
        }
    }

    async fn update_nodes(self: &Arc<Self>) {
        match self.swarm.nodes().await {
            Ok(nodes) => {
                let useless = self.pool().update_nodes(nodes);
                for (slot, why) in useless {
                    self.retire(slot, why);
                }
            }
            Err(error) => {
                if self.pool().lose_managers(error.to_string()) {
                    tracing::warn!(%error, "no submission is claimed until a Swarm manager answers");
                }
            }
        }
        self.notify();
    }

    /// Starts to prepare the slots that the nodes have capacity for.
    fn prepare_missing(self: &Arc<Self>) {
        let planned = self.pool().plan_missing(&self.verifier);
        for planned in planned {
            self.work.spawn(Arc::clone(self).prepare(planned));
        }
    }

    async fn prepare(self: Arc<Self>, PlannedSlot { name, node }: PlannedSlot) {
        let turns = Arc::clone(
            self.turns().entry(node.id.clone()).or_insert_with(|| Arc::new(Semaphore::new(PREPARED_AT_ONCE))),
        );
        let Ok(_turn) = turns.acquire().await else { return };
        if self.pool().is_closed() {
            return;
        }
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
                        tracing::debug!(%error, "the network of slot {name} is left to the sweep");
                    }
                    Err(error)
                }
            }
        };
        match prepared.await {
            Ok(slot) => self.put_ready(slot),
            Err(error) => {
                tracing::warn!(%error, "could not prepare slot {name} on node {}", node.name);
                self.pool().note_error(error.to_string());
                sleep(PAUSE).await;
                self.pool().forget(&name);
                self.notify();
            }
        }
    }

    fn put_ready(self: &Arc<Self>, slot: Slot) {
        let refused = self.pool().put_ready(slot);
        match refused {
            None => self.notify(),
            Some(slot) => self.retire(slot, "the verifier stops"),
        }
    }

    /// Removes a submission's services from its slot, and waits until their tasks are gone. Then makes the
    /// slot ready again, or retires it.
    async fn cool(self: Arc<Self>, mut slot: Slot, mut tasks: TaskWatcher, leftovers: Leftovers) {
        let Leftovers { services, creating, fault } = leftovers;
        creating.close();
        creating.wait().await;
        let mut removed = true;
        for service in &services {
            removed &= retry(REMOVAL, service, || self.swarm.remove_service(ServiceRef::Name(service))).await;
        }
        let since = Instant::now();
        let gone = tasks
            .until(since + COOLING, |snapshot| {
                let has_none = snapshot.tasks.iter().all(|task| task.slot != slot.name);
                (snapshot.at > since && has_none).then_some(())
            })
            .await;
        slot.uses += 1;
        let why = if gone.is_none() || !removed {
            Some("a task of it does not end".to_owned())
        } else if let Some(fault) = fault {
            Some(fault)
        } else if !slot.relay.is_alive() {
            Some("its relay is gone".to_owned())
        } else {
            (slot.uses >= USES_MAX).then(|| format!("it was used {USES_MAX} times"))
        };
        match why {
            None => self.put_ready(slot),
            Some(why) => self.retire(slot, &why),
        }
    }

    /// Removes a slot in the background.
    fn retire(self: &Arc<Self>, slot: Slot, why: &str) {
        tracing::info!("retiring slot {} on node {}: {why}", slot.name, slot.node.name);
        self.pool().set_state(&slot, SlotState::Retiring);
        let keeper = Arc::clone(self);
        self.work.spawn(async move {
            let Slot { name, network, relay, .. } = slot;
            if let Err(error) = relay.close().await {
                tracing::debug!(%error, "could not remove the relay of slot {name}, which ends by itself");
            }
            if !retry(RETIRING, &name, || keeper.swarm.remove_network(&network)).await {
                tracing::warn!("the network of slot {name} is left to the sweep");
            }
            keeper.pool().forget(&name);
            keeper.notify();
        });
        self.notify();
    }

    fn publish_health(&self) {
        let (health, slots) = {
            let pool = self.pool();
            (pool.health(), pool.slots_by_state())
        };
        for (state, count) in slots {
            self.metrics.set_slots(state, count);
        }
        self.health.send_if_modified(|known| {
            let changed = *known != health;
            *known = health;
            changed
        });
    }
}

/// Repeats a removal until it succeeds, fails for good, or `patience` has passed. Returns true if it
/// succeeded.
async fn retry<F>(patience: Duration, name: &str, remove: impl Fn() -> F) -> bool
where
    F: Future<Output = Result<(), SwarmError>>,
{
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(100);
    loop {
        match remove().await {
            Ok(()) => return true,
            Err(SwarmError::Unavailable(_) | SwarmError::InUse(_)) if Instant::now() < deadline => {}
            Err(error) => {
                tracing::warn!(%error, "could not remove {name}");
                return false;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Counts one attempt as waiting for its second slot, for as long as it lives.
struct WaitingGuard<'a> {
    keeper: &'a SlotKeeper,
    grade: SandboxGrade,
}

impl<'a> WaitingGuard<'a> {
    fn new(keeper: &'a SlotKeeper, grade: SandboxGrade) -> Self {
        keeper.pool().begin_waiting(grade);
        Self { keeper, grade }
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.keeper.pool().end_waiting(self.grade);
        self.keeper.notify();
    }
}

#[cfg(test)]
mod tests;
