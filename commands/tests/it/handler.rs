//! Loads, decides and appends on a real log, with rival commands and a bad connection.

use std::sync::Arc;

use commands::{Actor, CommandError, Commands, HandledCommand};
use domain::challenge::{Evidence, Observation};
use domain::submission::{FailureCode, SCHEMA};
use domain::testing::act;
use domain::{Challenge, Command, Rejection, SubmissionId};
use event_store::testing::{append_foreign, event_about, tombstone};
use event_store::{Append, ExpectedRevision, Read, ReadDirection, StreamName};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::support::store::{BadLine, Lost, SilentLog};
use crate::support::{ada, by, history, log};

fn commands(log: impl Append + 'static) -> Commands {
    Commands::new(Arc::new(log), Arc::new(Challenge::birthday()))
}

fn new_id() -> SubmissionId {
    SubmissionId(Uuid::new_v4())
}

fn submit() -> Command {
    Command::Submit(Box::new(ada()))
}

fn claim(verifier: &str) -> Command {
    let at = Timestamp::now();
    Command::Claim { verifier: verifier.into(), at, deadline: at + 5.minutes() }
}

fn fail(attempt: u32) -> Command {
    let fault = |image| Observation {
        image,
        evidence: Evidence::Failure { code: FailureCode::TimedOut, message: "no answer".into() },
    };
    let observations = ada().images.into_iter().map(fault).collect();
    Command::Conclude { attempt, observations, images: vec![] }
}

fn rejudge() -> Command {
    Command::RequestRejudge(act("new rules"))
}

fn verifier(name: &str) -> commands::Cause {
    by(Actor::Verifier(name.into()))
}

async fn submitted(commands: &Commands) -> (SubmissionId, HandledCommand) {
    let id = new_id();
    (id, commands.handle(id, submit(), by(Actor::Participant)).await.unwrap())
}

#[tokio::test]
async fn an_event_is_recorded_with_its_actor_and_its_cause() {
    let (log, _directory) = log();
    let (id, handled) = submitted(&commands(log.clone())).await;
    assert_eq!((handled.revision, handled.events.len()), (0, 1));

    let stream = StreamName::of("submission", id.0);
    let recorded = log.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap();
    assert_eq!(recorded[0].position, handled.position);
    let metadata = recorded[0].metadata().unwrap();
    assert_eq!((metadata.actor.as_str(), metadata.correlation_id), ("participant", id.0));
}

#[tokio::test]
async fn a_repeated_submission_is_recorded_once() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, first) = submitted(&commands).await;
    let second = commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
    assert_eq!(second, HandledCommand { events: vec![], ..first });
    assert_eq!(history(&log, id).await, ["Submitted"]);
}

#[tokio::test]
async fn only_one_of_many_verifiers_gets_a_claim() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    // The claims have the same moment and deadline, and differ only in the verifier.
    let Command::Claim { at, deadline, .. } = claim("") else { unreachable!("it is one") };
    let claims = (0..16).map(|n| {
        let (commands, name) = (commands.clone(), format!("v{n}"));
        let claim = Command::Claim { verifier: name.clone(), at, deadline };
        tokio::spawn(async move { commands.handle(id, claim, verifier(&name)).await })
    });
    let outcomes: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| { matches!(error, CommandError::Rejected(Rejection::Claimed { .. })) })
    );
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted"]);
}

#[tokio::test]
async fn a_repeated_report_succeeds_and_changes_nothing() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    let first = commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    assert_eq!((first.revision, first.events.len()), (3, 2));
    let again = commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    assert_eq!(again, HandledCommand { events: vec![], ..first });
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted", "Probed", "Failed"]);
}

#[tokio::test]
async fn a_report_of_an_attempt_that_ended_is_refused() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    commands.handle(id, rejudge(), by(Actor::Organiser("Grace".into()))).await.unwrap();
    commands.handle(id, claim("v2"), verifier("v2")).await.unwrap();
    let late = commands.handle(id, fail(1), verifier("v1")).await;
    assert_eq!(late, Err(CommandError::Rejected(Rejection::Superseded(1))));
    assert_eq!(history(&log, id).await.len(), 6);
}

#[tokio::test]
async fn an_organiser_who_hides_a_submission_costs_no_attempt() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    let hide = Command::Hide(act("a slur"));
    commands.handle(id, hide, by(Actor::Organiser("Grace".into()))).await.unwrap();
    commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted", "Hidden", "Probed", "Failed"]);
}

#[tokio::test]
async fn a_withdrawn_submission_takes_no_report() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    commands.handle(id, Command::Withdraw, by(Actor::Participant)).await.unwrap();
    let late = commands.handle(id, fail(1), verifier("v1")).await;
    assert_eq!(late, Err(CommandError::Rejected(Rejection::Superseded(1))));
    let again = commands.handle(id, claim("v2"), verifier("v2")).await;
    assert_eq!(again, Err(CommandError::Rejected(Rejection::Withdrawn)));
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted", "Withdrawn"]);
}

#[tokio::test]
async fn a_command_after_a_conflict_is_decided_again_on_the_new_state() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    let organisers = (0..8).map(|_| {
        let commands = commands.clone();
        tokio::spawn(
            async move { commands.handle(id, rejudge(), by(Actor::Organiser("Grace".into()))).await },
        )
    });
    let outcomes: Vec<_> = join_all(organisers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = CommandError::Rejected(Rejection::NotJudged);
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|error| *error == refused));
    assert_eq!(history(&log, id).await.last(), Some(&"RejudgeRequested"));
}

#[tokio::test]
async fn an_unknown_submission_cannot_be_claimed() {
    let (log, _directory) = log();
    let commands = commands(log);
    let unknown = commands.handle(new_id(), claim("v1"), verifier("v1")).await;
    assert_eq!(unknown, Err(CommandError::Rejected(Rejection::Unknown)));
}

#[tokio::test]
async fn an_append_without_an_answer_is_repeated_and_recorded_once() {
    for lost in [Lost::Request, Lost::Answer] {
        let (log, _directory) = log();
        commands(log.clone()).publish_rules().await.unwrap();
        let commands = commands(BadLine::to(log.clone(), lost, 2));
        let (id, handled) = submitted(&commands).await;
        assert_eq!((handled.revision, handled.events.len()), (0, 1));
        assert_eq!(history(&log, id).await, ["Submitted"]);
    }
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_an_error_and_a_later_repetition_loses_nothing() {
    for (lost, recorded) in [(Lost::Request, 0), (Lost::Answer, 1)] {
        let (log, _directory) = log();
        commands(log.clone()).publish_rules().await.unwrap();
        let commands = commands(BadLine::to(log.clone(), lost, 3));
        let id = new_id();
        let outcome = commands.handle(id, submit(), by(Actor::Participant)).await;
        assert!(matches!(outcome, Err(CommandError::Unavailable(_))), "{outcome:?}");
        assert_eq!(history(&log, id).await.len(), recorded);

        commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
        assert_eq!(history(&log, id).await, ["Submitted"]);
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_a_thousand_commands_wait_for_the_log() {
    let commands = commands(SilentLog);
    let began = tokio::time::Instant::now();
    let all = (0..1003).map(async |_| {
        let refused = commands.handle(new_id(), submit(), by(Actor::Participant)).await.unwrap_err();
        assert!(matches!(refused, CommandError::Unavailable(_)), "{refused:?}");
        began.elapsed().as_secs()
    });
    let mut waited = join_all(all).await;
    waited.sort_unstable();
    assert_eq!((waited[2], waited[3], waited[1002]), (1, 20, 20), "three too many are refused at once");
}

#[tokio::test]
async fn strangers_events_in_a_stream_disturb_no_command() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let id = new_id();
    let stream = StreamName::of("submission", id.0);
    let strangers = async || {
        for (metadata, data) in [("", "no JSON"), ("{", "{}"), (r#"{"by":"me"}"#, "")] {
            append_foreign(&log, &stream, "Note", data, metadata).await;
        }
    };
    strangers().await;
    commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
    let again = commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
    assert!(again.events.is_empty(), "{again:?}");
    strangers().await;
    let claimed = commands.handle(id, claim("v1"), verifier("v1")).await.unwrap();
    assert_eq!(claimed.revision, 7);
    strangers().await;
    let judged = commands.handle(id, fail(1), verifier("v1")).await.unwrap();
    assert_eq!(judged.events.len(), 2);
    strangers().await;
    commands.handle(id, rejudge(), by(Actor::Organiser("Grace".into()))).await.unwrap();
}

#[tokio::test]
async fn nothing_is_decided_after_an_event_of_a_newer_version() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    let stream = StreamName::of("submission", id.0);
    let newer = event_about(id.0, SCHEMA + 1, "Passed", "{}");
    log.append(&stream, ExpectedRevision::Any, vec![newer]).await.unwrap();
    for outcome in [
        commands.handle(id, claim("v1"), verifier("v1")).await,
        commands.handle(id, rejudge(), by(Actor::Organiser("Grace".into()))).await,
    ] {
        assert!(matches!(outcome, Err(CommandError::StandsStill(_))), "{outcome:?}");
    }
    tombstone(&log, &stream).await;
    let outcome = commands.handle(id, claim("v1"), verifier("v1")).await;
    assert!(matches!(outcome, Err(CommandError::Deleted(_))), "{outcome:?}");
}
