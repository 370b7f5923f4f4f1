//! The rounds of a fair queue: how many lines have a submission left for each round, and how many of them have an
//! earlier turn. Both are answered without a walk over the lines.

use std::collections::BTreeMap;

/// The number of rounds for which turns are ranked. Few lines have more submissions that wait.
const RANKED: usize = 16;

/// The largest number of turns in a bucket of a [`RankedTurns`].
const BUCKET: usize = 512;

/// The lines' turns by round. A line with `n` waiting submissions is in the rounds 0 to `n - 1`.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueRounds {
    ranked: [RankedTurns; RANKED],
    /// The number of waiting submissions of the lines that are in more rounds, by turn.
    deep: BTreeMap<u64, usize>,
}

impl QueueRounds {
    /// Adds a line with this turn and so many waiting submissions.
    pub(super) fn insert(&mut self, turn: u64, waiting: usize) {
        self.ranked.iter_mut().take(waiting).for_each(|round| round.insert(turn));
        if waiting > RANKED {
            self.deep.insert(turn, waiting);
        }
    }

    /// Removes a line that was inserted.
    pub(super) fn remove(&mut self, turn: u64, waiting: usize) {
        self.ranked.iter_mut().take(waiting).for_each(|round| round.remove(turn));
        if waiting > RANKED {
            self.deep.remove(&turn);
        }
    }

    /// Returns the number of submissions that come before the one of this turn in this round.
    pub(super) fn before(&self, turn: u64, round: usize) -> usize {
        let in_ranked: usize = self.ranked.iter().take(round).map(RankedTurns::len).sum();
        if let Some(ranked) = self.ranked.get(round) {
            return in_ranked + ranked.rank(turn);
        }
        let in_deep: usize = self.deep.values().map(|waiting| waiting.min(&round) - RANKED).sum();
        in_ranked + in_deep + self.deep.range(..turn).filter(|(_, waiting)| **waiting > round).count()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.deep.is_empty() && self.ranked.iter().all(|round| round.len() == 0)
    }
}

/// A sorted set of turns that knows the rank of each: buckets of bounded size, in order, none of them empty.
#[derive(Debug, Clone, Default)]
struct RankedTurns {
    buckets: Vec<Vec<u64>>,
    len: usize,
}

impl RankedTurns {
    fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of smaller turns.
    fn rank(&self, turn: u64) -> usize {
        let index = self.bucket_of(turn);
        let before: usize = self.buckets[..index].iter().map(Vec::len).sum();
        before + self.buckets.get(index).map_or(0, |bucket| bucket.partition_point(|other| *other < turn))
    }

    fn insert(&mut self, turn: u64) {
        let index = self.bucket_of(turn).min(self.buckets.len().saturating_sub(1));
        let Some(bucket) = self.buckets.get_mut(index) else {
            self.buckets.push(vec![turn]);
            self.len = 1;
            return;
        };
        if let Err(at) = bucket.binary_search(&turn) {
            bucket.insert(at, turn);
            self.len += 1;
        }
        if bucket.len() > BUCKET {
            let upper = bucket.split_off(BUCKET / 2);
            self.buckets.insert(index + 1, upper);
        }
    }

    fn remove(&mut self, turn: u64) {
        let index = self.bucket_of(turn);
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        let Ok(at) = bucket.binary_search(&turn) else { return };
        bucket.remove(at);
        self.len -= 1;
        // Small neighbours are joined, so that the number of buckets follows the number of turns.
        let left = bucket.len();
        if left == 0 {
            self.buckets.remove(index);
        } else if self.buckets.get(index + 1).is_some_and(|next| left + next.len() < BUCKET / 2) {
            let next = self.buckets.remove(index + 1);
            self.buckets[index].extend(next);
        }
    }

    /// Returns the index of the first bucket whose last turn is not smaller.
    fn bucket_of(&self, turn: u64) -> usize {
        self.buckets.partition_point(|bucket| bucket.last().is_some_and(|last| *last < turn))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranks_are_those_of_a_sorted_set(steps in prop::collection::vec((prop::bool::ANY, 0..3000_u64), 0..4000)) {
            let (mut ranked, mut simple) = (RankedTurns::default(), BTreeSet::new());
            // More than one bucket from the start.
            for turn in (0..3000).step_by(2) {
                ranked.insert(turn);
                simple.insert(turn);
            }
            for (inserts, turn) in steps {
                if inserts {
                    ranked.insert(turn);
                    simple.insert(turn);
                } else {
                    ranked.remove(turn);
                    simple.remove(&turn);
                }
            }
            prop_assert_eq!(ranked.len(), simple.len());
            for turn in (0..3000).step_by(97) {
                prop_assert_eq!(ranked.rank(turn), simple.range(..turn).count());
            }
            prop_assert!(ranked.buckets.iter().all(|bucket| (1..=BUCKET).contains(&bucket.len())));
        }
    }
}
