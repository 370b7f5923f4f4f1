//! The queue of the verifier: the fair order of the domain, and for each submission without a verdict the
//! moment from which it may be claimed. It holds nothing that the log does not say, except for the
//! submissions that this verifier is about to claim.

use std::collections::HashMap;

use domain::queue::FairQueue;
use domain::{Event, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// The shortest wait of a submission that waits until the platform is well.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// The interval at which one such submission is tried while no verdict shows that the platform is well.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The submissions without a verdict.
#[derive(Debug, Default)]
pub(crate) struct ClaimQueue {
    order: FairQueue,
    entries: HashMap<SubmissionId, ClaimEntry>,
    /// The number of verdicts. Each shows that the platform is well.
    verdicts: u64,
    /// The time at which a submission was last tried without such a verdict.
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
}

#[derive(Debug)]
struct ClaimEntry {
    /// The event that led to the stage.
    cause: Uuid,
    stage: ClaimStage,
}

#[derive(Debug)]
enum ClaimStage {
    Waiting(Readiness),
    /// This verifier is about to claim the submission.
    Taken,
    Claimed {
        attempt: u32,
        verifier: String,
        deadline: Timestamp,
    },
}

#[derive(Debug, Clone, Copy)]
enum Readiness {
    From(Timestamp),
    /// Not before the moment, and only when more than `verdicts` verdicts show that the platform is well.
    WhenWell {
        verdicts: u64,
        not_before: Timestamp,
    },
}

impl ClaimQueue {
    /// Applies an event. An event of a submission that the queue does not know changes nothing: the
    /// submission has its verdict, or was withdrawn.
    pub(crate) fn apply(&mut self, id: SubmissionId, reference: EventRef, event: &Event) {
        self.order.apply(id, reference.position.0, event);
        let stage = match event {
            Event::Submitted(_) if self.knows(id) => return,
            Event::Submitted(_) | Event::RejudgeRequested(_) => {
                ClaimStage::Waiting(Readiness::From(Timestamp::MIN))
            }
            Event::VerificationStarted(started) => ClaimStage::Claimed {
                attempt: started.attempt,
                verifier: started.verifier.clone(),
                deadline: started.deadline,
            },
            Event::VerificationInterrupted(interrupted) => ClaimStage::Waiting(match interrupted.retry_at {
                Some(moment) => Readiness::From(moment),
                None => {
                    Readiness::WhenWell { verdicts: self.verdicts, not_before: later(reference.at, REST) }
                }
            }),
            Event::Passed(_) | Event::Failed(_) => {
                self.verdicts += 1;
                self.entries.remove(&id);
                return;
            }
            Event::Withdrawn(_) => {
                self.entries.remove(&id);
                return;
            }
            Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::Hidden(_)
            | Event::Shown(_) => return,
        };
        if self.order.contains(id) {
            self.entries.insert(id, ClaimEntry { cause: reference.event, stage });
        }
    }

    /// Returns true if the submission waits or is being verified.
    pub(crate) fn knows(&self, id: SubmissionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Takes the next submission that may be claimed. It is not given out again until the log has an event of
    /// it, or [`put_back`](Self::put_back) is called.
    pub(crate) fn take(&mut self, now: Timestamp) -> Option<Ticket> {
        let may_probe = self.probed_at.is_none_or(|last| later(last, PROBE_EVERY) <= now);
        let (id, is_probe) = self.order.candidates().find_map(|id| {
            let ClaimStage::Waiting(readiness) = self.entries.get(&id)?.stage else { return None };
            let is_probe = match readiness {
                Readiness::From(moment) => (moment <= now).then_some(false),
                Readiness::WhenWell { verdicts, not_before } => {
                    let is_well = verdicts < self.verdicts;
                    (not_before <= now && (is_well || may_probe)).then_some(!is_well)
                }
            };
            Some((id, is_probe?))
        })?;
        if is_probe {
            self.probed_at = Some(now);
        }
        self.order.hold(id);
        let entry = self.entries.get_mut(&id)?;
        entry.stage = ClaimStage::Taken;
        Some(Ticket { id, cause: entry.cause })
    }

    /// Puts back a submission that could not be claimed. It is not given out again before `not_before`; by
    /// then the log has said why.
    pub(crate) fn put_back(&mut self, id: SubmissionId, not_before: Timestamp) {
        let taken = self.entries.get_mut(&id).filter(|entry| matches!(entry.stage, ClaimStage::Taken));
        if let Some(entry) = taken {
            entry.stage = ClaimStage::Waiting(Readiness::From(not_before));
            self.order.requeue(id);
        }
    }

    /// Returns the claims that `filter` accepts.
    pub(crate) fn claims(&self, filter: impl Fn(&HeldClaim) -> bool) -> Vec<HeldClaim> {
        let held = self.entries.iter().filter_map(|(id, entry)| match &entry.stage {
            ClaimStage::Claimed { attempt, verifier, deadline } => Some(HeldClaim {
                id: *id,
                cause: entry.cause,
                attempt: *attempt,
                verifier: verifier.clone(),
                deadline: *deadline,
            }),
            ClaimStage::Waiting(_) | ClaimStage::Taken => None,
        });
        held.filter(filter).collect()
    }
}

fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
