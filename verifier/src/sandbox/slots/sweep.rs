//! Sweeps: removes what a dead predecessor of this verifier left, and what other verifiers left whose claims
//! ended long ago.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::{SlotKeeper, VerifierFault};
use crate::swarm::{OwnedResource, OwnedResources, ServiceRef, SwarmError, label};

/// The time after its claim's deadline for which another verifier's service is left alone.
const GRACE: SignedDuration = SignedDuration::from_secs(120);
/// The age from which another verifier's unused network is removed. A network in use, if only by a relay,
/// cannot be removed.
const NETWORK_AGE: SignedDuration = SignedDuration::from_secs(3600);

/// The pause before a resource that was in use is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The interval between two sweeps, and the pause after one that failed.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);

impl SlotKeeper {
    /// Sweeps at intervals until the pool is drained. Nothing else waits for it, because an engine that hangs makes a sweep
    /// slow.
    pub(super) async fn keep_sweeping(self: Arc<Self>) {
        let sweeps = async {
            loop {
                let is_done = self.sweep().await;
                // The first sweep follows soon after the other process stopped.
                let pause = if is_done && !self.is_name_shared() { INTERVAL } else { RETRY };
                self.notify();
                sleep(pause).await;
            }
        };
        let mut changes = self.changed.subscribe();
        let drained = async { while !self.pool().is_drained() && changes.changed().await.is_ok() {} };
        tokio::select! {
            () = sweeps => {}
            () = drained => {}
        }
    }

    /// Sweeps once. Returns false if the managers failed. Leaves everything alone while another process has this verifier's name:
    /// whatever has the name may be in use there.
    pub(super) async fn sweep(&self) -> bool {
        if self.is_name_shared() {
            return true;
        }
        let swept = self.try_sweep().await;
        self.metrics.count_sweep(swept.is_ok());
        match swept {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "could not sweep the Swarm for leftovers of {}", self.verifier);
                self.pool().note_failed_sweep(error.to_string());
                false
            }
        }
    }

    /// Sweeps until nothing of this verifier is left, or a manager fails. No slot may be in use any more.
    pub(super) async fn sweep_all(&self) {
        if self.is_name_shared() {
            return;
        }
        self.pool().forget_all();
        while let Ok(false) = self.try_sweep().await {
            sleep(PAUSE).await;
        }
    }

    /// Sweeps once, and ends the start if this is the first sweep. Returns false if unused networks of this
    /// verifier are left because tasks still use them.
    async fn try_sweep(&self) -> Result<bool, SwarmError> {
        let is_first = !self.pool().is_swept();
        let OwnedResources { services, networks } = self.swarm.owned_resources().await?;
        let now = self.moment();
        for service in services.iter().filter(|service| self.is_leftover(service, now)) {
            tracing::info!("removing the leftover service {}", service.name);
            self.swarm.remove_service(ServiceRef::Id(&service.id)).await?;
        }
        if is_first {
            let own = networks.iter().filter(|network| self.is_own(network));
            let numbers = own.filter_map(|network| network.name.rsplit_once('-')?.1.parse::<u64>().ok());
            let next_slot = numbers.max().map_or(1, |last| last.saturating_add(1));
            self.pool().finish_startup(next_slot);
            self.notify();
        }
        let orphans = self.swarm.remove_orphans(&|slot| self.pool().has(slot)).await?;
        let stuck = {
            let mut pool = self.pool();
            pool.note_stuck(orphans);
            pool.stuck()
        };
        self.metrics.set_stuck(stuck);
        let mut is_clean = true;
        for network in networks.iter().filter(|network| self.is_leftover(network, now)) {
            match self.swarm.remove_network(&network.id).await {
                Ok(()) => tracing::info!("removed the leftover network {}", network.name),
                // The network's last tasks are about to end, or another verifier's relay is in it. A later
                // sweep tries again.
                Err(SwarmError::InUse(_)) => is_clean &= !self.is_own(network),
                Err(error) => return Err(error),
            }
        }
        Ok(is_clean)
    }

    pub(super) fn is_name_shared(&self) -> bool {
        matches!(self.pool().fault, Some(VerifierFault::Name(_)))
    }

    /// Returns the moment by which the ends of other verifiers' resources are judged. A wrong clock judges none.
    fn moment(&self) -> Option<Timestamp> {
        self.pool().fault.is_none().then(Timestamp::now)
    }

    fn is_own<Id>(&self, resource: &OwnedResource<Id>) -> bool {
        resource.labels.get(label::VERIFIER) == Some(&self.verifier)
    }

    /// Returns true if nothing needs the resource any more: it is this verifier's and belongs to no slot in
    /// use, or it is another verifier's and its time has passed.
    fn is_leftover<Id>(&self, resource: &OwnedResource<Id>, now: Option<Timestamp>) -> bool {
        if self.is_own(resource) {
            let slot = resource.labels.get(label::SLOT).map_or("", String::as_str);
            return !self.pool().has(slot);
        }
        let end = match resource.labels.get(label::DEADLINE) {
            Some(deadline) => deadline
                .parse()
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok())
                .map(|end| end + GRACE),
            None => resource.created.map(|created| created + NETWORK_AGE),
        };
        end.zip(now).is_some_and(|(end, now)| end < now)
    }
}
