//! The adapter of the Swarm port for Docker's API.
//!
//! Names and labels are made by the verifier, and ids by the engine, so no participant's text becomes part of
//! a path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::models::{Ipam, NetworkCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, ListServicesOptions, LogsOptions};
use domain::ImageRef;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::{BoxStream, FuturesUnordered};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::api_error::ApiError;
use super::engine::Engine;
use super::managers::SwarmManagers;
use super::node::sandbox_node;
use super::orphans;
use super::pull::{self, EnginesOfNodes};
use super::reservations::Reservations;
use super::spec::{dropped, service_spec};
use super::starts;
use super::task::TaskRow;
use super::{
    Deployment, IsLive, LOG_BYTES, LOG_LINES, Labels, LastLines, NetworkId, NodeId, OrphanSweep,
    OwnedResource, OwnedResources, PullOutcome, ServiceId, ServiceRef, SlotRelay, Swarm, SwarmError,
    SwarmNode, Task, TaskId, label,
};
use crate::fetching::ImageOnItsWay;
use crate::registry::RegistryLogins;
use crate::relay::{Relay, RelaySpec, image};

/// The timeout of a read. Managers answer in milliseconds, or not at all.
const READ: Duration = Duration::from_secs(5);

/// The timeout of a change. The managers themselves give up after 20 s.
const WRITE: Duration = Duration::from_secs(22);

/// The time that a node has to send the last lines of a log.
const LOG: Duration = Duration::from_secs(4);
/// The text that a manager puts into a log if it cannot reach the node.
const LOG_BROKEN: &[u8] = b"incomplete log stream";

/// A Swarm, reached through its managers' engines.
pub(crate) struct DockerSwarm {
    verifier: String,
    managers: SwarmManagers,
    logins: RegistryLogins,
    engines_of_nodes: EnginesOfNodes,
    reservations: Reservations,
    /// True once a node was labelled for participants' containers.
    has_sandboxes: AtomicBool,
}

/// A service as the API returns it. The Docker client's own type drops some of its fields.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredService {
    #[serde(rename = "ID")]
    id: ServiceId,
    spec: Value,
}

impl DockerSwarm {
    /// Returns the Swarm of these engines, for the verifier of this name. Nodes that pull images for it are
    /// given the logins.
    pub(crate) fn new(engines: Vec<Arc<Engine>>, logins: RegistryLogins, verifier: &str) -> Self {
        Self {
            verifier: verifier.to_owned(),
            managers: SwarmManagers::new(engines),
            logins,
            engines_of_nodes: EnginesOfNodes::default(),
            reservations: Reservations::default(),
            has_sandboxes: AtomicBool::new(false),
        }
    }

    fn credentials(&self, image: &str) -> Option<DockerCredentials> {
        let image: ImageRef = image.parse().ok()?;
        let login = self.logins.of(image.registry())?;
        Some(DockerCredentials {
            username: Some(login.user.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(image.registry().to_owned()),
            ..Default::default()
        })
    }

    /// Finds the engine that runs on `node`. All engines are asked at the same time, so one that hangs does
    /// not delay the others.
    async fn engine_of(&self, node: &NodeId) -> Option<Arc<Engine>> {
        let if_on_node = async |engine: &Arc<Engine>| {
            let info = timeout(READ, engine.docker().ok()?.info()).await.ok()?.ok()?;
            (info.swarm?.node_id.as_deref() == Some(node.as_str())).then(|| Arc::clone(engine))
        };
        let mut asked: FuturesUnordered<_> = self.managers.engines().map(if_on_node).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn create_network(&self, name: &str, labels: &Labels) -> Result<NetworkId, ApiError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("overlay".to_owned()),
            // Apps cannot get out, and the relay can be attached.
            internal: Some(true),
            attachable: Some(true),
            ipam: Some(Ipam::default()),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        let create = |engine: Arc<Engine>| {
            let request = request.clone();
            async move { Ok(NetworkId::new(engine.docker()?.create_network(request).await?.id)) }
        };
        self.managers.ask(WRITE, create).await
    }

    async fn find_network(&self, name: &str) -> Result<(NetworkId, Labels), ApiError> {
        let found = self
            .managers
            .ask(READ, |engine| async move { Ok(engine.docker()?.inspect_network(name, None).await?) })
            .await?;
        let id = found.id.ok_or_else(|| ApiError::Refused(format!("network {name} has no id")))?;
        Ok((NetworkId::new(id), found.labels.unwrap_or_default()))
    }

    async fn stored_service(&self, service: &str) -> Result<StoredService, ApiError> {
        let path = format!("/services/{service}");
        let path = &path;
        self.managers.ask(READ, |engine| async move { engine.get(path, &[]).await }).await
    }

    /// Returns a filter for the services or networks of all verifiers.
    fn made_by_verifiers() -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![label::VERIFIER.to_owned()])])
    }
}

#[async_trait]
impl Swarm for DockerSwarm {
    async fn nodes(&self) -> Result<Vec<SwarmNode>, SwarmError> {
        let listed = self
            .managers
            .ask(READ, |engine| async move { Ok(engine.docker()?.list_nodes(None).await?) })
            .await?;
        let is_sandbox = |node: &bollard::models::Node| {
            let labels = node.spec.as_ref().and_then(|spec| spec.labels.as_ref());
            labels.and_then(|labels| labels.get(label::SANDBOX)).is_some_and(|value| value == "true")
        };
        // If the last labelled node disappears, no node is left. Participants' containers must not move to
        // the others.
        let labelled = listed.iter().any(is_sandbox);
        let only_sandboxes = self.has_sandboxes.fetch_or(labelled, Ordering::Relaxed) || labelled;
        let sandboxes = listed.iter().filter(|node| is_sandbox(node) || !only_sandboxes);
        let mut nodes: Vec<SwarmNode> = sandboxes.filter_map(sandbox_node).collect();
        let query = &[("filters", r#"{"desired-state":["running"]}"#)];
        let list = self.managers.ask(READ, |engine| async move { engine.get("/tasks", query).await });
        let others = self.reservations.count(&self.verifier, list).await;
        for node in &mut nodes {
            node.others = others.get(&node.id).copied().unwrap_or_default();
        }
        Ok(nodes)
    }

    async fn own_image(&self, node: &NodeId) -> Result<Option<String>, SwarmError> {
        match self.engine_of(node).await {
            Some(engine) => Ok(Some(image::ensure(&engine.docker()?).await?.id)),
            None => Ok(None),
        }
    }

    async fn pull(&self, node: &NodeId, image: &str, way: &ImageOnItsWay) -> Result<PullOutcome, SwarmError> {
        let engine = match self.engines_of_nodes.recall(node) {
            Some(known) => known,
            None => {
                let found = self.engine_of(node).await;
                self.engines_of_nodes.note(node, found.clone());
                found
            }
        };
        let Some(engine) = engine else { return Ok(PullOutcome::OutOfReach) };
        let name: ImageRef =
            image.parse().map_err(|_| SwarmError::Refused(format!("{image} is no image")))?;
        Ok(pull::pull(&engine, &name, self.credentials(image), way).await?)
    }

    async fn ensure_network(&self, name: &str, labels: &Labels) -> Result<NetworkId, SwarmError> {
        match self.create_network(name, labels).await {
            Ok(id) => Ok(id),
            Err(ApiError::Conflict(_)) => {
                let (id, found) = self.find_network(name).await?;
                if includes(&found, labels) {
                    Ok(id)
                } else {
                    Err(SwarmError::Refused(format!("a network {name} with other labels exists")))
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn ensure_service(&self, deployment: &Deployment) -> Result<ServiceId, SwarmError> {
        let spec = service_spec(deployment);
        let credentials = self.credentials(&deployment.image);
        let create = |engine: Arc<Engine>| {
            let (spec, credentials) = (spec.clone(), credentials.clone());
            async move { Ok(engine.docker()?.create_service(spec, credentials).await?.id) }
        };
        let name = &deployment.name;
        let created = match self.managers.ask(WRITE, create).await {
            Ok(id) => id,
            // An earlier call created it, and its response was lost.
            Err(ApiError::Conflict(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let StoredService { id, spec: stored } =
            self.stored_service(created.as_deref().unwrap_or(name)).await?;
        let has = |(name, value): (&String, &String)| stored["Labels"][name] == *value;
        if !deployment.labels.iter().all(has) {
            return Err(SwarmError::Refused(format!("a service {name} with other labels exists")));
        }
        let dropped = dropped(&spec, &stored);
        if !dropped.is_empty() {
            self.remove_service(ServiceRef::Id(&id)).await?;
            return Err(SwarmError::Unprotected(dropped));
        }
        Ok(id)
    }

    async fn tasks(&self) -> Result<Vec<Task>, SwarmError> {
        // Filtered by the label, because the tasks of a removed service cannot be found by its id.
        let filters = json!({ "label": [format!("{}={}", label::VERIFIER, self.verifier)] }).to_string();
        let query = &[("filters", filters.as_str())];
        let rows = self
            .managers
            .ask(READ, |engine| async move { engine.get::<Vec<TaskRow>>("/tasks", query).await })
            .await?;
        Ok(rows.into_iter().map(Task::from).collect())
    }

    fn starts(&self) -> BoxStream<'static, TaskId> {
        starts::of_verifier(self.managers.engines().cloned(), &self.verifier)
    }

    async fn last_lines(&self, task: &TaskId) -> Result<LastLines, SwarmError> {
        let read = |engine: Arc<Engine>| async move {
            let options =
                LogsOptions { stdout: true, stderr: true, tail: LOG_LINES.to_owned(), ..Default::default() };
            let docker = engine.docker()?;
            let mut lines = docker.task_logs(task.as_str(), Some(options));
            let mut text = Vec::new();
            // At the deadline, the lines so far are returned.
            let deadline = Instant::now() + LOG;
            let are_all = loop {
                let Ok(line) = timeout_at(deadline, lines.next()).await else { break false };
                let Some(line) = line else { break true };
                let line = line?.into_bytes();
                if contains(&line, LOG_BROKEN) {
                    break false;
                }
                text.extend_from_slice(&line[..line.len().min(LOG_BYTES - text.len())]);
                if text.len() == LOG_BYTES {
                    break true;
                }
            };
            Ok(LastLines { text, are_all })
        };
        Ok(self.managers.ask(LOG + READ, read).await?)
    }

    async fn open_relay(
        &self,
        node: &NodeId,
        network: &NetworkId,
        labels: &Labels,
    ) -> Result<Box<dyn SlotRelay>, SwarmError> {
        let spec = RelaySpec { network: network.to_string(), labels: labels.clone() };
        let near = self.engine_of(node).await;
        let is_near = |engine: &&Arc<Engine>| near.as_ref().is_some_and(|near| Arc::ptr_eq(near, engine));
        let others = self.managers.engines().filter(|engine| !is_near(engine));
        let mut failed = None;
        for engine in near.iter().chain(others) {
            match engine.docker() {
                Ok(docker) => {
                    let _turn = engine.turn_to_start_a_relay().await;
                    match Relay::open(&docker, &spec).await {
                        Ok(relay) => return Ok(Box::new(relay)),
                        Err(error) => {
                            let endpoint = engine.endpoint();
                            tracing::debug!(%error, "could not start a relay on the engine {endpoint}");
                            failed = Some(SwarmError::Relay(error));
                        }
                    }
                }
                Err(error) => failed = failed.or(Some(error.into())),
            }
        }
        Err(failed.unwrap_or_else(|| SwarmError::Unavailable("no engine is configured".to_owned())))
    }

    async fn remove_service(&self, service: ServiceRef<'_>) -> Result<(), SwarmError> {
        let service = service.as_str();
        let remove = |engine: Arc<Engine>| async move { Ok(engine.docker()?.delete_service(service).await?) };
        Ok(ApiError::unless_gone(self.managers.ask(WRITE, remove).await)?)
    }

    async fn remove_network(&self, network: &NetworkId) -> Result<(), SwarmError> {
        let network = network.as_str();
        let remove = |engine: Arc<Engine>| async move { Ok(engine.docker()?.remove_network(network).await?) };
        Ok(ApiError::unless_gone(self.managers.ask(WRITE, remove).await)?)
    }

    async fn remove_orphans(&self, is_live: IsLive<'_>) -> Result<OrphanSweep, SwarmError> {
        let of_each = self.managers.engines().map(|engine| orphans::remove(engine, &self.verifier, is_live));
        let mut all = OrphanSweep::default();
        for OrphanSweep { stuck, answered } in join_all(of_each).await {
            all.stuck.extend(stuck);
            all.answered.extend(answered);
        }
        Ok(all)
    }

    async fn owned_resources(&self) -> Result<OwnedResources, SwarmError> {
        let filters = Some(Self::made_by_verifiers());
        let filters = &filters;
        let services = self
            .managers
            .ask(READ, |engine| async move {
                let options = ListServicesOptions { filters: filters.clone(), ..Default::default() };
                Ok(engine.docker()?.list_services(Some(options)).await?)
            })
            .await?;
        let networks = self
            .managers
            .ask(READ, |engine| async move {
                let options = ListNetworksOptions { filters: filters.clone() };
                Ok(engine.docker()?.list_networks(Some(options)).await?)
            })
            .await?;
        let services = services.into_iter().filter_map(|service| {
            let spec = service.spec?;
            Some(OwnedResource {
                id: ServiceId::new(service.id?),
                name: spec.name?,
                labels: spec.labels?,
                created: service.created_at.and_then(|at| at.parse().ok()),
            })
        });
        let networks = networks.into_iter().filter_map(|network| {
            Some(OwnedResource {
                id: NetworkId::new(network.id?),
                name: network.name?,
                labels: network.labels?,
                created: network.created.and_then(|at| at.parse().ok()),
            })
        });
        Ok(OwnedResources { services: services.collect(), networks: networks.collect() })
    }
}

fn contains(text: &[u8], phrase: &[u8]) -> bool {
    text.windows(phrase.len()).any(|part| part == phrase)
}

fn includes(found: &Labels, expected: &Labels) -> bool {
    expected.iter().all(|(name, value)| found.get(name) == Some(value))
}
