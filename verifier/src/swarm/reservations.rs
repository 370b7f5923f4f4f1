//! The parts of the nodes that others reserved: the tasks of services that are not this verifier's.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::{Labels, NodeId, OthersOnNode, label};

/// The time for which a count holds. Other verifiers' apps come and go faster, and most of their slots stay in use.
const HOLDS: Duration = Duration::from_secs(10);

/// The newest count of others' reservations.
#[derive(Default)]
pub(super) struct Reservations(Mutex<NewestCount>);

#[derive(Default)]
struct NewestCount {
    at: Option<Instant>,
    by_node: HashMap<NodeId, OthersOnNode>,
}

/// A task of any service, as far as its reservations need it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReservingTask {
    #[serde(rename = "NodeID", default)]
    node: NodeId,
    #[serde(default)]
    spec: ReservingSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ReservingSpec {
    container_spec: Option<LabelledSpec>,
    resources: Option<ReservingResources>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LabelledSpec {
    labels: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ReservingResources {
    reservations: Option<ReservedResources>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReservedResources {
    #[serde(rename = "MemoryBytes")]
    memory_bytes: u64,
    #[serde(rename = "NanoCPUs")]
    nano_cpus: u64,
}

impl Reservations {
    /// Returns the reservations of others on each node. `list` asks a manager for the tasks that are to run, if the last count is old. If
    /// that fails, the last count holds on.
    pub(super) async fn count(
        &self,
        verifier: &str,
        list: impl Future<Output = Result<Vec<ReservingTask>, ApiError>>,
    ) -> HashMap<NodeId, OthersOnNode> {
        let mut newest = self.0.lock().await;
        if newest.at.is_none_or(|at| at.elapsed() >= HOLDS) {
            match list.await {
                Ok(tasks) => newest.by_node = count(verifier, tasks),
                Err(error) => tracing::debug!(%error, "could not count what others reserved on the nodes"),
            }
            newest.at = Some(Instant::now());
        }
        newest.by_node.clone()
    }
}

fn count(verifier: &str, tasks: Vec<ReservingTask>) -> HashMap<NodeId, OthersOnNode> {
    let mut by_node: HashMap<NodeId, OthersOnNode> = HashMap::new();
    let mut slots = HashSet::new();
    for ReservingTask { node, spec } in tasks {
        let labels = spec.container_spec.and_then(|spec| spec.labels).unwrap_or_default();
        let others = by_node.entry(node.clone()).or_default();
        match labels.get(label::VERIFIER) {
            Some(name) if name == verifier => {}
            // The apps of one submission share a slot.
            Some(name) => {
                let slot = labels.get(label::SLOT).cloned().unwrap_or_default();
                others.submissions += usize::from(slots.insert((node, name.clone(), slot)));
            }
            None => {
                let reserved =
                    spec.resources.and_then(|resources| resources.reservations).unwrap_or_default();
                others.memory_bytes = others.memory_bytes.saturating_add(reserved.memory_bytes);
                others.milli_cpus = others.milli_cpus.saturating_add(reserved.nano_cpus / 1_000_000);
            }
        }
    }
    by_node
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn task(node: &str, labels: Value, reservations: Value) -> Value {
        json!({
            "ID": "t", "NodeID": node, "DesiredState": "running",
            "Spec": { "ContainerSpec": { "Labels": labels }, "Resources": { "Reservations": reservations } },
        })
    }

    #[test]
    fn the_submissions_of_other_verifiers_and_the_reservations_of_strangers_count() {
        let app = |verifier: &str, slot: &str| {
            let labels = json!({ (label::VERIFIER): verifier, (label::SLOT): slot });
            task("n1", labels, json!({ "MemoryBytes": 256 << 20 }))
        };
        let tasks = json!([
            app("v1", "a"),
            app("v2", "b"),
            app("v2", "b"),
            app("v3", "b"),
            task("n1", Value::Null, json!({ "MemoryBytes": 1 << 30, "NanoCPUs": 1_500_000_000_u64 })),
            task("n2", json!({}), Value::Null),
            { "ID": "attached", "Spec": { "NetworkAttachmentSpec": { "ContainerID": "c" } } },
        ]);
        let counted = count("v1", serde_json::from_value(tasks).unwrap());
        let on = |node: &str| counted.get(&NodeId::new(node)).copied().unwrap_or_default();
        assert_eq!(on("n1"), OthersOnNode { memory_bytes: 1 << 30, milli_cpus: 1500, submissions: 2 });
        assert_eq!(on("n2"), OthersOnNode::default());
    }
}
