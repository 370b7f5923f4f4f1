//! A scripted Swarm, for what a real one does not do on demand.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::{
    Deployment, IsLive, Labels, LastLines, OwnedResources, SlotRelay, Swarm, SwarmError, SwarmNode, Task,
    TaskPhase, label,
};
use crate::health::NodeState;
use crate::relay::{Answer, RelayError, Request, Response};

/// A Swarm of two nodes that does what it is told.
#[derive(Default)]
pub(crate) struct FakeSwarm {
    /// What happens to each service's task, in the order of deployment; those
    /// without a line run.
    pub(crate) phases: Mutex<VecDeque<Result<TaskPhase, SwarmError>>>,
    /// What the relays see, in the order of asking; then all is well.
    pub(crate) responses: Arc<Mutex<VecDeque<Result<Response, RelayError>>>>,
    pub(crate) body: Vec<u8>,
    pub(crate) tasks: Mutex<HashMap<String, Task>>,
    /// On which node each service was, in the order of deployment.
    pub(crate) deployed: Mutex<Vec<String>>,
    pub(crate) removed: Mutex<Vec<String>>,
    /// Whether the nodes say nothing.
    pub(crate) is_out_of_touch: Mutex<bool>,
    /// The task that the engines say runs, whatever the managers say.
    pub(crate) starts: watch::Sender<String>,
    /// The networks that were made and are not removed.
    pub(crate) networks: Mutex<Vec<String>>,
    /// How many were made in all.
    pub(crate) networks_made: AtomicUsize,
    /// How long it takes until a relay answers.
    pub(crate) relays_take: Duration,
    /// Whether tasks outlive their services.
    pub(crate) tasks_stay: AtomicBool,
    /// Whether the relays are alive.
    pub(crate) relays_die: Arc<AtomicBool>,
}

impl FakeSwarm {
    /// One whose relays take so long until they answer.
    pub(crate) fn whose_relays_take(relays_take: Duration) -> Self {
        Self { relays_take, ..Self::default() }
    }
}

struct FakeRelay {
    responses: Arc<Mutex<VecDeque<Result<Response, RelayError>>>>,
    body: Vec<u8>,
    died: Arc<AtomicBool>,
}

#[async_trait]
impl Swarm for FakeSwarm {
    async fn nodes(&self) -> Result<Vec<SwarmNode>, SwarmError> {
        let node = |id: &str| SwarmNode {
            id: id.into(),
            name: id.into(),
            milli_cpus: 1000,
            memory_mib: 4096,
            state: NodeState::Ready,
            engine: String::new(),
            address: None,
        };
        Ok(vec![node("n1"), node("n2")])
    }

    async fn own_image(&self, _: &str) -> Result<Option<String>, SwarmError> {
        Ok(None)
    }

    async fn ensure_network(&self, name: &str, _: &Labels) -> Result<String, SwarmError> {
        let id = format!("id-of-{name}");
        self.networks_made.fetch_add(1, Ordering::Relaxed);
        self.networks.lock().unwrap().push(id.clone());
        Ok(id)
    }

    async fn ensure_service(&self, deployment: &Deployment) -> Result<String, SwarmError> {
        self.deployed.lock().unwrap().push(deployment.node.clone());
        let phase = self.phases.lock().unwrap().pop_front().unwrap_or(Ok(TaskPhase::Running))?;
        let task = Task {
            id: format!("task-of-{}", deployment.name),
            service: deployment.name.clone(),
            slot: deployment.labels[label::SLOT].clone(),
            phase,
            addresses: vec![(deployment.network.clone(), IpAddr::from([10, 0, 0, 2]))],
        };
        self.tasks.lock().unwrap().insert(deployment.name.clone(), task);
        Ok(deployment.name.clone())
    }

    async fn tasks(&self) -> Result<Vec<Task>, SwarmError> {
        Ok(self.tasks.lock().unwrap().values().cloned().collect())
    }

    fn starts(&self) -> BoxStream<'static, String> {
        let next = async |mut told: watch::Receiver<String>| {
            told.changed().await.ok()?;
            let id = told.borrow_and_update().clone();
            Some((id, told))
        };
        stream::unfold(self.starts.subscribe(), next).boxed()
    }

    async fn last_lines(&self, _: &str) -> Result<LastLines, SwarmError> {
        Ok(LastLines { text: b"no database".to_vec(), are_all: !*self.is_out_of_touch.lock().unwrap() })
    }

    async fn open_relay(&self, _: &str, _: &str, _: &Labels) -> Result<Box<dyn SlotRelay>, SwarmError> {
        tokio::time::sleep(self.relays_take).await;
        let (responses, died) = (Arc::clone(&self.responses), Arc::clone(&self.relays_die));
        Ok(Box::new(FakeRelay { responses, body: self.body.clone(), died }))
    }

    async fn remove_service(&self, service: &str) -> Result<(), SwarmError> {
        self.removed.lock().unwrap().push(service.to_owned());
        if !self.tasks_stay.load(Ordering::Relaxed) {
            self.tasks.lock().unwrap().remove(service);
        }
        Ok(())
    }

    async fn remove_network(&self, network: &str) -> Result<(), SwarmError> {
        self.networks.lock().unwrap().retain(|id| id != network);
        Ok(())
    }

    async fn remove_orphans(&self, _: IsLive<'_>) -> Result<(), SwarmError> {
        Ok(())
    }

    async fn owned_resources(&self) -> Result<OwnedResources, SwarmError> {
        Ok(OwnedResources::default())
    }
}

#[async_trait]
impl SlotRelay for FakeRelay {
    async fn probe(&mut self, _: Request) -> Result<Response, RelayError> {
        let scripted = self.responses.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| {
            Ok(Ok(Answer {
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
