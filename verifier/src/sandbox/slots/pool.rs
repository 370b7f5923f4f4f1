//! The pool of slots: which slots exist, which of them a submission gets next, and on which nodes more are
//! missing. Pure state, without calls to the Swarm.

mod home;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use tokio::time::Instant;

use super::VerifierFault;
use super::slot_table::{Capacity, SlotState, SlotTable};
use crate::health::{Health, NodeHealth, NodeState};
use crate::sandbox::admission::{InspectionResult, NodeRegistry};
use crate::swarm::{NetworkId, NodeId, OrphanSweep, SlotRelay, StuckContainer, SwarmNode};

/// The time for which a node that seemed ill gets no work, if another node is well. Without this pause, a
/// node whose apps fail at once would always have free slots, and would take all submissions.
const DOUBT: Duration = Duration::from_secs(30);

/// All slots, by their states, and what is known about the nodes.
pub(super) struct SlotPool {
    capacity: Capacity,
    /// The nodes, as a manager reported them last.
    nodes: Vec<SwarmNode>,
    registry: NodeRegistry,
    /// True if a manager answered the last request for the nodes.
    reachable: bool,
    table: SlotTable,
    ready: Vec<Slot>,
    /// The nodes that seemed ill, and when.
    doubted: HashMap<NodeId, Instant>,
    /// The number of submissions without a slot that each node was promised to.
    homes: HashMap<NodeId, usize>,
    /// The grades that attempts demand of the second slots that they wait for.
    awaited: Vec<SandboxGrade>,
    /// The containers that the last sweep could not remove.
    unremoved: HashSet<StuckContainer>,
    /// The number of containers of each node that two sweeps could not remove.
    stuck: HashMap<NodeId, usize>,
    startup: Startup,
    /// The error of the last call that failed, until a later one succeeds.
    last_error: Option<String>,
    /// The reason why this verifier begins nothing: its clock or its name cannot be used.
    pub(super) fault: Option<VerifierFault>,
    /// The reason why no image can be looked at.
    pub(super) gate_trouble: Option<String>,
    closed: bool,
}

/// A slot that is ready or in use.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) node: SwarmNode,
    pub(super) network: NetworkId,
    pub(super) relay: Box<dyn SlotRelay>,
    pub(super) uses: u32,
}

/// A slot that has a name and a node, and nothing in the Swarm yet.
pub(super) struct PlannedSlot {
    pub(super) name: String,
    pub(super) node: SwarmNode,
}

/// The progress of the verifier's start.
enum Startup {
    /// The leftovers of an earlier run are not removed yet, so no slot is created.
    Sweeping,
    /// `next_slot` is the number of the next slot.
    Swept { next_slot: u64 },
}

impl SlotPool {
    pub(super) fn new(capacity: Capacity, lowest: SandboxGrade) -> Self {
        Self {
            capacity,
            nodes: Vec::new(),
            registry: NodeRegistry::new(lowest),
            reachable: false,
            table: SlotTable::default(),
            ready: Vec::new(),
            doubted: HashMap::new(),
            homes: HashMap::new(),
            awaited: Vec::new(),
            unremoved: HashSet::new(),
            stuck: HashMap::new(),
            startup: Startup::Sweeping,
            last_error: None,
            fault: None,
            gate_trouble: None,
            closed: false,
        }
    }

    /// Returns true if [`SlotPool::take_first`] would return a slot.
    pub(super) fn has_free(&self) -> bool {
        self.pick_first(None, None).is_some()
    }

    /// Takes a ready slot for a new attempt, if possible on its home, and on another node than `avoid`. Slots that another attempt
    /// awaits as its second are left: new attempts would otherwise take every slot, and no attempt would end.
    pub(super) fn take_first(&mut self, avoid: Option<&NodeId>, home: Option<&NodeId>) -> Option<Slot> {
        let index = self.pick_first(avoid, home)?;
        Some(self.take_at(index))
    }

    /// Takes a ready slot on a node of at least this grade: if possible on another node than `avoid`, then on a
    /// node of the highest grade, then on the one with the most free capacity.
    pub(super) fn take_second(&mut self, avoid: Option<&NodeId>, grade: SandboxGrade) -> Option<Slot> {
        let index = self.pick(avoid, None, |of_node| of_node >= grade)?;
        Some(self.take_at(index))
    }

    /// Records that an attempt waits for a second slot of at least this grade.
    pub(super) fn begin_waiting(&mut self, grade: SandboxGrade) {
        self.awaited.push(grade);
    }

    /// Records that an attempt waits no more.
    pub(super) fn end_waiting(&mut self, grade: SandboxGrade) {
        if let Some(index) = self.awaited.iter().position(|awaited| *awaited == grade) {
            self.awaited.swap_remove(index);
        }
    }

    /// Adds a slot to the ready ones. If the pool is closed, returns the slot instead.
    #[must_use]
    pub(super) fn put_ready(&mut self, slot: Slot) -> Option<Slot> {
        self.last_error = None;
        if self.closed {
            return Some(slot);
        }
        self.set_state(&slot, SlotState::Ready);
        self.ready.push(slot);
        None
    }

    pub(super) fn set_state(&mut self, slot: &Slot, state: SlotState) {
        self.table.set(&slot.name, &slot.node.id, state);
    }

    /// Forgets a slot that was removed from the Swarm.
    pub(super) fn forget(&mut self, slot: &str) {
        self.table.remove(slot);
    }

    /// Forgets all slots, so that a sweep removes them.
    pub(super) fn forget_all(&mut self) {
        self.table = SlotTable::default();
    }

    pub(super) fn has(&self, slot: &str) -> bool {
        self.table.has(slot)
    }

    /// Closes the pool and takes out the slots that are ready.
    pub(super) fn close(&mut self) -> Vec<Slot> {
        self.closed = true;
        std::mem::take(&mut self.ready)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns true if the pool is closed and no submission is in a slot.
    pub(super) fn is_drained(&self) -> bool {
        self.closed && self.table.in_use() == 0
    }

    /// Records the nodes that a manager reported. Takes out the ready slots that became useless, with the
    /// reasons.
    pub(super) fn update_nodes(&mut self, mut nodes: Vec<SwarmNode>) -> Vec<(Slot, &'static str)> {
        self.registry.mark_refused(&mut nodes);
        self.refuse_stuck(&mut nodes);
        if !std::mem::replace(&mut self.reachable, true) {
            self.last_error = None;
        }
        for node in nodes.iter().filter(|node| !self.knows(node)) {
            tracing::info!("node {} ({}) of the sandbox is {:?}", node.name, node.id, node.state);
        }
        self.nodes = nodes;
        self.take_useless()
    }

    /// Records that no manager reported the nodes. Returns true if one did the last time.
    pub(super) fn lose_managers(&mut self, error: String) -> bool {
        self.last_error = Some(error);
        std::mem::replace(&mut self.reachable, false)
    }

    pub(super) fn note_error(&mut self, error: String) {
        self.last_error = Some(error);
    }

    pub(super) fn is_swept(&self) -> bool {
        matches!(self.startup, Startup::Swept { .. })
    }

    /// Ends the start. `next_slot` is a number that no network of an earlier run has.
    pub(super) fn finish_startup(&mut self, next_slot: u64) {
        self.startup = Startup::Swept { next_slot };
    }

    /// Records a failed sweep, unless an earlier error is recorded already.
    pub(super) fn note_failed_sweep(&mut self, error: String) {
        self.last_error.get_or_insert(error);
    }

    /// Records that a node seems ill. Other nodes are preferred for a while.
    pub(super) fn doubt(&mut self, node: &NodeId) {
        self.doubted.insert(node.clone(), Instant::now());
    }

    /// Plans the slots that the admitted nodes have capacity for. A node that is being inspected gets none,
    /// because the inspection needs its engine for itself.
    pub(super) fn plan_missing(&mut self, verifier: &str) -> Vec<PlannedSlot> {
        if self.closed || !self.reachable {
            return Vec::new();
        }
        let admitted = self.nodes.iter().filter(|node| self.registry.admits(&node.id)).cloned();
        let missing = self.capacity.missing(&admitted.collect::<Vec<_>>(), &self.table);
        self.plan(verifier, missing, SlotState::Preparing)
    }

    /// Plans a slot for the inspection of each node that is due.
    pub(super) fn plan_inspections(&mut self, verifier: &str) -> Vec<PlannedSlot> {
        if self.closed || !self.reachable || !self.is_swept() {
            return Vec::new();
        }
        let due = self.registry.due(&self.nodes, Instant::now());
        self.plan(verifier, due, SlotState::Inspecting)
    }

    /// Records the result of an inspection. Takes out the ready slots that became useless, with the reasons.
    pub(super) fn record_inspection(
        &mut self,
        node: &SwarmNode,
        result: &InspectionResult,
    ) -> Vec<(Slot, &'static str)> {
        self.registry.record(node, result, Instant::now());
        self.registry.mark_refused(&mut self.nodes);
        let mut nodes = std::mem::take(&mut self.nodes);
        self.refuse_stuck(&mut nodes);
        self.nodes = nodes;
        self.take_useless()
    }

    /// Records the containers that a sweep could not remove. One that two sweeps could not remove is stuck: its engine hangs
    /// on it, and holds its memory and its network. It stays so until its engine tells otherwise, or its node leaves the Swarm.
    pub(super) fn note_stuck(&mut self, orphans: OrphanSweep) {
        let is_silent = |node: &NodeId| {
            !orphans.answered.contains(node) && self.nodes.iter().any(|known| known.id == *node)
        };
        let stays = |container: &&StuckContainer| {
            self.stuck.contains_key(&container.node) && is_silent(&container.node)
        };
        let mut unremoved: HashSet<_> = self.unremoved.iter().filter(stays).cloned().collect();
        unremoved.extend(orphans.stuck);
        let before = std::mem::take(&mut self.stuck);
        for container in unremoved.intersection(&self.unremoved) {
            *self.stuck.entry(container.node.clone()).or_default() += 1;
        }
        self.unremoved = unremoved;
        for (node, count) in self.stuck.iter().filter(|(node, _)| !before.contains_key(*node)) {
            tracing::warn!("node {node} is refused: {}", stuck_reason(*count));
        }
        for node in before.keys().filter(|node| !self.stuck.contains_key(*node)) {
            tracing::info!("no container of node {node} is stuck any more");
        }
    }

    fn refuse_stuck(&self, nodes: &mut [SwarmNode]) {
        for node in nodes.iter_mut().filter(|node| node.state == NodeState::Ready) {
            if let Some(count) = self.stuck.get(&node.id) {
                node.state = NodeState::Refused { why: stuck_reason(*count) };
            }
        }
    }

    /// Returns true if apps on the node keep running, as far as the managers know.
    pub(super) fn keeps_running(&self, node: &NodeId) -> bool {
        self.nodes.iter().any(|known| known.id == *node && known.state.keeps_running())
    }

    /// Returns the grade of a node's sandbox. A node that is not admitted has the lowest.
    pub(super) fn grade_of(&self, node: &NodeId) -> SandboxGrade {
        self.registry.grade_of(node).unwrap_or(SandboxGrade::Bare)
    }

    /// Returns the highest grade of the nodes that get work and have a slot.
    pub(super) fn highest_grade(&self) -> Option<SandboxGrade> {
        let has_slot = |node: &SwarmNode| {
            let states = [SlotState::Ready, SlotState::Busy, SlotState::Cooling];
            states.into_iter().any(|state| self.table.count(&node.id, state) > 0)
        };
        let is_usable =
            |node: &&SwarmNode| self.capacity.of_node(node) > 0 && !self.is_doubted(node) && has_slot(node);
        self.nodes.iter().filter(is_usable).filter_map(|node| self.registry.grade_of(&node.id)).max()
    }

    pub(super) fn health(&self) -> Health {
        let mut nodes: Vec<NodeHealth> = self
            .nodes
            .iter()
            .map(|node| NodeHealth {
                name: node.name.clone(),
                state: node.state.clone(),
                slots: if self.registry.admits(&node.id) {
                    // Other verifiers' submissions come and go, and each change of the health is recorded.
                    self.capacity.with_other_verifiers(node)
                } else {
                    0
                },
                grade: self.registry.grade_of(&node.id),
            })
            .collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Health { pause_reason: self.pause_reason().map(str::to_owned), nodes }
    }

    /// Returns the number of slots in each state, with the state's name.
    pub(super) fn slots_by_state(&self) -> [(&'static str, usize); 6] {
        SlotState::ALL.map(|state| (state.as_str(), self.table.count_all(state)))
    }

    /// Returns the number of containers that are stuck.
    pub(super) fn stuck(&self) -> usize {
        self.stuck.values().sum()
    }

    /// Returns the reason why nothing is verified at present, if there is one.
    fn pause_reason(&self) -> Option<&str> {
        match &self.last_error {
            _ if self.fault.is_some() => self.fault.as_ref().map(VerifierFault::reason),
            Some(error) if !self.reachable || self.table.usable() == 0 => Some(error),
            _ if self.nodes.iter().all(|node| node.state != NodeState::Ready) => {
                let refusal = self.nodes.iter().find_map(|node| match &node.state {
                    NodeState::Refused { why } => Some(why.as_str()),
                    _ => None,
                });
                let refusal = refusal.or_else(|| self.registry.refusal());
                Some(refusal.unwrap_or("the Swarm has no node that is ready and active"))
            }
            _ if !self.is_swept() => Some("the leftovers of an earlier run are being removed from the Swarm"),
            _ if !self.nodes.iter().any(|node| self.registry.admits(&node.id)) => {
                Some(self.registry.inspection_error().unwrap_or("the nodes of the Swarm are being inspected"))
            }
            _ => self.gate_trouble.as_deref(),
        }
    }

    fn plan(&mut self, verifier: &str, nodes: Vec<SwarmNode>, state: SlotState) -> Vec<PlannedSlot> {
        let Startup::Swept { next_slot } = &mut self.startup else { return Vec::new() };
        let mut planned = Vec::new();
        for node in nodes {
            let name = format!("muster-{verifier}-{next_slot}");
            *next_slot += 1;
            self.table.set(&name, &node.id, state);
            planned.push(PlannedSlot { name, node });
        }
        planned
    }

    /// Returns true if a manager reported the node in this state before.
    fn knows(&self, node: &SwarmNode) -> bool {
        self.nodes.iter().any(|known| SwarmNode { others: node.others, ..known.clone() } == *node)
    }

    /// Returns true if the node seemed ill a moment ago.
    fn is_doubted(&self, node: &SwarmNode) -> bool {
        self.doubted.get(&node.id).is_some_and(|at| at.elapsed() < DOUBT)
    }

    fn take_at(&mut self, index: usize) -> Slot {
        let slot = self.ready.swap_remove(index);
        self.set_state(&slot, SlotState::Busy);
        slot
    }

    /// Returns the index of the ready slot that a new attempt would take.
    fn pick_first(&self, avoid: Option<&NodeId>, home: Option<&NodeId>) -> Option<usize> {
        if self.fault.is_some() || self.gate_trouble.is_some() {
            return None;
        }
        let lowest_awaited = self.awaited.iter().min();
        self.pick(avoid, home, |of_node| lowest_awaited.is_none_or(|awaited| of_node < *awaited))
    }

    /// Returns the index of the best ready slot on a node whose grade fits.
    fn pick(
        &self,
        avoid: Option<&NodeId>,
        home: Option<&NodeId>,
        fits: impl Fn(SandboxGrade) -> bool,
    ) -> Option<usize> {
        if !self.reachable {
            return None;
        }
        let mut usable = self.nodes.iter().filter(|node| self.capacity.of_node(node) > 0);
        let all_are_doubted = usable.all(|node| self.is_doubted(node));
        let preference = |slot: &Slot| {
            if !slot.relay.is_alive() || self.is_doubted(&slot.node) && !all_are_doubted {
                return None;
            }
            let node = self.nodes.iter().find(|node| node.id == slot.node.id)?;
            let grade = self.registry.grade_of(&node.id).filter(|grade| fits(*grade))?;
            let busy = self.table.count(&node.id, SlotState::Busy);
            let room = self.capacity.of_node(node).checked_sub(busy).filter(|room| *room > 0)?;
            Some((home == Some(&node.id), avoid != Some(&node.id), grade, room))
        };
        let candidates =
            self.ready.iter().enumerate().filter_map(|(index, slot)| Some((preference(slot)?, index)));
        candidates.max().map(|(_, index)| index)
    }

    /// Takes out the ready slots that cannot be used any more, with the reasons.
    fn take_useless(&mut self) -> Vec<(Slot, &'static str)> {
        let mut useless = Vec::new();
        for slot in std::mem::take(&mut self.ready) {
            if !slot.relay.is_alive() {
                useless.push((slot, "its relay is gone"));
            } else if !self.keeps_running(&slot.node.id) {
                useless.push((slot, "its node went away or is refused"));
            } else {
                self.ready.push(slot);
            }
        }
        useless
    }
}

fn stuck_reason(count: usize) -> String {
    format!("its engine cannot remove {count} containers; restart the engine of this node")
}
