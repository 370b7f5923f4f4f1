//! The reports of verifiers, on a real log.

use event_store::{Read, SqliteStore};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

async fn recorded(store: &SqliteStore) -> Vec<SandboxReported> {
    let stream = StreamName::new("sandbox-v1").unwrap();
    let recorded = store.read_stream(&stream, 0, ReadDirection::Forwards, 100).await.unwrap();
    recorded.iter().map(|event| event.decode(SandboxReported::from_stored).unwrap()).collect()
}

async fn until_recorded(store: &SqliteStore, count: usize) -> Vec<SandboxReported> {
    let enough = async {
        while recorded(store).await.len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, enough).await.expect("the reports are recorded");
    recorded(store).await
}

fn one_node(state: NodeState, slots: usize) -> Health {
    Health {
        pause_reason: None,
        nodes: vec![NodeHealth { name: "n1".to_owned(), state, slots, grade: None }],
    }
}

#[tokio::test]
async fn each_change_is_recorded_once_and_a_restart_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let (sender, health) = watch::channel(one_node(NodeState::Ready, 4));
    let log: Arc<dyn EventStore> = Arc::new(store.clone());
    let no_fault = watch::Sender::new(None);
    let (_registries, none) = watch::channel(Vec::new());
    let mut before = SandboxReporter::new(Arc::clone(&log), "v1", no_fault.clone());
    let (_fetches, no_fetches) = watch::channel(Vec::new());
    let fetches = no_fetches.clone();
    let (_unknown, no_rules) = watch::channel(BTreeSet::new());
    let (following, registries, unknown) = (health.clone(), none.clone(), no_rules.clone());
    let following =
        tokio::spawn(async move { before.record_changes(following, registries, unknown, fetches).await });
    let first = until_recorded(&store, 1).await;
    assert_eq!((first[0].slots(), &first[0].pause_reason), (4, &None));
    following.abort();

    // A verifier of the same name starts and finds the last report.
    let mut after = SandboxReporter::new(log, "v1", no_fault.clone());
    let mut stopping = health.clone();
    let following = tokio::spawn(async move {
        tokio::select! {
            never = after.record_changes(health, none, no_rules, no_fetches) => match never {},
            _ = stopping.wait_for(|health| health.pause_reason.is_some()) => {}
        }
        after.record_stop().await;
    });
    sender.send_replace(one_node(NodeState::Refused { why: "no seccomp".to_owned() }, 0));
    let second = until_recorded(&store, 2).await;
    let refused = sandbox::SandboxNodeState::Refused { reason: "no seccomp".to_owned() };
    assert_eq!(second[1].nodes, [sandbox::SandboxNode { name: "n1".to_owned(), state: refused }]);
    assert_eq!(second.len(), 2, "a known report was recorded again: {second:?}");

    sender.send_replace(Health::paused("it stops"));
    timeout(DEADLINE, following).await.expect("the stop is recorded").unwrap();
    assert_eq!(*no_fault.borrow(), None, "the log and this machine have one clock");
    let last = recorded(&store).await.pop().unwrap();
    assert_eq!(last.pause_reason.as_deref(), Some("the verifier was stopped"));
}

#[tokio::test]
async fn a_report_is_repeated_when_it_is_due_and_when_the_one_in_the_log_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let log: Arc<dyn EventStore> = Arc::new(store.clone());
    let mut reporter = SandboxReporter::new(log, "v1", watch::Sender::new(None));
    let limited = SandboxRegistry { name: "docker.io".to_owned(), pause: None, pulls_remaining: Some(7) };
    let report = reported(&one_node(NodeState::Ready, 4), &[limited]);
    for (is_due, count) in [(false, 1), (false, 1), (true, 2), (false, 2)] {
        reporter.record(report.clone(), is_due).await.unwrap();
        assert_eq!(recorded(&store).await.len(), count);
    }
    reporter.last = Some((report.clone(), Timestamp::now() - REPORT_EVERY));
    reporter.record(report.clone(), false).await.unwrap();
    assert_eq!(recorded(&store).await, [report.clone(), report.clone(), report]);
}

#[tokio::test]
async fn of_two_verifiers_with_one_name_the_later_yields_until_the_earlier_stops() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let log: Arc<dyn EventStore> = Arc::new(store.clone());
    let report = reported(&one_node(NodeState::Ready, 4), &[]);
    let other = reported(&one_node(NodeState::Ready, 2), &[]);
    // A predecessor that was killed is nobody.
    SandboxReporter::new(Arc::clone(&log), "v1", watch::Sender::new(None))
        .record(other.clone(), false)
        .await
        .unwrap();
    let (fault, faults) = watch::channel(None);
    let mut earlier = SandboxReporter::new(Arc::clone(&log), "v1", watch::Sender::new(None));
    let mut later = SandboxReporter::new(log, "v1", fault);
    earlier.record(report.clone(), false).await.unwrap();
    assert!(!earlier.must_answer().await);
    later.record(other.clone(), false).await.unwrap();
    assert!(!later.must_answer().await, "nobody has answered yet");
    assert!(earlier.must_answer().await);
    earlier.record(report.clone(), true).await.unwrap();
    assert!(!later.must_answer().await);
    assert!(
        matches!(&*faults.borrow(), Some(VerifierFault::Name(why)) if why.contains("the name v1")),
        "{faults:?}"
    );
    assert!(!earlier.must_answer().await && earlier.name_fault.is_none());
    later.record_stop().await;
    assert_eq!(recorded(&store).await.len(), 4, "the later one tells nothing in the other's name");
    earlier.record_stop().await;
    assert!(!later.must_answer().await);
    assert_eq!(*faults.borrow(), None);
}

#[tokio::test]
async fn a_start_waits_for_the_answer_of_a_run_that_may_live_and_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let log: Arc<dyn EventStore> = Arc::new(store.clone());
    let report = reported(&one_node(NodeState::Ready, 4), &[]);
    let run = || SandboxReporter::new(Arc::clone(&log), "v1", watch::Sender::new(None));
    let health = watch::Sender::new(Health::default());
    let began = Instant::now();
    assert_eq!(run().meet_predecessor(&health).await, None, "nobody was there before");
    assert!(recorded(&store).await.is_empty() && began.elapsed() < ANSWER);

    let mut earlier = run();
    earlier.record(report.clone(), false).await.unwrap();
    let mut later = run();
    let answering = async {
        while later_is_unanswered(&mut earlier).await {}
        earlier.record(report.clone(), true).await.unwrap();
        std::future::pending::<()>().await;
    };
    let met = tokio::select! {
        met = later.meet_predecessor(&health) => met,
        () = answering => None,
    };
    assert!(matches!(&met, Some(VerifierFault::Name(why)) if why.contains("the name v1")), "{met:?}");

    earlier.record_stop().await;
    let began = Instant::now();
    assert_eq!(run().meet_predecessor(&health).await, None, "the other one stopped");
    assert!(began.elapsed() < ANSWER);
}

async fn later_is_unanswered(earlier: &mut SandboxReporter) -> bool {
    sleep(Duration::from_millis(50)).await;
    !earlier.must_answer().await
}

#[tokio::test]
async fn two_runs_with_one_id_come_apart() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let log: Arc<dyn EventStore> = Arc::new(store.clone());
    let report = reported(&one_node(NodeState::Ready, 4), &[]);
    let mut one = SandboxReporter::new(Arc::clone(&log), "v1", watch::Sender::new(None));
    let mut other = SandboxReporter::new(log, "v1", watch::Sender::new(None));
    other.run = one.run;
    for reporter in [&mut one, &mut other] {
        reporter.record(report.clone(), true).await.unwrap();
    }
    for _ in 0..3 {
        for reporter in [&mut one, &mut other] {
            if reporter.must_answer().await {
                reporter.record(report.clone(), true).await.unwrap();
            }
        }
    }
    assert_ne!(one.name_fault.is_some(), other.name_fault.is_some(), "one of them yields");
}

#[test]
fn a_clock_that_differs_by_seconds_is_named_with_its_direction() {
    let second = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(clock_fault(second(100), second(100), second(100)), None);
    // A slow log shows no fault.
    assert_eq!(clock_fault(second(100), second(130), second(140)), None);
    assert_eq!(clock_fault(second(100), second(95), second(101)), None);
    let ahead = clock_fault(second(100), second(58), second(101)).unwrap();
    assert!(ahead.contains("42 s ahead of the log's"), "{ahead}");
    let behind = clock_fault(second(100), second(110), second(101)).unwrap();
    assert!(behind.contains("9 s behind the log's"), "{behind}");
}
