//! Properties of every history and of every order of commands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::decide::{INTERRUPTIONS_MAX, TRIES_MAX};
use super::*;
use crate::challenge::Challenge;
use crate::testing::*;

fn any_event() -> impl Strategy<Value = Event> {
    prop::sample::select(one_of_each())
}

/// Generates commands of verifiers that race, repeat themselves and come late.
fn any_command() -> impl Strategy<Value = Command> {
    (0usize..13, 0u32..4, prop::bool::ANY).prop_map(|(which, attempt, flag)| match which {
        0 => submit(),
        1 => Command::Claim {
            verifier: if flag { "v1" } else { "v2" }.into(),
            at: retry_moment(),
            deadline: deadline(),
        },
        2 => record_pulled(attempt),
        3 if flag => record_started_again(attempt),
        3 => record_started(attempt),
        4 => conclude(attempt, [answered(&ada(), 0)]),
        5 => conclude(attempt, [fault(0, FailureCode::TimedOut), fault(1, FailureCode::BadStatus)]),
        6 => interrupt_while(attempt, flag),
        7 => expire(attempt, if flag { deadline() } else { now() }),
        8 => rejudge(),
        9 => hide(),
        10 => show(),
        11 => correct(if flag { "Ada" } else { "Ada Lovelace" }),
        _ => Command::Withdraw,
    })
}

proptest! {
    #[test]
    fn any_history_folds(history in prop::collection::vec(any_event(), 0..40)) {
        let state: Submission = history.iter().collect();
        let submitted = history.iter().any(|event| matches!(event, Event::Submitted(_)));
        prop_assert_eq!(state.facts().is_some(), submitted);
    }

    #[test]
    fn no_sequence_of_commands_yields_two_verdicts_for_one_attempt(
        commands in prop::collection::vec(any_command(), 0..80),
    ) {
        let challenge = Challenge::birthday();
        let mut state = Submission::default();
        let mut verdicts: BTreeMap<u32, usize> = BTreeMap::new();
        for command in commands {
            let Ok(events) = decide(&challenge, &state, command.clone()) else { continue };
            let was_withdrawn = matches!(state, Submission::Withdrawn { .. });
            prop_assert!(!was_withdrawn || events.is_empty(), "{:?} after a withdrawal", events);
            for event in &events {
                if let Event::Passed(Passed { attempt, .. }) | Event::Failed(Failed { attempt, .. }) = event {
                    *verdicts.entry(*attempt).or_default() += 1;
                }
            }
            state = events.iter().fold(state, Submission::evolve);

            // A verifier that is unsure if its report arrived may repeat it without effect.
            let repetition_is_a_new_request = matches!(command, Command::RequestRejudge(_));
            if !repetition_is_a_new_request && !events.is_empty() {
                prop_assert_eq!(decide(&challenge, &state, command), Ok(vec![]));
            }
        }
        prop_assert!(verdicts.values().all(|count| *count == 1), "{:?}", verdicts);
    }

    /// Whoever is unlucky in whatever way, the platform's tries are bounded, and the last word is an event.
    #[test]
    fn every_submission_that_is_tried_again_and_again_ends(
        luck in prop::collection::vec(prop::bool::ANY, INTERRUPTIONS_MAX as usize + 1),
    ) {
        let challenge = Challenge::birthday();
        let mut state: Submission = [submitted()].iter().collect();
        let mut tries = 0;
        while let Submission::Waiting { retry, .. } = &state {
            let at = match retry {
                RetryTime::At(moment, _) => *moment,
                RetryTime::Now | RetryTime::WhenWell(_) => now(),
            };
            let others_run = luck[tries];
            tries += 1;
            let attempt = tries as u32;
            let deadline = at + jiff::SignedDuration::from_secs(1);
            let claim = Command::Claim { verifier: "v1".into(), at, deadline };
            let fault = PlatformFault::new(InterruptionCode::NodeIll, "no");
            for command in [claim, Command::Interrupt { attempt, fault, at, others_run }] {
                let events = decide(&challenge, &state, command).unwrap();
                state = events.iter().fold(state, Submission::evolve);
            }
        }
        prop_assert!(matches!(state, Submission::GivenUp { .. }), "{:?}", state);
        prop_assert!(tries >= TRIES_MAX as usize && tries <= INTERRUPTIONS_MAX as usize, "{} tries", tries);
    }
}
