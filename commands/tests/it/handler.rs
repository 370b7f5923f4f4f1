//! Load, decide, append: against a real log, with rivals and bad lines.

use std::sync::Arc;

use commands::{Actor, CommandError, Commands, Handled};
use domain::challenge::{Evidence, Observation};
use domain::submission::FailureCode;
use domain::{Challenge, Command, Rejection, SubmissionId};
use event_store::{Append, Read, ReadDirection, StreamName};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::support::store::{BadLine, Lost};
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
    Command::Conclude { attempt, observations: ada().images.into_iter().map(fault).collect() }
}

fn rejudge() -> Command {
    Command::RequestRejudge { by: "Grace".into(), why: "new rules".into() }
}

fn verifier(name: &str) -> commands::Cause {
    by(Actor::Verifier(name.into()))
}

async fn submitted(commands: &Commands) -> (SubmissionId, Handled) {
    let id = new_id();
    (id, commands.handle(id, submit(), by(Actor::Participant)).await.unwrap())
}

#[tokio::test]
async fn what_is_decided_is_recorded_and_says_who_and_why() {
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
async fn a_submission_said_twice_is_recorded_once() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, first) = submitted(&commands).await;
    let second = commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
    assert_eq!(second, Handled { events: vec![], ..first });
    assert_eq!(history(&log, id).await, ["Submitted"]);
}

#[tokio::test]
async fn of_many_verifiers_that_claim_one_submission_one_gets_it() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    // At the same moment and with the same deadline: only who claims differs.
    let Command::Claim { at, deadline, .. } = claim("") else { unreachable!("it is one") };
    let claims = (0..16).map(|n| {
        let (commands, name) = (commands.clone(), format!("v{n}"));
        let claim = Command::Claim { verifier: name.clone(), at, deadline };
        tokio::spawn(async move { commands.handle_at(id, 0, claim, verifier(&name)).await })
    });
    let outcomes: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| { *error == CommandError::Overtaken { actual: Some(1) } })
    );
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted"]);
}

#[tokio::test]
async fn a_report_said_again_at_the_revision_of_then_succeeds_and_changes_nothing() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle_at(id, 0, claim("v1"), verifier("v1")).await.unwrap();
    let first = commands.handle_at(id, 1, fail(1), verifier("v1")).await.unwrap();
    assert_eq!((first.revision, first.events.len()), (3, 2));
    let again = commands.handle_at(id, 1, fail(1), verifier("v1")).await.unwrap();
    assert_eq!(again, Handled { events: vec![], ..first });
    assert_eq!(history(&log, id).await, ["Submitted", "VerificationStarted", "Probed", "Failed"]);
}

#[tokio::test]
async fn a_verifier_that_was_overtaken_is_told_so_and_writes_nothing() {
    let (log, _directory) = log();
    let commands = commands(log.clone());
    let (id, _) = submitted(&commands).await;
    commands.handle_at(id, 0, claim("v1"), verifier("v1")).await.unwrap();
    commands.handle_at(id, 1, fail(1), verifier("v1")).await.unwrap();
    commands.handle(id, rejudge(), by(Actor::Organiser("Grace".into()))).await.unwrap();
    commands.handle(id, claim("v2"), verifier("v2")).await.unwrap();
    let late = commands.handle_at(id, 1, fail(1), verifier("v1")).await;
    assert_eq!(late, Err(CommandError::Overtaken { actual: Some(5) }));
    assert_eq!(history(&log, id).await.len(), 6);
}

#[tokio::test]
async fn who_is_late_decides_anew_by_what_others_did() {
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
async fn what_nobody_submitted_is_not_verified() {
    let (log, _directory) = log();
    let commands = commands(log);
    let unknown = commands.handle(new_id(), claim("v1"), verifier("v1")).await;
    assert_eq!(unknown, Err(CommandError::Rejected(Rejection::Unknown)));
    let unknown = commands.handle_at(new_id(), 0, claim("v1"), verifier("v1")).await;
    assert_eq!(unknown, Err(CommandError::Overtaken { actual: None }));
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_repeated_and_recorded_once() {
    for lost in [Lost::Request, Lost::Answer] {
        let (log, _directory) = log();
        let commands = commands(BadLine::to(log.clone(), lost, 2));
        let (id, handled) = submitted(&commands).await;
        assert_eq!((handled.revision, handled.events.len()), (0, 1));
        assert_eq!(history(&log, id).await, ["Submitted"]);
    }
}

#[tokio::test]
async fn a_log_that_stays_silent_is_a_named_error_and_saying_it_again_later_loses_nothing() {
    for (lost, recorded) in [(Lost::Request, 0), (Lost::Answer, 1)] {
        let (log, _directory) = log();
        let commands = commands(BadLine::to(log.clone(), lost, 3));
        let id = new_id();
        let outcome = commands.handle(id, submit(), by(Actor::Participant)).await;
        assert!(matches!(outcome, Err(CommandError::Unavailable(_))), "{outcome:?}");
        assert_eq!(history(&log, id).await.len(), recorded);

        commands.handle(id, submit(), by(Actor::Participant)).await.unwrap();
        assert_eq!(history(&log, id).await, ["Submitted"]);
    }
}
