//! A slot in use: lent to one submission, and cleaned afterwards.

use std::sync::Arc;
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::pool::Slot;
use super::slot_table::SlotState;
use super::{SlotKeeper, Slots};
use crate::sandbox::tasks::TaskWatcher;
use crate::swarm::{Deployment, NetworkId, ServiceId, SlotRelay, Swarm, SwarmError, SwarmNode};

/// The longest time for which the creation of a service is retried while no manager answers. The managers
/// take ten to twenty seconds to elect a new leader.
const ELECTION: Duration = Duration::from_secs(45);

/// A slot in use. Dropping the lease returns the slot, which is then cleaned.
pub(crate) struct SlotLease {
    slot: Option<Slot>,
    keeper: Arc<SlotKeeper>,
    tasks: TaskWatcher,
    leftovers: Leftovers,
}

/// The things that a submission leaves in its slot.
#[derive(Default)]
pub(super) struct Leftovers {
    /// The names of the submission's services.
    pub(super) services: Vec<String>,
    /// The services that are still being created.
    pub(super) creating: TaskTracker,
    /// The reason not to use the slot again.
    pub(super) fault: Option<String>,
}

impl SlotLease {
    pub(super) fn new(slot: Slot, slots: &Slots) -> Self {
        let keeper = Arc::clone(&slots.keeper);
        let tasks = keeper.tasks.watcher();
        Self { slot: Some(slot), keeper, tasks, leftovers: Leftovers::default() }
    }

    pub(crate) fn node(&self) -> &SwarmNode {
        &self.slot().node
    }

    /// Returns the grade of the node's sandbox.
    pub(crate) fn grade(&self) -> SandboxGrade {
        self.keeper.pool().grade_of(&self.node().id)
    }

    pub(crate) fn name(&self) -> &str {
        &self.slot().name
    }

    pub(crate) fn network(&self) -> &NetworkId {
        &self.slot().network
    }

    /// Returns a watcher of all tasks, to wait for those of this slot.
    pub(crate) fn tasks(&self) -> TaskWatcher {
        self.tasks.clone()
    }

    pub(crate) fn relay(&mut self) -> &mut dyn SlotRelay {
        self.slot.as_mut().expect("a lease has its slot until it is dropped").relay.as_mut()
    }

    /// Prevents further use of the slot, because its network or its relay failed.
    pub(crate) fn set_aside(&mut self, why: impl Into<String>) {
        self.leftovers.fault.get_or_insert(why.into());
    }

    /// Starts to create a service in the slot. The creation continues if the caller stops waiting, so that
    /// the service is known when the slot is cleaned.
    pub(crate) fn deploy(
        &mut self,
        deployment: Deployment,
    ) -> impl Future<Output = Result<ServiceId, SwarmError>> + use<> {
        self.leftovers.services.push(deployment.name.clone());
        let swarm = Arc::clone(&self.keeper.swarm);
        let name = deployment.name.clone();
        let created =
            self.leftovers.creating.spawn(async move { create_service(&*swarm, &deployment).await });
        async move {
            let failed =
                || SwarmError::Unavailable(format!("the creation of service {name} failed by a bug"));
            created.await.unwrap_or_else(|_| Err(failed()))
        }
    }

    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("a lease has its slot until it is dropped")
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the next start sweeps.
        if let (Some(slot), Ok(runtime)) = (self.slot.take(), Handle::try_current()) {
            self.keeper.pool().set_state(&slot, SlotState::Cooling);
            self.keeper.notify();
            let leftovers = std::mem::take(&mut self.leftovers);
            let cooling = Arc::clone(&self.keeper).cool(slot, self.tasks.clone(), leftovers);
            self.keeper.work.spawn_on(cooling, &runtime);
        }
    }
}

/// Creates a service, and tries again while no manager answers.
async fn create_service(swarm: &dyn Swarm, deployment: &Deployment) -> Result<ServiceId, SwarmError> {
    let deadline = Instant::now() + ELECTION;
    loop {
        match swarm.ensure_service(deployment).await {
            Err(SwarmError::Unavailable(why)) if Instant::now() < deadline => {
                tracing::debug!(why, "could not create service {}; trying again", deployment.name);
                sleep(Duration::from_millis(500)).await;
            }
            done => return done,
        }
    }
}
