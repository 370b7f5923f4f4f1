//! Given a log, the queue gives out this submission next.

use std::collections::BTreeSet;

use domain::submission::{
    Failed, FailureCode, InterruptionCode, Passed, RejudgeRequested, Submitted, VerdictBasis,
    VerificationInterrupted, VerificationStarted,
};
use domain::testing::{act, submitted_by, withdrawn};
use proptest::prelude::*;

use super::*;

struct Log {
    queue: ClaimQueue,
    position: u64,
}

fn log() -> Log {
    Log { queue: ClaimQueue::default(), position: 0 }
}

impl Log {
    fn says(&mut self, id: u128, event: Event) -> &mut Self {
        self.position += 1;
        let reference = EventRef {
            event: Uuid::from_u128(self.position.into()),
            position: Position(self.position),
            at: second(self.position.try_into().unwrap()),
        };
        self.queue.apply(submission(id), reference, &event);
        self
    }

    fn submitted(&mut self, id: u128, owner: &str) -> &mut Self {
        self.says(id, Event::Submitted(submitted_by(owner)))
    }

    fn claimed(&mut self, id: u128, deadline: i64) -> &mut Self {
        let deadline = second(deadline);
        let started = VerificationStarted { attempt: 1, verifier: "v1".into(), deadline };
        self.says(id, Event::VerificationStarted(started))
    }

    fn passed(&mut self, id: u128) -> &mut Self {
        self.says(id, Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() }))
    }

    fn interrupted(&mut self, id: u128, retry_at: Option<i64>) -> &mut Self {
        let interrupted = VerificationInterrupted {
            attempt: 1,
            code: InterruptionCode::NoCapacity,
            message: "full".into(),
            retry_at: retry_at.map(second),
            counts: false,
        };
        self.says(id, Event::VerificationInterrupted(interrupted))
    }

    #[track_caller]
    fn next(&mut self, now: i64, expected: impl IntoIterator<Item = u128>) -> &mut Self {
        let taken: Vec<SubmissionId> =
            std::iter::from_fn(|| self.queue.take(second(now))).map(|ticket| ticket.id).collect();
        assert_eq!(taken, expected.into_iter().map(submission).collect::<Vec<_>>());
        self
    }
}

fn submission(id: u128) -> SubmissionId {
    SubmissionId(Uuid::from_u128(id))
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn owners_take_turns_and_each_has_one_under_way() {
    log()
        .submitted(1, "ada")
        .submitted(2, "ada")
        .submitted(3, "ada")
        .submitted(4, "bob")
        .next(0, [1, 4])
        .claimed(1, 100)
        .next(1, [])
        .passed(1)
        .next(2, [2]);
}

#[test]
fn a_new_owner_does_not_wait_for_another_owners_long_line() {
    let mut log = log();
    for id in 1..=50 {
        log.submitted(id, "ada");
    }
    log.next(0, [1]).submitted(100, "bob").claimed(1, 100).passed(1).next(0, [100, 2]);
}

#[test]
fn the_owners_in_one_lane_take_one_turn_and_have_one_under_way() {
    let mut log = log();
    for (id, owner) in [(1, "x"), (2, "y"), (3, "z")] {
        log.says(id, Event::Submitted(Submitted { lane: Some("lane".into()), ..submitted_by(owner) }));
    }
    log.submitted(4, "bob").next(0, [1, 4]).claimed(1, 100).passed(1).next(0, [2]);
    // Their runs are runs of different owners all the same.
    log.claimed(2, 100).claimed(3, 100).passed(3);
    assert!(log.queue.claims(|held| held.id == submission(2))[0].others_run);
}

#[test]
fn a_claim_of_another_verifier_is_not_taken_until_it_is_interrupted() {
    log().submitted(1, "ada").claimed(1, 100).next(1, []).interrupted(1, Some(10)).next(9, []).next(10, [1]);
}

#[test]
fn a_claim_is_void_after_its_deadline() {
    let mut log = log();
    log.submitted(1, "ada").claimed(1, 100);
    let expired = |log: &Log, now| log.queue.claims(|held| held.deadline <= second(now)).len();
    assert_eq!(expired(&log, 99), 0);
    assert_eq!(expired(&log, 100), 1);
    log.interrupted(1, Some(100));
    assert_eq!(expired(&log, 101), 0);
}

#[test]
fn a_submission_that_could_not_be_claimed_waits_a_moment_for_the_log() {
    let mut log = log();
    log.submitted(1, "ada").next(0, [1]);
    log.queue.put_back(submission(1), second(5));
    log.next(4, []).next(5, [1]).claimed(1, 100);
    log.queue.put_back(submission(1), second(5));
    log.next(6, []);
}

#[test]
fn a_verdict_shows_that_the_platform_is_well() {
    let mut log = log();
    log.queue.probed_at = Some(second(100));
    log.submitted(1, "ada").submitted(2, "bob").interrupted(1, None).next(100, [2]).claimed(2, 200).passed(2);
    log.next(20, []).next(100, [1]);
}

#[test]
fn without_a_verdict_one_submission_is_tried_at_intervals() {
    let mut log = log();
    log.submitted(1, "ada").submitted(2, "bob").interrupted(1, None).interrupted(2, None);
    log.next(10, []).next(40, [1]).next(99, []).next(100, [2]);
}

#[test]
fn while_nothing_runs_a_submission_is_tried_less_and_less_often() {
    let mut log = log();
    log.submitted(1, "ada");
    let mut now = 0;
    for pause in [30, 30, 30, 30, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        log.next(now, [1]).claimed(1, 0).interrupted(1, None);
        // The log of this test counts its events as seconds.
        let at = i64::try_from(log.position).unwrap();
        assert_eq!(log.queue.unwell.first(), Some(&(second(at + pause), submission(1))));
        now += 10_000;
    }
}

#[test]
fn only_a_run_shows_that_the_platform_is_well() {
    let refused = |code| {
        let reasons = vec![domain::submission::Reason { code, image: None, message: "no".into() }];
        Event::Failed(Failed { attempt: 1, reasons, basis: VerdictBasis::default() })
    };
    for (code, well) in [(FailureCode::ImageNotFound, false), (FailureCode::Mismatch, true)] {
        let mut log = log();
        log.queue.probed_at = Some(second(1000));
        log.submitted(1, "ada").submitted(2, "bob").interrupted(1, None).claimed(2, 9).says(2, refused(code));
        log.next(1000, well.then_some(1));
    }
}

#[test]
fn a_claim_knows_whether_images_of_other_owners_ran_since_it_began_to_wait() {
    let others_run =
        |log: &Log| log.queue.claims(|_| true).iter().map(|held| held.others_run).collect::<Vec<_>>();
    let mut log = log();
    log.submitted(1, "ada").submitted(2, "ada").passed(2).claimed(1, 100);
    assert_eq!(others_run(&log), [false], "ada's own run says nothing");
    log.submitted(3, "bob").passed(3);
    assert_eq!(others_run(&log), [true]);
    log.interrupted(1, Some(0)).claimed(1, 100);
    assert_eq!(others_run(&log), [false], "no image ran since the interruption");
}

#[test]
fn a_submission_that_is_given_up_is_forgotten() {
    let mut log = log();
    log.submitted(1, "ada").claimed(1, 100).interrupted(1, None);
    log.says(1, domain::testing::given_up(1)).next(1_000_000, []);
    assert!(log.queue.entries.is_empty() && log.queue.unwell.is_empty() && log.queue.order.waiting() == 0);
}

/// The bound is three thousand times the time of a look, and tells a look from a search among all that is parked.
#[test]
fn a_look_at_a_hundred_thousand_parked_submissions_takes_less_than_a_millisecond() {
    const LOOKS: u32 = 1000;
    let mut log = log();
    for id in 0..100_000 {
        log.submitted(id, &format!("owner{id}")).claimed(id, 9).interrupted(id, Some(1_000_000_000));
    }
    let began = std::time::Instant::now();
    for look in 0..LOOKS {
        assert_eq!(log.queue.take(second(look.into())), None);
    }
    let each = began.elapsed() / LOOKS;
    println!("a look at a hundred thousand parked submissions takes {each:?}");
    assert!(each < Duration::from_millis(1), "{each:?}");
}

/// A look at the queue is one step, however many wait: parked submissions are no candidates.
#[test]
fn parked_submissions_are_not_walked() {
    let mut log = log();
    for id in 0..1000 {
        log.submitted(id, &format!("owner{id}")).claimed(id, 9).interrupted(id, Some(1_000_000_000));
    }
    log.submitted(200_000, "ada");
    assert_eq!((log.queue.order.candidates().count(), log.queue.parked.len()), (1, 1000));
    log.next(2_000_000, [200_000]);
    assert_eq!(log.queue.claims(|_| true), []);
}

#[test]
fn a_rejudged_submission_waits_again_at_the_end_of_its_line() {
    let again = Event::RejudgeRequested(RejudgeRequested { act: act("w"), rules: None });
    let mut log = log();
    log.submitted(1, "ada").passed(1);
    assert!(!log.queue.knows(submission(1)));
    log.submitted(1, "ada").submitted(2, "ada").says(1, again).next(0, [2]);
    log.claimed(2, 9)
        .says(2, Event::Failed(Failed { attempt: 1, reasons: vec![], basis: VerdictBasis::default() }))
        .next(0, [1]);
}

#[test]
fn a_submission_with_a_verdict_is_forgotten() {
    let mut log = log();
    log.submitted(1, "ada").submitted(2, "ada").next(0, [1]).passed(1).next(0, [2]).passed(2).next(0, []);
    assert!(log.queue.entries.is_empty() && log.queue.order.waiting() == 0);
}

#[test]
fn a_withdrawn_submission_is_let_go_whether_it_waits_is_taken_or_claimed() {
    let mut log = log();
    log.submitted(1, "ada").submitted(2, "ada").says(1, withdrawn()).next(0, [2]);
    log.says(2, withdrawn()).submitted(3, "ada").next(0, [3]);
    log.queue.put_back(submission(2), second(0));
    log.claimed(3, 5).says(3, withdrawn()).next(9, []);
    assert_eq!(log.queue.claims(|_| true), []);
    for (id, retry_at) in [(4, Some(20)), (5, None)] {
        log.submitted(id, "ada").claimed(id, 5).interrupted(id, retry_at).says(id, withdrawn());
    }
    log.next(1_000_000, []);
    assert!(log.queue.parked.is_empty() && log.queue.unwell.is_empty());
    assert!(log.queue.entries.is_empty() && log.queue.order.waiting() == 0);
}

/// Returns the turn in which each of fifty owners' only submissions has its verdict, after one owner has
/// submitted a `flood`. A turn verifies `at_once` submissions.
fn fifty_behind(flood: u128, at_once: usize) -> Vec<u32> {
    let mut log = log();
    for id in 0..flood {
        log.submitted(1000 + id, "flood");
    }
    let mut under_way: Vec<SubmissionId> = Vec::new();
    let mut verdicts = Vec::new();
    for turn in 0_u32.. {
        // During the first turn, only the flood waits.
        if turn == 1 {
            for id in 0..50 {
                log.submitted(id, &format!("owner{id}"));
            }
        }
        for id in under_way.drain(..) {
            log.passed(id.0.as_u128());
            if id.0.as_u128() < 50 {
                verdicts.push(turn - 1);
            }
        }
        if verdicts.len() == 50 {
            return verdicts;
        }
        under_way
            .extend(std::iter::from_fn(|| log.queue.take(second(0))).take(at_once).map(|ticket| ticket.id));
        for id in &under_way {
            log.claimed(id.0.as_u128(), 5);
        }
        let of_the_flood = under_way.iter().filter(|id| id.0.as_u128() >= 1000).count();
        assert!(of_the_flood <= 1, "the flood has {of_the_flood} places");
    }
    verdicts
}

#[test]
fn fifty_single_submissions_wait_behind_five_thousand_at_most_twice_as_long_as_alone() {
    for at_once in [1, 2, 4, 8, 16] {
        let (alone, flooded) = (fifty_behind(0, at_once), fifty_behind(5000, at_once));
        for (nth, (alone, flooded)) in alone.iter().zip(&flooded).enumerate() {
            assert!(*flooded <= 2 * alone, "{nth} of {at_once} at once: {flooded} turns, alone {alone}");
        }
        // The flood takes one place in each round, which delays the fifty by that much in all.
        assert!(flooded[49] <= alone[49] + 2, "{at_once} at once: {} turns", flooded[49]);
    }
}

/// Whoever invents owners at one address has some lanes, and their images never run.
#[test]
fn fifty_owners_have_their_verdicts_beside_five_thousand_poisons_within_twice_the_time_alone() {
    const LANES: u128 = 32;
    let waits = |poisons: u128| {
        let mut log = log();
        for id in 0..poisons {
            let (lane, owner) = (Some(format!("lane{}", id % LANES).into()), format!("invented{id}"));
            log.says(1000 + id, Event::Submitted(Submitted { lane, ..submitted_by(&owner) }));
        }
        for id in 0..50 {
            log.submitted(id, &format!("owner{id}"));
        }
        let (mut turns, mut waited) = (0, Vec::new());
        while waited.len() < 50 {
            let id = log.queue.take(second(0)).expect("some wait").id.0.as_u128();
            turns += 1;
            log.claimed(id, 5);
            if id < 50 {
                log.passed(id);
                waited.push(turns);
            } else {
                // The pauses of a poison grow, so it comes back later than all of these.
                log.interrupted(id, Some(1000));
            }
        }
        println!(
            "{poisons} poisons: {} turns in all until the last, {} summed up",
            turns,
            waited.iter().sum::<u32>()
        );
        turns
    };
    let (alone, beside) = (waits(0), waits(5000));
    assert!(beside <= 2 * alone, "{beside} turns beside the poisons, {alone} alone");
}

#[test]
fn owners_with_many_and_with_one_take_turns_in_the_order_of_arrival() {
    let mut log = log();
    for id in 100..5100 {
        log.submitted(id, "ada");
    }
    log.submitted(1, "bob").submitted(2, "eve").next(0, [100, 1, 2]);
    log.passed(100).submitted(3, "dan").next(0, [101, 3]).passed(1).passed(101).next(0, [102]);
}

/// A random event of one of few submissions of few owners.
#[derive(Debug, Clone)]
enum Step {
    Submit(u8),
    Take,
    PutBack(u8),
    Claim(u8),
    Interrupt(u8, bool),
    Judge(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..12_u8;
    let step = prop_oneof![
        3 => id.clone().prop_map(Step::Submit),
        4 => Just(Step::Take),
        1 => id.clone().prop_map(Step::PutBack),
        2 => id.clone().prop_map(Step::Claim),
        1 => (id.clone(), any::<bool>()).prop_map(|(id, later)| Step::Interrupt(id, later)),
        1 => id.prop_map(Step::Judge),
    ];
    proptest::collection::vec(step, 0..200)
}

/// Submissions 0 to 11 belong to owners 0 to 3.
fn owner(id: u8) -> String {
    format!("owner{}", id % 4)
}

proptest! {
    #[test]
    fn no_owner_starves_and_no_submission_is_lost(steps in steps()) {
        let mut log = log();
        let mut live = BTreeSet::new();
        let mut busy = BTreeSet::new();
        for step in steps {
            match step {
                Step::Submit(id) if !live.contains(&id) => {
                    log.submitted(id.into(), &owner(id));
                    live.insert(id);
                }
                Step::Take => {
                    if let Some(ticket) = log.queue.take(second(1_000_000)) {
                        let id = u8::try_from(ticket.id.0.as_u128()).unwrap();
                        prop_assert!(live.contains(&id));
                        prop_assert!(!busy.iter().any(|other| owner(*other) == owner(id)), "one per owner");
                        busy.insert(id);
                    }
                }
                Step::PutBack(id) if busy.contains(&id) => {
                    let claimed = !log.queue.claims(|held| held.id == submission(id.into())).is_empty();
                    log.queue.put_back(submission(id.into()), second(0));
                    if !claimed {
                        busy.remove(&id);
                    }
                }
                Step::Claim(id) if live.contains(&id) => {
                    log.claimed(id.into(), 5);
                    busy.insert(id);
                }
                Step::Interrupt(id, later) if busy.contains(&id) => {
                    log.interrupted(id.into(), later.then_some(7));
                    busy.remove(&id);
                }
                Step::Judge(id) if busy.contains(&id) => {
                    log.passed(id.into());
                    busy.remove(&id);
                    live.remove(&id);
                }
                _ => {}
            }
        }
        // If all goes well from now on, each submission gets its verdict, whatever happened before.
        for id in std::mem::take(&mut busy) {
            log.passed(id.into());
            live.remove(&id);
        }
        let mut now = 2_000_000;
        let mut rounds = 0;
        while !live.is_empty() {
            now += 1000;
            rounds += 1;
            prop_assert!(rounds <= 12, "{:?} wait for ever", live);
            let waiting: BTreeSet<String> = live.iter().map(|id| owner(*id)).collect();
            let tickets: Vec<Ticket> = std::iter::from_fn(|| log.queue.take(second(now))).collect();
            let probing = log.queue.probed_at == Some(second(now));
            prop_assert!(tickets.len() == waiting.len() || probing || rounds == 1, "each owner has a turn");
            for ticket in tickets {
                let id = u8::try_from(ticket.id.0.as_u128()).unwrap();
                log.passed(id.into());
                prop_assert!(live.remove(&id));
            }
        }
        prop_assert!(log.queue.entries.is_empty());
    }
}

#[test]
fn the_figures_tell_who_waits_for_the_turn_who_pauses_and_who_is_claimed() {
    let mut log = log();
    log.submitted(1, "ada").submitted(2, "bob").submitted(3, "eve").claimed(3, 100);
    log.submitted(4, "dan").claimed(4, 100).interrupted(4, Some(500));
    let shown = |log: &Log| {
        log.queue.figures(second(60)).map(|(state, figures)| (state, figures.count, figures.oldest.as_secs()))
    };
    assert_eq!(shown(&log), [("ready", 2, 59), ("paused", 1, 55), ("claimed", 1, 57)]);
    // It waits until it is claimed.
    log.queue.take(second(60)).unwrap();
    assert!(log.queue.is_taken(submission(1)));
    assert_eq!(shown(&log), [("ready", 2, 59), ("paused", 1, 55), ("claimed", 1, 57)]);
    log.queue.put_back(submission(1), second(61));
    log.passed(3).says(2, withdrawn());
    assert_eq!(shown(&log), [("ready", 0, 0), ("paused", 2, 59), ("claimed", 0, 0)]);
    // The moments of all have come.
    log.queue.take(second(600)).unwrap();
    assert_eq!(shown(&log)[0].1 + shown(&log)[1].1, 2);
    log.passed(1).passed(4);
    assert_eq!(shown(&log), [("ready", 0, 0), ("paused", 0, 0), ("claimed", 0, 0)]);
}
