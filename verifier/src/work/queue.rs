//! The to-do list: who waits, who is being verified, and who is next. Fed with
//! the log, it holds nothing that the log does not say, but for what this
//! verifier has just taken in hand.
//!
//! The order is fair to owners: they take turns, each has one submission under
//! way at a time, and within an owner the oldest is first. So nobody gets ahead
//! by submitting more.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use domain::{Event, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How long a submission that waits for the platform to be well waits at least.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// How often one of them is tried while nothing says that the platform is well.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Every submission that has no verdict.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: HashMap<SubmissionId, Entry>,
    lines: HashMap<Owner, Line>,
    /// Owners with waiting submissions, whose turn comes first at the front.
    turns: VecDeque<Owner>,
    /// How many verdicts were reached: each says that the platform is well.
    verdicts: u64,
    /// When one was last tried without that.
    probed_at: Option<Timestamp>,
}

/// An event's place in the log, as far as the queue cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRef {
    /// The event.
    pub(crate) event: Uuid,
    /// Its place in the log.
    pub(crate) position: Position,
    /// When it was recorded.
    pub(crate) at: Timestamp,
}

/// Leave to claim a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Which.
    pub(crate) id: SubmissionId,
    /// The event that made it wait.
    pub(crate) cause: Uuid,
}

/// A claim that holds, or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldClaim {
    /// On which submission.
    pub(crate) id: SubmissionId,
    /// The event of the claim.
    pub(crate) cause: Uuid,
    /// Its attempt.
    pub(crate) attempt: u32,
    /// Who holds it.
    pub(crate) verifier: String,
    /// After this moment it is void.
    pub(crate) deadline: Timestamp,
}

type Owner = Arc<str>;

#[derive(Debug)]
struct Entry {
    owner: Owner,
    /// Where it stands in its owner's line: when it was asked for.
    place: Position,
    /// The event that led to its stage.
    cause: Uuid,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Waiting(Ready),
    /// In this verifier's hand, which is about to claim it.
    Taken,
    Claimed {
        attempt: u32,
        verifier: String,
        deadline: Timestamp,
    },
}

#[derive(Debug, Clone, Copy)]
enum Ready {
    From(Timestamp),
    /// Once a verdict beyond so many was reached, and not before the moment.
    WhenWell {
        verdicts: u64,
        not_before: Timestamp,
    },
}

/// One owner's submissions.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Position, SubmissionId>,
    busy: BTreeSet<SubmissionId>,
    has_turn: bool,
}

impl Queue {
    /// Takes note of what happened to a submission. Events of submissions that
    /// the queue does not know, for they have their verdict, change nothing.
    pub(crate) fn apply(&mut self, id: SubmissionId, noted: EventRef, event: &Event) {
        match event {
            Event::Submitted(submitted) => {
                if !self.entries.contains_key(&id) {
                    let owner = self.owner(&submitted.owner);
                    let stage = Stage::Waiting(Ready::From(Timestamp::MIN));
                    let entry = Entry { owner, place: noted.position, cause: noted.event, stage };
                    self.insert(id, entry);
                }
            }
            Event::RejudgeRequested(_) => {
                self.update(id, noted, |entry| {
                    entry.place = noted.position;
                    entry.stage = Stage::Waiting(Ready::From(Timestamp::MIN));
                });
            }
            Event::VerificationStarted(started) => self.update(id, noted, |entry| {
                entry.stage = Stage::Claimed {
                    attempt: started.attempt,
                    verifier: started.verifier.clone(),
                    deadline: started.deadline,
                };
            }),
            Event::VerificationInterrupted(interrupted) => {
                let ready = match interrupted.retry_at {
                    Some(moment) => Ready::From(moment),
                    None => Ready::WhenWell { verdicts: self.verdicts, not_before: later(noted.at, REST) },
                };
                self.update(id, noted, |entry| entry.stage = Stage::Waiting(ready));
            }
            Event::Passed(_) | Event::Failed(_) => {
                self.verdicts += 1;
                self.remove(id);
            }
            Event::ImagesPulled(_) | Event::ContainersStarted(_) | Event::Probed(_) => {}
        }
    }

    /// Whether the submission waits or is being verified.
    pub(crate) fn knows(&self, id: SubmissionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Whose turn it is. What is taken is in hand until the log says what
    /// became of it, or [`Queue::put_back`] does.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Ticket> {
        let mut probe = self.probed_at.is_none_or(|last| later(last, PROBE_EVERY) <= now);
        for _ in 0..self.turns.len() {
            let owner = self.turns.pop_front()?;
            let Some(line) = self.lines.get_mut(&owner) else { continue };
            if line.waiting.is_empty() {
                line.has_turn = false;
                self.forget_if_empty(&owner);
                continue;
            }
            self.turns.push_back(Arc::clone(&owner));
            let line = &self.lines[&owner];
            if !line.busy.is_empty() {
                continue;
            }
            for id in line.waiting.values() {
                let Some(Stage::Waiting(ready)) = self.entries.get(id).map(|entry| &entry.stage) else {
                    continue;
                };
                let is_probe = match ready {
                    Ready::From(moment) if *moment <= now => false,
                    Ready::WhenWell { verdicts, not_before } if *not_before <= now => {
                        let well = *verdicts < self.verdicts;
                        if !well && !std::mem::take(&mut probe) {
                            continue;
                        }
                        !well
                    }
                    _ => continue,
                };
                if is_probe {
                    self.probed_at = Some(now);
                }
                let id = *id;
                return Some(Ticket { id, cause: self.hand_out(id) });
            }
        }
        None
    }

    /// Puts back what was taken and could not be claimed; it is not given out
    /// again before `not_before`, by when the log has said why.
    pub(crate) fn put_back(&mut self, id: SubmissionId, not_before: Timestamp) {
        if let Some(mut entry) = self.remove_if(id, |entry| matches!(entry.stage, Stage::Taken)) {
            entry.stage = Stage::Waiting(Ready::From(not_before));
            self.insert(id, entry);
        }
    }

    /// The claims for which `wanted` holds.
    pub(crate) fn claims(&self, wanted: impl Fn(&HeldClaim) -> bool) -> Vec<HeldClaim> {
        let held = self.entries.iter().filter_map(|(id, entry)| match &entry.stage {
            Stage::Claimed { attempt, verifier, deadline } => Some(HeldClaim {
                id: *id,
                cause: entry.cause,
                attempt: *attempt,
                verifier: verifier.clone(),
                deadline: *deadline,
            }),
            Stage::Waiting(_) | Stage::Taken => None,
        });
        held.filter(wanted).collect()
    }

    /// Moves an entry into this verifier's hand; the event that made it wait.
    fn hand_out(&mut self, id: SubmissionId) -> Uuid {
        let mut entry = self.remove_if(id, |_| true).expect("it was found in its owner's line");
        let cause = entry.cause;
        entry.stage = Stage::Taken;
        self.insert(id, entry);
        cause
    }

    fn update(&mut self, id: SubmissionId, noted: EventRef, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.remove_if(id, |_| true) {
            entry.cause = noted.event;
            change(&mut entry);
            self.insert(id, entry);
        }
    }

    fn insert(&mut self, id: SubmissionId, entry: Entry) {
        let line = self.lines.entry(Arc::clone(&entry.owner)).or_default();
        match entry.stage {
            Stage::Waiting(_) => {
                line.waiting.insert(entry.place, id);
                if !std::mem::replace(&mut line.has_turn, true) {
                    self.turns.push_back(Arc::clone(&entry.owner));
                }
            }
            Stage::Taken | Stage::Claimed { .. } => {
                line.busy.insert(id);
            }
        }
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: SubmissionId) {
        if let Some(entry) = self.remove_if(id, |_| true) {
            self.forget_if_empty(&entry.owner);
        }
    }

    fn remove_if(&mut self, id: SubmissionId, wanted: impl FnOnce(&Entry) -> bool) -> Option<Entry> {
        if !wanted(self.entries.get(&id)?) {
            return None;
        }
        let entry = self.entries.remove(&id)?;
        if let Some(line) = self.lines.get_mut(&entry.owner) {
            line.waiting.remove(&entry.place);
            line.busy.remove(&id);
        }
        Some(entry)
    }

    /// Lets go of an owner who has nothing here. One who still has a turn is
    /// let go of when it comes.
    fn forget_if_empty(&mut self, owner: &Owner) {
        let is_empty = |line: &Line| line.waiting.is_empty() && line.busy.is_empty() && !line.has_turn;
        if self.lines.get(owner).is_some_and(is_empty) {
            self.lines.remove(owner);
        }
    }

    fn owner(&self, name: &str) -> Owner {
        self.lines.get_key_value(name).map_or_else(|| name.into(), |(owner, _)| Arc::clone(owner))
    }
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
