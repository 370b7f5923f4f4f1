//! Given rules in force, when commands name them, then the log has them once, and submissions are judged by their own.

use std::sync::Arc;

use commands::{Actor, CommandError, Commands};
use domain::challenge::{ChallengePublished, Evidence, Observation, RequiredImages};
use domain::submission::{ChallengeId, FailureCode, Submitted};
use domain::testing::{act, answered};
use domain::{Challenge, Command, Event, Submission, SubmissionId};
use event_store::testing::{append_foreign, event_about, tombstone};
use event_store::{
    Append, EventFilter, ExpectedRevision, Position, Read, ReadDirection, RecordedEvent, SqliteStore,
    StreamName,
};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::support::store::{BadLine, Lost};
use crate::support::{ada, by, log};

fn commands(log: &SqliteStore, challenge: Challenge) -> Commands {
    Commands::new(Arc::new(log.clone()), Arc::new(challenge))
}

/// Returns rules by which every image must answer.
fn stricter() -> Challenge {
    let mut challenge = Challenge::birthday();
    challenge.images.answering = RequiredImages::All;
    challenge
}

fn stream_of(digest: &str) -> StreamName {
    StreamName::new(ChallengePublished::stream(digest).unwrap()).unwrap()
}

async fn published(log: &SqliteStore) -> Vec<RecordedEvent> {
    let filter = EventFilter { kinds: vec![ChallengePublished::KIND.to_owned()], ..EventFilter::default() };
    log.read_all(Position::START, &filter, 100).await.unwrap().events
}

async fn submit(commands: &Commands, submitted: Submitted) -> SubmissionId {
    let id = SubmissionId(Uuid::new_v4());
    commands.handle(id, Command::Submit(Box::new(submitted)), by(Actor::Participant)).await.unwrap();
    id
}

/// Claims the submission, and reports that its first image answers and its second does not.
async fn verify(commands: &Commands, id: SubmissionId, attempt: u32) -> Result<Event, CommandError> {
    let (at, verifier) = (Timestamp::now(), "v1".to_owned());
    let claim = Command::Claim { verifier: verifier.clone(), at, deadline: at + 5.minutes() };
    commands.handle(id, claim, by(Actor::Verifier(verifier.clone()))).await?;
    let evidence = Evidence::Failure { code: FailureCode::TimedOut, message: "no answer".into() };
    let silent = Observation { image: ada().images[1].clone(), evidence };
    let observations = vec![answered(&ada(), 0), silent];
    let conclude = Command::Conclude { attempt, observations, images: vec![] };
    let handled = commands.handle(id, conclude, by(Actor::Verifier(verifier))).await?;
    Ok(handled.events.last().cloned().unwrap())
}

#[tokio::test]
async fn given_several_processes_when_they_start_then_the_rules_are_published_once() {
    let (log, _directory) = log();
    let starts = (0..8).map(|_| {
        let commands = commands(&log, Challenge::birthday());
        tokio::spawn(async move { commands.publish_rules().await })
    });
    for start in join_all(starts).await {
        start.unwrap().unwrap();
    }
    let recorded = published(&log).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].stream, stream_of(&Challenge::birthday().digest()));
    commands(&log, stricter()).publish_rules().await.unwrap();
    commands(&log, Challenge::birthday()).publish_rules().await.unwrap();
    assert_eq!(published(&log).await.len(), 2);
}

#[tokio::test]
async fn given_a_submission_then_the_log_has_its_rules_before_it() {
    let (log, _directory) = log();
    let commands = commands(&log, Challenge::birthday());
    submit(&commands, ada()).await;
    submit(&commands, ada()).await;
    let all = log.read_all(Position::START, &EventFilter::default(), 100).await.unwrap().events;
    let kinds: Vec<&str> = all.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["ChallengePublished", "Submitted", "Submitted"]);
}

#[tokio::test]
async fn given_other_rules_in_force_then_a_submission_is_judged_by_its_own_until_a_rejudge() {
    let (log, _directory) = log();
    let id = submit(&commands(&log, Challenge::birthday()), ada()).await;
    // The process that reports has another file.
    let later = commands(&log, stricter());
    let Event::Passed(passed) = verify(&later, id, 1).await.unwrap() else { panic!("any image suffices") };
    assert_eq!(passed.basis.rules, Some(Challenge::birthday().digest()));

    let rejudge = Command::RequestRejudge(act("new rules"));
    let asked = later.handle(id, rejudge, by(Actor::Organiser("Grace".into()))).await.unwrap();
    let [Event::RejudgeRequested(asked)] = &asked.events[..] else { panic!("{asked:?}") };
    assert_eq!(asked.rules, Some(stricter().digest()));
    let judging = commands(&log, Challenge::birthday());
    let Event::Failed(failed) = verify(&judging, id, 2).await.unwrap() else { panic!("all must answer") };
    assert_eq!(failed.basis.rules, Some(stricter().digest()));
}

#[tokio::test]
async fn given_a_log_without_the_rules_then_the_file_decides() {
    let (log, _directory) = log();
    let rules = format!("sha256:{}", "0".repeat(64));
    let older = Submitted { challenge: ChallengeId { rules, ..ada().challenge }, ..ada() };
    let strict = commands(&log, stricter());
    let id = submit(&strict, older).await;
    let Event::Failed(failed) = verify(&strict, id, 1).await.unwrap() else { panic!("all must answer") };
    assert_eq!(failed.basis.rules, Some(stricter().digest()));
}

#[tokio::test]
async fn given_rules_of_a_newer_version_then_no_verdict_is_reached_here() {
    let (log, _directory) = log();
    let commands = commands(&log, Challenge::birthday());
    let digest = format!("sha256:{}", "0".repeat(64));
    let mut event = event_about(Uuid::nil(), 1, ChallengePublished::KIND, "{}");
    event.metadata.schema = 9;
    log.append(&stream_of(&digest), ExpectedRevision::NoStream, vec![event]).await.unwrap();
    let newer = Submitted { challenge: ChallengeId { rules: digest, ..ada().challenge }, ..ada() };
    let id = submit(&commands, newer.clone()).await;
    let refused = verify(&commands, id, 1).await;
    assert!(matches!(refused, Err(CommandError::UnknownRules(_))), "{refused:?}");
    let facts: Submission = [Event::Submitted(newer)].iter().collect();
    let refused = commands.rules_of(facts.facts().unwrap()).await;
    assert!(matches!(refused, Err(CommandError::UnknownRules(_))), "{refused:?}");

    // Whether a deadline far ahead is too far ahead is left to those who know the rules. One that has passed is not.
    let expire = async |at: &str| {
        let expire = Command::Expire { attempt: 1, at: at.parse().unwrap(), others_run: false };
        commands.handle(id, expire, by(Actor::Verifier("other".into()))).await
    };
    let left = expire("1970-01-01T00:00:00Z").await;
    assert!(matches!(left, Err(CommandError::UnknownRules(_))), "{left:?}");
    let expired = expire("2100-01-01T00:00:00Z").await.unwrap();
    assert!(matches!(&expired.events[..], [Event::VerificationInterrupted(_)]), "{expired:?}");
}

#[tokio::test]
async fn given_strangers_in_the_stream_of_the_rules_then_the_rules_are_found_behind_them() {
    let (log, _directory) = log();
    let digest = Challenge::birthday().digest();
    for _ in 0..70 {
        append_foreign(&log, &stream_of(&digest), "Note", "{}", "").await;
    }
    let commands = commands(&log, Challenge::birthday());
    submit(&commands, ada()).await;
    let found = commands.recorded_rules(&digest).await.unwrap().unwrap();
    assert_eq!(found.published, Challenge::birthday().published());
    let last = log.read_stream(&stream_of(&digest), 70, ReadDirection::Forwards, 10).await.unwrap();
    assert_eq!(last.len(), 1);
}

#[tokio::test]
async fn given_a_deleted_stream_of_rules_then_submissions_are_taken_all_the_same() {
    let (log, _directory) = log();
    tombstone(&log, &stream_of(&Challenge::birthday().digest())).await;
    let commands = commands(&log, Challenge::birthday());
    let id = submit(&commands, ada()).await;
    assert!(matches!(verify(&commands, id, 1).await, Ok(Event::Passed(_))));
}

#[tokio::test]
async fn given_a_log_that_refuses_the_rules_once_then_people_may_submit_and_the_next_command_publishes_them()
{
    let (log, _directory) = log();
    let line = BadLine::to(log.clone(), Lost::Permission, 1);
    let commands = Commands::new(Arc::new(line), Arc::new(Challenge::birthday()));
    submit(&commands, ada()).await;
    assert_eq!(published(&log).await, []);
    submit(&commands, ada()).await;
    assert_eq!(published(&log).await.len(), 1);
}
