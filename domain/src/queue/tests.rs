//! Tests of the queue.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::submission::{RejudgeRequested, Submitted};
use crate::testing::{act, submitted_by};

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
fn the_owners_in_one_lane_take_one_turn_and_a_rejudge_waits_in_the_lane() {
    let submitted = |owner: &str, lane: Option<&str>| {
        Event::Submitted(Submitted { lane: lane.map(Into::into), ..submitted_by(owner) })
    };
    let again = Event::RejudgeRequested(RejudgeRequested { act: act("w"), rules: None });
    let mut queue = FairQueue::default();
    for (place, owner, lane) in [
        (1, "x", Some("lane")),
        (2, "y", Some("lane")),
        (3, "z", Some("lane")),
        (4, "x", None),
        (5, "b", None),
    ] {
        queue.apply(submission(place), place, &submitted(owner, lane));
    }
    assert_eq!(numbers(&take_all(queue.clone(), 5)), [1, 4, 5, 2, 3]);
    queue.apply(submission(1), 6, &again);
    assert_eq!(numbers(&take_all(queue, 6)), [2, 4, 5, 3, 1]);
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
    assert!(queue.entries.is_empty() && queue.lines.is_empty() && queue.ready.is_empty());
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
/// The same queue without an index.
#[derive(Default)]
struct SimpleQueue {
    /// The owner, the place and the state of each submission.
    entries: BTreeMap<SubmissionId, (u64, u64, SimpleState)>,
    last_claims: BTreeMap<u64, u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum SimpleState {
    Ready,
    Parked,
    UnderWay,
}

impl SimpleQueue {
    fn candidates(&self) -> Vec<SubmissionId> {
        let of = |owner| self.entries.iter().filter(move |(_, entry)| entry.0 == owner);
        let mut owners: Vec<(u64, u64)> = (0..3)
            .filter(|owner| of(*owner).all(|(_, entry)| entry.2 != SimpleState::UnderWay))
            .filter_map(|owner| {
                let oldest = of(owner).map(|(_, entry)| entry.1).min()?;
                let last_claim = self.last_claims.get(&owner).copied().unwrap_or_default();
                Some((oldest.max(last_claim), owner))
            })
            .collect();
        owners.sort_unstable();
        let mut candidates = vec![];
        for (_, owner) in owners {
            let mut line: Vec<(u64, SubmissionId)> = of(owner)
                .filter(|(_, entry)| entry.2 == SimpleState::Ready)
                .map(|(id, entry)| (entry.1, *id))
                .collect();
            line.sort_unstable();
            candidates.extend(line.into_iter().map(|(_, id)| id));
        }
        candidates
    }

    fn set(&mut self, id: SubmissionId, from: &[SimpleState], to: SimpleState) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| from.contains(&entry.2)) {
            entry.2 = to;
        }
    }
}

proptest! {
    #[test]
    fn the_candidates_are_those_of_a_queue_without_an_index(
        steps in prop::collection::vec((0..8_u8, 0..60_u64), 0..300),
    ) {
        use SimpleState::{Parked, Ready, UnderWay};
        let (mut queue, mut simple) = (FairQueue::default(), SimpleQueue::default());
        for ((step, number), position) in steps.into_iter().zip(1..) {
            let (owner, id) = (number % 3, submission(number));
            match step {
                0..=2 if !queue.contains(id) => {
                    queue.enqueue(id, &format!("owner{owner}"), position);
                    simple.entries.insert(id, (owner, position, Ready));
                }
                3 if queue.contains(id) => {
                    queue.claim(id, position);
                    simple.set(id, &[Ready, Parked], UnderWay);
                    simple.last_claims.insert(owner, position);
                }
                4 => {
                    queue.requeue(id);
                    simple.set(id, &[UnderWay, Parked], Ready);
                }
                5 => {
                    queue.park(id);
                    simple.set(id, &[Ready], Parked);
                }
                6 => {
                    queue.unpark(id);
                    simple.set(id, &[Parked], Ready);
                }
                _ => {
                    queue.remove(id);
                    simple.entries.remove(&id);
                }
            }
            prop_assert_eq!(queue.candidates().collect::<Vec<_>>(), simple.candidates());
        }
        // Every submission is shown the number of those that are taken before it, in deep rounds as well.
        let mut shown = queue.clone();
        (0..60).map(submission).for_each(|id| shown.unpark(id));
        for id in (0..60).map(submission) {
            if shown.ahead_of(id).is_none() {
                shown.remove(id);
            }
        }
        let taken = take_all(shown, 1000);
        for (ahead, id) in taken.into_iter().enumerate() {
            prop_assert_eq!(queue.ahead_of(id), Some(ahead));
        }
    }
}
