//! The admission of each node, and the moment of its next inspection.

use std::collections::HashMap;
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use tokio::time::Instant;

use super::check::{CheckState, refusal};
use super::{InspectError, InspectedSandbox, InspectionResult};
use crate::health::NodeState;
use crate::swarm::{NodeId, SwarmNode};

/// The interval between two inspections of a node, because an engine may restart with other settings, between
/// two heartbeats and with the same version.
const INTERVAL: Duration = Duration::from_secs(600);
/// The pause after an inspection without a result.
const PAUSE: Duration = Duration::from_secs(3);

/// The known nodes, by their ids.
pub(crate) struct NodeRegistry {
    /// The lowest grade that the challenge allows.
    lowest: SandboxGrade,
    records: HashMap<NodeId, NodeRecord>,
}

struct NodeRecord {
    /// The version of the engine that was inspected.
    engine: String,
    admission: Admission,
    /// The moment of the next inspection. `None` while an inspection runs.
    next: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq)]
enum Admission {
    /// No inspection has given a result yet. Holds the error of the last one.
    Pending(Option<String>),
    Admitted(SandboxGrade),
    Refused(String),
}

impl NodeRegistry {
    /// Makes a registry that refuses nodes below the `lowest` grade.
    pub(crate) fn new(lowest: SandboxGrade) -> Self {
        Self { lowest, records: HashMap::new() }
    }

    /// Returns the nodes that are due for an inspection, and marks them as being inspected until
    /// [`NodeRegistry::record`]. Forgets the nodes that went away, so they are inspected again when they are
    /// back.
    pub(crate) fn due(&mut self, nodes: &[SwarmNode], now: Instant) -> Vec<SwarmNode> {
        let is_there = |id: &NodeId| nodes.iter().any(|node| node.id == *id && node.state != NodeState::Down);
        self.records.retain(|id, record| record.next.is_none() || is_there(id));
        let mut due = Vec::new();
        for node in nodes {
            // Nodes that this registry refused have the state `Refused`, and are inspected again.
            if node.state != NodeState::Ready && self.refusal_of(&node.id).is_none() {
                continue;
            }
            let record = self.records.entry(node.id.clone()).or_insert_with(|| NodeRecord {
                engine: node.engine.clone(),
                admission: Admission::Pending(None),
                next: Some(now),
            });
            let is_due = record.next.is_some_and(|next| next <= now || record.engine != node.engine);
            if is_due {
                record.next = None;
                due.push(node.clone());
            }
        }
        due
    }

    /// Records the result of an inspection. An inspection that failed leaves the node's admission as it was.
    pub(crate) fn record(&mut self, node: &SwarmNode, result: &InspectionResult, now: Instant) {
        let Some(record) = self.records.get(&node.id) else { return };
        let (admission, pause) = match result {
            Ok(sandbox) => match refusal(&sandbox.checks) {
                None => (self.admit(sandbox.grade), INTERVAL),
                Some(why) => (Admission::Refused(why), INTERVAL),
            },
            // The operator did not configure the node's engine, so the node is admitted without an
            // inspection. If the engine was inspected before, it is only slow to answer now.
            Err(InspectError::OutOfReach) => match &record.admission {
                refused @ Admission::Refused(_) => (refused.clone(), PAUSE),
                Admission::Pending(_) | Admission::Admitted(_) => (self.admit(SandboxGrade::Bare), INTERVAL),
            },
            Err(InspectError::Failed(why)) => match &record.admission {
                Admission::Pending(_) => (Admission::Pending(Some(why.clone())), PAUSE),
                known => (known.clone(), PAUSE),
            },
        };
        if record.admission != admission {
            log_change(node, result, &admission);
        }
        let engine = node.engine.clone();
        self.records.insert(node.id.clone(), NodeRecord { engine, admission, next: Some(now + pause) });
    }

    /// Returns true if the node may run participants' containers.
    pub(crate) fn admits(&self, node: &NodeId) -> bool {
        self.grade_of(node).is_some()
    }

    /// Returns the grade of a node that may run participants' containers.
    pub(crate) fn grade_of(&self, node: &NodeId) -> Option<SandboxGrade> {
        match self.records.get(node)?.admission {
            Admission::Admitted(grade) => Some(grade),
            Admission::Pending(_) | Admission::Refused(_) => None,
        }
    }

    fn admit(&self, grade: SandboxGrade) -> Admission {
        if grade >= self.lowest {
            return Admission::Admitted(grade);
        }
        let (found, wanted) = (grade.as_str(), self.lowest.as_str());
        Admission::Refused(format!("the grade of its sandbox is {found}, and the challenge demands {wanted}"))
    }

    /// Sets the state of the nodes that this registry refuses.
    pub(crate) fn mark_refused(&self, nodes: &mut [SwarmNode]) {
        for node in nodes.iter_mut().filter(|node| node.state == NodeState::Ready) {
            if let Some(why) = self.refusal_of(&node.id) {
                node.state = NodeState::Refused { why: why.to_owned() };
            }
        }
    }

    /// Returns the reason why some node is refused, if one is.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.records.keys().find_map(|node| self.refusal_of(node))
    }

    /// Returns the error of a node's inspection, if no inspection of that node has given a result yet.
    pub(crate) fn inspection_error(&self) -> Option<&str> {
        self.records.values().find_map(|record| match &record.admission {
            Admission::Pending(why) => why.as_deref(),
            Admission::Admitted(_) | Admission::Refused(_) => None,
        })
    }

    fn refusal_of(&self, node: &NodeId) -> Option<&str> {
        match &self.records.get(node)?.admission {
            Admission::Refused(why) => Some(why),
            Admission::Pending(_) | Admission::Admitted(_) => None,
        }
    }
}

fn log_change(node: &SwarmNode, result: &InspectionResult, admission: &Admission) {
    let SwarmNode { id, name, .. } = node;
    match (result, admission) {
        (_, Admission::Refused(why)) => {
            tracing::warn!("node {name} ({id}) is refused: {why}");
        }
        (Err(error), _) => tracing::warn!(%error, "node {name} ({id}) was not inspected"),
        (Ok(InspectedSandbox { grade, checks }), _) => {
            let advised = checks.iter().filter(|check| check.state != CheckState::Holds);
            let advised: Vec<_> = advised.map(|check| format!("{}: {}", check.item, check.found)).collect();
            tracing::info!(
                advised = advised.join(", "),
                "node {name} ({id}) is admitted, its sandbox is {}",
                grade.as_str()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Check;
    use super::*;
    use crate::swarm::OthersOnNode;

    fn id() -> NodeId {
        NodeId::new("n")
    }

    fn node(state: NodeState, engine: &str) -> SwarmNode {
        SwarmNode {
            id: id(),
            name: "n".into(),
            milli_cpus: 1000,
            memory_mib: 1000,
            state,
            engine: engine.into(),
            address: None,
            others: OthersOnNode::default(),
        }
    }

    fn check(state: CheckState) -> Check {
        Check { item: "seccomp", state, found: "0".into(), wanted: "2".into(), cure: "" }
    }

    fn found(checks: Vec<Check>) -> InspectionResult {
        Ok(InspectedSandbox { grade: SandboxGrade::ReadOnly, checks })
    }

    /// Returns true if the node is due for an inspection.
    fn due(registry: &mut NodeRegistry, node: &SwarmNode, now: Instant) -> bool {
        let due = registry.due(std::slice::from_ref(node), now);
        assert!(due.iter().all(|due| due == node));
        !due.is_empty()
    }

    #[test]
    fn a_node_is_admitted_once_it_was_inspected() {
        let (mut registry, now) = (NodeRegistry::new(SandboxGrade::Bare), Instant::now());
        let here = node(NodeState::Ready, "1");
        assert!(due(&mut registry, &here, now));
        assert!(!due(&mut registry, &here, now), "it is being inspected");
        assert!(!registry.admits(&id()));
        registry.record(&here, &Err(InspectError::Failed("no relay".into())), now);
        assert!(!registry.admits(&id()) && registry.inspection_error() == Some("no relay"));
        assert!(due(&mut registry, &here, now + PAUSE));
        registry.record(&here, &found(vec![check(CheckState::Advised)]), now);
        assert!(registry.admits(&id()) && registry.inspection_error().is_none());
        assert!(!due(&mut registry, &here, now));
    }

    #[test]
    fn a_node_that_lacks_something_is_refused_until_it_has_it() {
        let (mut registry, now) = (NodeRegistry::new(SandboxGrade::Bare), Instant::now());
        let old = node(NodeState::Ready, "1");
        assert!(due(&mut registry, &old, now));
        registry.record(&old, &found(vec![check(CheckState::Lacking)]), now);
        assert!(!registry.admits(&id()));
        assert_eq!(registry.refusal(), Some("seccomp is 0, not 2"));
        let mut marked = [old];
        registry.mark_refused(&mut marked);
        assert_eq!(marked[0].state, NodeState::Refused { why: "seccomp is 0, not 2".into() });
        assert!(!due(&mut registry, &marked[0], now));
        // A changed engine is inspected again. The first inspection fails.
        let new = node(NodeState::Ready, "2");
        assert!(due(&mut registry, &new, now));
        registry.record(&new, &Err(InspectError::Failed("no relay".into())), now);
        assert!(registry.refusal().is_some());
        assert!(due(&mut registry, &new, now + PAUSE));
        registry.record(&new, &Err(InspectError::OutOfReach), now);
        assert!(registry.refusal().is_some() && !registry.admits(&id()), "its engine was inspected before");
        assert!(due(&mut registry, &new, now + PAUSE));
        registry.record(&new, &found(vec![check(CheckState::Holds)]), now);
        assert!(registry.admits(&id()) && registry.refusal().is_none());
    }

    #[test]
    fn a_node_is_inspected_again_when_it_was_away_and_after_a_while() {
        let (mut registry, now) = (NodeRegistry::new(SandboxGrade::Bare), Instant::now());
        let here = node(NodeState::Ready, "1");
        assert!(due(&mut registry, &here, now));
        registry.record(&here, &Err(InspectError::OutOfReach), now);
        assert!(registry.admits(&id()), "a node out of reach is admitted");
        assert!(due(&mut registry, &here, now + INTERVAL));
        assert!(registry.admits(&id()), "it stays admitted meanwhile");
        registry.record(&here, &found(Vec::new()), now);
        assert!(!due(&mut registry, &node(NodeState::Down, "1"), now));
        assert!(!registry.admits(&id()));
        assert!(due(&mut registry, &here, now));
    }

    #[test]
    fn a_node_below_the_grade_that_the_challenge_demands_is_refused() {
        let now = Instant::now();
        for (lowest, admitted) in [(SandboxGrade::ReadOnly, true), (SandboxGrade::Writable, false)] {
            let mut registry = NodeRegistry::new(lowest);
            let here = node(NodeState::Ready, "1");
            assert!(due(&mut registry, &here, now));
            registry.record(&here, &found(Vec::new()), now);
            assert_eq!(registry.grade_of(&id()), admitted.then_some(SandboxGrade::ReadOnly));
            assert_eq!(registry.refusal().is_some_and(|why| why.contains("demands writable")), !admitted);
        }
    }
}
