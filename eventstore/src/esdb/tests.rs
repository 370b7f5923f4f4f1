//! Servers in trouble, and servers that misbehave on purpose.

mod fake_server;

use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tonic::Status;
use uuid::Uuid;

use self::fake_server::{
    FakeCluster, FakeServer, answer, confirmation, id, not_leader, recorded, recorded_in,
};
use super::EsdbStore;
use crate::{
    Append, AppendError, EventFilter, ExpectedRevision, Position, Read, ReadDirection, ReadError,
    SqliteStore, Subscribe, Subscription, SubscriptionItem,
    node::{
        self,
        proto::streams::read_resp::{CaughtUp, Checkpoint, Content},
    },
    testing::{event_of_size, new_stream},
};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_waits_for_a_server_that_starts_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let store = connect(&format!("esdb://{address}?tls=false")).await;
    let (appending, name) = (store.clone(), new_stream());
    let append = tokio::spawn({
        let name = name.clone();
        async move { appending.append(&name, ExpectedRevision::NoStream, vec![event_of_size(0)]).await }
    });
    until(|| store.cluster.has_failed()).await;
    let folder = tempfile::TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), std::future::pending()));
    assert_eq!(append.await.unwrap().unwrap().revision, 0);
    assert_eq!(store.read_stream(&name, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_comes_is_unavailable_in_time() {
    let store = connect("esdb://127.0.0.1:1?tls=false").await;
    let started = Instant::now();
    let append = store.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await;
    let named = |why: &str| why.starts_with("127.0.0.1:1 does not answer: ");
    assert!(matches!(&append, Err(AppendError::Unavailable(why)) if named(why)), "{append:?}");
    assert!(started.elapsed() < super::cluster::CALL_DEADLINE + Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_of_a_cluster_is_left_for_another() {
    let folder = tempfile::TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let mut stops = Vec::new();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        hosts.push(listener.local_addr().unwrap());
        let stop = tokio_util::sync::CancellationToken::new();
        let node =
            node::serve(listener, log.clone(), node::NodeConfig::default(), stop.clone().cancelled_owned());
        stops.push((stop, tokio::spawn(node)));
    }
    let store = connect(&format!("esdb://{},{}?tls=false", hosts[0], hosts[1])).await;
    let name = new_stream();
    let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(name.as_str()));
    for (expected, stop) in [
        (ExpectedRevision::NoStream, None),
        (ExpectedRevision::Exact(0), Some(0)),
        (ExpectedRevision::Exact(1), Some(1)),
    ] {
        // One of the two stops hits the member in use. After both, no member is left, and one comes back.
        if let Some(n) = stop {
            let (stop, node): (_, tokio::task::JoinHandle<_>) = stops.remove(0);
            stop.cancel();
            node.await.unwrap().unwrap();
            if n == 1 {
                let listener = TcpListener::bind(hosts[0]).await.unwrap();
                let node =
                    node::serve(listener, log.clone(), node::NodeConfig::default(), std::future::pending());
                tokio::spawn(node);
            }
        }
        let written = event_of_size(0);
        store.append(&name, expected, vec![written.clone()]).await.unwrap();
        assert_eq!(next_event(&mut follower).await, written.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_ends_without_an_error_is_resumed() {
    let fake = FakeServer::serve([
        vec![Ok(confirmation()), Ok(recorded(1)), Ok(recorded(2))],
        vec![Ok(confirmation()), Ok(recorded(3)), Err(Status::unavailable("over"))],
        vec![Ok(confirmation()), Ok(recorded(4))],
    ])
    .await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    for position in 1..=4 {
        assert_eq!(next_event(&mut follower).await, id(position));
    }
    assert_eq!(fake.asked(), [0, 2, 3], "each resumes after the last event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_subscriptions_than_one_connection_takes_leave_room_for_calls() {
    let fake = FakeServer::serve([]).await;
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..130 {
        let mut follower = fake.store.subscribe(Position(1), EventFilter::default());
        followers.spawn(async move { follower.next().await });
    }
    until(|| fake.asked().len() == 130).await;
    fake.script.head.store(9, Ordering::Relaxed);
    assert_eq!(fake.store.head().await, Ok(Position(9)));
    assert!(!fake.store.cluster.has_failed());
    assert!(followers.try_join_next().is_none(), "none has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_gets_no_answer_is_tried_again() {
    let fake = FakeServer::serve([vec![Ok(confirmation()), Ok(recorded(1))]]).await;
    fake.script.silent.store(true, Ordering::Relaxed);
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let next = tokio::spawn(async move { next_event(&mut follower).await });
    until(|| fake.store.cluster.has_failed()).await;
    fake.script.silent.store(false, Ordering::Relaxed);
    assert_eq!(next.await.unwrap(), id(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_shows_progress_and_is_no_place_to_resume() {
    let checkpoint = |commit_position, prepare_position| {
        let checkpoint = Checkpoint { commit_position, prepare_position, timestamp: None };
        Ok(answer(Content::Checkpoint(checkpoint)))
    };
    let fake = FakeServer::serve([
        vec![
            Ok(confirmation()),
            // 24.10.3 sends this when it has considered nothing.
            checkpoint(u64::MAX, u64::MAX),
            checkpoint(0, 0),
            Ok(recorded(1)),
            checkpoint(7, 0),
            // Back, and past the head.
            checkpoint(3, 0),
            checkpoint(u64::MAX, 0),
            checkpoint(i64::MAX as u64, 0),
        ],
        vec![Ok(confirmation()), Ok(answer(Content::CaughtUp(CaughtUp::default()))), Ok(recorded(8))],
    ])
    .await;
    fake.script.head.store(9, Ordering::Relaxed);
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let mut deliveries = Vec::new();
    while deliveries.len() < 5 {
        deliveries.push(timeout(DEADLINE, follower.next()).await.unwrap().unwrap().unwrap());
    }
    assert!(matches!(&deliveries[0], SubscriptionItem::Event(event) if event.position == Position(1)));
    assert_eq!(deliveries[1], SubscriptionItem::Checkpoint(Position(7)));
    assert_eq!(deliveries[2], SubscriptionItem::Checkpoint(Position(9)), "no further than the head");
    assert_eq!(deliveries[3], SubscriptionItem::CaughtUp(Position(9)));
    assert!(matches!(&deliveries[4], SubscriptionItem::Event(event) if event.position == Position(8)));
    assert_eq!(fake.asked()[1], 1, "resumed at the last event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_at_an_event_that_was_scavenged_begins_at_the_event_before() {
    let fake = FakeServer::serve([vec![Ok(confirmation()), Ok(recorded(5)), Ok(recorded(10))]]).await;
    // The event at 7 is gone; those around it stand at 5 and 10.
    fake.script.gone.lock().unwrap().push((7, 10, 5));
    let mut follower = fake.store.subscribe(Position(7), EventFilter::default());
    assert_eq!(next_event(&mut follower).await, id(10), "5 was delivered long ago");
    assert_eq!(fake.asked(), [5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_offset_is_probed_for_a_moment() {
    // Each scavenge removes old events of the server.
    let of_server = recorded_in("$scavenges", 3);
    let caught_up = answer(Content::CaughtUp(CaughtUp::default()));
    let answers = [confirmation(), recorded(1), recorded(2), of_server, caught_up];
    let fake = FakeServer::serve([answers.map(Ok).into()]).await;
    let later = Timestamp::from_second(1_000_000).unwrap();
    assert_eq!(fake.store.position_before(later).await, Ok(Position::START));
    assert_eq!(fake.script.reads.load(Ordering::Relaxed), 0, "without an index, nothing is asked");
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    for position in 1..=2 {
        assert_eq!(next_event(&mut follower).await, id(position));
    }
    let live = timeout(DEADLINE, follower.next()).await.unwrap();
    assert_eq!(live, Some(Ok(SubscriptionItem::CaughtUp(Position(3)))));
    assert_eq!(fake.store.position_before(later).await, Ok(Position(2)));
    // The fake's events were recorded in 1970.
    assert_eq!(fake.store.position_before(Timestamp::UNIX_EPOCH).await, Ok(Position::START));
    // A scavenge removed the event.
    fake.script.gone.lock().unwrap().push((2, 3, 1));
    assert_eq!(fake.store.position_before(later).await, Ok(Position(1)), "the place before");
    // No event begins there now, so the index is of another log.
    fake.script.invalid.store(1, Ordering::Relaxed);
    assert_eq!(fake.store.position_before(later).await, Ok(Position::START));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_without_an_event_is_refused_at_once() {
    let fake = FakeServer::serve([]).await;
    fake.script.invalid.store(4, Ordering::Relaxed);
    let page = fake.store.read_all(Position(4), &EventFilter::default(), 10).await;
    assert!(matches!(&page, Err(ReadError::OtherLog { after: Position(4), .. })), "{page:?}");
    assert_eq!(fake.script.reads.load(Ordering::Relaxed), 1, "it is not repeated");
    let event = fake.store.event_at(Position(4)).await;
    assert!(matches!(&event, Err(ReadError::OtherLog { after: Position(4), .. })), "{event:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_passes_over_events_of_the_server() {
    let fake = FakeServer::serve([]).await;
    fake.script.head.store(100, Ordering::Relaxed);
    fake.script.system_events.store(40, Ordering::Relaxed);
    assert_eq!(fake.store.head().await, Ok(Position(60)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_reads_go_on_and_a_dead_leader_counts_for_nothing() {
    let cluster = FakeCluster::serve([]).await;
    let store = connect(&format!("esdb://{},{}?tls=false", cluster.follower, cluster.dead)).await;
    // The follower lists a leader that does not live, and another that it takes for alive but that is dead.
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(store.head().await, Ok(Position(9)));
        assert!(started.elapsed() < Duration::from_secs(5), "a read does not wait for an election");
    }
    let alone = connect(&format!("esdb://{}?tls=false", cluster.follower)).await;
    assert_eq!(alone.head().await, Ok(Position(9)), "also if the address names the follower alone");
    let append = tokio::spawn({
        let store = store.clone();
        async move { store.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)]).await }
    });
    assert_eq!(store.head().await, Ok(Position(9)));
    // The follower is elected.
    cluster.script.leads.store(true, Ordering::Relaxed);
    append.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_the_newest_events_ends_no_subscription() {
    let cluster =
        FakeCluster::serve([vec![Ok(confirmation()), Ok(recorded(7))], vec![Ok(confirmation())]]).await;
    let store = connect(&format!("esdb://{},{}?tls=false", cluster.follower, cluster.dead)).await;
    let mut reader = store.subscribe(Position::START, EventFilter::default());
    assert_eq!(next_event(&mut reader).await, id(7));
    cluster.script.behind.store(true, Ordering::Relaxed);
    let page = store.read_all(Position(7), &EventFilter::default(), 10).await;
    assert!(matches!(&page, Err(ReadError::Unavailable(why)) if why.contains("position 7 yet")), "{page:?}");
    let later = Timestamp::from_second(1_000_000).unwrap();
    let before = store.position_before(later).await;
    assert!(matches!(&before, Err(ReadError::Unavailable(_))), "{before:?}");

    let asked = || cluster.script.reads.load(Ordering::Relaxed);
    let subscribed = tokio::spawn({
        let store = store.clone();
        async move { store.subscribe(Position(7), EventFilter::default()).next().await }
    });
    let before = asked();
    until(|| asked() > before + 2).await;
    // It is elected. Yet it may be an old leader that has not noticed.
    cluster.script.leads.store(true, Ordering::Relaxed);
    until(|| asked() > before + 8).await;
    assert!(!subscribed.is_finished());
    cluster.script.behind.store(false, Ordering::Relaxed);
    assert_eq!(store.position_before(later).await, Ok(Position(7)), "the index was kept");
    cluster.script.behind.store(true, Ordering::Relaxed);
    let ended = timeout(DEADLINE, subscribed).await.unwrap().unwrap();
    assert_eq!(ended, Some(Err(ReadError::BeyondEnd { after: Position(7) })), "the log is another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_always_breaks_off_is_resumed_with_pauses() {
    // The other server names itself as the leader, and yet does not lead.
    for names_itself in [false, true] {
        let fake = FakeServer::serve([]).await;
        let end = if names_itself { not_leader(fake.address) } else { Status::unavailable("no") };
        fake.then((0..200).map(|_| vec![Ok(confirmation()), Err(end.clone())]));
        let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
        let nothing = timeout(Duration::from_secs(2), follower.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        let tries = fake.asked().len();
        assert!((2..20).contains(&tries), "{tries} tries in two seconds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_subscription_ends_with_the_reason() {
    let fake = FakeServer::serve([vec![Err(Status::permission_denied("no"))]]).await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    let refused = timeout(DEADLINE, follower.next()).await.unwrap();
    assert!(matches!(refused, Some(Err(ReadError::Refused(_)))), "{refused:?}");
    assert!(follower.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_to_a_damaged_log_ends_with_that_reason() {
    let damaged = Err(Status::data_loss("page 7 is damaged"));
    let fake = FakeServer::serve([vec![Ok(confirmation()), Ok(recorded(1)), damaged]]).await;
    let mut follower = fake.store.subscribe(Position::START, EventFilter::default());
    assert_eq!(next_event(&mut follower).await, id(1));
    let corrupt = timeout(DEADLINE, follower.next()).await.unwrap();
    assert_eq!(corrupt, Some(Err(ReadError::Corrupt("page 7 is damaged".to_owned()))));
    assert!(follower.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_address_is_refused_and_its_password_not_shown() {
    for address in ["esdb://admin:secret@:2113", "http://admin:secret@host:2113", "secret", "esdb://h:secret"]
    {
        let error = EsdbStore::connect(address).await.unwrap_err().to_string();
        assert!(error.contains("malformed"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let error = EsdbStore::connect("esdb://h:1?tlsCaFile=/no/such/file").await.unwrap_err().to_string();
    assert!(error.contains("/no/such/file cannot be read"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_for_a_silent_cluster_do_not_ask_one_after_another() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = connect(&format!("esdb://{},{dead}?tls=false", silent.local_addr().unwrap())).await;
    let cluster = &store.cluster;
    // They are polled in this order: the first asks, for two seconds, and the others wait for it.
    let choose = || cluster.choose(super::cluster::ServerNeed::Leader);
    let chosen = timeout(DEADLINE, futures::future::join_all((0..20).map(|_| choose()))).await;
    let failures: Vec<_> = chosen.expect("in time").into_iter().map(|chosen| chosen.err()).collect();
    assert!(failures[0].is_some() && failures.iter().all(|failure| *failure == failures[0]), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets_one_call_counts_as_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = connect(&format!("esdb://{}?tls=false", listener.local_addr().unwrap())).await;
    let read = tokio::spawn({
        let store = store.clone();
        async move { store.head().await }
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    for _ in 0..3 {
        let (_, mut answer) = connection.accept().await.unwrap().unwrap();
        answer.send_reset(h2::Reason::INTERNAL_ERROR);
    }
    assert!(!store.cluster.has_failed());
    // The connection itself is lost.
    drop((connection, listener));
    until(|| store.cluster.has_failed()).await;
    read.abort();
}

async fn next_event(follower: &mut Subscription) -> Uuid {
    loop {
        let delivery =
            timeout(DEADLINE, follower.next()).await.expect("in time").expect("no end").expect("no error");
        if let SubscriptionItem::Event(event) = delivery {
            return event.id;
        }
    }
}

async fn connect(address: &str) -> EsdbStore {
    EsdbStore::connect(address).await.unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("it comes to be in time");
}
