//! A scripted Swarm, for behaviour that a real Swarm does not show on demand.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::{
    Deployment, IsLive, Labels, LastLines, NetworkId, NodeId, OrphanSweep, OthersOnNode, OwnedResource,
    OwnedResources, PullOutcome, ServiceId, ServiceRef, SlotRelay, StuckContainer, Swarm, SwarmError,
    SwarmNode, Task, TaskId, TaskPhase, label,
};
use crate::fetching::ImageOnItsWay;
use crate::health::NodeState;
use crate::relay::{AppRequest, AppResponse, RelayError, RequestResult};

/// A Swarm of two nodes that follows a script.
#[derive(Default)]
pub(crate) struct FakeSwarm {
    /// The phase of each service's task, in the order of deployment. Tasks beyond the script run.
    pub(crate) phases: Mutex<VecDeque<Result<TaskPhase, SwarmError>>>,
    /// The responses to probes, in their order. Probes beyond the script are answered with `body`.
    pub(crate) responses: Arc<Mutex<VecDeque<Result<RequestResult, RelayError>>>>,
    pub(crate) body: Vec<u8>,
    /// The tasks by the names of their services.
    pub(crate) tasks: Mutex<HashMap<String, Task>>,
    /// The node of each service, in the order of deployment.
    pub(crate) deployed: Mutex<Vec<NodeId>>,
    /// The removed services, by name or id.
    pub(crate) removed: Mutex<Vec<String>>,
    /// True if the nodes do not send logs to their end.
    pub(crate) is_out_of_touch: Mutex<bool>,
    /// The task whose start the engines report, whatever the managers report.
    pub(crate) starts: watch::Sender<TaskId>,
    /// The networks that were created and are not removed.
    pub(crate) networks: Mutex<Vec<NetworkId>>,
    /// The number of networks that were created in all.
    pub(crate) networks_made: AtomicUsize,
    /// The time until a relay is open.
    pub(crate) relays_take: Duration,
    /// True if tasks outlive their services.
    pub(crate) tasks_stay: AtomicBool,
    /// The containers that cannot be removed.
    pub(crate) stuck: Mutex<Vec<StuckContainer>>,
    /// The number of requests for the nodes.
    pub(crate) looks: AtomicUsize,
    /// The number of sweeps that began, and the time that each takes.
    pub(crate) sweeps: AtomicUsize,
    pub(crate) sweeps_take: Duration,
    /// The services of all verifiers, each with the labels that it has beside its name.
    pub(crate) owned: Mutex<Vec<(&'static str, Labels)>>,
    /// The nodes whose engines do not tell which containers they have.
    pub(crate) silent: Mutex<Vec<NodeId>>,
    /// The nodes whose relays are never open.
    pub(crate) hung: Vec<NodeId>,
    /// The nodes whose engines can be asked to pull, and the images that they were asked for.
    pub(crate) pulling: Mutex<Vec<NodeId>>,
    pub(crate) pulled: Mutex<Vec<(NodeId, String)>>,
    /// True if all relays are dead.
    pub(crate) relays_die: Arc<AtomicBool>,
}

impl FakeSwarm {
    pub(crate) fn whose_relays_take(relays_take: Duration) -> Self {
        Self { relays_take, ..Self::default() }
    }
}

struct FakeRelay {
    responses: Arc<Mutex<VecDeque<Result<RequestResult, RelayError>>>>,
    body: Vec<u8>,
    died: Arc<AtomicBool>,
}

#[async_trait]
impl Swarm for FakeSwarm {
    async fn nodes(&self) -> Result<Vec<SwarmNode>, SwarmError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let node = |id: &str| SwarmNode {
            id: NodeId::new(id),
            name: id.into(),
            milli_cpus: 1000,
            memory_mib: 4096,
            state: NodeState::Ready,
            engine: String::new(),
            address: None,
            others: OthersOnNode::default(),
        };
        Ok(vec![node("n1"), node("n2")])
    }

    async fn own_image(&self, _: &NodeId) -> Result<Option<String>, SwarmError> {
        Ok(None)
    }

    async fn pull(&self, node: &NodeId, image: &str, _: &ImageOnItsWay) -> Result<PullOutcome, SwarmError> {
        if !self.pulling.lock().unwrap().contains(node) {
            return Ok(PullOutcome::OutOfReach);
        }
        self.pulled.lock().unwrap().push((node.clone(), image.to_owned()));
        Ok(PullOutcome::Pulled)
    }

    async fn ensure_network(&self, name: &str, _: &Labels) -> Result<NetworkId, SwarmError> {
        let id = NetworkId::new(format!("id-of-{name}"));
        self.networks_made.fetch_add(1, Ordering::Relaxed);
        self.networks.lock().unwrap().push(id.clone());
        Ok(id)
    }

    async fn ensure_service(&self, deployment: &Deployment) -> Result<ServiceId, SwarmError> {
        self.deployed.lock().unwrap().push(deployment.node.clone());
        let phase = self.phases.lock().unwrap().pop_front().unwrap_or(Ok(TaskPhase::Running))?;
        let task = Task {
            id: TaskId::new(format!("task-of-{}", deployment.name)),
            service: ServiceId::new(&*deployment.name),
            slot: deployment.labels[label::SLOT].clone(),
            phase,
            addresses: vec![(deployment.network.clone(), IpAddr::from([10, 0, 0, 2]))],
        };
        self.tasks.lock().unwrap().insert(deployment.name.clone(), task);
        Ok(ServiceId::new(&*deployment.name))
    }

    async fn tasks(&self) -> Result<Vec<Task>, SwarmError> {
        Ok(self.tasks.lock().unwrap().values().cloned().collect())
    }

    fn starts(&self) -> BoxStream<'static, TaskId> {
        let next = async |mut started: watch::Receiver<TaskId>| {
            started.changed().await.ok()?;
            let id = started.borrow_and_update().clone();
            Some((id, started))
        };
        stream::unfold(self.starts.subscribe(), next).boxed()
    }

    async fn last_lines(&self, _: &TaskId) -> Result<LastLines, SwarmError> {
        Ok(LastLines { text: b"no database".to_vec(), are_all: !*self.is_out_of_touch.lock().unwrap() })
    }

    async fn open_relay(
        &self,
        node: &NodeId,
        _: &NetworkId,
        _: &Labels,
    ) -> Result<Box<dyn SlotRelay>, SwarmError> {
        if self.hung.contains(node) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.relays_take).await;
        let (responses, died) = (Arc::clone(&self.responses), Arc::clone(&self.relays_die));
        Ok(Box::new(FakeRelay { responses, body: self.body.clone(), died }))
    }

    async fn remove_service(&self, service: ServiceRef<'_>) -> Result<(), SwarmError> {
        let name = service.as_str();
        self.removed.lock().unwrap().push(name.to_owned());
        if !self.tasks_stay.load(Ordering::Relaxed) {
            self.tasks.lock().unwrap().remove(name);
        }
        Ok(())
    }

    async fn remove_network(&self, network: &NetworkId) -> Result<(), SwarmError> {
        self.networks.lock().unwrap().retain(|id| id != network);
        Ok(())
    }

    async fn remove_orphans(&self, _: IsLive<'_>) -> Result<OrphanSweep, SwarmError> {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.sweeps_take).await;
        let (stuck, silent) = (self.stuck.lock().unwrap().clone(), self.silent.lock().unwrap().clone());
        let nodes = self.nodes().await?.into_iter().map(|node| node.id);
        Ok(OrphanSweep { stuck, answered: nodes.filter(|node| !silent.contains(node)).collect() })
    }

    async fn owned_resources(&self) -> Result<OwnedResources, SwarmError> {
        let owned = self.owned.lock().unwrap();
        let services = owned.iter().map(|(name, labels)| OwnedResource {
            id: ServiceId::new(*name),
            name: (*name).to_owned(),
            labels: labels.clone(),
            created: None,
        });
        Ok(OwnedResources { services: services.collect(), ..OwnedResources::default() })
    }
}

#[async_trait]
impl SlotRelay for FakeRelay {
    async fn probe(&mut self, _: AppRequest) -> Result<RequestResult, RelayError> {
        let scripted = self.responses.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| {
            Ok(Ok(AppResponse {
                status: 200,
                content_type: None,
                location: None,
                latency: Duration::from_millis(1),
                body: self.body.clone(),
            }))
        })
    }

    fn is_alive(&self) -> bool {
        !self.died.load(Ordering::Relaxed)
    }

    async fn close(self: Box<Self>) -> Result<(), RelayError> {
        Ok(())
    }
}
