//! The fair order of those who wait: every owner's first, then every owner's
//! second, and so on; within a round, who came first.

use std::collections::{HashMap, VecDeque};

use event_store::Position;

/// Who waits. A place in the queue is named by the position of the event that
/// gave it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Each owner's places, oldest first.
    owners: HashMap<String, VecDeque<Position>>,
    /// Round `k` has every owner's `k`-th place, sorted.
    rounds: Vec<VecDeque<Position>>,
    len: usize,
}

impl Queue {
    pub(crate) fn enter(&mut self, owner: &str, place: Position) {
        let places = self.owners.entry(owner.to_owned()).or_default();
        let Err(index) = places.binary_search(&place) else { return };
        // Those behind it move one round back, the last first.
        for (round, later) in places.iter().enumerate().skip(index).rev() {
            exchange(&mut self.rounds, round, Some(*later), None);
            exchange(&mut self.rounds, round + 1, None, Some(*later));
        }
        places.insert(index, place);
        exchange(&mut self.rounds, index, None, Some(place));
        self.len += 1;
    }

    pub(crate) fn leave(&mut self, owner: &str, place: Position) {
        let Some(places) = self.owners.get_mut(owner) else { return };
        let Ok(index) = places.binary_search(&place) else { return };
        places.remove(index);
        exchange(&mut self.rounds, index, Some(place), None);
        for (round, later) in places.iter().enumerate().skip(index) {
            exchange(&mut self.rounds, round + 1, Some(*later), None);
            exchange(&mut self.rounds, round, None, Some(*later));
        }
        if places.is_empty() {
            self.owners.remove(owner);
        }
        while self.rounds.last().is_some_and(VecDeque::is_empty) {
            self.rounds.pop();
        }
        self.len -= 1;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many come before this place; `None` when nobody has it.
    pub(crate) fn ahead(&self, owner: &str, place: Position) -> Option<usize> {
        let round = self.owners.get(owner)?.binary_search(&place).ok()?;
        let earlier: usize = self.rounds[..round].iter().map(VecDeque::len).sum();
        Some(earlier + self.rounds[round].partition_point(|other| *other < place))
    }
}

fn exchange(
    rounds: &mut Vec<VecDeque<Position>>,
    round: usize,
    out: Option<Position>,
    into: Option<Position>,
) {
    if rounds.len() == round {
        rounds.push(VecDeque::new());
    }
    let places = &mut rounds[round];
    if let Some(Ok(index)) = out.map(|place| places.binary_search(&place)) {
        places.remove(index);
    }
    if let Some(place) = into {
        let index = places.partition_point(|other| *other < place);
        places.insert(index, place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(queue: &Queue, waiting: &[(&str, u64)]) -> Vec<usize> {
        waiting.iter().map(|(owner, place)| queue.ahead(owner, Position(*place)).unwrap()).collect()
    }

    #[test]
    fn who_hands_in_many_does_not_hold_up_the_others() {
        let mut queue = Queue::default();
        let waiting = [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)];
        for (owner, place) in waiting {
            queue.enter(owner, Position(place));
        }
        assert_eq!(order(&queue, &waiting), [0, 3, 5, 1, 2, 4]);
        queue.leave("a", Position(1));
        assert_eq!(order(&queue, &waiting[1..]), [0, 3, 1, 2, 4]);
        assert_eq!(queue.ahead("a", Position(1)), None);
    }

    proptest! {
        #[test]
        fn it_is_the_order_of_rounds_whatever_came_and_went(
            steps in proptest::collection::vec((any::<bool>(), 0..4usize, 0..20u64), 0..120)
        ) {
            let owners = ["a", "b", "c", "d"];
            let mut queue = Queue::default();
            let mut waiting: Vec<(usize, u64)> = vec![];
            for (enters, owner, place) in steps {
                // A position belongs to one event, and so to one owner.
                let place = place * 4 + owner as u64;
                waiting.retain(|other| *other != (owner, place));
                if enters {
                    queue.enter(owners[owner], Position(place));
                    waiting.push((owner, place));
                } else {
                    queue.leave(owners[owner], Position(place));
                }
            }
            waiting.sort_by_key(|(_, place)| *place);
            let mut seen = [0; 4];
            let mut expected: Vec<(usize, u64, usize)> = waiting
                .iter()
                .map(|(owner, place)| { seen[*owner] += 1; (seen[*owner], *place, *owner) })
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(queue.len(), expected.len());
            for (ahead, (_, place, owner)) in expected.into_iter().enumerate() {
                prop_assert_eq!(queue.ahead(owners[owner], Position(place)), Some(ahead));
            }
        }
    }
}
