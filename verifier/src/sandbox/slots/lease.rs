//! A slot in use: lent to one submission, and cleaned after it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::pool::Slot;
use super::slot_table::SlotState;
use super::{SlotKeeper, Slots};
use crate::sandbox::tasks::TaskWatcher;
use crate::swarm::{Deployment, SlotRelay, Swarm, SwarmError, SwarmNode};

/// How long the managers may be away while a service is to be made: they take
/// ten to twenty seconds to find a new leader.
const ELECTION: Duration = Duration::from_secs(45);

/// A slot in use. However its holder ends, the slot is cleaned after it.
pub(crate) struct SlotLease {
    slot: Option<Slot>,
    inner: Arc<SlotKeeper>,
    tasks: TaskWatcher,
    left: Leftovers,
}

/// What a submission leaves in its slot.
#[derive(Default)]
pub(super) struct Leftovers {
    /// The names of its services.
    pub(super) services: Vec<String>,
    /// Those that are still being made.
    pub(super) creating: TaskTracker,
    /// Why the slot is not to be used again.
    pub(super) ill: Option<String>,
}

impl SlotLease {
    pub(super) fn new(slot: Slot, slots: &Slots) -> Self {
        let inner = Arc::clone(&slots.inner);
        let tasks = inner.watch.watcher();
        Self { slot: Some(slot), inner, tasks, left: Leftovers::default() }
    }

    /// The slot's node.
    pub(crate) fn node(&self) -> &SwarmNode {
        &self.slot().node
    }

    /// The slot's name.
    pub(crate) fn name(&self) -> &str {
        &self.slot().name
    }

    /// The id of the slot's network.
    pub(crate) fn network(&self) -> &str {
        &self.slot().network
    }

    /// The tasks, to wait for this slot's.
    pub(crate) fn tasks(&self) -> TaskWatcher {
        self.tasks.clone()
    }

    /// The slot's relay.
    pub(crate) fn relay(&mut self) -> &mut dyn SlotRelay {
        self.slot.as_mut().expect("a lease has its slot until it is dropped").relay.as_mut()
    }

    /// Says that the slot's network or relay is not to be used again.
    pub(crate) fn set_aside(&mut self, why: impl Into<String>) {
        self.left.ill.get_or_insert(why.into());
    }

    /// Says that the slot's node seems ill: others are taken first for a while.
    pub(crate) fn doubt_node(&self) {
        let node = self.node();
        tracing::warn!(node = node.name, "a node seems ill; others are taken first");
        self.inner.pool().doubted.insert(node.id.clone(), Instant::now());
    }

    /// Begins to make a service in the slot. It goes on if nobody waits for it
    /// any more, so that what is made is known when it is to be removed.
    pub(crate) fn deploy(
        &mut self,
        deployment: Deployment,
    ) -> impl Future<Output = Result<String, SwarmError>> + use<> {
        self.left.services.push(deployment.name.clone());
        let swarm = Arc::clone(&self.inner.swarm);
        let name = deployment.name.clone();
        let created = self.left.creating.spawn(async move { persist(&*swarm, &deployment).await });
        async move {
            created.await.unwrap_or_else(|_| Err(SwarmError::Unavailable(format!("{name} was not made"))))
        }
    }

    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("a lease has its slot until it is dropped")
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        // Without a runtime everything ends; the next start sweeps.
        if let (Some(slot), Ok(runtime)) = (self.slot.take(), Handle::try_current()) {
            self.inner.pool().census.set(&slot.name, &slot.node.id, SlotState::Cooling);
            self.inner.changed.send_replace(());
            let cooling =
                Arc::clone(&self.inner).cool(slot, self.tasks.clone(), std::mem::take(&mut self.left));
            self.inner.work.spawn_on(cooling, &runtime);
        }
    }
}

/// Makes a service, and asks again as long as no manager answers.
async fn persist(swarm: &dyn Swarm, deployment: &Deployment) -> Result<String, SwarmError> {
    let deadline = Instant::now() + ELECTION;
    loop {
        match swarm.ensure_service(deployment).await {
            Err(SwarmError::Unavailable(why)) if Instant::now() < deadline => {
                tracing::debug!(service = deployment.name, why, "the service is made again");
                sleep(Duration::from_millis(500)).await;
            }
            done => return done,
        }
    }
}
