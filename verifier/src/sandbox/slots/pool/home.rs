//! The choice of a node for a submission that has no slot yet.

use std::cmp::Reverse;

use domain::sandbox::SandboxGrade;

use super::{NodeId, SlotPool, SlotState, SwarmNode};

impl SlotPool {
    /// Promises a node to a submission, see `home.rs` of the slots.
    pub(in super::super) fn choose_home(
        &mut self,
        avoid: Option<&NodeId>,
        grade: Option<SandboxGrade>,
        weight: impl Fn(&NodeId) -> u64,
    ) -> Option<NodeId> {
        if !self.reachable {
            return None;
        }
        let value = |node: &SwarmNode| {
            let of_node = self
                .registry
                .grade_of(&node.id)
                .filter(|of_node| grade.is_none_or(|grade| *of_node >= grade))?;
            let capacity = self.capacity.of_node(node);
            let homes = self.homes.get(&node.id).copied().unwrap_or_default();
            let promised = self.table.count(&node.id, SlotState::Busy) + homes;
            let is_usual = avoid != Some(&node.id) && !self.is_doubted(node);
            (capacity > 0)
                .then(|| (is_usual, promised < capacity, of_node, weight(&node.id), Reverse(promised)))
        };
        let candidates = self.nodes.iter().filter_map(|node| Some((value(node)?, &node.id)));
        let (_, node) = candidates.max_by_key(|(value, _)| *value)?;
        let node = node.clone();
        *self.homes.entry(node.clone()).or_default() += 1;
        Some(node)
    }

    /// Takes a promise back.
    pub(in super::super) fn leave_home(&mut self, node: &NodeId) {
        if let Some(count) = self.homes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.homes.remove(node);
            }
        }
    }

    pub(in super::super) fn is_home_ready(&self, home: &NodeId) -> bool {
        let gets_work = self
            .nodes
            .iter()
            .any(|node| node.id == *home && self.capacity.of_node(node) > 0 && !self.is_doubted(node));
        let next = self.pick_first(None, Some(home)).map(|index| &self.ready[index].node.id);
        !gets_work || next == Some(home)
    }
}
