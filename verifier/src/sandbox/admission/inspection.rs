//! The inspection of a node: runs the inspector exactly as a participant's image, in a slot of its own, and
//! reads the inspector's report through a relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::challenge::ResourceLimits;
use inspector::InspectionReport;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::check::{Check, CheckState, judge};
use super::{InspectError, InspectionResult};
use crate::relay::{self, AppRequest, RequestFailure};
use crate::swarm::{
    Deployment, Labels, NetworkId, ServiceId, ServiceRef, SlotRelay, Swarm, SwarmError, SwarmNode, TaskPhase,
    label,
};

/// The time for an inspection. The inspector is small and its image is on the node, so it starts within a
/// second or two. A node that needs longer is inspected again.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// The time for the removal of all that an inspection created.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// Ports of a node that no container may reach: the engine's API, the Swarm's, and SSH.
const NODE_PORTS: [u16; 5] = [2375, 2376, 2377, 7946, 22];

/// The inspection of a node, with the slot that it uses.
pub(crate) struct Inspection {
    swarm: Arc<dyn Swarm>,
    /// The name of the slot, and of its network and service.
    name: String,
    labels: Labels,
    node: SwarmNode,
    limits: ResourceLimits,
    network: Option<NetworkId>,
    relay: Option<Box<dyn SlotRelay>>,
}

impl Inspection {
    /// Prepares an inspection, and creates nothing yet. No other slot of the verifier may have the name.
    pub(crate) fn new(
        swarm: Arc<dyn Swarm>,
        verifier: &str,
        name: String,
        node: SwarmNode,
        limits: ResourceLimits,
    ) -> Self {
        let end = Timestamp::now().as_second().saturating_add(CLEAN_UP.as_secs().cast_signed());
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), verifier.to_owned()),
            (label::SLOT.to_owned(), name.clone()),
            (label::DEADLINE.to_owned(), end.to_string()),
        ]);
        Self { swarm, name, labels, node, limits, network: None, relay: None }
    }

    /// Inspects the node. [`Inspection::clean_up`] must follow, also after an error.
    pub(crate) async fn run(&mut self) -> InspectionResult {
        let Some(image) = self.swarm.own_image(&self.node.id).await.map_err(failed)? else {
            return Err(InspectError::OutOfReach);
        };
        match timeout(PATIENCE, self.check(image)).await {
            Ok(Err(SwarmError::Unprotected(dropped))) => Ok(vec![Check {
                item: "the service's protections",
                state: CheckState::Lacking,
                found: format!("without {}", dropped.join(", ")),
                wanted: "all of them kept".to_owned(),
                cure: "update the managers' engines to 20.10 or newer",
            }]),
            Ok(checks) => checks.map_err(failed),
            Err(_) => Err(InspectError::Failed(format!(
                "the inspector did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Removes all that the inspection created, and waits until it is gone. If that fails, a sweep finds the
    /// rest by the labels.
    pub(crate) async fn clean_up(self) {
        let Self { swarm, name, network, relay, .. } = self;
        // Without a network, nothing else was created.
        let Some(network) = network else { return };
        let removal = async {
            swarm.remove_service(ServiceRef::Name(&name)).await?;
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
        match timeout(CLEAN_UP, removal).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the inspection's slot {name} is left to the sweep"),
            Err(_) => tracing::debug!("the inspection's slot {name} is left to the sweep"),
        }
    }

    async fn check(&mut self, image: String) -> Result<Vec<Check>, SwarmError> {
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
        let report = InspectionReport::parse(&ask(relay.as_mut(), address, "/").await?);
        let mut checks = judge(&report, &self.limits);
        checks.extend(self.check_node_ports(address).await?);
        Ok(checks)
    }

    /// Checks that a container cannot reach the node's own address.
    async fn check_node_ports(&mut self, inspector: IpAddr) -> Result<Option<Check>, SwarmError> {
        // A Swarm of one node on the loopback has no address that a container could reach.
        let Some(address) = self.node.address.filter(|address| !address.is_loopback()) else {
            return Ok(None);
        };
        let Some(relay) = &mut self.relay else { return Ok(None) };
        let mut open = Vec::new();
        for port in NODE_PORTS {
            let target = SocketAddr::new(address, port);
            let answer = ask(relay.as_mut(), inspector, &format!("/reach/{target}")).await?;
            if answer != "no way" {
                open.push(format!("{target} {answer}"));
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

/// Waits until the service's only task runs, and returns its address.
async fn running(swarm: &dyn Swarm, service: &ServiceId, network: &NetworkId) -> Result<IpAddr, SwarmError> {
    loop {
        let tasks = swarm.tasks().await?;
        if let Some(task) = tasks.iter().find(|task| task.service == *service) {
            match (&task.phase, task.address_in(network)) {
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

/// Asks the inspector, and tries again while it has not opened its port.
async fn ask(relay: &mut dyn SlotRelay, inspector: IpAddr, path: &str) -> Result<String, SwarmError> {
    let address = SocketAddr::new(inspector, 80);
    let request = AppRequest::new(address, path, "inspector", relay::RequestLimits::default());
    let request = request.map_err(|error| SwarmError::Refused(error.to_string()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match relay.probe(request.clone()).await? {
            Ok(answer) => return Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            Err(RequestFailure::Refused | RequestFailure::Unreachable | RequestFailure::ConnectTimedOut)
                if Instant::now() < deadline =>
            {
                sleep(POLL).await;
            }
            Err(failure) => {
                return Err(SwarmError::Unavailable(format!("the inspector did not answer: {failure}")));
            }
        }
    }
}

fn failed(error: SwarmError) -> InspectError {
    InspectError::Failed(error.to_string())
}
