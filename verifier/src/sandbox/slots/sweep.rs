//! Removes what nobody holds any more: what a dead predecessor of this verifier
//! left, and what other verifiers left whose claims are long over.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::SlotKeeper;
use super::slot_table::SlotTable;
use crate::swarm::{OwnedResource, OwnedResources, SwarmError, label};

/// How long after its claim's end another verifier's service is left to it.
const GRACE: SignedDuration = SignedDuration::from_secs(120);
/// The age from which another verifier's unused network is garbage. One that is
/// in use, if only by a relay, cannot be removed.
const NETWORK_AGE: SignedDuration = SignedDuration::from_secs(3600);

/// The pause before what was in use is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Sweeps once; whether it could.
pub(super) async fn sweep(inner: &Arc<SlotKeeper>) -> bool {
    let first = inner.pool().next.is_none();
    match sweep_now(inner, first).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "nothing was swept");
            inner.pool().trouble.get_or_insert(error.to_string());
            false
        }
    }
}

/// Sweeps until nothing of ours is left, or no manager answers: nothing is in
/// use any more.
pub(super) async fn clear(inner: &Arc<SlotKeeper>) {
    inner.pool().census = SlotTable::default();
    while let Ok(false) = sweep_now(inner, false).await {
        sleep(AGAIN).await;
    }
}

/// Whether nothing of ours is left that nobody holds.
async fn sweep_now(inner: &Arc<SlotKeeper>, first: bool) -> Result<bool, SwarmError> {
    inner.swarm.remove_orphans(&|slot| inner.pool().census.has(slot)).await?;
    let OwnedResources { services, networks } = inner.swarm.owned_resources().await?;
    let now = Timestamp::now();
    for service in services.iter().filter(|service| is_garbage(inner, service, now)) {
        tracing::info!(service = service.name, "a service that nobody holds is removed");
        inner.swarm.remove_service(&service.id).await?;
    }
    let ours = networks.iter().filter(|network| is_ours(inner, network));
    let numbers = ours.filter_map(|network| network.name.rsplit_once('-')?.1.parse::<u64>().ok());
    let after_all = numbers.max().map_or(1, |last| last.saturating_add(1));
    if first {
        inner.pool().next = Some(after_all);
    }
    let mut clean = true;
    for network in networks.iter().filter(|network| is_garbage(inner, network, now)) {
        match inner.swarm.remove_network(&network.id).await {
            Ok(()) => tracing::info!(network = network.name, "a network that nobody holds is removed"),
            // Its last tasks are about to end, or its owner lives: later, then.
            Err(SwarmError::InUse(_)) => clean &= !is_ours(inner, network),
            Err(error) => return Err(error),
        }
    }
    Ok(clean)
}

fn is_ours(inner: &SlotKeeper, belonging: &OwnedResource) -> bool {
    belonging.labels.get(label::VERIFIER) == Some(&inner.verifier)
}

/// Whether nobody holds it: ours, of a slot that is none; or another
/// verifier's, and its time is over.
fn is_garbage(inner: &SlotKeeper, belonging: &OwnedResource, now: Timestamp) -> bool {
    if is_ours(inner, belonging) {
        let slot = belonging.labels.get(label::SLOT).map_or("", String::as_str);
        return !inner.pool().census.has(slot);
    }
    let end = match belonging.labels.get(label::DEADLINE) {
        Some(deadline) => deadline
            .parse()
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok())
            .map(|end| end + GRACE),
        None => belonging.created.map(|created| created + NETWORK_AGE),
    };
    end.is_some_and(|end| end < now)
}
