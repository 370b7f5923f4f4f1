//! The fair order in which waiting submissions are verified. The verifier takes submissions in this order, and the views
//! show participants their place in it.
//!
//! Lines take turns. A line is an owner's, or a lane that a submission names (`Submitted::line`): many owners at one client
//! address share a few lanes, so that nobody gains turns by inventing owners. The turn of a line is the log position at which it
//! last went to the back: the position of its last claim, or of the event that queued its oldest waiting submission, whichever is
//! later. The line with the smallest turn is next. Its oldest submission that is ready is taken, unless another of its submissions
//! is under way. A new line therefore queues behind those that wait already, and nobody gets ahead by submitting more.
//!
//! With a1 a2 a3 b4 c5 b6 queued and a1 claimed, the order is b4, c5, a2, b6, a3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::rounds::QueueRounds;
use crate::submission::{Event, SubmissionId};

mod rounds;

/// The submissions without a verdict, in the fair order. Positions are those of the event log. No two events have the same,
/// so no two lines have the same turn.
#[derive(Debug, Clone, Default)]
pub struct FairQueue {
    entries: HashMap<SubmissionId, QueueEntry>,
    lines: HashMap<LineName, QueueLine>,
    /// The lines with a submission that may be taken now, by turn.
    ready: BTreeMap<u64, LineName>,
    rounds: QueueRounds,
    waiting: usize,
}

type LineName = Arc<str>;

#[derive(Debug, Clone)]
struct QueueEntry {
    line: LineName,
    /// The position of the event that queued the submission. An interruption does not change it.
    place: u64,
}

#[derive(Debug, Clone, Default)]
struct QueueLine {
    /// 0 if no submission in this line was ever claimed.
    last_claim: u64,
    waiting: BTreeMap<u64, SubmissionId>,
    /// The places of those that wait for a moment, and not for their turn.
    parked: BTreeSet<u64>,
    /// The places of the others.
    ready: BTreeSet<u64>,
    under_way: BTreeSet<SubmissionId>,
}

impl FairQueue {
    /// Applies one event of the log. A rejudge of a submission that the queue does not know changes nothing: the event
    /// does not name the line, so the caller uses [`enqueue`](Self::enqueue).
    pub fn apply(&mut self, id: SubmissionId, position: u64, event: &Event) {
        match event {
            Event::Submitted(submitted) => {
                if !self.contains(id) {
                    self.enqueue(id, submitted.line(), position);
                }
            }
            Event::RejudgeRequested(_) => {
                if let Some(line) = self.entries.get(&id).map(|entry| Arc::clone(&entry.line)) {
                    self.enqueue(id, &line, position);
                }
            }
            Event::VerificationStarted(_) => self.claim(id, position),
            Event::VerificationInterrupted(_) => self.requeue(id),
            Event::Passed(_) | Event::Failed(_) | Event::Withdrawn(_) | Event::GivenUp(_) => {
                self.remove(id);
            }
            Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::Hidden(_)
            | Event::Shown(_)
            | Event::NameCorrected(_) => {}
        }
    }

    /// Lets a submission wait in the line with this name at `place`, the position of the event that queued it.
    pub fn enqueue(&mut self, id: SubmissionId, line: &str, place: u64) {
        let old_place = self.entries.get(&id).map(|entry| entry.place);
        let known = self.lines.get_key_value(line).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| line.into());
        // In one change, so that the line's last claim is not forgotten in between.
        self.update_line(&name, |line| {
            line.under_way.remove(&id);
            if let Some(old_place) = old_place {
                line.leave(old_place);
            }
            line.wait(place, id);
        });
        self.entries.insert(id, QueueEntry { line: name, place });
    }

    /// Marks a submission as under way, and sends its line to the back.
    pub fn claim(&mut self, id: SubmissionId, position: u64) {
        self.update_entry(id, |line, place| {
            line.last_claim = line.last_claim.max(position);
            line.leave(place);
            line.under_way.insert(id);
        });
    }

    /// Marks a submission as under way before the log has its claim. The line keeps its turn.
    pub fn hold(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.leave(place);
            line.under_way.insert(id);
        });
    }

    /// Lets a submission that was under way wait again at its old place.
    pub fn requeue(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.under_way.remove(&id);
            line.wait(place, id);
        });
    }

    /// Keeps a waiting submission from being taken. Its place stays as it is.
    pub fn park(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            if line.ready.remove(&place) {
                line.parked.insert(place);
            }
        });
    }

    /// Lets a parked submission be taken again.
    pub fn unpark(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            if line.parked.remove(&place) {
                line.ready.insert(place);
            }
        });
    }

    /// Removes a submission that has its verdict or was withdrawn.
    pub fn remove(&mut self, id: SubmissionId) {
        self.update_entry(id, |line, place| {
            line.under_way.remove(&id);
            line.leave(place);
        });
        self.entries.remove(&id);
    }

    /// Records a claim of a submission that is not in the queue, for a line with others that are.
    pub fn record_claim(&mut self, line: &str, position: u64) {
        if let Some((name, _)) = self.lines.get_key_value(line) {
            let name = Arc::clone(name);
            self.update_line(&name, |line| line.last_claim = line.last_claim.max(position));
        }
    }

    /// Returns the newest claim of each line that had one.
    pub fn last_claims(&self) -> impl Iterator<Item = (&str, u64)> {
        let claims = self.lines.iter().map(|(name, line)| (&**name, line.last_claim));
        claims.filter(|(_, claim)| *claim > 0)
    }

    /// Returns true if the submission waits or is under way.
    pub fn contains(&self, id: SubmissionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Returns the number of waiting submissions.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the submissions that may be taken now, the preferred ones first: those that are not parked, of the lines with
    /// none under way.
    pub fn candidates(&self) -> impl Iterator<Item = SubmissionId> {
        let lines = self.ready.values().filter_map(|name| self.lines.get(name));
        lines.flat_map(|line| line.ready.iter().filter_map(|place| line.waiting.get(place).copied()))
    }

    /// Returns the number of submissions that will be taken before this one if each is ready at its turn and the attempts
    /// under way end before. Returns `None` if it does not wait. After each
    /// taking the line goes to the back, so before its `k`-th submission every other line has had `k` turns, or `k + 1`
    /// if its turn is earlier, or as many as it has submissions.
    pub fn ahead_of(&self, id: SubmissionId) -> Option<usize> {
        let entry = self.entries.get(&id)?;
        let line = self.lines.get(&entry.line)?;
        line.waiting.get(&entry.place)?;
        let round = line.waiting.range(..entry.place).count();
        Some(self.rounds.before(line.turn()?, round))
    }

    fn update_entry(&mut self, id: SubmissionId, change: impl FnOnce(&mut QueueLine, u64)) {
        if let Some(QueueEntry { line, place }) = self.entries.get(&id).cloned() {
            self.update_line(&line, |line| change(line, place));
        }
    }

    /// Changes a line, and brings the turns and rounds up to date.
    fn update_line(&mut self, name: &LineName, change: impl FnOnce(&mut QueueLine)) {
        let line = self.lines.entry(Arc::clone(name)).or_default();
        let (turn_before, before) = (line.turn(), line.waiting.len());
        change(line);
        let (turn, after) = (line.turn(), line.waiting.len());
        if let Some(turn) = turn_before {
            self.ready.remove(&turn);
        }
        if let Some(turn) = turn.filter(|_| line.under_way.is_empty() && !line.ready.is_empty()) {
            self.ready.insert(turn, Arc::clone(name));
        }
        if (turn_before, before) != (turn, after) {
            turn_before.into_iter().for_each(|turn| self.rounds.remove(turn, before));
            turn.into_iter().for_each(|turn| self.rounds.insert(turn, after));
        }
        if line.waiting.is_empty() && line.under_way.is_empty() {
            // The claim may be forgotten: events to come have later positions.
            self.lines.remove(name);
        }
        self.waiting = self.waiting + after - before;
    }
}

impl QueueLine {
    fn turn(&self) -> Option<u64> {
        let (oldest, _) = self.waiting.first_key_value()?;
        Some(self.last_claim.max(*oldest))
    }

    fn wait(&mut self, place: u64, id: SubmissionId) {
        self.waiting.insert(place, id);
        self.parked.remove(&place);
        self.ready.insert(place);
    }

    fn leave(&mut self, place: u64) {
        self.waiting.remove(&place);
        self.parked.remove(&place);
        self.ready.remove(&place);
    }
}

#[cfg(test)]
mod tests;
