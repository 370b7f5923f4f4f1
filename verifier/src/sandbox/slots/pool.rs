//! The slots by what they are doing, and which of them is given out next.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::slot_table::{Capacity, SlotState, SlotTable};
use crate::sandbox::admission::NodeRegistry;
use crate::swarm::{SlotRelay, SwarmNode};

/// How long a node that seemed ill is left alone, if another is well. Without
/// this, one that fails at once would always have room, and take all.
const DOUBT: Duration = Duration::from_secs(30);

/// The slots, by what they are doing.
pub(super) struct SlotPool {
    pub(super) capacity: Capacity,
    /// The nodes, as a manager showed them last.
    pub(super) nodes: Vec<SwarmNode>,
    /// Which of them keep apps in bounds.
    pub(super) ledger: NodeRegistry,
    /// Whether a manager answered when they were last asked for.
    pub(super) reachable: bool,
    pub(super) census: SlotTable,
    pub(super) ready: Vec<Slot>,
    /// The nodes that seemed ill, and when.
    pub(super) doubted: HashMap<String, Instant>,
    /// The number of the next slot; `None` until what a dead predecessor left
    /// was swept away.
    pub(super) next: Option<u64>,
    /// Why the last slot could not be prepared.
    pub(super) trouble: Option<String>,
    pub(super) closed: bool,
}

/// A slot that is there.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) node: SwarmNode,
    pub(super) network: String,
    pub(super) relay: Box<dyn SlotRelay>,
    pub(super) uses: u32,
}

impl SlotPool {
    /// A ready slot on the node with the most room.
    pub(super) fn pick(&self, avoid: Option<&str>) -> Option<usize> {
        if !self.reachable {
            return None;
        }
        let is_doubted = |node: &SwarmNode| self.doubted.get(&node.id).is_some_and(|at| at.elapsed() < DOUBT);
        let mut usable = self.nodes.iter().filter(|node| self.capacity.of_node(node) > 0);
        let all_are_doubted = usable.all(is_doubted);
        let room = |slot: &Slot| {
            if !slot.relay.is_alive() || is_doubted(&slot.node) && !all_are_doubted {
                return None;
            }
            let node = self.nodes.iter().find(|node| node.id == slot.node.id)?;
            if !self.ledger.admits(&node.id) {
                return None;
            }
            let busy = self.census.count(&node.id, SlotState::Busy);
            self.capacity.of_node(node).checked_sub(busy).filter(|room| *room > 0)
        };
        let candidates =
            self.ready.iter().enumerate().filter_map(|(index, slot)| Some((index, slot, room(slot)?)));
        candidates
            .max_by_key(|(_, slot, room)| (avoid != Some(slot.node.id.as_str()), *room))
            .map(|(index, ..)| index)
    }

    /// Whether what runs on the node goes on.
    pub(super) fn keeps_running(&self, node: &str) -> bool {
        self.nodes.iter().any(|known| known.id == node && known.state.keeps_running())
    }

    /// Takes out the ready slots that can be used no more, with the reason.
    pub(super) fn take_useless(&mut self) -> Vec<(Slot, &'static str)> {
        let nodes = &self.nodes;
        let why = |slot: &Slot| {
            if !slot.relay.is_alive() {
                Some("its relay is gone")
            } else if !nodes.iter().any(|node| node.id == slot.node.id && node.state.keeps_running()) {
                Some("its node went away")
            } else {
                None
            }
        };
        let (useless, useful) =
            std::mem::take(&mut self.ready).into_iter().partition(|slot| why(slot).is_some());
        self.ready = useful;
        let useless: Vec<Slot> = useless;
        useless
            .into_iter()
            .map(|slot| (why(&slot), slot))
            .filter_map(|(why, slot)| Some((slot, why?)))
            .collect()
    }
}
