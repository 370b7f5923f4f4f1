//! An attempt at a submission: claims it, runs its images, and reports the observations.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use commands::{Actor, Cause, CommandError, Commands};
use domain::challenge::{Evidence, Observation};
use domain::submission::{InterruptionCode, JudgedImage, PlatformFault, SubmissionFacts};
use domain::{Challenge, Command, ImageRef, Rejection, Submission, SubmissionId};
use event_store::Read;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::fetching::FetchBoard;
use crate::gate::{ImageGate, RunnableImage};
use crate::metrics::{AttemptOutcome, AttemptStep, VerifierMetrics};
use crate::sandbox::slots::SlotLease;
use crate::swarm::{Labels, label};
use crate::work::image_look::LookedUpImages;
use crate::work::journal::{AttemptJournal, JournalError};
use crate::work::loaded_stream::LoadedStream;
use crate::work::newest_runs::NewestRuns;
use crate::work::pull_ahead::{AheadPulls, NodePulls};
use crate::work::queue::Ticket;
use crate::work::run_ledger::{ImageOnNode, RunLedger};
use crate::work::slot_run::{AppFinding, ImagesToRun, RunContext, SlotRun, is_right, service_name};

/// The time before the claim's deadline at which the verifier stops and reports, so that its report is not
/// too late.
const REPORT: Duration = Duration::from_secs(5);

/// The time after an attempt's longest duration after which a janitor removes the attempt's containers.
const TTL_MARGIN: Duration = Duration::from_secs(60);

/// The longest wait for the second slot, in which a suspected failure is confirmed.
const ANOTHER_SLOT: Duration = Duration::from_secs(60);

/// The number of unknown rules that are noted.
const UNKNOWN_RULES_MAX: usize = 16;

/// Makes attempts, with the connections that every attempt needs.
pub(crate) struct AttemptRunner {
    pub(crate) verifier: String,
    pub(crate) store: Arc<dyn Read>,
    pub(crate) commands: Commands,
    pub(crate) gate: Arc<dyn ImageGate>,
    pub(crate) pulls: NodePulls,
    pub(crate) fetches: FetchBoard,
    pub(crate) runs: Arc<NewestRuns>,
    pub(crate) ledger: Mutex<RunLedger>,
    pub(crate) context: RunContext,
    /// The digests of rules that cannot be carried out here.
    pub(crate) unknown_rules: watch::Sender<BTreeSet<String>>,
    pub(crate) metrics: VerifierMetrics,
}

/// The reason why an attempt ends without a verdict.
enum NoVerdict {
    /// The platform is at fault. The submission returns to the queue.
    Interrupted(PlatformFault),
    /// The attempt cannot be reported any more.
    Journal(JournalError),
}

impl From<JournalError> for NoVerdict {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// The end of an attempt, as the queue needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The submission was claimed. The log says what came of it.
    Reported,
    /// The submission could not be claimed at present.
    NotClaimed,
    /// This version cannot carry out the rules of the submission. It is left to other verifiers.
    LeftToOthers,
    /// The submission was deleted from the log or stands still, so it cannot be claimed.
    NothingToClaim,
}

/// A claimed submission.
struct ClaimedSubmission {
    facts: SubmissionFacts,
    journal: AttemptJournal,
    /// The rules by which it is judged, and where.
    context: RunContext,
}

impl AttemptRunner {
    /// Claims the submission, and brings it to a verdict or back to the queue. `looked` is the look at its images. There is a lease if
    /// the look alone does not decide.
    pub(crate) async fn run(
        &self,
        ticket: Ticket,
        looked: LookedUpImages,
        lease: Option<SlotLease>,
        stop: &CancellationToken,
    ) -> AttemptEnd {
        let id = ticket.id;
        let began = Instant::now();
        let claim = self.claim(ticket, &looked, lease, stop);
        let (claimed, lease) = match self.metrics.time(AttemptStep::Claim, claim).await {
            Ok(claimed) => claimed,
            Err(error) => return not_claimed(id, &error),
        };
        let ClaimedSubmission { facts, journal, .. } = &claimed;
        let attempt = journal.claim.attempt;
        let slot = lease.as_ref().map(SlotLease::name);
        tracing::info!(slot, "claimed submission {id}, attempt {attempt}");
        let time = journal.claim.deadline.duration_since(Timestamp::now());
        let time = Duration::try_from(time).unwrap_or_default().saturating_sub(REPORT);
        let work = AssertUnwindSafe(self.verify(&claimed, looked, lease)).catch_unwind();
        let outcome = tokio::select! {
            outcome = timeout(time, work) => match outcome {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_panic)) => Err(lease_expired("the verifier failed by a bug; its log has the details")),
                Err(_) => Err(lease_expired("the attempt took longer than it may")),
            },
            () = stop.cancelled() => {
                Err(interrupted(InterruptionCode::VerifierStopped, "the verifier was stopped"))
            }
        };
        let report = match outcome {
            Ok((observations, images)) => Command::Conclude { attempt, observations, images },
            Err(NoVerdict::Interrupted(fault)) => {
                let PlatformFault { code, message, .. } = &fault;
                tracing::warn!("attempt {attempt} of submission {id} is interrupted: {code:?}, {message}");
                let others_run = self.runs.others_ran(&facts.submitted.owner, ticket.since);
                Command::Interrupt { attempt, fault, at: Timestamp::now(), others_run }
            }
            Err(NoVerdict::Journal(error)) => {
                tracing::warn!(%error, "dropped attempt {attempt} of submission {id}");
                self.metrics.count_attempt(AttemptOutcome::Unreported, began.elapsed());
                return AttemptEnd::Reported;
            }
        };
        let events = match self.metrics.time(AttemptStep::Report, journal.record(report)).await {
            Ok(events) => {
                tracing::info!("reported attempt {attempt} of submission {id}");
                events
            }
            Err(error) => {
                tracing::warn!(%error, "dropped the report of attempt {attempt} of submission {id}");
                Vec::new()
            }
        };
        self.metrics.count_attempt(AttemptOutcome::of(&events), began.elapsed());
        self.metrics.count_interruptions(&events);
        AttemptEnd::Reported
    }

    /// Claims the submission by appending an event, if its rules can be carried out and the look was at its present facts. Fails if
    /// another verifier was first.
    async fn claim(
        &self,
        ticket: Ticket,
        looked: &LookedUpImages,
        lease: Option<SlotLease>,
        stop: &CancellationToken,
    ) -> Result<(ClaimedSubmission, Option<SlotLease>), CommandError> {
        let LoadedStream { state, .. } = LoadedStream::read(&*self.store, ticket.id).await?;
        let facts = state.facts().ok_or(Rejection::Unknown)?;
        if !looked.is_of(facts) {
            // Another look is due, and a slot does not wait for it.
            return Err(CommandError::Contended(1));
        }
        let challenge = self.known_rules(facts).await?;
        let lease = match lease {
            Some(lease) => Some(self.lease_for(facts, &challenge, lease, stop).await?),
            None => None,
        };
        let now = Timestamp::now();
        let time = SignedDuration::try_from(challenge.attempt_max()).unwrap_or(SignedDuration::MAX);
        let deadline = now.saturating_add(time).unwrap_or(Timestamp::MAX);
        let claim = Command::Claim { verifier: self.verifier.clone(), at: now, deadline };
        let cause = Cause { actor: Actor::Verifier(self.verifier.clone()), id: ticket.cause };
        self.commands.handle(ticket.id, claim, cause).await?;
        let named = &facts.rules;
        match LoadedStream::read(&*self.store, ticket.id).await? {
            LoadedStream { state: Submission::Verifying { facts, claim, .. }, newest: Some(cause) }
                if claim.verifier == self.verifier && claim.deadline == deadline && facts.rules == *named =>
            {
                let commands = self.commands.clone();
                let journal = AttemptJournal { commands, id: ticket.id, claim, cause };
                let context = RunContext { challenge, ..self.context.clone() };
                Ok((ClaimedSubmission { facts, journal, context }, lease))
            }
            _ => Err(CommandError::Contended(1)),
        }
    }

    /// Returns the rules by which a submission is judged, and notes whether they are known here.
    pub(super) async fn known_rules(&self, facts: &SubmissionFacts) -> Result<Arc<Challenge>, CommandError> {
        let rules = self.commands.rules_of(facts).await;
        match &rules {
            // A grade that they demand may be missing, which only a lease tells.
            Ok(challenge) if challenge.sandbox.grade.is_some() => {}
            Ok(_) => self.note_rules(facts, None),
            Err(CommandError::UnknownRules(why)) => self.note_rules(facts, Some(why)),
            // A log that cannot be read says nothing of the rules.
            Err(_) => {}
        }
        rules
    }

    /// Notes whether rules are unknown here, and why. The platform then says why their submissions wait.
    fn note_rules(&self, facts: &SubmissionFacts, unknown_why: Option<&str>) {
        let Some(rules) = &facts.rules else { return };
        self.unknown_rules.send_if_modified(|unknown| match unknown_why {
            Some(why) if unknown.len() < UNKNOWN_RULES_MAX && unknown.insert(rules.clone()) => {
                tracing::warn!(why, "submissions under the rules {rules} are left to other verifiers");
                true
            }
            Some(_) => false,
            None => unknown.remove(rules),
        });
    }

    /// Returns a slot of the grade that the rules demand. This verifier's own file may demand less.
    async fn lease_for(
        &self,
        facts: &SubmissionFacts,
        challenge: &Challenge,
        lease: SlotLease,
        stop: &CancellationToken,
    ) -> Result<SlotLease, CommandError> {
        let Some(grade) = challenge.sandbox.grade.filter(|grade| lease.grade() < *grade) else {
            self.note_rules(facts, None);
            return Ok(lease);
        };
        let slots = &self.context.slots;
        if slots.highest_grade().is_none_or(|highest| highest < grade) {
            let why = format!("no node here has the grade {} that the rules demand", grade.as_str());
            self.note_rules(facts, Some(&why));
            return Err(CommandError::UnknownRules(why));
        }
        self.note_rules(facts, None);
        let (avoid, deadline) = (lease.node().id.clone(), Instant::now() + ANOTHER_SLOT);
        drop(lease);
        let slot = stop.run_until_cancelled(slots.wait(Some(&avoid), grade, deadline)).await;
        slot.flatten().ok_or(CommandError::Contended(1))
    }

    /// Runs the images, and returns the observations that decide the verdict, and what was looked at.
    async fn verify(
        &self,
        claimed: &ClaimedSubmission,
        looked: LookedUpImages,
        lease: Option<SlotLease>,
    ) -> Result<(Vec<Observation>, Vec<JudgedImage>), NoVerdict> {
        let ClaimedSubmission { context, facts, .. } = claimed;
        let LookedUpImages { mut findings, runnable, found, pass, ahead, .. } = looked;
        if let Some(lease) = lease {
            let ahead = ahead.filter(|ahead| *ahead.home.node() == lease.node().id);
            // The slot stands for the promise of the node from here on.
            let ahead = ahead.map(|ahead| ahead.pulls).unwrap_or_default();
            let resolved: BTreeMap<ImageRef, RunnableImage> = runnable.iter().cloned().collect();
            let node = lease.node().id.clone();
            // An app may fail for want of a place to write. A node of a higher grade then decides.
            let grade = lease.grade();
            let higher = self.context.slots.highest_grade().filter(|highest| *highest > grade);
            let first = self
                .run_in_slot(
                    claimed,
                    lease,
                    1,
                    ImagesToRun { images: runnable, ahead, pass: &pass },
                    &findings,
                )
                .await?;
            // A second slot decides about a doubtful finding, because the first slot or its node may be to blame.
            let challenge = &context.challenge;
            let (doubtful, clear): (Vec<_>, Vec<_>) = first.into_iter().partition(|(image, finding)| {
                let is_right = |evidence: &Evidence| is_right(challenge, &facts.submitted, image, evidence);
                finding.doubt().is_some() || higher.is_some() && finding.may_lack_rights(is_right)
            });
            findings.extend(clear);
            let again: Vec<(ImageRef, RunnableImage)> =
                doubtful.iter().map(|(image, _)| (image.clone(), resolved[image].clone())).collect();
            let again = ImagesToRun { images: again, ahead: AheadPulls::default(), pass: &pass };
            if !again.images.is_empty() && !is_decided(context, facts, &findings) {
                let deadline = Instant::now() + ANOTHER_SLOT;
                // On a node of a lower grade the app might fail for another reason.
                let grade = higher.unwrap_or(grade);
                let second = self.context.slots.wait(Some(&node), grade, deadline);
                let Some(lease) = self.metrics.time(AttemptStep::SecondSlot, second).await else {
                    return Err(interrupted(
                        InterruptionCode::SlotFailed,
                        "a failure must be confirmed in a second slot, and no slot became free in time",
                    ));
                };
                let second = self.run_in_slot(claimed, lease, 2, again, &findings).await?;
                let doubtful: BTreeMap<ImageRef, AppFinding> = doubtful.into_iter().collect();
                findings.extend(second.into_iter().map(|(image, finding)| {
                    let finding = finding.after(&doubtful[&image]);
                    (image, finding)
                }));
            }
        }
        let observations = observations(&findings);
        if context.challenge.judge(&facts.submitted, &observations).verdict.is_some() {
            return Ok((observations, found));
        }
        let fault = findings.into_iter().find_map(|(_, finding)| match finding {
            AppFinding::PlatformFault(fault) => Some(fault),
            AppFinding::Confirmed(_) | AppFinding::Suspected { .. } => None,
        });
        Err(fault.map_or_else(
            || interrupted(InterruptionCode::SlotFailed, "not every image could be probed"),
            NoVerdict::Interrupted,
        ))
    }

    /// Runs some images in one slot. Only the attempt's first slot run is reported step by step.
    async fn run_in_slot(
        &self,
        claimed: &ClaimedSubmission,
        mut lease: SlotLease,
        number: u32,
        ImagesToRun { images, ahead, pass }: ImagesToRun<'_>,
        findings: &[(ImageRef, AppFinding)],
    ) -> Result<Vec<(ImageRef, AppFinding)>, JournalError> {
        let ClaimedSubmission { context, facts, journal } = claimed;
        let claim = &journal.claim;
        let attempt = claim.attempt;
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), claim.verifier.clone()),
            (label::SUBMISSION.to_owned(), journal.id.to_string()),
            (label::ATTEMPT.to_owned(), attempt.to_string()),
            (label::DEADLINE.to_owned(), claim.deadline.as_second().to_string()),
            (label::TTL.to_owned(), (context.challenge.attempt_max() + TTL_MARGIN).as_secs().to_string()),
        ]);
        let name = service_name(journal.id, attempt, number);
        let pinned: BTreeMap<ImageRef, String> = images
            .iter()
            .map(|(image, found)| (image.clone(), image.pinned(found.digest.clone()).to_string()))
            .collect();
        let metrics = &self.metrics;
        let deployed = SlotRun::begin(context, &mut lease, &name, &labels, images);
        let mut run = metrics.time(AttemptStep::Deploy, deployed).await;
        let mut images = metrics.time(AttemptStep::Pull, run.pulled()).await;
        for pulled in &mut images {
            let took = ahead.took.get(&pulled.image).map_or(0, Duration::as_millis);
            pulled.took_ms = pulled.took_ms.saturating_add(took.try_into().unwrap_or(u64::MAX));
        }
        if number == 1 && !images.is_empty() {
            journal.record(Command::RecordPulled { attempt, images }).await?;
        }
        let images = metrics.time(AttemptStep::Start, run.started()).await;
        if !images.is_empty() {
            let again = number > 1;
            journal.record(Command::RecordStarted { attempt, images, again }).await?;
        }
        let earlier = observations(findings);
        let mut findings = metrics.time(AttemptStep::Probe, run.probe_all(facts, &earlier)).await;
        if let Some(why) = findings.iter().find_map(|(_, finding)| finding.slot_fault()) {
            lease.set_aside(why);
        }
        for (image, finding) in &mut findings {
            if let Some(pinned) = pinned.get(image) {
                let what = ImageOnNode {
                    submission: journal.id,
                    owner: facts.submitted.owner.clone(),
                    image: pinned.clone(),
                    node: lease.node().id.clone(),
                };
                self.note_finding(&what, pass, finding);
            }
            if let Some(words) = ahead.failed.get(image) {
                finding.add_words_of_pull(words);
            }
        }
        Ok(findings)
    }
}

/// Returns the end of an attempt whose submission could not be claimed, or not looked at.
pub(super) fn not_claimed(id: SubmissionId, why: &CommandError) -> AttemptEnd {
    match why {
        CommandError::UnknownRules(_) => {
            tracing::debug!(%why, "submission {id} is left to other verifiers");
            AttemptEnd::LeftToOthers
        }
        CommandError::Rejected(Rejection::Unknown)
        | CommandError::Deleted(_)
        | CommandError::StandsStill(_) => {
            tracing::warn!(%why, "submission {id} cannot be claimed any more");
            AttemptEnd::NothingToClaim
        }
        _ => {
            tracing::debug!(%why, "did not claim submission {id}");
            AttemptEnd::NotClaimed
        }
    }
}

pub(super) fn is_decided(
    context: &RunContext,
    facts: &SubmissionFacts,
    findings: &[(ImageRef, AppFinding)],
) -> bool {
    context.challenge.judge(&facts.submitted, &observations(findings)).verdict.is_some()
}

fn observations(findings: &[(ImageRef, AppFinding)]) -> Vec<Observation> {
    let confirmed = findings.iter().filter_map(|(image, finding)| match finding {
        AppFinding::Confirmed(evidence) => {
            Some(Observation { image: image.clone(), evidence: evidence.clone() })
        }
        AppFinding::Suspected { .. } | AppFinding::PlatformFault(_) => None,
    });
    confirmed.collect()
}

fn interrupted(code: InterruptionCode, message: &str) -> NoVerdict {
    NoVerdict::Interrupted(PlatformFault::new(code, message))
}

fn lease_expired(message: &str) -> NoVerdict {
    interrupted(InterruptionCode::LeaseExpired, message)
}

#[cfg(test)]
mod tests;
