//! The views in MongoDB, a real replica set of three members: the contract, and
//! the loss of members.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

#[path = "support/another_log.rs"]
mod another_log;
mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use another_log::RestoredLog;
use async_trait::async_trait;
use domain::sandbox::SandboxReported;
use domain::submission::CATEGORY;
use event_store::testing::append_foreign;
use event_store::{Append, ExpectedRevision, LogIdentity, Position, ReadError, StreamName};
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use projections::contract::{EventHistory, ViewsUnderTest, WORLD, assert_same, catch_up, in_memory};
use projections::view::SandboxView;
use projections::{MemoryViews, MongoViews, QueryError, RebuildError, ViewQueries, ViewStore, run};
use support::{log, stored, write};
use testbed::Mongo;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

projections::contract!(open);

const DEADLINE: Duration = Duration::from_secs(120);

struct InMongo {
    address: String,
    views: Arc<MongoViews>,
}

#[async_trait]
impl ViewsUnderTest for InMongo {
    fn views(&self) -> Arc<dyn ViewStore> {
        Arc::clone(&self.views) as _
    }

    async fn reopened(&self) -> Arc<dyn ViewStore> {
        connected(&self.address).await
    }
}

/// Opens empty views in a database of their own.
async fn open() -> InMongo {
    open_in(Mongo::shared().await.unwrap()).await
}

async fn open_in(mongo: &Mongo) -> InMongo {
    let address = address(mongo);
    InMongo { views: connected(&address).await, address }
}

fn address(mongo: &Mongo) -> String {
    mongo.uri().replace("/?", &format!("/views-{}?", Uuid::new_v4()))
}

async fn connected(address: &str) -> Arc<MongoViews> {
    let views = Arc::new(MongoViews::open(address).await.unwrap());
    reachable(&*views).await;
    views
}

async fn reachable(views: &dyn ViewQueries) {
    let answers = async {
        while views.stats().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, answers).await.expect("MongoDB answers");
}

#[tokio::test]
async fn an_invalid_address_is_refused_at_once() {
    let error = MongoViews::open("mongodb:/nowhere").await.unwrap_err();
    assert!(error.to_string().starts_with("not the address of a MongoDB"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_and_every_write_uses_an_index() {
    let subject = open().await;
    let (log, _folder) = log();
    let history = EventHistory::random(31, 300);
    let events = write(&log, &history.events).await;
    let ([.., last], [.., newest]) = (&events[..200], &events[..]) else { panic!("there are 300") };
    subject.views.apply(Position::START, &events[..200], last.position).await.unwrap();
    // The queue is read in full once, and afterwards only its changes.
    let id = history.submissions().next().unwrap();
    subject.views.queue_place(id).await.unwrap();

    let client = mongodb::Client::with_uri_str(&subject.address).await.unwrap();
    let database = client.default_database().unwrap();
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    subject.views.apply(last.position, &events[200..], newest.position).await.unwrap();
    let folded = MemoryViews::new();
    folded.apply(Position::START, &events, newest.position).await.unwrap();
    let sandbox = SandboxReported::default();
    let since = jiff::Timestamp::UNIX_EPOCH;
    for position in [Position(1), Position(2)] {
        let report = SandboxView { verifier: "v1".to_owned(), position, since, sandbox: sandbox.clone() };
        subject.views.record_sandbox(&report).await.unwrap();
        assert_eq!(subject.views.sandboxes().await.unwrap(), [report]);
    }
    for _rebuild in 0..3 {
        assert_same(&*subject.views, &folded, history.submissions()).await;
        subject.views.rebuild(&log, false, |_| ()).await.unwrap();
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();

    let profile = database.collection::<Document>("system.profile");
    let plans: Vec<Document> =
        profile.find(doc! { "planSummary": { "$exists": true } }).await.unwrap().try_collect().await.unwrap();
    assert!(plans.len() > 100, "only {} operations were seen", plans.len());
    for plan in plans {
        let of = plan.get_str("ns").unwrap();
        let summary = plan.get_str("planSummary").unwrap();
        // The totals need all documents of their collection.
        assert!(!summary.contains("COLLSCAN") || of.contains(".counters_"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_killed_at_any_step_loses_nothing_and_counts_nothing_twice() {
    let subject = open().await;
    let history = EventHistory::random(32, 300);
    let mut killed = 0;
    let mut rest = &history.events[..];
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(75)];
        let upto = batch.last().unwrap().position;
        // Killed after the first step, after the second, and so on.
        for steps in 1.. {
            let from = subject.views.checkpoint().await.unwrap();
            if from == upto {
                break;
            }
            match up_to(steps, subject.views.apply(from, batch, upto)).await {
                Some(applied) => applied.unwrap(),
                None => killed += 1,
            }
        }
        rest = &rest[batch.len()..];
    }
    assert!(killed > 40, "killed {killed} times");
    assert_same(&*subject.views, &in_memory(&history).await, history.submissions()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_rebuilt_while_the_old_ones_are_read_and_written() {
    let subject = open().await;
    let (log, _folder) = log();
    let history = EventHistory::random(33, 1200);
    let (before, meanwhile) = history.events.split_at(800);
    let mut written = write(&log, before).await;
    subject.views.apply(Position::START, &written, written.last().unwrap().position).await.unwrap();
    // Damage the views.
    let client = mongodb::Client::with_uri_str(&subject.address).await.unwrap();
    let database = client.default_database().unwrap();
    let names = database.list_collection_names().await.unwrap();
    let counters =
        names.iter().find(|name| name.starts_with("counters_v")).expect("the counters have this name");
    let counters = database.collection::<Document>(counters);
    let damaged = counters.update_many(doc! {}, doc! { "$inc": { "n": 1000 } }).await.unwrap();
    assert!(damaged.modified_count > 0, "there is nothing to damage");

    let shutdown = CancellationToken::new();
    let projecting = tokio::spawn(run(Arc::new(log.clone()), subject.views(), shutdown.clone()));
    let other = subject.reopened().await;
    let done = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (other, done) = (Arc::clone(&other), Arc::clone(&done));
        let id = written[0].id;
        async move {
            let mut seen = Position::START;
            while !done.load(Ordering::Relaxed) {
                assert!(other.status(id).await.unwrap().is_some(), "the submission is there all the time");
                let position = other.stats().await.unwrap().position;
                assert!(position >= seen, "{position} after {seen}");
                seen = position;
            }
        }
    });
    let (rebuilt, more) = tokio::join!(subject.views.rebuild(&log, false, |_| ()), write(&log, meanwhile));
    rebuilt.unwrap();
    written.extend(more);
    let head = written.last().unwrap().position;
    for views in [subject.views(), Arc::clone(&other)] {
        timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    shutdown.cancel();
    projecting.await.unwrap().unwrap();

    let folded = MemoryViews::new();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*subject.views, &folded, history.submissions()).await;
    assert_same(&*other, &folded, history.submissions()).await;
    // A second rebuild is not disturbed by the leftovers of the first.
    subject.views.rebuild(&log, false, |_| ()).await.unwrap();
    assert_same(&*subject.views, &folded, history.submissions()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_finds_the_same_strangers_and_the_same_standstills() {
    let subject = open().await;
    let (log, _folder) = log();
    let history = EventHistory::random(38, 60);
    let still = StreamName::of(CATEGORY, history.events[0].id.0);
    write(&log, &history.events[..20]).await;
    let odd = vec![stored("Exploded", b"{}")];
    log.append(&still, ExpectedRevision::Any, odd).await.unwrap();
    for stream in [&still, &StreamName::new("sandbox-mine").unwrap()] {
        append_foreign(&log, stream, "Note", "no JSON", "").await;
    }
    let head = write(&log, &history.events[20..]).await.last().unwrap().position;

    let folded = Arc::new(MemoryViews::new());
    let shutdown = CancellationToken::new();
    let projecting = [subject.views(), folded.clone()]
        .map(|views| tokio::spawn(run(Arc::new(log.clone()), views, shutdown.clone())));
    for views in [subject.views(), folded.clone()] {
        timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    }
    shutdown.cancel();
    for projector in projecting {
        projector.await.unwrap().unwrap();
    }
    assert_eq!(folded.set_aside().await.unwrap().count, 2);
    assert_eq!(folded.standstills(10).await.unwrap().len(), 1);
    assert_same(&*subject.views, &*folded, history.submissions()).await;
    subject.views.rebuild(&log, false, |_| ()).await.unwrap();
    assert_same(&*subject.views, &*folded, history.submissions()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_survives_the_loss_of_the_primary() {
    let mongo = Mongo::replica_set().await.unwrap();
    let subject = open_in(&mongo).await;
    let (log, _folder) = log();
    let history = EventHistory::random(36, 9000);
    let written = write(&log, &history.events).await;
    let head = written.last().unwrap().position;
    let (sender, mut progress) = watch::channel(Position::START);
    let killing = async {
        // In the middle: the first of several batches is applied.
        timeout(DEADLINE, progress.wait_for(|at| *at > Position::START)).await.unwrap().unwrap();
        let primary = mongo.primary().await.unwrap();
        primary.kill().await.unwrap();
    };
    let report = |at| {
        sender.send_replace(at);
    };
    let (rebuilt, ()) = tokio::join!(subject.views.rebuild(&log, false, report), killing);
    assert_eq!(rebuilt.unwrap(), head);

    let folded = MemoryViews::new();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*subject.views, &folded, history.submissions().take(200)).await;
    mongo.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_screen_shows_the_changes_of_another_process() {
    let subject = open().await;
    let reader = subject.reopened().await;
    let history = EventHistory::random(37, 600);
    let folded = MemoryViews::new();
    let mut from = Position::START;
    for batch in history.events.chunks(20) {
        let upto = batch.last().unwrap().position;
        subject.views.apply(from, batch, upto).await.unwrap();
        folded.apply(from, batch, upto).await.unwrap();
        timeout(DEADLINE, reader.watch().wait_for(|at| *at >= upto)).await.unwrap().unwrap();
        for zoom in [0, 2, 5, 16] {
            let (seen, expected) = (reader.pins(WORLD, zoom).await, folded.pins(WORLD, zoom).await);
            assert_eq!(seen.unwrap(), expected.unwrap(), "at {upto}, zoom {zoom}");
        }
        from = upto;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_killed_under_load_loses_nothing_and_counts_nothing_twice() {
    let mongo = Mongo::replica_set().await.unwrap();
    let subject = open_in(&mongo).await;
    let (log, _folder) = log();
    let shutdown = CancellationToken::new();
    let projectors = [subject.views(), subject.reopened().await]
        .map(|views| tokio::spawn(run(Arc::new(log.clone()), views, shutdown.clone())));
    let history = EventHistory::random(34, 4000);
    let storm = write(&log, &history.events);
    let killing = async {
        let mut watch = subject.views.watch();
        timeout(DEADLINE, watch.wait_for(|at| at.0 > 500)).await.unwrap().unwrap();
        let primary = mongo.primary().await.unwrap();
        primary.kill().await.unwrap();
        primary
    };
    let (written, killed) = tokio::join!(storm, killing);
    let head = written.last().unwrap().position;
    timeout(DEADLINE, subject.views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    killed.restart().await.unwrap();
    shutdown.cancel();
    for projector in projectors {
        projector.await.unwrap().unwrap();
    }

    let folded = MemoryViews::new();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*subject.views, &folded, history.submissions()).await;
    mongo.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_mongodb_queries_fail_soon_and_they_work_again_when_it_is_back() {
    let mongo = Mongo::replica_set().await.unwrap();
    for member in mongo.members() {
        member.kill().await.unwrap();
    }
    let views = Arc::new(MongoViews::open(&address(&mongo)).await.unwrap());
    let (log, _folder) = log();
    let shutdown = CancellationToken::new();
    let projecting = tokio::spawn(run(Arc::new(log.clone()), views.clone(), shutdown.clone()));
    let history = EventHistory::random(35, 200);
    let (first, rest) = history.events.split_at(100);
    let mut written = write(&log, first).await;
    refused(&*views).await;

    for member in mongo.members() {
        member.restart().await.unwrap();
    }
    let head = written.last().unwrap().position;
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();

    // The majority goes away in the middle and comes back.
    let members = mongo.members();
    for member in &members[..2] {
        member.kill().await.unwrap();
    }
    written.extend(write(&log, rest).await);
    refused(&*views).await;
    for member in &members[..2] {
        member.restart().await.unwrap();
    }
    let head = written.last().unwrap().position;
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    shutdown.cancel();
    projecting.await.unwrap().unwrap();
    reachable(&*views).await;

    let folded = MemoryViews::new();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*views, &folded, history.submissions()).await;
    mongo.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_saw_a_checkpoint_sees_the_events_before_it() {
    let subject = open().await;
    let reader = subject.reopened().await;
    let mut history = EventHistory::new();
    for number in 0..50 {
        let id = history.submit_and_pass(&format!("owner{number}"), number % 9);
        catch_up(&*subject.views, &history).await;
        let mut watch = reader.watch();
        timeout(DEADLINE, watch.wait_for(|at| *at >= history.head())).await.unwrap().unwrap();
        let view = reader.status(id).await.unwrap().expect("the submission was applied");
        assert_eq!(view.position, history.head());
        assert!(reader.stats().await.unwrap().position >= history.head());
    }
}

/// Waits until queries fail, each within a few seconds.
async fn refused(views: &dyn ViewQueries) {
    let refused = async {
        loop {
            let asked = Instant::now();
            let answer = views.pins(WORLD, 3).await;
            assert!(asked.elapsed() < Duration::from_secs(6), "an answer after {:?}", asked.elapsed());
            if let Err(QueryError::Unavailable(why)) = answer {
                assert!(why.starts_with("MongoDB"), "{why}");
                return;
            }
        }
    };
    timeout(DEADLINE, refused).await.expect("queries fail");
}

/// Polls a future `steps` times and drops it then.
async fn up_to<T>(steps: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == steps {
            return Poll::Ready(None);
        }
        polled += 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_stop_at_another_log_and_at_one_that_was_restored() {
    another_log::views_stop_at_a_restored_log(open().await.views()).await;
    another_log::views_stop_at_a_log_of_another_identity(open().await.views()).await;
    another_log::views_go_on_with_a_copy_that_has_all_they_know(open().await.views()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_rebuilt_from_a_restored_log_if_the_operator_says_so() {
    let (subject, logs) = (open().await, RestoredLog::new().await);
    another_log::project(&logs.grown, &subject.views(), logs.end).await;
    let other = subject.reopened().await;
    let refused = subject.views.rebuild(&logs.restored, false, |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("--other-log"), "{refused}");
    assert!(matches!(refused, RebuildError::OtherLog(ReadError::OtherLog { .. })), "{refused:?}");

    // A copy that ends before the views.
    let short = log();
    LogIdentity::ensure(&short.0).await.unwrap();
    let refused = subject.views.rebuild(&short.0, false, |_| ()).await.unwrap_err();
    assert!(matches!(refused, RebuildError::OtherLog(_)), "{refused:?}");
    let upto = subject.views.rebuild(&short.0, true, |_| ()).await.unwrap();
    assert!(upto < logs.end);
    let mut watched = other.watch();
    timeout(DEADLINE, watched.wait_for(|at| *at == upto)).await.expect("the checkpoint went back").unwrap();
    assert!(other.stats().await.unwrap().submissions.values().all(|n| *n == 0));
    let rest = EventHistory::random(54, 30);
    let head = write(&short.0, &rest.events).await.last().unwrap().position;
    another_log::project(&short.0, &subject.views(), head).await;
    assert_same(&*other, &*subject.views, rest.submissions()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_are_followed() {
    another_log::deletions_are_followed(open().await.views(), open().await.views()).await;
}
