//! Which nodes may be given work, and which are to be looked at (again).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::check::{CheckState, reason};
use super::{InspectError, InspectionResult};
use crate::health::NodeState;
use crate::swarm::SwarmNode;

/// An engine may have been started anew with other settings, between two
/// heartbeats and under the same version.
const AGAIN: Duration = Duration::from_secs(600);
/// The pause after an inspection that showed nothing.
const PAUSE: Duration = Duration::from_secs(3);

/// What is known of the nodes, by their ids.
#[derive(Default)]
pub(crate) struct NodeRegistry {
    entries: HashMap<String, NodeRecord>,
}

struct NodeRecord {
    /// The version of the engine that was looked at.
    engine: String,
    standing: Admission,
    /// When it is looked at again; `None` while it is.
    again: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq)]
enum Admission {
    /// Nothing is known yet, and if so, why not.
    New(Option<String>),
    Admitted,
    Refused(String),
}

impl NodeRegistry {
    /// The nodes to look at now; each is taken for being looked at until
    /// [`NodeRegistry::record`]. A node that went away starts anew when it is back.
    pub(crate) fn due(&mut self, nodes: &[SwarmNode], now: Instant) -> Vec<SwarmNode> {
        let is_there = |id: &String| nodes.iter().any(|node| node.id == *id && node.state != NodeState::Down);
        self.entries.retain(|id, entry| entry.again.is_none() || is_there(id));
        let mut due = Vec::new();
        for node in nodes {
            // Those that were refused here are shown as such.
            if node.state != NodeState::Ready && self.refusal(&node.id).is_none() {
                continue;
            }
            let entry = self.entries.entry(node.id.clone()).or_insert_with(|| NodeRecord {
                engine: node.engine.clone(),
                standing: Admission::New(None),
                again: Some(now),
            });
            let is_due = entry.again.is_some_and(|again| again <= now || entry.engine != node.engine);
            if is_due {
                entry.again = None;
                due.push(node.clone());
            }
        }
        due
    }

    /// Takes down what an inspection showed. One that showed nothing leaves the
    /// node as it was.
    pub(crate) fn record(&mut self, node: &SwarmNode, inspection: &InspectionResult, now: Instant) {
        let Some(entry) = self.entries.get_mut(&node.id) else { return };
        entry.engine.clone_from(&node.engine);
        let (standing, pause) = match inspection {
            Ok(checks) => match reason(checks) {
                None => (Admission::Admitted, AGAIN),
                Some(why) => (Admission::Refused(why), AGAIN),
            },
            // It cannot be had otherwise: its operator did not let us look. An
            // engine that was looked at before is only slow now.
            Err(InspectError::OutOfReach) => match &entry.standing {
                refused @ Admission::Refused(_) => (refused.clone(), PAUSE),
                Admission::New(_) | Admission::Admitted => (Admission::Admitted, AGAIN),
            },
            Err(InspectError::Failed(why)) => match &entry.standing {
                Admission::New(_) => (Admission::New(Some(why.clone())), PAUSE),
                known => (known.clone(), PAUSE),
            },
        };
        tell(node, inspection, &entry.standing, &standing);
        entry.standing = standing;
        entry.again = Some(now + pause);
    }

    /// Whether the node may be given work.
    pub(crate) fn admits(&self, node: &str) -> bool {
        self.entries.get(node).is_some_and(|entry| entry.standing == Admission::Admitted)
    }

    /// Marks the nodes that are refused here: they are as good as gone.
    pub(crate) fn mark(&self, nodes: &mut [SwarmNode]) {
        for node in nodes.iter_mut().filter(|node| node.state == NodeState::Ready) {
            if let Some(why) = self.refusal(&node.id) {
                node.state = NodeState::Refused { why: why.to_owned() };
            }
        }
    }

    /// Why some node is refused.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.entries.keys().find_map(|node| self.refusal(node))
    }

    /// Why some node could not be looked at yet.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.entries.values().find_map(|entry| match &entry.standing {
            Admission::New(why) => why.as_deref(),
            Admission::Admitted | Admission::Refused(_) => None,
        })
    }

    /// Why the node must not be given work.
    fn refusal(&self, node: &str) -> Option<&str> {
        match &self.entries.get(node)?.standing {
            Admission::Refused(why) => Some(why),
            Admission::New(_) | Admission::Admitted => None,
        }
    }
}

/// Tells the operator what changed.
fn tell(node: &SwarmNode, inspection: &InspectionResult, before: &Admission, after: &Admission) {
    let node = node.name.as_str();
    if before == after {
        return;
    }
    match (inspection, after) {
        (_, Admission::Refused(why)) => {
            tracing::warn!(node, why, "the node is refused: it would not keep apps in bounds")
        }
        (Err(unseen), _) => tracing::warn!(node, %unseen, "the node is not checked"),
        (Ok(checks), _) => {
            let advised = checks.iter().filter(|check| check.state != CheckState::Holds);
            let advised: Vec<_> = advised.map(|check| format!("{}: {}", check.item, check.found)).collect();
            tracing::info!(node, could_be_better = advised.join(", "), "the node keeps apps in bounds");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Check;
    use super::*;

    fn node(state: NodeState, engine: &str) -> SwarmNode {
        SwarmNode {
            id: "n".into(),
            name: "n".into(),
            milli_cpus: 1000,
            memory_mib: 1000,
            state,
            engine: engine.into(),
            address: None,
        }
    }

    fn check(state: CheckState) -> Check {
        Check { item: "seccomp", state, found: "0".into(), wanted: "2".into(), cure: "" }
    }

    /// Whether the node is to be looked at now.
    fn due(ledger: &mut NodeRegistry, node: &SwarmNode, now: Instant) -> bool {
        let due = ledger.due(std::slice::from_ref(node), now);
        assert!(due.iter().all(|due| due == node));
        !due.is_empty()
    }

    #[test]
    fn a_node_gets_work_once_it_was_looked_at() {
        let (mut ledger, now) = (NodeRegistry::default(), Instant::now());
        let here = node(NodeState::Ready, "1");
        assert!(due(&mut ledger, &here, now));
        assert!(!due(&mut ledger, &here, now), "it is being looked at");
        assert!(!ledger.admits("n"));
        ledger.record(&here, &Err(InspectError::Failed("no relay".into())), now);
        assert!(!ledger.admits("n") && ledger.trouble() == Some("no relay"));
        assert!(due(&mut ledger, &here, now + PAUSE));
        ledger.record(&here, &Ok(vec![check(CheckState::Advised)]), now);
        assert!(ledger.admits("n") && ledger.trouble().is_none());
        assert!(!due(&mut ledger, &here, now));
    }

    #[test]
    fn a_node_that_lacks_something_is_refused_until_it_has_it() {
        let (mut ledger, now) = (NodeRegistry::default(), Instant::now());
        let old = node(NodeState::Ready, "1");
        assert!(due(&mut ledger, &old, now));
        ledger.record(&old, &Ok(vec![check(CheckState::Lacking)]), now);
        assert!(!ledger.admits("n"));
        assert_eq!(ledger.refused(), Some("seccomp is 0, not 2"));
        let mut marked = [old];
        ledger.mark(&mut marked);
        assert_eq!(marked[0].state, NodeState::Refused { why: "seccomp is 0, not 2".into() });
        assert!(!due(&mut ledger, &marked[0], now));
        // Another engine, another look; which at first shows nothing.
        let new = node(NodeState::Ready, "2");
        assert!(due(&mut ledger, &new, now));
        ledger.record(&new, &Err(InspectError::Failed("no relay".into())), now);
        assert!(ledger.refused().is_some());
        assert!(due(&mut ledger, &new, now + PAUSE));
        ledger.record(&new, &Err(InspectError::OutOfReach), now);
        assert!(ledger.refused().is_some() && !ledger.admits("n"), "it was seen before");
        assert!(due(&mut ledger, &new, now + PAUSE));
        ledger.record(&new, &Ok(vec![check(CheckState::Holds)]), now);
        assert!(ledger.admits("n") && ledger.refused().is_none());
    }

    #[test]
    fn a_node_is_looked_at_again_when_it_was_away_and_after_a_while() {
        let (mut ledger, now) = (NodeRegistry::default(), Instant::now());
        let here = node(NodeState::Ready, "1");
        assert!(due(&mut ledger, &here, now));
        ledger.record(&here, &Err(InspectError::OutOfReach), now);
        assert!(ledger.admits("n"), "what cannot be looked at is used, and said");
        assert!(due(&mut ledger, &here, now + AGAIN));
        assert!(ledger.admits("n"), "meanwhile it goes on");
        ledger.record(&here, &Ok(Vec::new()), now);
        assert!(!due(&mut ledger, &node(NodeState::Down, "1"), now));
        assert!(!ledger.admits("n"));
        assert!(due(&mut ledger, &here, now));
    }
}
