//! The ledger of what ran and what failed on which node. It tells an image that no node can run from a node that can run no
//! image: by difference, because an engine's error text seldom says whose fault it is.

use std::collections::{HashMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use domain::SubmissionId;
use domain::submission::{InterruptionCode, PlatformFault};
use tokio::time::Instant;

use crate::gate::LookPass;
use crate::swarm::NodeId;
use crate::work::attempt::AttemptRunner;
use crate::work::slot_run::AppFinding;

/// The number of failures that are remembered, and for how long. The pauses between the tries of one submission grow to an
/// hour.
const FAILURES_MAX: usize = 4096;
const MEMORY: Duration = Duration::from_secs(3 * 3600);

/// The time within which the failures of several owners make a node doubtful.
const DOUBT: Duration = Duration::from_secs(600);

/// What ran and what failed, on this verifier's nodes.
#[derive(Debug, Default)]
pub(crate) struct RunLedger {
    /// The newest failures, oldest first.
    failures: VecDeque<NodeFailure>,
    /// The newest run on each node, and the newest one there of another owner.
    runs: HashMap<NodeId, [Option<NodeRun>; 2]>,
}

/// An image on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageOnNode {
    pub(crate) submission: SubmissionId,
    pub(crate) owner: String,
    /// The image, by digest.
    pub(crate) image: String,
    pub(crate) node: NodeId,
}

#[derive(Debug)]
struct NodeFailure {
    what: ImageOnNode,
    code: InterruptionCode,
    at: Instant,
    /// True if the image ran on another node since.
    ran_elsewhere: bool,
    /// True if the image ran on any node since.
    ran_since: bool,
}

#[derive(Debug)]
struct NodeRun {
    owner: String,
    at: Instant,
}

impl RunLedger {
    /// Records that an image ran on a node. Returns the other nodes that seem ill, now that it ran here.
    pub(crate) fn record_run(&mut self, what: &ImageOnNode) -> Vec<NodeId> {
        let ImageOnNode { owner, node, image, .. } = what;
        let [newest, other] = self.runs.entry(node.clone()).or_default();
        let before = newest.replace(NodeRun { owner: owner.clone(), at: Instant::now() });
        if before.as_ref().is_some_and(|run| run.owner != *owner) {
            *other = before;
        }
        let mut failed_on = Vec::new();
        for failure in self.failures.iter_mut().filter(|failure| failure.what.image == *image) {
            failure.ran_since = true;
            if failure.what.node != *node {
                failure.ran_elsewhere = true;
                failed_on.push(failure.what.node.clone());
            }
        }
        failed_on.retain(|node| self.seems_ill(node));
        failed_on
    }

    /// Records that a node failed with an image. Returns true if the node seems ill.
    pub(crate) fn record_failure(&mut self, what: &ImageOnNode, code: InterruptionCode) -> bool {
        while self.failures.len() >= FAILURES_MAX
            || self.failures.front().is_some_and(|oldest| oldest.at.elapsed() > MEMORY)
        {
            self.failures.pop_front();
        }
        self.failures.push_back(NodeFailure {
            what: what.clone(),
            code,
            at: Instant::now(),
            ran_elsewhere: false,
            ran_since: false,
        });
        self.seems_ill(&what.node)
    }

    /// Returns true if the image is to blame for a fault that a node has just shown: two nodes failed with it in the same way
    /// before, both have run images of other owners since, and it ran nowhere. A fault that may be the registry's or a full
    /// disk's is never the image's.
    pub(crate) fn blames_image(&self, what: &ImageOnNode, fault: &PlatformFault) -> bool {
        if fault.code != InterruptionCode::NodeIll || fault.message.contains("no space left") {
            return false;
        }
        let mut nodes = self
            .failures
            .iter()
            .filter(|failure| {
                failure.what.image == what.image && failure.code == fault.code && !failure.ran_since
            })
            .filter(|failure| self.ran_others(&failure.what.node, &what.owner, failure.at))
            .map(|failure| &failure.what.node);
        nodes.next().is_some_and(|first| nodes.any(|node| node != first))
    }

    /// Returns the node on which an image of the submission failed last.
    pub(crate) fn last_failed_on(&self, submission: SubmissionId) -> Option<&NodeId> {
        let newest = self.failures.iter().rev().find(|failure| failure.what.submission == submission);
        newest.map(|failure| &failure.what.node)
    }

    /// Returns true if images of at least two owners failed on the node a short time ago and ran elsewhere since, and none
    /// ran on the node after that.
    fn seems_ill(&self, node: &NodeId) -> bool {
        let newest_run = self.runs.get(node).and_then(|[newest, _]| newest.as_ref()).map(|run| run.at);
        let mut owners = self
            .failures
            .iter()
            .filter(|failure| failure.what.node == *node && failure.ran_elsewhere)
            .filter(|failure| failure.at.elapsed() < DOUBT && newest_run.is_none_or(|run| failure.at >= run))
            .map(|failure| &failure.what.owner);
        owners.next().is_some_and(|first| owners.any(|owner| owner != first))
    }

    /// Returns true if the node ran an image of an owner other than this one after `since`.
    fn ran_others(&self, node: &NodeId, owner: &str, since: Instant) -> bool {
        let runs = self.runs.get(node).into_iter().flatten().flatten();
        runs.into_iter().any(|run| run.owner != owner && run.at > since)
    }
}

impl AttemptRunner {
    /// Notes in the ledger what happened to an image on a node. A fault of a node that is the image's becomes its finding. An image
    /// that the gate does not keep any more arrives nowhere, and neither it nor a node is to blame.
    pub(super) fn note_finding(&self, what: &ImageOnNode, pass: &LookPass, finding: &mut AppFinding) {
        let is_gate_away = pass.is_void() || self.gate.trouble().borrow().is_some();
        let mut ledger = self.ledger();
        if finding.is_of_a_run() {
            ledger.record_run(what).iter().for_each(|node| self.context.slots.doubt(node));
        } else if let Some(fault) = finding.node_fault().filter(|_| !is_gate_away) {
            let is_the_images = ledger.blames_image(what, fault);
            if ledger.record_failure(what, fault.code) && !is_the_images {
                self.context.slots.doubt(&what.node);
            }
            if is_the_images {
                finding.blame_image();
            }
        }
    }

    /// Returns the node on which an image of the submission failed last.
    pub(crate) fn last_failed_on(&self, id: SubmissionId) -> Option<NodeId> {
        self.ledger().last_failed_on(id).cloned()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, RunLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    fn image(owner: &str, node: &str) -> ImageOnNode {
        let id = owner.bytes().map(u128::from).sum();
        ImageOnNode {
            submission: SubmissionId(Uuid::from_u128(id)),
            owner: owner.to_owned(),
            image: format!("{owner}/app@sha256:00"),
            node: NodeId::new(node),
        }
    }

    fn ill() -> PlatformFault {
        PlatformFault::new(InterruptionCode::NodeIll, "it did not start")
    }

    /// Applies steps a second apart: `+` runs and `-` fails, then the owner and the node. Returns the nodes that seem ill
    /// after the last.
    async fn after(ledger: &mut RunLedger, steps: &str) -> Vec<String> {
        let mut doubted = vec![];
        for step in steps.split_whitespace() {
            advance(Duration::from_secs(1)).await;
            let (kind, rest) = step.split_at(1);
            let (owner, node) = rest.split_once('@').unwrap();
            let what = image(owner, node);
            doubted = match kind {
                "+" => ledger.record_run(&what).iter().map(ToString::to_string).collect(),
                _ if ledger.record_failure(&what, InterruptionCode::NodeIll) => vec![node.to_owned()],
                _ => vec![],
            };
        }
        advance(Duration::from_secs(1)).await;
        doubted
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_fails_alike_on_two_nodes_that_ran_others_is_to_blame() {
        for (steps, node, blamed) in [
            ("-ada@n1 -ada@n2 +bob@n1 +bob@n2", "n1", true),
            ("-ada@n1 +bob@n1 -ada@n2 +bob@n2", "n3", true),
            // Only one node failed, or one of them ran no other image since, or only the owner's own.
            ("-ada@n1 +bob@n1 +bob@n2", "n2", false),
            ("-ada@n1 -ada@n1 +bob@n1 +bob@n2", "n2", false),
            ("+bob@n1 -ada@n1 -ada@n2 +bob@n2", "n2", false),
            ("-ada@n1 -ada@n2 +bob@n1", "n2", false),
            ("-ada@n1 -ada@n2 +eda@n1 +eda@n2", "n2", true),
            // The image ran since, so it can be run.
            ("-ada@n1 -ada@n2 +bob@n1 +bob@n2 +ada@n1", "n2", false),
            ("-ada@n1 +ada@n1 +bob@n1 -ada@n2 +bob@n2", "n2", false),
            // Bob's failures say nothing about Ada's image.
            ("-bob@n1 -bob@n2 +eve@n1 +eve@n2", "n2", false),
        ] {
            let mut ledger = RunLedger::default();
            after(&mut ledger, steps).await;
            assert_eq!(ledger.blames_image(&image("ada", node), &ill()), blamed, "{steps}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_or_a_full_disk_is_never_the_images_fault() {
        let mut ledger = RunLedger::default();
        let what = image("ada", "n1");
        ledger.record_failure(&what, InterruptionCode::PullFailed);
        after(&mut ledger, "-ada@n1 -ada@n2 +bob@n1 +bob@n2").await;
        assert!(ledger.blames_image(&image("ada", "n2"), &ill()));
        let pull = PlatformFault::new(InterruptionCode::PullFailed, "no answer");
        let full = PlatformFault { message: "write /x: no space left on device".into(), ..ill() };
        assert!(!ledger.blames_image(&image("ada", "n2"), &pull));
        assert!(!ledger.blames_image(&image("ada", "n2"), &full));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_seems_ill_when_images_of_two_owners_fail_there_and_run_elsewhere() {
        for (steps, doubted) in [
            ("-ada@n1 -bob@n1 +ada@n2 +bob@n2", &["n1"][..]),
            // One owner's images, however many, or images that run nowhere.
            ("-ada@n1 -ada@n1 -ada@n1 +ada@n2", &[]),
            ("-ada@n1 -bob@n1 -eve@n1 -dan@n1", &[]),
            ("-ada@n1 -bob@n1 +ada@n2 +eve@n1 +bob@n2", &[]),
            // The next failure confirms it.
            ("-ada@n1 -bob@n1 +ada@n2 +bob@n2 -eve@n1", &["n1"]),
        ] {
            assert_eq!(after(&mut RunLedger::default(), steps).await, doubted, "{steps}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let mut ledger = RunLedger::default();
        for number in 0..2 * FAILURES_MAX {
            ledger.record_failure(&image(&format!("owner{number}"), "n1"), InterruptionCode::NodeIll);
        }
        assert_eq!(ledger.failures.len(), FAILURES_MAX);
        advance(MEMORY + Duration::from_secs(1)).await;
        ledger.record_failure(&image("ada", "n1"), InterruptionCode::NodeIll);
        assert_eq!(ledger.failures.len(), 1);
        assert_eq!(ledger.last_failed_on(image("ada", "n1").submission), Some(&NodeId::new("n1")));
    }
}
