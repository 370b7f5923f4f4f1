//! Decides on commands: one table of the state of a submission and the command.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::command::{Command, PlatformFault};
use super::event::{
    ContainersStarted, Event, Failed, GivenUp, Hidden, ImagesPulled, NameCorrected, OrganiserAct, Passed,
    Probed, RejudgeRequested, Shown, Submitted, VerdictBasis, VerificationInterrupted, VerificationStarted,
    Withdrawn,
};
use super::failure::InterruptionCode;
use super::state::{AttemptStep, Claim, RetryTime, Submission, SubmissionFacts};
use crate::challenge::{Challenge, Judgement, Verdict};

/// The number of tries after which a submission is given up.
pub const TRIES_MAX: u32 = 13;

/// The number of interrupted attempts after which a submission is given up although the platform ran nothing else
/// meanwhile: an outage of more than a day, or a platform on which nobody else is.
pub const INTERRUPTIONS_MAX: u32 = 40;

/// The number of interrupted attempts after which a submission waits until the platform is well, if it is not.
const QUICK_TRIES: u32 = 4;

/// The name that a held entry has in place of an organiser's.
const HOLDER: &str = "Muster";

const QUICK_PAUSE: Duration = Duration::from_secs(2);
const LONG_PAUSE: Duration = Duration::from_secs(30);
const LONG_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The reason why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no submission with this id.
    #[error("there is no such submission")]
    Unknown,
    /// A different form was submitted under this id.
    #[error("something else was submitted under this key")]
    AlreadySubmitted,
    /// A verifier has claimed the submission.
    #[error("{verifier} is verifying it until {deadline}")]
    Claimed { verifier: String, deadline: Timestamp },
    /// The submission may not be claimed yet.
    #[error("the submission must not be claimed before {0}")]
    NotBefore(Timestamp),
    /// The submission has a verdict already.
    #[error("the submission has a verdict already")]
    Judged,
    /// The platform could not run the submission.
    #[error("the submission was given up")]
    GivenUp,
    /// The submission has no verdict yet.
    #[error("the submission has no verdict yet")]
    NotJudged,
    /// The participant withdrew the submission.
    #[error("the submission was withdrawn")]
    Withdrawn,
    /// The report belongs to an attempt that has ended or never began.
    #[error("attempt {0} is not under way")]
    Superseded(u32),
    /// The claim's deadline has not passed.
    #[error("the claim holds until {0}")]
    NotExpired(Timestamp),
    /// The claim would end before it begins.
    #[error("the claim's deadline is not after its beginning")]
    ClaimEndsBeforeItBegins,
    /// The observations do not lead to a verdict.
    #[error("the verdict depends on images that were not observed")]
    Inconclusive,
}

/// Returns the events that `command` leads to in this state, by the rules that the submission is judged by. A request for a
/// rejudge names the rules that it is decided by. There are none if its facts are already recorded.
///
/// # Errors
/// If the command is refused in this state.
pub fn decide(challenge: &Challenge, state: &Submission, command: Command) -> Result<Vec<Event>, Rejection> {
    use Submission as S;
    match (state, command) {
        (S::Unknown, Command::Submit(submitted)) => Ok(accepted(challenge, *submitted)),
        (S::Unknown, _) => Err(Rejection::Unknown),
        (
            S::Waiting { facts, .. }
            | S::Verifying { facts, .. }
            | S::Judged { facts, .. }
            | S::Withdrawn { facts }
            | S::GivenUp { facts },
            Command::Submit(submitted),
        ) => already(is_same_entry(&facts.submitted, &submitted), Rejection::AlreadySubmitted),

        (S::Waiting { facts, retry }, Command::Claim { verifier, at, deadline }) => {
            claim(facts, *retry, verifier, at, deadline)
        }
        (S::Verifying { claim, .. }, Command::Claim { verifier, deadline, .. }) => already(
            claim.verifier == verifier && claim.deadline == deadline,
            Rejection::Claimed { verifier: claim.verifier.clone(), deadline: claim.deadline },
        ),
        (S::Judged { .. }, Command::Claim { .. }) => Err(Rejection::Judged),
        (S::GivenUp { .. }, Command::Claim { .. }) => Err(Rejection::GivenUp),

        (S::Verifying { claim, step, .. }, Command::RecordPulled { attempt, images }) => {
            under_way(claim, attempt)?;
            Ok(unless(*step >= AttemptStep::Pulled, Event::ImagesPulled(ImagesPulled { attempt, images })))
        }
        (S::Verifying { claim, step, .. }, Command::RecordStarted { attempt, images, again }) => {
            under_way(claim, attempt)?;
            // Only an app that was started can be started again.
            let is_out_of_turn =
                if again { *step != AttemptStep::Started } else { *step >= AttemptStep::Started };
            Ok(unless(is_out_of_turn, Event::ContainersStarted(ContainersStarted { attempt, images })))
        }
        (S::Verifying { facts, claim, .. }, Command::Conclude { attempt, observations, images }) => {
            under_way(claim, attempt)?;
            let basis = VerdictBasis { rules: Some(challenge.digest()), images };
            verdict(attempt, challenge.judge(&facts.submitted, &observations), basis)
        }
        (S::Verifying { facts, claim, .. }, Command::Interrupt { attempt, fault, at, others_run }) => {
            under_way(claim, attempt)?;
            Ok(interrupted(facts, attempt, fault, at, others_run))
        }
        (S::Verifying { facts, claim, .. }, Command::Expire { attempt, at, others_run }) => {
            under_way(claim, attempt)?;
            if !has_come(claim.deadline, at, challenge.attempt_max()) {
                return Err(Rejection::NotExpired(claim.deadline));
            }
            let message = format!("{} did not report by {}", claim.verifier, claim.deadline);
            let fault = PlatformFault::new(InterruptionCode::LeaseExpired, message);
            Ok(interrupted(facts, attempt, fault, at, others_run))
        }

        // A report that arrives after its attempt ended either repeats the end, or comes from a verifier that was
        // overtaken. Neither changes anything, but only the first succeeds.
        (S::Judged { facts, .. }, Command::Conclude { attempt, .. })
        | (
            S::Waiting { facts, .. } | S::GivenUp { facts },
            Command::Interrupt { attempt, .. } | Command::Expire { attempt, .. },
        ) => already(facts.attempts == attempt, Rejection::Superseded(attempt)),
        (
            S::Waiting { .. } | S::Judged { .. } | S::Withdrawn { .. } | S::GivenUp { .. },
            Command::RecordPulled { attempt, .. }
            | Command::RecordStarted { attempt, .. }
            | Command::Conclude { attempt, .. }
            | Command::Interrupt { attempt, .. }
            | Command::Expire { attempt, .. },
        ) => Err(Rejection::Superseded(attempt)),

        (S::Judged { .. } | S::GivenUp { .. }, Command::RequestRejudge(act)) => {
            Ok(vec![Event::RejudgeRequested(RejudgeRequested { act, rules: Some(challenge.digest()) })])
        }
        (S::Waiting { .. } | S::Verifying { .. }, Command::RequestRejudge(_)) => Err(Rejection::NotJudged),

        (S::Withdrawn { .. }, Command::Withdraw) => Ok(vec![]),
        (
            S::Withdrawn { .. },
            Command::Claim { .. }
            | Command::RequestRejudge(_)
            | Command::Hide(_)
            | Command::Show(_)
            | Command::CorrectName { .. },
        ) => Err(Rejection::Withdrawn),
        (_, Command::Hide(act)) => Ok(unless(is_hidden(state), Event::Hidden(Hidden { act, held: false }))),
        (_, Command::Show(act)) => Ok(unless(!is_hidden(state), Event::Shown(Shown { act }))),
        (_, Command::CorrectName { act, name }) => Ok(corrected(state, act, name)),
        // A rejudge does not let its participant keep a pin by leaving.
        (S::Waiting { facts, .. } | S::Verifying { facts, .. }, Command::Withdraw) if !facts.was_judged => {
            Ok(vec![Event::Withdrawn(Withdrawn {})])
        }
        (S::GivenUp { .. }, Command::Withdraw) => Err(Rejection::GivenUp),
        (_, Command::Withdraw) => Err(Rejection::Judged),
    }
}

/// Returns the acceptance, and the hiding of an entry that waits for an organiser's look.
fn accepted(challenge: &Challenge, submitted: Submitted) -> Vec<Event> {
    let held = challenge.reason_to_hold(&submitted.participant);
    let held = held.map(|why| {
        let act = OrganiserAct { by: HOLDER.to_owned(), why, person: None };
        Event::Hidden(Hidden { act, held: true })
    });
    std::iter::once(Event::Submitted(submitted)).chain(held).collect()
}

/// Returns true if both are the record of the same entry. The place that it means, and the version of the rules, may have
/// changed between the two.
fn is_same_entry(one: &Submitted, other: &Submitted) -> bool {
    one.participant == other.participant
        && one.location.typed == other.location.typed
        && one.images == other.images
        && one.answers == other.answers
}

fn claim(
    facts: &SubmissionFacts,
    retry: RetryTime,
    verifier: String,
    at: Timestamp,
    deadline: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    match retry {
        RetryTime::At(moment, _) if !has_come(moment, at, LONG_PAUSE_MAX) => {
            Err(Rejection::NotBefore(moment))
        }
        _ if deadline <= at => Err(Rejection::ClaimEndsBeforeItBegins),
        RetryTime::Now | RetryTime::At(..) | RetryTime::WhenWell(_) => {
            let attempt = facts.attempts + 1;
            Ok(vec![Event::VerificationStarted(VerificationStarted { attempt, verifier, deadline })])
        }
    }
}

/// Returns the verdict of an attempt, after what was found.
fn verdict(attempt: u32, judgement: Judgement, basis: VerdictBasis) -> Result<Vec<Event>, Rejection> {
    let verdict = match judgement.verdict.ok_or(Rejection::Inconclusive)? {
        Verdict::Passed => Event::Passed(Passed { attempt, basis }),
        Verdict::Failed(reasons) => Event::Failed(Failed { attempt, reasons, basis }),
    };
    Ok(vec![Event::Probed(Probed { attempt, images: judgement.probes }), verdict])
}

/// Returns whether a moment has come that was recorded as at most `longest` ahead. A moment that is more than twice as far
/// ahead comes from a clock that was wrong, and nobody waits for it.
pub fn has_come(moment: Timestamp, now: Timestamp, longest: Duration) -> bool {
    let longest = SignedDuration::try_from(longest.saturating_mul(2)).unwrap_or(SignedDuration::MAX);
    moment <= now || moment.duration_since(now) > longest
}

/// Returns the interruption, and the end of the submission if it was tried too often.
fn interrupted(
    facts: &SubmissionFacts,
    attempt: u32,
    fault: PlatformFault,
    at: Timestamp,
    others_run: bool,
) -> Vec<Event> {
    let PlatformFault { code, message, pause } = fault;
    // A pause that is known in advance says nothing about the image.
    let counts = others_run && code.is_try() && pause.is_none();
    let interruptions = facts.interruptions + u32::from(code.is_try());
    let tries = facts.tries + u32::from(counts);
    let gives_up = code.is_try() && (tries >= TRIES_MAX || interruptions >= INTERRUPTIONS_MAX);
    let retry_at = if !code.is_try() {
        Some(at)
    } else if gives_up || !counts && pause.is_none() && interruptions > QUICK_TRIES {
        None
    } else {
        let pause = pause_after(interruptions).max(pause.unwrap_or_default());
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        Some(at.saturating_add(pause).unwrap_or(at))
    };
    let given_up =
        gives_up.then(|| Event::GivenUp(GivenUp { attempt, interruptions, code, message: message.clone() }));
    let interrupted = VerificationInterrupted { attempt, code, message, retry_at, counts };
    std::iter::once(Event::VerificationInterrupted(interrupted)).chain(given_up).collect()
}

/// Returns the pause after so many interrupted attempts: a few short ones for a fault that passes, and then from half a
/// minute to an hour, each twice as long as the one before.
pub fn pause_after(interruptions: u32) -> Duration {
    let (first, doublings) = match interruptions.saturating_sub(1) {
        quick @ ..QUICK_TRIES => (QUICK_PAUSE, quick),
        long => (LONG_PAUSE, long - QUICK_TRIES),
    };
    first.saturating_mul(1 << doublings.min(10)).min(LONG_PAUSE_MAX)
}

fn corrected(state: &Submission, act: OrganiserAct, name: String) -> Vec<Event> {
    let is_shown = state.facts().is_some_and(|facts| facts.shown_name == name);
    unless(is_shown, Event::NameCorrected(NameCorrected { act, name }))
}

fn is_hidden(state: &Submission) -> bool {
    state.facts().is_some_and(|facts| facts.is_hidden)
}

fn under_way(claim: &Claim, attempt: u32) -> Result<(), Rejection> {
    if claim.attempt == attempt { Ok(()) } else { Err(Rejection::Superseded(attempt)) }
}

fn already(recorded: bool, otherwise: Rejection) -> Result<Vec<Event>, Rejection> {
    if recorded { Ok(vec![]) } else { Err(otherwise) }
}

fn unless(recorded: bool, event: Event) -> Vec<Event> {
    if recorded { vec![] } else { vec![event] }
}

#[cfg(test)]
mod tests;
