//! Given a history, organisers hide and show a submission, and its participant withdraws it.

use super::event::{Hidden, OrganiserAct};
use super::*;
use crate::challenge::{Challenge, FoundWordAction};
use crate::testing::*;

fn verified_once() -> Vec<Event> {
    vec![submitted(), started(1), pulled(1), passed(1)]
}

#[test]
fn an_organiser_hides_a_submission_once_and_shows_it_once() {
    for history in [vec![submitted()], vec![submitted(), started(1)], verified_once()] {
        given(history.clone()).when(hide()).then([hidden()]);
        given(history.clone()).when(show()).then([]);
        let is_hidden = [history, vec![hidden()]].concat();
        given(is_hidden.clone()).when(hide()).then([]);
        given(is_hidden.clone()).when(show()).then([shown()]);
        let is_shown = [is_hidden, vec![shown()]].concat();
        given(is_shown.clone()).when(show()).then([]);
        given(is_shown).when(hide()).then([hidden()]);
    }
}

#[test]
fn a_hidden_submission_is_verified_and_rejudged_as_any_other() {
    given([submitted(), hidden()]).when(claim_by("v1")).then([started(1)]);
    given([submitted(), started(1), hidden()])
        .when(conclude(1, [answered(&ada(), 0)]))
        .then([probed_right(1), by_the_rules(passed(1))]);
    let judged = [verified_once(), vec![hidden()]].concat();
    given(judged.clone()).when(rejudge()).then([by_the_rules(rejudge_requested())]);
    given([judged, vec![rejudge_requested(), started(2), passed(2)]].concat()).when(show()).then([shown()]);
}

#[test]
fn an_entry_with_a_refused_word_is_held_if_the_challenge_says_so() {
    let holding = |name: &str, found| {
        let mut challenge = Challenge::birthday();
        challenge.words.found = found;
        let mut entry = ada();
        entry.participant.name = name.into();
        let events = decide(&challenge, &Submission::Unknown, Command::Submit(Box::new(entry)));
        events.unwrap().into_iter().map(|event| event.kind()).collect::<Vec<_>>()
    };
    assert_eq!(holding("sh1t", FoundWordAction::Hold), ["Submitted", "Hidden"]);
    assert_eq!(holding("Ada of Scunthorpe", FoundWordAction::Hold), ["Submitted"]);
    assert_eq!(holding("sh1t", FoundWordAction::Refuse), ["Submitted"], "the form refuses it, not the log");

    let why = "The word shit in name waits for an organiser's look.".into();
    let held =
        Event::Hidden(Hidden { act: OrganiserAct { by: "Muster".into(), why, person: None }, held: true });
    given([submitted(), held.clone()]).when(hide()).then([]);
    given([submitted(), held.clone()]).when(claim_by("v1")).then([started(1)]);
    given([submitted(), held]).when(show()).then([shown()]);
}

#[test]
fn an_organiser_corrects_the_name_that_is_shown_and_the_verdict_keeps_to_the_one_submitted() {
    given([submitted()]).when(correct("Ada King")).then([corrected("Ada King")]);
    given([submitted()]).when(correct("Ada Lovelace")).then([]);
    let renamed = [verified_once(), vec![corrected("Ada King")]].concat();
    given(renamed.clone()).when(correct("Ada King")).then([]);
    given(renamed.clone()).when(correct("Ada Lovelace")).then([corrected("Ada Lovelace")]);
    given(renamed).when(submit()).then([]);
    given([submitted(), corrected("Ada King"), started(1)])
        .when(conclude(1, [answered(&ada(), 0)]))
        .then([probed_right(1), by_the_rules(passed(1))]);
    given([submitted(), withdrawn()]).when(correct("Ada King")).then_rejected(Rejection::Withdrawn);
    given([]).when(correct("Ada King")).then_rejected(Rejection::Unknown);
}

#[test]
fn a_participant_withdraws_a_submission_that_waits_or_is_verified() {
    given([submitted()]).when(Command::Withdraw).then([withdrawn()]);
    given([submitted(), started(1), pulled(1)]).when(Command::Withdraw).then([withdrawn()]);
    given([submitted(), started(1), interrupted_once(1)]).when(Command::Withdraw).then([withdrawn()]);
    given([submitted(), withdrawn()]).when(Command::Withdraw).then([]);
    given([]).when(Command::Withdraw).then_rejected(Rejection::Unknown);
}

#[test]
fn a_submission_that_had_a_verdict_cannot_be_withdrawn() {
    given(verified_once()).when(Command::Withdraw).then_rejected(Rejection::Judged);
    let waits_again = [verified_once(), vec![rejudge_requested()]].concat();
    given(waits_again.clone()).when(Command::Withdraw).then_rejected(Rejection::Judged);
    given([waits_again, vec![started(2)]].concat()).when(Command::Withdraw).then_rejected(Rejection::Judged);
}

#[test]
fn a_withdrawn_submission_is_never_judged() {
    given([submitted(), withdrawn()]).when(claim_by("v1")).then_rejected(Rejection::Withdrawn);
    given([submitted(), withdrawn()]).when(rejudge()).then_rejected(Rejection::Withdrawn);
    given([submitted(), withdrawn()]).when(hide()).then_rejected(Rejection::Withdrawn);
    given([submitted(), withdrawn()]).when(submit()).then([]);
    let while_verified = [submitted(), started(1), pulled(1), running(1), withdrawn()];
    for report in [
        record_pulled(1),
        record_started_again(1),
        conclude(1, [answered(&ada(), 0)]),
        interrupt(1),
        expire(1, deadline()),
    ] {
        given(while_verified.clone()).when(report).then_rejected(Rejection::Superseded(1));
    }
    let late = [while_verified.to_vec(), vec![probed_right(1), passed(1)]].concat();
    let state: Submission = late.iter().collect();
    assert!(matches!(state, Submission::Withdrawn { .. }), "{state:?}");
}
