//! Given a history, when a command comes, then these events follow.

use super::*;
use crate::challenge::Evidence;
use crate::submission::{FailureCode, JudgedImage};
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
        .then([probed_right(1), by_the_rules(passed(1))]);
}

#[test]
fn an_image_that_is_missing_does_not_spoil_the_other() {
    given([submitted(), started(1)])
        .when(conclude(1, [fault(0, FailureCode::ImageNotFound), answered(&ada(), 1)]))
        .then_ends_with(by_the_rules(passed(1)));
}

#[test]
fn when_no_image_answers_every_reason_is_said() {
    given([submitted(), started(1)])
        .when(conclude(1, [fault(0, FailureCode::ImageNotFound), fault(1, FailureCode::NothingOnPort)]))
        .then_ends_with(by_the_rules(failed(
            1,
            [(0, FailureCode::ImageNotFound), (1, FailureCode::NothingOnPort)],
        )));
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
    given(overtaken.clone()).when(conclude(1, [answered(&ada(), 0)])).then_rejected(Rejection::Superseded(1));
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

/// Returns the history of a submission that was interrupted `times` times, and is being verified again.
fn interrupted_history(times: u32, others_run: bool) -> Vec<Event> {
    let mut history = vec![submitted()];
    for attempt in 1..=times {
        history.push(started(attempt));
        let next = given(history.clone()).when(interrupt_while(attempt, others_run)).events();
        history.extend(next);
    }
    history.push(started(times + 1));
    history
}

#[test]
fn while_the_platform_runs_nothing_it_waits_until_the_platform_is_well() {
    let events = given(interrupted_history(4, false)).when(interrupt_while(5, false)).events();
    assert!(
        matches!(&events[..], [Event::VerificationInterrupted(last)] if last.retry_at.is_none() && !last.counts)
    );
}

/// A look and a pull take no slot. An image that no node can start has its slot until the Swarm gave up its placing and its start: 50 s.
#[test]
fn a_submission_that_never_runs_takes_less_than_two_percent_of_a_slot_after_its_first_hour() {
    const IN_SLOT: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    let mut begins = vec![Duration::ZERO];
    for interruptions in 1..TRIES_MAX {
        begins.push(begins[begins.len() - 1] + IN_SLOT + pause_after(interruptions));
    }
    assert!(begins.iter().filter(|begin| **begin > HOUR).count() >= 2, "{begins:?}");
    // The worst hour begins with a try.
    for hour in begins.iter().filter(|begin| **begin > HOUR) {
        let tries = begins.iter().filter(|begin| (*hour..=*hour + HOUR).contains(begin)).count();
        let share = IN_SLOT.as_secs_f64() * tries as f64 / HOUR.as_secs_f64();
        assert!(share < 0.02, "{share} of a slot in the hour from {hour:?} on");
    }
}

#[test]
fn while_others_are_run_the_pauses_double_to_an_hour() {
    let pauses: Vec<u64> = (1..=14).map(|n| pause_after(n).as_secs()).collect();
    assert_eq!(pauses, [2, 4, 8, 16, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    let events = given(interrupted_history(5, true)).when(interrupt_while(6, true)).events();
    let in_a_minute = now() + SignedDuration::from_secs(60);
    assert!(
        matches!(&events[..], [Event::VerificationInterrupted(last)] if last.retry_at == Some(in_a_minute))
    );
}

#[test]
fn after_too_many_tries_it_is_given_up_and_only_an_organiser_can_ask_again() {
    let mut history = interrupted_history(TRIES_MAX - 1, true);
    let events = given(history.clone()).when(interrupt_while(TRIES_MAX, true)).events();
    let [Event::VerificationInterrupted(last), Event::GivenUp(end)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((last.retry_at, end.attempt, end.interruptions), (None, TRIES_MAX, TRIES_MAX));
    history.extend(events);
    given(history.clone()).when(interrupt_while(TRIES_MAX, true)).then([]);
    given(history.clone()).when(claim_by("v1")).then_rejected(Rejection::GivenUp);
    given(history.clone()).when(rejudge()).then([by_the_rules(rejudge_requested())]);
    history.extend([rejudge_requested(), started(TRIES_MAX + 1)]);
    let again = given(history).when(interrupt_while(TRIES_MAX + 1, true)).events();
    assert!(matches!(&again[..], [Event::VerificationInterrupted(_)]), "it has all its tries again");
}

#[test]
fn an_outage_gives_nothing_up_before_more_than_a_day() {
    for others_run in [false, true] {
        let max = if others_run { TRIES_MAX } else { INTERRUPTIONS_MAX };
        let before = given(interrupted_history(max - 2, others_run));
        assert_eq!(before.when(interrupt_while(max - 1, others_run)).events().len(), 1);
        let last = given(interrupted_history(max - 1, others_run));
        assert_eq!(last.when(interrupt_while(max, others_run)).events().len(), 2);
    }
    let outage: Duration = (1..INTERRUPTIONS_MAX).map(pause_after).sum();
    assert!(outage > Duration::from_secs(24 * 60 * 60), "{outage:?}");
}

#[test]
fn a_stop_of_ours_is_no_try() {
    let mut history = interrupted_history(TRIES_MAX - 1, true);
    let fault = PlatformFault::new(InterruptionCode::VerifierStopped, "stop");
    for attempt in TRIES_MAX..TRIES_MAX + 5 {
        let stopped = Command::Interrupt { attempt, fault: fault.clone(), at: now(), others_run: true };
        let events = given(history.clone()).when(stopped).events();
        assert!(matches!(&events[..], [Event::VerificationInterrupted(end)] if end.retry_at == Some(now())));
        history.extend(events);
        history.push(started(attempt + 1));
    }
}

#[test]
fn a_pause_that_is_known_is_waited_for_and_is_no_try() {
    let attempt = TRIES_MAX;
    let pause = Some(Duration::from_secs(7200));
    let fault = PlatformFault { pause, ..PlatformFault::new(InterruptionCode::RateLimited, "later") };
    let limited = Command::Interrupt { attempt, fault, at: now(), others_run: true };
    let events = given(interrupted_history(attempt - 1, true)).when(limited).events();
    let after_it = Some(now() + SignedDuration::from_secs(7200));
    assert!(
        matches!(&events[..], [Event::VerificationInterrupted(end)] if end.retry_at == after_it && !end.counts)
    );
}

#[test]
fn a_claim_expires_at_its_deadline_and_not_before() {
    given([submitted(), started(1)]).when(expire(1, now())).then_rejected(Rejection::NotExpired(deadline()));
    let events = given([submitted(), started(1)]).when(expire(1, deadline())).events();
    assert!(
        matches!(&events[..], [Event::VerificationInterrupted(e)] if e.code == InterruptionCode::LeaseExpired)
    );
    given([submitted(), started(1), passed(1)])
        .when(expire(1, deadline()))
        .then_rejected(Rejection::Superseded(1));
}

#[test]
fn nobody_waits_for_a_moment_of_a_clock_that_was_wrong() {
    let far: Timestamp = "2050-01-01T00:00:00Z".parse().unwrap();
    let held =
        Event::VerificationStarted(VerificationStarted { attempt: 1, verifier: "v1".into(), deadline: far });
    let events = given([submitted(), held]).when(expire(1, now())).events();
    let [Event::VerificationInterrupted(interrupted)] = &events[..] else { panic!("{events:?}") };
    assert!(interrupted.retry_at.is_some_and(|moment| moment < far));
    let late = Event::VerificationInterrupted(VerificationInterrupted {
        retry_at: Some(far),
        ..interrupted.clone()
    });
    given([submitted(), started(1), late]).when(claim_by("v1")).then([started(2)]);
}

#[test]
fn an_organiser_asks_again_and_the_same_digests_are_run() {
    let judged = [submitted(), started(1), pulled(1), passed(1)];
    given(judged.clone()).when(rejudge()).then([by_the_rules(rejudge_requested())]);
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
    let events =
        given([submitted(), started(1)]).when(conclude(1, [seen, fault(1, FailureCode::TimedOut)])).events();
    let Event::Probed(probed) = &events[0] else { panic!("{events:?}") };
    assert_eq!(probed.images[0].differing[0].returned.as_deref(), Some("Bob"));
}

#[test]
fn a_verdict_names_the_images_that_were_looked_at() {
    let Command::Conclude { attempt, observations, .. } = conclude(1, [answered(&ada(), 0)]) else {
        unreachable!("it is one")
    };
    let digest = format!("sha256:{}", "a1".repeat(32)).parse().unwrap();
    let images = vec![JudgedImage { image: ada().images[0].clone(), digest }];
    let concluded = Command::Conclude { attempt, observations, images: images.clone() };
    let events = given([submitted(), started(1)]).when(concluded).events();
    let Some(Event::Passed(Passed { basis, .. })) = events.last() else { panic!("{events:?}") };
    assert_eq!(basis.images, images);
}

#[test]
fn a_submission_is_judged_by_its_own_rules_until_a_rejudge_names_others() {
    let rules_after = |history: &[Event]| {
        history.iter().collect::<Submission>().facts().and_then(|facts| facts.rules.clone())
    };
    let judged = [submitted(), started(1), interrupted_once(1), started(2), passed(2)];
    assert_eq!(rules_after(&judged), Some(ada().challenge.rules));
    let asked = by_the_rules(rejudge_requested());
    let again = [judged.to_vec(), vec![asked, started(3), interrupted_once(3)]].concat();
    assert_eq!(rules_after(&again), Some(Challenge::birthday().digest()));
    // Older versions named none, and judged by the rules in force.
    assert_eq!(rules_after(&[judged.to_vec(), vec![rejudge_requested()]].concat()), None);
}
