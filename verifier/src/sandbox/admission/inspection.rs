//! One inspection: the inspector runs on a node exactly as a participant's image
//! would, in a slot of its own, and is asked through a relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::challenge::ResourceLimits;
use inspector::Report;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::check::{Check, CheckState, judge};
use super::{InspectError, InspectionResult};
use crate::relay::{self, Failure, Request};
use crate::swarm::{Deployment, Labels, SlotRelay, Swarm, SwarmError, SwarmNode, TaskPhase, label};

/// A small program of an image that is there already starts within a second or
/// two; a node that needs longer is looked at again.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// For what was used to be given back.
const LEAVING: Duration = Duration::from_secs(60);

/// Where a node answers whom it should not: the engine's API, the Swarm's, SSH.
const DOORS: [u16; 5] = [2375, 2376, 2377, 7946, 22];

/// The slot of an inspection.
pub(crate) struct Inspection {
    swarm: Arc<dyn Swarm>,
    /// The name of the slot, and of its network and service.
    name: String,
    labels: Labels,
    node: SwarmNode,
    limits: ResourceLimits,
    network: Option<String>,
    relay: Option<Box<dyn SlotRelay>>,
}

impl Inspection {
    /// Nothing is made yet. The name is of nothing else that the verifier has.
    pub(crate) fn new(
        swarm: Arc<dyn Swarm>,
        verifier: &str,
        name: String,
        node: SwarmNode,
        limits: ResourceLimits,
    ) -> Self {
        let end = Timestamp::now().as_second().saturating_add(LEAVING.as_secs().cast_signed());
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), verifier.to_owned()),
            (label::SLOT.to_owned(), name.clone()),
            (label::DEADLINE.to_owned(), end.to_string()),
        ]);
        Self { swarm, name, labels, node, limits, network: None, relay: None }
    }

    /// Looks at the node. Afterwards [`Inspection::leave`] must follow, however it ended.
    pub(crate) async fn look(&mut self) -> InspectionResult {
        let Some(image) = self.swarm.own_image(&self.node.id).await.map_err(failed)? else {
            return Err(InspectError::OutOfReach);
        };
        match timeout(PATIENCE, self.seen(image)).await {
            Ok(Err(SwarmError::Unprotected(dropped))) => Ok(vec![Check {
                item: "the service's protections",
                state: CheckState::Lacking,
                found: format!("without {}", dropped.join(", ")),
                wanted: "all of them kept".to_owned(),
                cure: "update the managers' engines to 20.10 or newer",
            }]),
            Ok(seen) => seen.map_err(failed),
            Err(_) => Err(InspectError::Failed(format!(
                "the inspector did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Removes what was made, and waits until it is gone; what cannot be removed
    /// now, a sweep finds by its labels.
    pub(crate) async fn leave(self) {
        let Self { swarm, name, network, relay, .. } = self;
        // Without one, nothing else was made.
        let Some(network) = network else { return };
        let leaving = async {
            swarm.remove_service(&name).await?;
            if let Some(relay) = relay {
                relay.close().await?;
            }
            while swarm.tasks().await?.iter().any(|task| task.slot == name) {
                sleep(POLL).await;
            }
            loop {
                match swarm.remove_network(&network).await {
                    Err(SwarmError::InUse(_)) => sleep(POLL).await,
                    done => return done,
                }
            }
        };
        match timeout(LEAVING, leaving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(slot = name, %error, "an inspection is left to the sweep"),
            Err(_) => tracing::debug!(slot = name, "an inspection is left to the sweep"),
        }
    }

    async fn seen(&mut self, image: String) -> Result<Vec<Check>, SwarmError> {
        let network = self.swarm.ensure_network(&self.name, &self.labels).await?;
        self.network = Some(network.clone());
        let deployment = Deployment {
            name: self.name.clone(),
            image,
            labels: self.labels.clone(),
            node: self.node.id.clone(),
            network: network.clone(),
            volumes: Vec::new(),
            limits: self.limits.clone(),
        };
        let (relay, service) = tokio::join!(
            self.swarm.open_relay(&self.node.id, &network, &self.labels),
            self.swarm.ensure_service(&deployment)
        );
        let relay = self.relay.insert(relay?);
        let address = running(&*self.swarm, &service?, &network).await?;
        let report = Report::parse(&ask(relay.as_mut(), address, "/").await?);
        let mut checks = judge(&report, &self.limits);
        checks.extend(self.doors(address).await?);
        Ok(checks)
    }

    /// Whether a container comes to the node's own address.
    async fn doors(&mut self, inspector: IpAddr) -> Result<Option<Check>, SwarmError> {
        // On a loopback or a Swarm of one, the node has no address to be reached at.
        let Some(address) = self.node.address.filter(|address| !address.is_loopback()) else {
            return Ok(None);
        };
        let Some(relay) = &mut self.relay else { return Ok(None) };
        let mut open = Vec::new();
        for port in DOORS {
            let door = SocketAddr::new(address, port);
            let answer = ask(relay.as_mut(), inspector, &format!("/reach/{door}")).await?;
            if answer != "no way" {
                open.push(format!("{door} {answer}"));
            }
        }
        let (state, found) = if open.is_empty() {
            (CheckState::Holds, "no way".to_owned())
        } else {
            (CheckState::Lacking, open.join(", "))
        };
        Ok(Some(Check {
            item: "the node's own address",
            state,
            found,
            wanted: "no way from a slot".to_owned(),
            cure: "keep its internal networks internal: iptables on the node must not be switched off",
        }))
    }
}

/// The address of the one task, once it runs.
async fn running(swarm: &dyn Swarm, service: &str, network: &str) -> Result<IpAddr, SwarmError> {
    loop {
        let tasks = swarm.tasks().await?;
        if let Some(task) = tasks.iter().find(|task| task.service == service) {
            let address = task.addresses.iter().find(|(id, _)| id == network).map(|(_, address)| *address);
            match (&task.phase, address) {
                (TaskPhase::Running, Some(address)) => return Ok(address),
                (TaskPhase::Ended(ending), _) => {
                    return Err(SwarmError::Refused(format!("the inspector ended: {ending:?}")));
                }
                _ => {}
            }
        }
        sleep(POLL).await;
    }
}

/// Asks the inspector, which may still be opening its port.
async fn ask(relay: &mut dyn SlotRelay, inspector: IpAddr, path: &str) -> Result<String, SwarmError> {
    let address = SocketAddr::new(inspector, 80);
    let request = Request::new(address, path, "inspector", relay::Limits::default());
    let request = request.map_err(|error| SwarmError::Refused(error.to_string()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match relay.probe(request.clone()).await? {
            Ok(answer) => return Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            Err(Failure::Refused | Failure::Unreachable | Failure::ConnectTimedOut)
                if Instant::now() < deadline =>
            {
                sleep(POLL).await;
            }
            Err(failure) => return Err(SwarmError::Unavailable(format!("the inspector: {failure}"))),
        }
    }
}

fn failed(error: SwarmError) -> InspectError {
    InspectError::Failed(error.to_string())
}
