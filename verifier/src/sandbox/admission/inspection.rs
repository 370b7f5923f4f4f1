//! The inspection of a node: runs the inspector exactly as a participant's image, in a slot of its own, and
//! reads the inspector's report through a relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use inspector::InspectionReport;
use jiff::Timestamp;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::check::{self, Check, CheckState, judge, refusal};
use super::{InspectError, InspectedSandbox, InspectionResult, InspectionTerms};
use crate::relay::{self, AppRequest, RequestFailure};
use crate::swarm::{
    Deployment, Labels, NetworkId, ServiceId, ServiceRef, SlotRelay, Swarm, SwarmError, SwarmNode, TaskPhase,
    label,
};

/// The time for the inspection of one grade. The inspector is small and its image is on the node, so it starts
/// within a second or two. A node that needs longer is inspected again.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// The time for the removal of all that an inspection created.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// The path of the volume that the inspector gets.
const VOLUME: &str = "/muster-volume";
/// The bytes by which the inspector tries to exceed its memory limit with files.
const EXCESS: u64 = 64 << 20;

/// The time for one trial. Memory is filled within a second.
const TRIAL: Duration = Duration::from_secs(8);

/// Ports of a node that no container may reach: the engine's API, the Swarm's, and SSH.
const NODE_PORTS: [u16; 5] = [2375, 2376, 2377, 7946, 22];

/// The inspection of a node, with the slot that it uses.
pub(crate) struct Inspection {
    swarm: Arc<dyn Swarm>,
    /// The name of the slot, and of its network and service.
    name: String,
    labels: Labels,
    node: SwarmNode,
    terms: InspectionTerms,
    network: Option<NetworkId>,
    relay: Option<Box<dyn SlotRelay>>,
    /// The service that may exist.
    service: Option<String>,
}

impl Inspection {
    /// Prepares an inspection, and creates nothing yet. No other slot of the verifier may have the name.
    pub(crate) fn new(
        swarm: Arc<dyn Swarm>,
        verifier: &str,
        name: String,
        node: SwarmNode,
        terms: InspectionTerms,
    ) -> Self {
        let end = Timestamp::now().as_second().saturating_add(CLEAN_UP.as_secs().cast_signed());
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), verifier.to_owned()),
            (label::SLOT.to_owned(), name.clone()),
            (label::DEADLINE.to_owned(), end.to_string()),
        ]);
        Self { swarm, name, labels, node, terms, network: None, relay: None, service: None }
    }

    /// Inspects the node. [`Inspection::clean_up`] must follow, also after an error.
    pub(crate) async fn run(&mut self) -> InspectionResult {
        let Some(image) = self.swarm.own_image(&self.node.id).await.map_err(failed)? else {
            return Err(InspectError::OutOfReach);
        };
        // The inspector tries the highest grade first. A node whose engine drops a setting is refused.
        let checked = timeout(PATIENCE, self.check(&image, SandboxGrade::Writable));
        let writable = match checked.await {
            Ok(Err(SwarmError::Unprotected(dropped))) => return Ok(unprotected(&dropped)),
            checked => within(checked)?,
        };
        if refusal(&writable).is_none() {
            return Ok(InspectedSandbox::new(SandboxGrade::Writable, writable));
        }
        let has_no_new_privileges = writable
            .iter()
            .any(|check| check.item == "no-new-privileges" && check.state == CheckState::Holds);
        let grade = if has_no_new_privileges { SandboxGrade::ReadOnly } else { SandboxGrade::Bare };
        let checks = within(timeout(PATIENCE, self.check(&image, grade)).await)?;
        Ok(InspectedSandbox::new(grade, checks))
    }

    /// Removes all that the inspection created, and waits until it is gone. If that fails, a sweep finds the
    /// rest by the labels.
    pub(crate) async fn clean_up(self) {
        let Self { swarm, name, network, relay, service, .. } = self;
        // Without a network, nothing else was created.
        let Some(network) = network else { return };
        let removal = async {
            if let Some(service) = service {
                swarm.remove_service(ServiceRef::Name(&service)).await?;
            }
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

    /// Runs the inspector in a sandbox of this grade, and returns the checks of its report.
    async fn check(&mut self, image: &str, grade: SandboxGrade) -> Result<Vec<Check>, SwarmError> {
        // The clean-up waits until the container of an earlier grade is gone.
        if let Some(earlier) = &self.service {
            self.swarm.remove_service(ServiceRef::Name(earlier)).await?;
        }
        let network = match &self.network {
            Some(network) => network.clone(),
            None => {
                let network = self.swarm.ensure_network(&self.name, &self.labels).await?;
                self.network.insert(network).clone()
            }
        };
        let name = format!("{}-{}", self.name, grade.as_str().replace('_', "-"));
        self.service = Some(name.clone());
        let deployment = Deployment {
            name,
            image: image.to_owned(),
            labels: self.labels.clone(),
            overridden: Vec::new(),
            node: self.node.id.clone(),
            network: network.clone(),
            grade,
            volumes: vec![VOLUME.to_owned()],
            writable: Vec::new(),
            limits: self.terms.limits.clone(),
        };
        let service = if self.relay.is_some() {
            self.swarm.ensure_service(&deployment).await
        } else {
            let (relay, service) = tokio::join!(
                self.swarm.open_relay(&self.node.id, &network, &self.labels),
                self.swarm.ensure_service(&deployment)
            );
            self.relay = Some(relay?);
            service
        };
        let address = running(&*self.swarm, &service?, &network).await?;
        let report = InspectionReport::parse(&self.ask(address, "/").await?);
        let mut checks = judge(&report, &self.terms, grade);
        checks.extend(self.check_node_ports(address).await?);
        // Where something else is missing already, nothing is filled.
        if grade == SandboxGrade::Writable && refusal(&checks).is_none() {
            let bytes = self.terms.limits.memory_mib.saturating_mul(1 << 20).saturating_add(EXCESS);
            for directory in ["/", VOLUME] {
                let path = format!("/fill/{bytes}{directory}");
                let trial = self.ask(address, &path);
                // A trial that breaks off shows no bound, and leaves the lower grades.
                let found = match timeout(TRIAL, trial).await {
                    Ok(Ok(found)) => found,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no result within {} s", TRIAL.as_secs()),
                };
                checks.push(check::bound(directory, found));
            }
        }
        Ok(checks)
    }

    async fn ask(&mut self, inspector: IpAddr, path: &str) -> Result<String, SwarmError> {
        match &mut self.relay {
            Some(relay) => ask(relay.as_mut(), inspector, path).await,
            None => Err(SwarmError::Unavailable("the inspection has no relay".to_owned())),
        }
    }

    /// Checks that a container cannot reach the node's own address.
    async fn check_node_ports(&mut self, inspector: IpAddr) -> Result<Option<Check>, SwarmError> {
        // A Swarm of one node on the loopback has no address that a container could reach.
        let Some(address) = self.node.address.filter(|address| !address.is_loopback()) else {
            return Ok(None);
        };
        let mut open = Vec::new();
        for port in NODE_PORTS {
            let target = SocketAddr::new(address, port);
            let answer = self.ask(inspector, &format!("/reach/{target}")).await?;
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

/// Returns the result of the inspection of a node that drops protections.
fn unprotected(dropped: &[String]) -> InspectedSandbox {
    let check = Check {
        item: "the service's protections",
        state: CheckState::Lacking,
        found: format!("without {}", dropped.join(", ")),
        wanted: "all of them kept".to_owned(),
        cure: "update the managers' engines to 20.10 or newer",
    };
    InspectedSandbox { grade: SandboxGrade::Bare, checks: vec![check] }
}

fn within<T>(checked: Result<Result<T, SwarmError>, Elapsed>) -> Result<T, InspectError> {
    match checked {
        Ok(checked) => checked.map_err(failed),
        Err(_) => {
            Err(InspectError::Failed(format!("the inspector did not answer within {} s", PATIENCE.as_secs())))
        }
    }
}

fn failed(error: SwarmError) -> InspectError {
    InspectError::Failed(error.to_string())
}
