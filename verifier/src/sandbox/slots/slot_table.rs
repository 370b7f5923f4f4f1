//! How many slots there are to be, and on which nodes: arithmetic, apart from
//! the Swarm.

use std::collections::HashMap;

use crate::health::NodeState;
use crate::swarm::SwarmNode;

/// Slots in use or ready beyond the submissions that may be under way. A slot is
/// used for half a second and cools for three or four, so the next submission
/// wants another one. Making one costs its engine more than verifying does, so no
/// more are made than are missed.
const SPARE: usize = 2;
/// So many are there at most, with those that cool: for each submission that may
/// be under way, and besides.
const ALL: (usize, usize) = (4, 8);
/// Containers of one node that are under way at a time, per processor.
const PER_CPU: u64 = 2;
const PER_NODE_MAX: usize = 16;

/// How many submissions may be under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// On each node; `None` follows its processors and its memory.
    pub(crate) per_node: Option<usize>,
    /// What one submission may use at most, MiB.
    pub(crate) memory_mib: u64,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    Preparing,
    Ready,
    Busy,
    Cooling,
    Retiring,
    /// Not for submissions: the node is being looked at.
    Inspecting,
}

/// Every slot there is: its node, and what it is doing.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    slots: HashMap<String, (String, SlotState)>,
}

impl Capacity {
    /// On one node: at least one, once it is ready.
    pub(super) fn of_node(&self, node: &SwarmNode) -> usize {
        if node.state != NodeState::Ready {
            return 0;
        }
        self.per_node.unwrap_or_else(|| {
            let by_cpus = node.milli_cpus * PER_CPU / 1000;
            let by_memory = node.memory_mib / self.memory_mib.max(1);
            usize::try_from(by_cpus.min(by_memory)).unwrap_or(PER_NODE_MAX).clamp(1, PER_NODE_MAX)
        })
    }

    /// A node for each slot that is missing. Slots that cool come back, so a few
    /// are made beside them, but not for ever.
    pub(super) fn missing(&self, nodes: &[SwarmNode], census: &SlotTable) -> Vec<SwarmNode> {
        let missing_on = |node: &SwarmNode| {
            let of = |stage| census.count(&node.id, stage);
            let wanted = self.of_node(node);
            if wanted == 0 {
                return 0;
            }
            let usable = of(SlotState::Busy) + of(SlotState::Ready) + of(SlotState::Preparing);
            let all = usable + of(SlotState::Cooling) + of(SlotState::Retiring);
            let (each, more) = ALL;
            let room = (wanted * each + more).saturating_sub(all);
            (wanted + SPARE).saturating_sub(usable).min(room)
        };
        nodes.iter().flat_map(|node| std::iter::repeat_n(node.clone(), missing_on(node))).collect()
    }
}

impl SlotTable {
    pub(super) fn set(&mut self, slot: &str, node: &str, stage: SlotState) {
        self.slots.insert(slot.to_owned(), (node.to_owned(), stage));
    }

    pub(super) fn remove(&mut self, slot: &str) {
        self.slots.remove(slot);
    }

    pub(super) fn has(&self, slot: &str) -> bool {
        self.slots.contains_key(slot)
    }

    pub(super) fn count(&self, node: &str, stage: SlotState) -> usize {
        self.slots.values().filter(|(at, doing)| at == node && *doing == stage).count()
    }

    /// Slots that submissions are in, were in, or can be given.
    pub(super) fn usable(&self) -> usize {
        self.slots
            .values()
            .filter(|(_, doing)| matches!(doing, SlotState::Ready | SlotState::Busy | SlotState::Cooling))
            .count()
    }

    /// Slots that somebody holds.
    pub(super) fn in_use(&self) -> usize {
        self.slots.values().filter(|(_, doing)| *doing == SlotState::Busy).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, cpus: u64, memory_mib: u64) -> SwarmNode {
        SwarmNode {
            id: id.into(),
            name: id.into(),
            milli_cpus: cpus * 1000,
            memory_mib,
            state: NodeState::Ready,
            engine: String::new(),
            address: None,
        }
    }

    const CAPACITY: Capacity = Capacity { per_node: None, memory_mib: 768 };

    #[test]
    fn capacity_follows_processors_and_memory() {
        assert_eq!(CAPACITY.of_node(&node("a", 2, 16_000)), 4);
        assert_eq!(CAPACITY.of_node(&node("a", 8, 2_000)), 2);
        assert_eq!(CAPACITY.of_node(&node("a", 1, 100)), 1);
        assert_eq!(CAPACITY.of_node(&node("a", 64, 256_000)), PER_NODE_MAX);
        let drained = SwarmNode { state: NodeState::Drained, ..node("a", 2, 16_000) };
        assert_eq!(CAPACITY.of_node(&drained), 0);
        assert_eq!(Capacity { per_node: Some(3), ..CAPACITY }.of_node(&node("a", 1, 100)), 3);
    }

    #[test]
    fn slots_are_made_until_there_are_enough() {
        let nodes = [node("a", 1, 16_000), node("b", 1, 16_000)];
        let capacity = Capacity { per_node: Some(1), ..CAPACITY };
        let mut census = SlotTable::default();
        let missing = |census: &SlotTable| -> Vec<String> {
            capacity.missing(&nodes, census).into_iter().map(|node| node.id).collect()
        };
        assert_eq!(missing(&census), ["a", "a", "a", "b", "b", "b"]);
        census.set("1", "a", SlotState::Busy);
        census.set("2", "a", SlotState::Preparing);
        assert_eq!(missing(&census), ["a", "b", "b", "b"]);
        // What cools is no use to anybody yet, but comes back.
        census.set("1", "a", SlotState::Cooling);
        assert_eq!(missing(&census), ["a", "a", "b", "b", "b"]);
        for number in 3..13 {
            census.set(&number.to_string(), "a", SlotState::Cooling);
        }
        assert_eq!(missing(&census), ["b", "b", "b"]);
    }

    #[test]
    fn spare_slots_are_few_however_many_are_in_use() {
        let nodes = [node("a", 1, 16_000)];
        let capacity = Capacity { per_node: Some(16), ..CAPACITY };
        let mut census = SlotTable::default();
        assert_eq!(capacity.missing(&nodes, &census).len(), 18);
        for number in 0..18 {
            census.set(&number.to_string(), "a", SlotState::Busy);
        }
        assert!(capacity.missing(&nodes, &census).is_empty());
    }
}
