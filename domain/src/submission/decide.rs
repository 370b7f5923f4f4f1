//! Decides on commands: one table of the state of a submission and the command.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::command::{Command, PlatformFault};
use super::event::{
    ContainersStarted, Event, Failed, Hidden, ImagesPulled, Passed, Probed, RejudgeRequested, Shown,
    Submitted, VerificationInterrupted, VerificationStarted, Withdrawn,
};
use super::failure::InterruptionCode;
use super::state::{AttemptStep, Claim, RetryTime, Submission, SubmissionFacts};
use crate::challenge::{Challenge, Verdict};

/// The number of interrupted attempts after which a submission waits until the platform is well.
pub const INTERRUPTIONS_MAX: u32 = 5;

const RETRY_AFTER_FIRST: Duration = Duration::from_secs(2);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

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

/// Returns the events that `command` leads to in this state. There are none if its facts are already recorded.
///
/// # Errors
/// If the command is refused in this state.
pub fn decide(challenge: &Challenge, state: &Submission, command: Command) -> Result<Vec<Event>, Rejection> {
    use Submission as S;
    match (state, command) {
        (S::Unknown, Command::Submit(submitted)) => Ok(vec![Event::Submitted(*submitted)]),
        (S::Unknown, _) => Err(Rejection::Unknown),
        (
            S::Waiting { facts, .. }
            | S::Verifying { facts, .. }
            | S::Judged { facts, .. }
            | S::Withdrawn { facts },
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
        (S::Verifying { facts, claim, .. }, Command::Conclude { attempt, observations }) => {
            under_way(claim, attempt)?;
            let judgement = challenge.judge(&facts.submitted, &observations);
            let verdict = match judgement.verdict.ok_or(Rejection::Inconclusive)? {
                Verdict::Passed => Event::Passed(Passed { attempt }),
                Verdict::Failed(reasons) => Event::Failed(Failed { attempt, reasons }),
            };
            Ok(vec![Event::Probed(Probed { attempt, images: judgement.probes }), verdict])
        }
        (S::Verifying { facts, claim, .. }, Command::Interrupt { attempt, fault, at }) => {
            under_way(claim, attempt)?;
            Ok(vec![interrupted(facts, attempt, fault, at)])
        }
        (S::Verifying { facts, claim, .. }, Command::Expire { attempt, at }) => {
            under_way(claim, attempt)?;
            if at < claim.deadline {
                return Err(Rejection::NotExpired(claim.deadline));
            }
            let message = format!("{} did not report by {}", claim.verifier, claim.deadline);
            let fault = PlatformFault { code: InterruptionCode::LeaseExpired, message };
            Ok(vec![interrupted(facts, attempt, fault, at)])
        }

        // A report that arrives after its attempt ended either repeats the end, or comes from a verifier that was
        // overtaken. Neither changes anything, but only the first succeeds.
        (S::Judged { facts, .. }, Command::Conclude { attempt, .. })
        | (S::Waiting { facts, .. }, Command::Interrupt { attempt, .. } | Command::Expire { attempt, .. }) => {
            already(facts.attempts == attempt, Rejection::Superseded(attempt))
        }
        (
            S::Waiting { .. } | S::Judged { .. } | S::Withdrawn { .. },
            Command::RecordPulled { attempt, .. }
            | Command::RecordStarted { attempt, .. }
            | Command::Conclude { attempt, .. }
            | Command::Interrupt { attempt, .. }
            | Command::Expire { attempt, .. },
        ) => Err(Rejection::Superseded(attempt)),

        (S::Judged { .. }, Command::RequestRejudge { by, why }) => {
            Ok(vec![Event::RejudgeRequested(RejudgeRequested { by, why })])
        }
        (S::Waiting { .. } | S::Verifying { .. }, Command::RequestRejudge { .. }) => {
            Err(Rejection::NotJudged)
        }

        (S::Withdrawn { .. }, Command::Withdraw) => Ok(vec![]),
        (
            S::Withdrawn { .. },
            Command::Claim { .. }
            | Command::RequestRejudge { .. }
            | Command::Hide { .. }
            | Command::Show { .. },
        ) => Err(Rejection::Withdrawn),
        (_, Command::Hide { by, why }) => Ok(unless(is_hidden(state), Event::Hidden(Hidden { by, why }))),
        (_, Command::Show { by, why }) => Ok(unless(!is_hidden(state), Event::Shown(Shown { by, why }))),
        // A rejudge does not let its participant keep a pin by leaving.
        (S::Waiting { facts, .. } | S::Verifying { facts, .. }, Command::Withdraw) if !facts.was_judged => {
            Ok(vec![Event::Withdrawn(Withdrawn {})])
        }
        (_, Command::Withdraw) => Err(Rejection::Judged),
    }
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
        RetryTime::At(moment, _) if at < moment => Err(Rejection::NotBefore(moment)),
        _ if deadline <= at => Err(Rejection::ClaimEndsBeforeItBegins),
        RetryTime::Now | RetryTime::At(..) | RetryTime::WhenWell(_) => {
            let attempt = facts.attempts + 1;
            Ok(vec![Event::VerificationStarted(VerificationStarted { attempt, verifier, deadline })])
        }
    }
}

fn interrupted(facts: &SubmissionFacts, attempt: u32, fault: PlatformFault, at: Timestamp) -> Event {
    let wait = RETRY_AFTER_FIRST.saturating_mul(1 << facts.interruptions.min(10)).min(RETRY_AFTER_MAX);
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    let retry_at =
        (facts.interruptions + 1 < INTERRUPTIONS_MAX).then(|| at.saturating_add(wait).unwrap_or(at));
    Event::VerificationInterrupted(VerificationInterrupted {
        attempt,
        code: fault.code,
        message: fault.message,
        retry_at,
    })
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
mod tests {
    use super::*;
    use crate::challenge::Evidence;
    use crate::submission::FailureCode;
    use crate::testing::*;

    #[test]
    fn an_entry_is_accepted_once() {
        given([]).when(submit()).then([submitted()]);
        given([submitted()]).when(submit()).then([]);
        given([submitted()]).when(submit_other()).then_rejected(Rejection::AlreadySubmitted);
    }

    #[test]
    fn what_nobody_submitted_cannot_be_verified() {
        given([]).when(claim_by("v1")).then_rejected(Rejection::Unknown);
    }

    #[test]
    fn a_verifier_claims_what_waits() {
        given([submitted()]).when(claim_by("v1")).then([started(1)]);
    }

    #[test]
    fn a_claim_keeps_others_out() {
        let held = Rejection::Claimed { verifier: "v1".into(), deadline: deadline() };
        given([submitted(), started(1)]).when(claim_by("v2")).then_rejected(held);
        given([submitted(), started(1)]).when(claim_by("v1")).then([]);
    }

    #[test]
    fn each_step_is_recorded_once() {
        given([submitted(), started(1)]).when(record_pulled(1)).then([pulled(1)]);
        given([submitted(), started(1), pulled(1)]).when(record_pulled(1)).then([]);
        given([submitted(), started(1), pulled(1)]).when(record_started(1)).then([running(1)]);
        given([submitted(), started(1), pulled(1), running(1)]).when(record_pulled(1)).then([]);
        given([submitted(), started(1), pulled(1), running(1)]).when(record_started(1)).then([]);
    }

    #[test]
    fn the_start_of_a_second_run_is_recorded_once() {
        let first = [submitted(), started(1), pulled(1), running(1)];
        given(first.clone()).when(record_started_again(1)).then([running(1)]);
        let second = [first.to_vec(), vec![running(1)]].concat();
        given(second.clone()).when(record_started_again(1)).then([]);
        given(second).when(record_started(1)).then([]);
    }

    #[test]
    fn the_right_answer_passes() {
        given([submitted(), started(1), pulled(1), running(1)])
            .when(conclude(1, [answered(&ada(), 0)]))
            .then([probed_right(1), passed(1)]);
    }

    #[test]
    fn an_image_that_is_missing_does_not_spoil_the_other() {
        given([submitted(), started(1)])
            .when(conclude(1, [fault(0, FailureCode::ImageNotFound), answered(&ada(), 1)]))
            .then_ends_with(passed(1));
    }

    #[test]
    fn when_no_image_answers_every_reason_is_said() {
        given([submitted(), started(1)])
            .when(conclude(1, [fault(0, FailureCode::ImageNotFound), fault(1, FailureCode::NothingOnPort)]))
            .then_ends_with(failed(1, [(0, FailureCode::ImageNotFound), (1, FailureCode::NothingOnPort)]));
    }

    #[test]
    fn half_an_observation_is_no_verdict() {
        given([submitted(), started(1)])
            .when(conclude(1, [fault(0, FailureCode::TimedOut)]))
            .then_rejected(Rejection::Inconclusive);
    }

    #[test]
    fn a_verdict_said_again_changes_nothing() {
        let wrong = [fault(0, FailureCode::TimedOut), fault(1, FailureCode::TimedOut)];
        given([submitted(), started(1), probed_right(1), passed(1)]).when(conclude(1, wrong)).then([]);
    }

    #[test]
    fn a_verifier_that_was_overtaken_is_told_so() {
        let overtaken = [submitted(), started(1), interrupted_once(1), started(2)];
        given(overtaken.clone()).when(record_pulled(1)).then_rejected(Rejection::Superseded(1));
        given(overtaken.clone())
            .when(conclude(1, [answered(&ada(), 0)]))
            .then_rejected(Rejection::Superseded(1));
        given(overtaken).when(conclude(3, [answered(&ada(), 0)])).then_rejected(Rejection::Superseded(3));
        let judged = [submitted(), started(1), interrupted_once(1), started(2), passed(2)];
        given(judged).when(conclude(1, [answered(&ada(), 0)])).then_rejected(Rejection::Superseded(1));
    }

    #[test]
    fn a_fault_of_ours_sends_it_back_to_the_queue_for_later() {
        given([submitted(), started(1)]).when(interrupt(1)).then([interrupted_once(1)]);
        given([submitted(), started(1), interrupted_once(1)]).when(interrupt(1)).then([]);
        given([submitted(), started(1), interrupted_once(1)])
            .when(claim_by("v2"))
            .then_rejected(Rejection::NotBefore(retry_moment()));
    }

    #[test]
    fn after_too_many_faults_of_ours_it_waits_until_the_platform_is_well() {
        let mut history = vec![submitted()];
        for attempt in 1..INTERRUPTIONS_MAX {
            history.extend([started(attempt), interrupted_once(attempt)]);
        }
        history.push(started(INTERRUPTIONS_MAX));
        let events = given(history).when(interrupt(INTERRUPTIONS_MAX)).events();
        assert!(matches!(&events[..], [Event::VerificationInterrupted(last)] if last.retry_at.is_none()));
    }

    #[test]
    fn a_claim_expires_at_its_deadline_and_not_before() {
        given([submitted(), started(1)])
            .when(expire(1, now()))
            .then_rejected(Rejection::NotExpired(deadline()));
        let events = given([submitted(), started(1)]).when(expire(1, deadline())).events();
        assert!(
            matches!(&events[..], [Event::VerificationInterrupted(e)] if e.code == InterruptionCode::LeaseExpired)
        );
        given([submitted(), started(1), passed(1)])
            .when(expire(1, deadline()))
            .then_rejected(Rejection::Superseded(1));
    }

    #[test]
    fn an_organiser_asks_again_and_the_same_digests_are_run() {
        let judged = [submitted(), started(1), pulled(1), passed(1)];
        given(judged.clone()).when(rejudge()).then([rejudge_requested()]);
        given([submitted()]).when(rejudge()).then_rejected(Rejection::NotJudged);
        let mut again = judged.to_vec();
        again.push(rejudge_requested());
        given(again.clone()).when(claim_by("v1")).then([started(2)]);
        let state: Submission = again.iter().collect();
        assert_eq!(state.facts().unwrap().digests.len(), 1);
    }

    #[test]
    fn an_answer_that_is_wrong_says_where() {
        let mut seen = answered(&ada(), 0);
        if let Evidence::Http { body, .. } = &mut seen.evidence {
            *body = br#"{"name":"Bob"}"#.to_vec();
        }
        let events = given([submitted(), started(1)])
            .when(conclude(1, [seen, fault(1, FailureCode::TimedOut)]))
            .events();
        let Event::Probed(probed) = &events[0] else { panic!("{events:?}") };
        assert_eq!(probed.images[0].differing[0].returned.as_deref(), Some("Bob"));
    }
}
