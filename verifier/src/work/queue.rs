//! The queue of the verifier: the fair order of the domain, and for each submission without a verdict the
//! moment from which it may be claimed. It holds nothing that the log does not say, except for the
//! submissions that this verifier is about to claim.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::queue::FairQueue;
use domain::submission::decide::pause_after;
use domain::{Event, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::metrics::QueueFigures;
use crate::work::newest_runs::NewestRuns;

/// The shortest wait of a submission that waits until the platform is well.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// The interval at which one such submission is tried while no run shows that the platform is well.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The submissions without a verdict. The cost of a look does not depend on how many wait.
#[derive(Debug, Default)]
pub(crate) struct ClaimQueue {
    order: FairQueue,
    entries: HashMap<SubmissionId, ClaimEntry>,
    claims: HashMap<SubmissionId, HeldClaim>,
    /// The submissions that wait for a moment, by the moment.
    parked: BTreeSet<(Timestamp, SubmissionId)>,
    /// The submissions that wait until the platform is well, by the moment from which one of them may be tried all the same.
    unwell: BTreeSet<(Timestamp, SubmissionId)>,
    /// The submissions that wait for their turn, and those that wait for anything else, by the time at which they were queued.
    ready: BTreeSet<(Timestamp, SubmissionId)>,
    paused: BTreeSet<(Timestamp, SubmissionId)>,
    runs: Arc<NewestRuns>,
    /// The submissions that stand still, because this version cannot read one of their events.
    standing_still: HashSet<SubmissionId>,
    /// The time at which a submission was last tried without a run.
    probed_at: Option<Timestamp>,
}

/// An event, as far as the queue needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRef {
    pub(crate) event: Uuid,
    pub(crate) position: Position,
    /// The time at which the event was recorded.
    pub(crate) at: Timestamp,
}

/// The permission to claim a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: SubmissionId,
    /// The event that made the submission wait.
    pub(crate) cause: Uuid,
    /// The position of that event.
    pub(crate) since: Position,
}

/// A claim without a verdict. It may be past its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldClaim {
    pub(crate) id: SubmissionId,
    /// The event of the claim.
    pub(crate) cause: Uuid,
    pub(crate) attempt: u32,
    pub(crate) verifier: String,
    /// The moment after which the claim is void.
    pub(crate) deadline: Timestamp,
    /// True if an image of another owner ran since the submission began to wait for this attempt.
    pub(crate) others_run: bool,
}

#[derive(Debug)]
struct ClaimEntry {
    owner: Arc<str>,
    /// The event that led to the stage.
    cause: Uuid,
    /// The position of the event that made the submission wait.
    since: Position,
    /// The time at which the submission was queued. An interruption does not change it.
    queued: Timestamp,
    /// The number of interrupted attempts since the submission was queued.
    interruptions: u32,
    stage: ClaimStage,
}

#[derive(Debug)]
enum ClaimStage {
    /// The submission waits for its turn.
    Ready,
    /// The submission waits for this moment, and then for its turn.
    Parked(Timestamp),
    /// The submission waits until a run shows that the platform is well, or until it is chosen to show it.
    Unwell {
        /// The moment from which it may be taken after a run.
        rested: Timestamp,
        /// The moment from which it may be taken without one.
        probe_from: Timestamp,
    },
    /// The submission waits, and this verifier is about to claim it.
    Taken,
    Claimed,
}

impl ClaimQueue {
    /// Creates an empty queue that records the runs of images in `runs`.
    pub(crate) fn new(runs: Arc<NewestRuns>) -> Self {
        Self { runs, ..Self::default() }
    }

    /// Applies an event. An event of a submission that the queue does not know changes nothing: the
    /// submission has its verdict, or was withdrawn.
    pub(crate) fn apply(&mut self, id: SubmissionId, reference: EventRef, event: &Event) {
        if self.standing_still.contains(&id) {
            return;
        }
        if matches!(event, Event::Submitted(_)) && self.knows(id) {
            return;
        }
        if event.shows_a_run() {
            if let Some(entry) = self.entries.get(&id) {
                self.runs.record(&entry.owner, reference.position);
            }
            self.recover();
        }
        self.order.apply(id, reference.position.0, event);
        let before = self.entries.get(&id);
        let (mut interruptions, mut since, mut queued) = before
            .map_or((0, reference.position, reference.at), |entry| {
                (entry.interruptions, entry.since, entry.queued)
            });
        let stage = match event {
            Event::Submitted(_) | Event::RejudgeRequested(_) => {
                (interruptions, since, queued) = (0, reference.position, reference.at);
                ClaimStage::Ready
            }
            Event::VerificationStarted(_) => ClaimStage::Claimed,
            Event::VerificationInterrupted(interrupted) => {
                interruptions += u32::from(interrupted.code.is_try());
                since = reference.position;
                match interrupted.retry_at {
                    Some(moment) => ClaimStage::Parked(moment),
                    None => ClaimStage::Unwell {
                        rested: later(reference.at, REST),
                        probe_from: later(reference.at, pause(interruptions).max(REST)),
                    },
                }
            }
            Event::Passed(_) | Event::Failed(_) | Event::GivenUp(_) | Event::Withdrawn(_) => {
                self.forget(id);
                return;
            }
            Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::Hidden(_)
            | Event::Shown(_)
            | Event::NameCorrected(_) => return,
        };
        let owner = match event {
            Event::Submitted(submitted) => Some(submitted.owner.as_str().into()),
            _ => self.entries.get(&id).map(|entry| Arc::clone(&entry.owner)),
        };
        let Some(owner) = owner else { return };
        self.claims.remove(&id);
        if let Event::VerificationStarted(started) = event {
            let (attempt, verifier, deadline) = (started.attempt, started.verifier.clone(), started.deadline);
            let cause = reference.event;
            let claim = HeldClaim { id, cause, attempt, verifier, deadline, others_run: false };
            self.claims.insert(id, claim);
        }
        let entry = ClaimEntry {
            owner,
            cause: reference.event,
            since,
            queued,
            interruptions,
            stage: ClaimStage::Ready,
        };
        self.leave_indexes(id);
        self.entries.insert(id, entry);
        self.set_stage(id, stage);
    }

    /// Returns the number of submissions in each state, and the age of the oldest of them, with the state's name.
    pub(crate) fn figures(&self, now: Timestamp) -> [(&'static str, QueueFigures); 3] {
        let age = |queued: Timestamp| Duration::try_from(now.duration_since(queued)).unwrap_or_default();
        let of = |waiting: &BTreeSet<(Timestamp, SubmissionId)>| QueueFigures {
            count: waiting.len(),
            oldest: waiting.first().map(|(queued, _)| age(*queued)).unwrap_or_default(),
        };
        let of_claims = self.claims.keys().filter_map(|id| Some(self.entries.get(id)?.queued));
        let claimed =
            QueueFigures { count: self.claims.len(), oldest: of_claims.min().map(age).unwrap_or_default() };
        [("ready", of(&self.ready)), ("paused", of(&self.paused)), ("claimed", claimed)]
    }

    /// Removes a submission for good, because its state is not known from here on.
    pub(crate) fn stand_still(&mut self, id: SubmissionId) {
        self.standing_still.insert(id);
        self.order.remove(id);
        self.forget(id);
    }

    /// Returns true if the submission waits or is being verified.
    pub(crate) fn knows(&self, id: SubmissionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Takes the next submission that may be claimed. It is not given out again until the log has an event of
    /// it, or [`put_back`](Self::put_back) is called.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Ticket> {
        while let Some((_, id)) = self.parked.first().copied().filter(|(moment, _)| *moment <= now) {
            self.set_stage(id, ClaimStage::Ready);
        }
        if self.probed_at.is_none_or(|last| later(last, PROBE_EVERY) <= now)
            && let Some((_, id)) = self.unwell.first().copied().filter(|(moment, _)| *moment <= now)
        {
            self.set_stage(id, ClaimStage::Ready);
            self.probed_at = Some(now);
        }
        let id = self.order.candidates().next()?;
        self.order.hold(id);
        let entry = self.entries.get_mut(&id)?;
        entry.stage = ClaimStage::Taken;
        Some(Ticket { id, cause: entry.cause, since: entry.since })
    }

    /// Returns true if this verifier took the submission, and nothing has happened to it since.
    pub(crate) fn is_taken(&self, id: SubmissionId) -> bool {
        self.entries.get(&id).is_some_and(|entry| matches!(entry.stage, ClaimStage::Taken))
    }

    /// Puts back a submission that could not be claimed. It is not given out again before `not_before`; by
    /// then the log has said why.
    pub(crate) fn put_back(&mut self, id: SubmissionId, not_before: Timestamp) {
        if self.is_taken(id) {
            self.order.requeue(id);
            self.set_stage(id, ClaimStage::Parked(not_before));
        }
    }

    /// Returns the claims that `filter` accepts.
    pub(crate) fn claims(&self, filter: impl Fn(&HeldClaim) -> bool) -> Vec<HeldClaim> {
        let others_run = |claim: &HeldClaim| {
            let entry = self.entries.get(&claim.id)?;
            Some(self.runs.others_ran(&entry.owner, entry.since))
        };
        let held = self.claims.values().filter(|claim| filter(claim));
        held.map(|claim| HeldClaim { others_run: others_run(claim).unwrap_or(false), ..claim.clone() })
            .collect()
    }

    /// Lets the submissions that wait until the platform is well go on after their rest.
    fn recover(&mut self) {
        for (_, id) in std::mem::take(&mut self.unwell) {
            if let Some(ClaimStage::Unwell { rested, .. }) = self.entries.get(&id).map(|entry| &entry.stage) {
                let rested = *rested;
                self.set_stage(id, ClaimStage::Parked(rested));
            }
        }
    }

    /// Brings a submission of the queue to another stage, and the indexes up to date.
    fn set_stage(&mut self, id: SubmissionId, stage: ClaimStage) {
        self.leave_indexes(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let queued = entry.queued;
        match stage {
            ClaimStage::Parked(moment) => {
                self.parked.insert((moment, id));
                self.paused.insert((queued, id));
                self.order.park(id);
            }
            ClaimStage::Unwell { probe_from, .. } => {
                self.unwell.insert((probe_from, id));
                self.paused.insert((queued, id));
                self.order.park(id);
            }
            ClaimStage::Ready => {
                self.ready.insert((queued, id));
                self.order.unpark(id);
            }
            ClaimStage::Taken | ClaimStage::Claimed => {}
        }
        entry.stage = stage;
    }

    fn leave_indexes(&mut self, id: SubmissionId) {
        let Some(ClaimEntry { stage, queued, .. }) = self.entries.get(&id) else { return };
        match stage {
            ClaimStage::Parked(moment) => self.parked.remove(&(*moment, id)),
            ClaimStage::Unwell { probe_from, .. } => self.unwell.remove(&(*probe_from, id)),
            ClaimStage::Ready | ClaimStage::Taken => self.ready.remove(&(*queued, id)),
            ClaimStage::Claimed => false,
        };
        self.paused.remove(&(*queued, id));
    }

    fn forget(&mut self, id: SubmissionId) {
        self.leave_indexes(id);
        self.claims.remove(&id);
        self.entries.remove(&id);
    }
}

fn pause(interruptions: u32) -> SignedDuration {
    SignedDuration::try_from(pause_after(interruptions)).unwrap_or(SignedDuration::MAX)
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
