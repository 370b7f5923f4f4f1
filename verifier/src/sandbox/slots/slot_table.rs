//! Computes how many slots there should be on each node, without calls to the Swarm.

use std::collections::HashMap;

use crate::health::NodeState;
use crate::swarm::{NodeId, SwarmNode};

/// The number of spare slots on a node, beyond the submissions that may be under way. For an app that answers, a slot is used
/// for half a second, and then cools for three or four, so the next submission needs another slot. Creating one costs the
/// engine more than a verification, so spare slots are few.
const SPARE: usize = 2;
/// The largest number of slots on a node, cooling ones included: four for each submission that may be under
/// way, and eight more.
const MAX_PER_SUBMISSION: usize = 4;
const MAX_EXTRA: usize = 8;
/// The number of submissions under way at a time, for each processor of a node.
const PER_CPU: u64 = 2;
const PER_NODE_MAX: usize = 16;
/// One part in so many of a node's memory is left to the engine, the kernel and, if the engine's data is in
/// memory, the images.
const KEPT_BACK: u64 = 4;

/// The rule for the number of submissions that may be under way on a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// A fixed number. `None` derives it from the node's processors and memory.
    pub(crate) per_node: Option<usize>,
    /// The memory limit of one submission, MiB.
    pub(crate) memory_mib: u64,
}

/// The state of a slot, see `slots.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    Preparing,
    Ready,
    Busy,
    Cooling,
    Retiring,
    /// The slot is used for an inspection of its node, and never for submissions.
    Inspecting,
}

impl SlotState {
    pub(super) const ALL: [Self; 6] =
        [Self::Preparing, Self::Ready, Self::Busy, Self::Cooling, Self::Retiring, Self::Inspecting];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Cooling => "cooling",
            Self::Retiring => "retiring",
            Self::Inspecting => "inspecting",
        }
    }
}

/// The node and the state of every slot, by the slot's name.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    slots: HashMap<String, (NodeId, SlotState)>,
}

impl Capacity {
    /// Returns the number of this verifier's submissions that may be under way on the node: at least one if the node is ready, and
    /// none otherwise. Submissions of other verifiers take the place of ours.
    pub(super) fn of_node(&self, node: &SwarmNode) -> usize {
        let all = self.with_other_verifiers(node);
        match self.per_node {
            // The operator has counted.
            Some(_) => all,
            None => all.saturating_sub(node.others.submissions).max(all.min(1)),
        }
    }

    /// Returns the number of submissions of all verifiers that may be under way on the node, beside the reservations of strangers.
    pub(super) fn with_other_verifiers(&self, node: &SwarmNode) -> usize {
        if node.state != NodeState::Ready {
            return 0;
        }
        self.per_node.unwrap_or_else(|| {
            let by_cpus = node.milli_cpus.saturating_sub(node.others.milli_cpus) * PER_CPU / 1000;
            let for_apps = node.memory_mib - node.memory_mib / KEPT_BACK;
            let for_apps = for_apps.saturating_sub(node.others.memory_bytes.div_ceil(1 << 20));
            let by_memory = for_apps / self.memory_mib.max(1);
            usize::try_from(by_cpus.min(by_memory)).unwrap_or(PER_NODE_MAX).clamp(1, PER_NODE_MAX)
        })
    }

    /// Returns a node for each missing slot. A cooling slot becomes ready again, so a limited number of slots
    /// is created beside those that cool.
    pub(super) fn missing(&self, nodes: &[SwarmNode], table: &SlotTable) -> Vec<SwarmNode> {
        let missing_on = |node: &SwarmNode| {
            let of = |stage| table.count(&node.id, stage);
            let wanted = self.of_node(node);
            if wanted == 0 {
                return 0;
            }
            let usable = of(SlotState::Busy) + of(SlotState::Ready) + of(SlotState::Preparing);
            let all = usable + of(SlotState::Cooling) + of(SlotState::Retiring);
            let room = (wanted * MAX_PER_SUBMISSION + MAX_EXTRA).saturating_sub(all);
            (wanted + SPARE).saturating_sub(usable).min(room)
        };
        nodes.iter().flat_map(|node| std::iter::repeat_n(node.clone(), missing_on(node))).collect()
    }
}

impl SlotTable {
    pub(super) fn set(&mut self, slot: &str, node: &NodeId, state: SlotState) {
        self.slots.insert(slot.to_owned(), (node.clone(), state));
    }

    pub(super) fn remove(&mut self, slot: &str) {
        self.slots.remove(slot);
    }

    pub(super) fn has(&self, slot: &str) -> bool {
        self.slots.contains_key(slot)
    }

    pub(super) fn count(&self, node: &NodeId, state: SlotState) -> usize {
        self.slots.values().filter(|(at, known)| at == node && *known == state).count()
    }

    /// Returns the number of slots in this state on all nodes.
    pub(super) fn count_all(&self, state: SlotState) -> usize {
        self.slots.values().filter(|(_, known)| *known == state).count()
    }

    /// Returns the number of slots that are ready, busy or cooling.
    pub(super) fn usable(&self) -> usize {
        self.slots
            .values()
            .filter(|(_, state)| matches!(state, SlotState::Ready | SlotState::Busy | SlotState::Cooling))
            .count()
    }

    /// Returns the number of slots that hold a submission.
    pub(super) fn in_use(&self) -> usize {
        self.count_all(SlotState::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::OthersOnNode;

    fn node(id: &str, cpus: u64, memory_mib: u64) -> SwarmNode {
        SwarmNode {
            id: NodeId::new(id),
            name: id.into(),
            milli_cpus: cpus * 1000,
            memory_mib,
            state: NodeState::Ready,
            engine: String::new(),
            address: None,
            others: OthersOnNode::default(),
        }
    }

    const CAPACITY: Capacity = Capacity { per_node: None, memory_mib: 768 };

    #[test]
    fn capacity_follows_processors_and_memory() {
        assert_eq!(CAPACITY.of_node(&node("a", 2, 16_000)), 4);
        assert_eq!(CAPACITY.of_node(&node("a", 8, 3 * 1024)), 3);
        assert_eq!(CAPACITY.of_node(&node("a", 8, 2_000)), 1);
        assert_eq!(CAPACITY.of_node(&node("a", 1, 100)), 1);
        assert_eq!(CAPACITY.of_node(&node("a", 64, 256_000)), PER_NODE_MAX);
        let drained = SwarmNode { state: NodeState::Drained, ..node("a", 2, 16_000) };
        assert_eq!(CAPACITY.of_node(&drained), 0);
        assert_eq!(Capacity { per_node: Some(3), ..CAPACITY }.of_node(&node("a", 1, 100)), 3);
    }

    #[test]
    fn what_others_have_is_not_promised_again() {
        let of = |others: OthersOnNode| CAPACITY.of_node(&SwarmNode { others, ..node("a", 4, 16 * 1024) });
        let none = OthersOnNode::default();
        assert_eq!(of(none), 8);
        assert_eq!(of(OthersOnNode { milli_cpus: 1500, ..none }), 5);
        assert_eq!(of(OthersOnNode { memory_bytes: 9 << 30, ..none }), 4);
        assert_eq!(of(OthersOnNode { submissions: 3, ..none }), 5);
        // One attempt at a time is always possible. The Swarm refuses apps that do not fit.
        assert_eq!(of(OthersOnNode { memory_bytes: 99 << 30, milli_cpus: 9000, submissions: 9 }), 1);
        let others = OthersOnNode { submissions: 2, ..none };
        let fixed = Capacity { per_node: Some(3), ..CAPACITY };
        assert_eq!(fixed.of_node(&SwarmNode { others, ..node("a", 4, 16_000) }), 3);
    }

    #[test]
    fn slots_are_made_until_there_are_enough() {
        let nodes = [node("a", 1, 16_000), node("b", 1, 16_000)];
        let capacity = Capacity { per_node: Some(1), ..CAPACITY };
        let mut table = SlotTable::default();
        let missing = |table: &SlotTable| -> Vec<String> {
            capacity.missing(&nodes, table).into_iter().map(|node| node.name).collect()
        };
        assert_eq!(missing(&table), ["a", "a", "a", "b", "b", "b"]);
        let node = NodeId::new("a");
        table.set("1", &node, SlotState::Busy);
        table.set("2", &node, SlotState::Preparing);
        assert_eq!(missing(&table), ["a", "b", "b", "b"]);
        // A cooling slot cannot be used yet, but becomes ready again.
        table.set("1", &node, SlotState::Cooling);
        assert_eq!(missing(&table), ["a", "a", "b", "b", "b"]);
        for number in 3..13 {
            table.set(&number.to_string(), &node, SlotState::Cooling);
        }
        assert_eq!(missing(&table), ["b", "b", "b"]);
    }

    #[test]
    fn spare_slots_are_few_however_many_are_in_use() {
        let nodes = [node("a", 1, 16_000)];
        let capacity = Capacity { per_node: Some(16), ..CAPACITY };
        let mut table = SlotTable::default();
        assert_eq!(capacity.missing(&nodes, &table).len(), 18);
        for number in 0..18 {
            table.set(&number.to_string(), &nodes[0].id, SlotState::Busy);
        }
        assert!(capacity.missing(&nodes, &table).is_empty());
    }
}
