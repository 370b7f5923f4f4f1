//! The fair order in which waiting submissions are verified. The verifier takes submissions in this order, and the views
//! show participants their place in it.
//!
//! Owners take turns. The turn of an owner is the log position at which the owner last went to the back: the position of
//! its last claim, or of the event that queued its oldest waiting submission, whichever is later. The owner with the
//! smallest turn is next. Its oldest submission that is ready is taken, unless another of its submissions is under way. A new owner
//! therefore queues behind those who wait already, and nobody gets ahead by submitting more.
//!
//! With a1 a2 a3 b4 c5 b6 queued and a1 claimed, the order is b4, c5, a2, b6, a3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::submission::{Event, SubmissionId};

/// The submissions without a verdict, in the fair order. Positions are those of the event log.
#[derive(Debug, Clone, Default)]
pub struct FairQueue {
    entries: HashMap<SubmissionId, QueueEntry>,
    lines: HashMap<OwnerName, OwnerLine>,
    /// The number of waiting submissions of each owner that has any, by the owner's turn.
    turns: BTreeMap<(u64, OwnerName), usize>,
    /// The number of owners that have more than `k` waiting submissions, by `k`.
    rounds: Vec<usize>,
    waiting: usize,
}

type OwnerName = Arc<str>;

#[derive(Debug, Clone)]
struct QueueEntry {
    owner: OwnerName,
    /// The position of the event that queued the submission. An interruption does not change it.
    place: u64,
}

#[derive(Debug, Clone, Default)]
struct OwnerLine {
    /// 0 if no submission in this line was ever claimed.
    last_claim: u64,
    waiting: BTreeMap<u64, SubmissionId>,
    under_way: BTreeSet<SubmissionId>,
}

impl FairQueue {
    /// Applies one event of the log. A rejudge of a submission that the queue does not know changes nothing: the event
    /// does not name the owner, so the caller uses [`enqueue`](Self::enqueue).
    pub fn apply(&mut self, id: SubmissionId, position: u64, event: &Event) {
        match event {
            Event::Submitted(submitted) => {
                if !self.contains(id) {
                    self.enqueue(id, &submitted.owner, position);
                }
            }
            Event::RejudgeRequested(_) => {
                if let Some(owner) = self.entries.get(&id).map(|entry| Arc::clone(&entry.owner)) {
                    self.enqueue(id, &owner, position);
                }
            }
            Event::VerificationStarted(_) => self.claim(id, position),
            Event::VerificationInterrupted(_) => self.requeue(id),
            Event::Passed(_) | Event::Failed(_) | Event::Withdrawn(_) => self.remove(id),
            Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::Hidden(_)
            | Event::Shown(_) => {}
        }
    }

    /// Lets a submission wait at `place`, the position of the event that queued it.
    pub fn enqueue(&mut self, id: SubmissionId, owner: &str, place: u64) {
        let old_place = self.entries.get(&id).map(|entry| entry.place);
        let known = self.lines.get_key_value(owner).map(|(owner, _)| Arc::clone(owner));
        let owner = known.unwrap_or_else(|| owner.into());
        // In one change, so that the owner's last claim is not forgotten in between.
        self.update_line(&owner, |line| {
            line.under_way.remove(&id);
            if let Some(old_place) = old_place {
                line.waiting.remove(&old_place);
            }
            line.waiting.insert(place, id);
        });
        self.entries.insert(id, QueueEntry { owner, place });
    }

    /// Marks a submission as under way, and sends its owner to the back.
    pub fn claim(&mut self, id: SubmissionId, position: u64) {
        self.update_entry(id, |line, place| {
            line.last_claim = line.last_claim.max(position);
            line.waiting.remove(&place);
            line.under_way.insert(id);
        });
    }

    /// Marks a submission as under way before the log has its claim. The owner keeps its turn.
    pub fn hold(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.waiting.remove(&place);
            line.under_way.insert(id);
        });
    }

    /// Lets a submission that was under way wait again at its old place.
    pub fn requeue(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.under_way.remove(&id);
            line.waiting.insert(place, id);
        });
    }

    /// Removes a submission that has its verdict or was withdrawn.
    pub fn remove(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.under_way.remove(&id);
            line.waiting.remove(&place);
        });
        self.entries.remove(&id);
    }

    /// Records a claim of a submission that is not in the queue, for an owner with others that are.
    pub fn record_claim(&mut self, owner: &str, position: u64) {
        if let Some((owner, _)) = self.lines.get_key_value(owner) {
            let owner = Arc::clone(owner);
            self.update_line(&owner, |line| line.last_claim = line.last_claim.max(position));
        }
    }

    /// Returns true if the submission waits or is under way.
    pub fn contains(&self, id: SubmissionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns the number of waiting submissions.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the submissions that may be taken now, the preferred ones first: those of the owners with none under way.
    pub fn candidates(&self) -> impl Iterator<Item = SubmissionId> {
        let lines = self.turns.keys().filter_map(|(_, owner)| self.lines.get(owner));
        lines.filter(|line| line.under_way.is_empty()).flat_map(|line| line.waiting.values().copied())
    }

    /// Returns the number of submissions that will be taken before this one if each is ready at its turn and the attempts
    /// under way end before. Returns `None` if it does not wait. After each
    /// taking the owner goes to the back, so before its `k`-th submission every other owner has had `k` turns, or `k + 1`
    /// if its turn is earlier, or as many as it has submissions. The cost is linear in the owners with earlier turns.
    pub fn ahead_of(&self, id: SubmissionId) -> Option<usize> {
        let entry = self.entries.get(&id)?;
        let line = self.lines.get(&entry.owner)?;
        line.waiting.get(&entry.place)?;
        let round = line.waiting.range(..entry.place).count();
        let in_rounds_before: usize = self.rounds.iter().take(round).sum();
        let earlier = self.turns.range(..(line.turn()?, Arc::clone(&entry.owner)));
        Some(in_rounds_before + earlier.filter(|(_, waiting)| **waiting > round).count())
    }

    fn update_entry(&mut self, id: SubmissionId, change: impl FnOnce(&mut OwnerLine, u64)) {
        if let Some(QueueEntry { owner, place }) = self.entries.get(&id).cloned() {
            self.update_line(&owner, |line| change(line, place));
        }
    }

    /// Changes a line, and brings the turns and rounds up to date.
    fn update_line(&mut self, owner: &OwnerName, change: impl FnOnce(&mut OwnerLine)) {
        let line = self.lines.entry(Arc::clone(owner)).or_default();
        let (turn_before, before) = (line.turn(), line.waiting.len());
        change(line);
        let (turn, after) = (line.turn(), line.waiting.len());
        if line.waiting.is_empty() && line.under_way.is_empty() {
            // The claim may be forgotten: events to come have later positions.
            self.lines.remove(owner);
        }
        if let Some(turn) = turn_before {
            self.turns.remove(&(turn, Arc::clone(owner)));
        }
        if let Some(turn) = turn {
            self.turns.insert((turn, Arc::clone(owner)), after);
        }
        if self.rounds.len() < after {
            self.rounds.resize(after, 0);
        }
        self.rounds[before.min(after)..after].iter_mut().for_each(|owners| *owners += 1);
        self.rounds[after.min(before)..before].iter_mut().for_each(|owners| *owners -= 1);
        while self.rounds.last() == Some(&0) {
            self.rounds.pop();
        }
        self.waiting = self.waiting + after - before;
    }
}

impl OwnerLine {
    fn turn(&self) -> Option<u64> {
        let (oldest, _) = self.waiting.first_key_value()?;
        Some(self.last_claim.max(*oldest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn submission(id: u64) -> SubmissionId {
        SubmissionId(Uuid::from_u64_pair(0, id))
    }

    /// Takes all that wait, each of which ends before the next is taken.
    fn take_all(mut queue: FairQueue, mut position: u64) -> Vec<SubmissionId> {
        let mut taken = vec![];
        loop {
            let next = queue.candidates().next();
            let Some(id) = next else { return taken };
            position += 1;
            queue.claim(id, position);
            queue.remove(id);
            taken.push(id);
        }
    }

    fn numbers(taken: &[SubmissionId]) -> Vec<u64> {
        taken.iter().map(|id| id.0.as_u64_pair().1).collect()
    }

    #[test]
    fn owners_take_turns_and_a_claim_sends_to_the_back() {
        let mut queue = FairQueue::default();
        for (owner, place) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            queue.enqueue(submission(place), owner, place);
        }
        assert_eq!(numbers(&take_all(queue.clone(), 6)), [1, 4, 5, 2, 6, 3]);
        queue.claim(submission(1), 7);
        assert_eq!(queue.ahead_of(submission(1)), None);
        assert_eq!([4, 5, 2, 6, 3].map(|id| queue.ahead_of(submission(id))), [0, 1, 2, 3, 4].map(Some));
        assert_eq!(numbers(&queue.candidates().collect::<Vec<_>>()), [4, 6, 5], "one of a is under way");
        queue.remove(submission(1));
        assert_eq!(numbers(&take_all(queue, 8)), [4, 5, 2, 6, 3]);
    }

    #[test]
    fn an_interrupted_submission_is_the_first_of_its_owner_but_the_turn_is_spent() {
        let mut queue = FairQueue::default();
        for (owner, place) in [("a", 1), ("a", 2), ("b", 3)] {
            queue.enqueue(submission(place), owner, place);
        }
        queue.claim(submission(1), 4);
        let mut by_place = queue.clone();
        queue.requeue(submission(1));
        assert_eq!(numbers(&take_all(queue, 5)), [3, 1, 2]);
        by_place.remove(submission(2));
        by_place.enqueue(submission(1), "a", 1);
        assert_eq!(numbers(&take_all(by_place, 5)), [3, 1]);
    }

    #[test]
    fn a_submission_that_is_held_and_put_back_costs_no_turn() {
        let mut queue = FairQueue::default();
        for (owner, place) in [("a", 1), ("b", 2)] {
            queue.enqueue(submission(place), owner, place);
        }
        queue.hold(submission(1));
        assert_eq!(numbers(&queue.candidates().collect::<Vec<_>>()), [2]);
        queue.requeue(submission(1));
        assert_eq!(numbers(&take_all(queue, 3)), [1, 2]);
    }

    #[test]
    fn nothing_is_kept_of_submissions_with_a_verdict() {
        let mut queue = FairQueue::default();
        queue.enqueue(submission(1), "a", 1);
        queue.claim(submission(1), 2);
        queue.remove(submission(1));
        assert!(queue.entries.is_empty() && queue.lines.is_empty() && queue.turns.is_empty());
        assert!(queue.rounds.is_empty() && queue.waiting() == 0);
    }

    proptest! {
        #[test]
        fn the_place_shown_is_the_place_taken(
            steps in prop::collection::vec((0..5_u8, 0..16_u64), 0..200),
        ) {
            let mut queue = FairQueue::default();
            let mut under_way = BTreeSet::new();
            let mut position = 0;
            for (step, id) in steps {
                position += 1;
                let owner = format!("owner{}", id % 4);
                let id = submission(id);
                match step {
                    0 | 1 => {
                        if !queue.contains(id) {
                            queue.enqueue(id, &owner, position);
                        }
                    }
                    2 => {
                        if queue.contains(id) {
                            queue.claim(id, position);
                            under_way.insert(id);
                        }
                    }
                    3 => {
                        queue.requeue(id);
                        under_way.remove(&id);
                    }
                    _ => {
                        queue.remove(id);
                        under_way.remove(&id);
                    }
                }
            }
            let ids = || (0..16).map(submission);
            let shown: BTreeMap<SubmissionId, usize> =
                ids().filter_map(|id| Some((id, queue.ahead_of(id)?))).collect();
            prop_assert_eq!(shown.len(), queue.waiting());
            // Attempts under way end before their owners' next turns.
            under_way.iter().for_each(|id| queue.remove(*id));
            let taken = take_all(queue, position);
            prop_assert_eq!(taken.len(), shown.len());
            for (ahead, id) in taken.into_iter().enumerate() {
                prop_assert_eq!(shown.get(&id), Some(&ahead));
            }
        }
    }
}
