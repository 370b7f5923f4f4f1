//! The EventStoreDB adapter: the contract over the wire node, or over a real server if `MUSTER_TEST_ESDB`
//! names one (`esdb://host:2113?tls=false`). Then the cases that need a process of their own: a node that is
//! killed, a system without certificates.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use event_store::testing::{event_of_size, new_stream, soft_delete, tombstone};
use event_store::{
    Append, ConnectError, EsdbStore, EventFilter, EventStore, ExpectedRevision, Position, Read,
    ReadDirection, ReadError, SqliteStore, StreamName, Subscribe, Subscription, SubscriptionItem,
    node::{
        self,
        profiled::{self, ServerProfile, ServerTrouble},
    },
};
use futures::StreamExt;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

mod support;

const DEADLINE: Duration = Duration::from_secs(30);

/// A node and its log; the node stops when this is dropped.
struct RunningNode {
    _folder: TempDir,
    _stop: DropGuard,
}

async fn open() -> (EsdbStore, Option<RunningNode>) {
    if let Ok(address) = env::var("MUSTER_TEST_ESDB") {
        return (EsdbStore::connect(&address).await.unwrap(), None);
    }
    let (address, node) = serve().await;
    (EsdbStore::connect(&address).await.unwrap(), Some(node))
}

event_store::contract!(open);

mod on_23_10_8 {
    async fn open() -> (super::EsdbStore, super::RunningNode) {
        super::open_profile(super::ServerProfile::V23_10_8).await
    }

    event_store::contract!(open);
}

mod on_24_10_3 {
    async fn open() -> (super::EsdbStore, super::RunningNode) {
        super::open_profile(super::ServerProfile::V24_10_3).await
    }

    event_store::contract!(open);
}

mod on_24_10_14 {
    async fn open() -> (super::EsdbStore, super::RunningNode) {
        super::open_profile(super::ServerProfile::V24_10_14).await
    }

    event_store::contract!(open);
}

mod with_a_login {
    async fn open() -> (super::EsdbStore, super::RunningNode) {
        let trouble = super::ServerTrouble::default();
        trouble.demand_logins();
        let (address, node) = super::serve_profile(super::ServerProfile::V23_10_8, trouble).await;
        let address = address.replace("://", "://admin:changeit@");
        (super::EsdbStore::connect(&address).await.unwrap(), node)
    }

    event_store::contract!(open);
}

async fn open_profile(profile: ServerProfile) -> (EsdbStore, RunningNode) {
    let (address, node) = serve_profile(profile, ServerTrouble::default()).await;
    (EsdbStore::connect(&address).await.unwrap(), node)
}

async fn serve_profile(profile: ServerProfile, trouble: ServerTrouble) -> (String, RunningNode) {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("esdb://{}?tls=false", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(profiled::serve(listener, log, profile, trouble, stop.clone().cancelled_owned()));
    (address, RunningNode { _folder: folder, _stop: stop.drop_guard() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_event_on_a_fresh_server_reaches_who_subscribed_before_it() {
    for profile in [ServerProfile::V23_10_8, ServerProfile::V24_10_3, ServerProfile::V24_10_14] {
        let (store, _node) = open_profile(profile).await;
        let stream = new_stream();
        let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(stream.as_str()));
        let first = timeout(DEADLINE, follower.next()).await.unwrap();
        assert_eq!(first, Some(Ok(SubscriptionItem::CaughtUp(Position::START))), "{profile:?}");
        let written = event_of_size(0);
        let appended =
            store.append(&stream, ExpectedRevision::NoStream, vec![written.clone()]).await.unwrap();
        assert_eq!(next_event(&mut follower).await, written.id, "{profile:?}");
        // An event of the server itself is the newest of all.
        assert_eq!(store.head().await, Ok(appended.position), "{profile:?}");
        let between = Position(appended.position.0 + 1);
        let refused = store.read_all(between, &EventFilter::default(), 10).await;
        assert!(matches!(refused, Err(ReadError::OtherLog { .. })), "{profile:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_after_scavenged_ones_is_not_lost() {
    for profile in [ServerProfile::V23_10_8, ServerProfile::V24_10_14] {
        let trouble = ServerTrouble::default();
        let (address, _node) = serve_profile(profile, trouble.clone()).await;
        let store = EsdbStore::connect(&address).await.unwrap();
        let append = async |stream: &StreamName| {
            store.append(stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap().position
        };
        let (noise, hits) = (new_stream(), new_stream());
        append(&hits).await;
        let mut removed = Vec::new();
        for _ in 0..5 {
            removed.push(append(&noise).await);
        }
        let last = append(&hits).await;
        append(&noise).await;
        trouble.scavenge(removed.clone());
        for after in removed {
            let mut follower = store.subscribe(after, EventFilter::stream_prefix(hits.as_str()));
            let found = timeout(DEADLINE, follower.next()).await.unwrap();
            assert!(
                matches!(&found, Some(Ok(SubscriptionItem::Event(event))) if event.position == last),
                "{profile:?} after {after}: {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_reads_go_on_and_an_append_waits() {
    let trouble = ServerTrouble::default();
    let (address, _node) = serve_profile(ServerProfile::V23_10_8, trouble.clone()).await;
    let store = EsdbStore::connect(&address).await.unwrap();
    let stream = new_stream();
    store.append(&stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(stream.as_str()));
    next_event(&mut follower).await;
    trouble.lose_quorum();
    let written = event_of_size(0);
    let append = tokio::spawn({
        let (store, stream, written) = (store.clone(), stream.clone(), written.clone());
        async move { store.append(&stream, ExpectedRevision::Exact(0), vec![written]).await }
    });
    for _ in 0..5 {
        assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
    }
    assert!(!append.is_finished());
    trouble.cut_off_subscribers();
    trouble.end();
    assert_eq!(append.await.unwrap().unwrap().revision, 1);
    assert_eq!(next_event(&mut follower).await, written.id, "the subscription goes on after it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_left_for_the_leader_that_it_names() {
    let trouble = ServerTrouble::default();
    let (follower, _follower) = serve_profile(ServerProfile::V24_10_14, trouble.clone()).await;
    let (leader, _leader) = serve_profile(ServerProfile::V24_10_14, ServerTrouble::default()).await;
    let port = leader.trim_start_matches("esdb://127.0.0.1:").split('?').next().unwrap().parse().unwrap();
    trouble.follow("127.0.0.1", port);
    let stream = new_stream();
    let store = EsdbStore::connect(&follower).await.unwrap();
    store.append(&stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    let store = EsdbStore::connect(&leader).await.unwrap();
    assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
}

async fn serve() -> (String, RunningNode) {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("esdb://{}?tls=false", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), stop.clone().cancelled_owned()));
    (address, RunningNode { _folder: folder, _stop: stop.drop_guard() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_and_comes_back_is_found_again() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log.db");
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut node = start_node(address, &log);
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    let stream = new_stream();
    let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(stream.as_str()));
    let mut expected = ExpectedRevision::NoStream;
    for _ in 0..3 {
        for _ in 0..5 {
            let written = event_of_size(0);
            let appended = store.append(&stream, expected, vec![written.clone()]).await.unwrap();
            expected = ExpectedRevision::Exact(appended.revision);
            assert_eq!(next_event(&mut follower).await, written.id);
        }
        node.kill().unwrap();
        node.wait().unwrap();
        let written = event_of_size(0);
        let append = tokio::spawn({
            let (store, stream, event) = (store.clone(), stream.clone(), written.clone());
            async move { store.append(&stream, expected, vec![event]).await }
        });
        node = start_node(address, &log);
        let appended = append.await.unwrap().unwrap();
        expected = ExpectedRevision::Exact(appended.revision);
        assert_eq!(next_event(&mut follower).await, written.id, "nothing is repeated, nothing missed");
    }
    assert_eq!(expected, ExpectedRevision::Exact(17));
    node.kill().unwrap();
    node.wait().unwrap();
}

// Runs in the child process of the test above; does nothing in any other process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_process() {
    let Some(log) = env::var_os("NODE_LOG") else { return };
    let listener = TcpListener::bind(env::var("NODE_ADDRESS").unwrap()).await.unwrap();
    let log = SqliteStore::open(log).unwrap();
    std::io::stdout().write_all(b"ready\n").unwrap();
    node::serve(listener, log, node::NodeConfig::default(), std::future::pending()).await.unwrap();
}

fn start_node(address: SocketAddr, log: &Path) -> Child {
    let mut child = this_test("node_process")
        .env("NODE_LOG", log)
        .env("NODE_ADDRESS", address.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the node did not start");
    // The pipe is drained, so that the node can go on writing.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn an_unencrypted_server_is_reached_without_certificates() {
    let mut child = this_test("without_certificates");
    let status = child.env("SSL_CERT_FILE", "/no/such/file").env_remove("SSL_CERT_DIR").status();
    assert!(status.unwrap().success(), "the child process printed why");
}

// Runs in the child process of the test above, where certificates are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_certificates() {
    if env::var_os("SSL_CERT_FILE").is_none_or(|file| file != "/no/such/file") {
        return;
    }
    let error = EsdbStore::connect("esdb://localhost:1").await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificates(_)), "{error}");
    assert!(
        error.to_string().ends_with("install ca-certificates, or name a file with tlsCaFile="),
        "{error}"
    );

    let (address, _node) = serve().await;
    let store = EsdbStore::connect(&address).await.unwrap();
    store.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
}

#[test]
fn one_unreadable_certificate_of_the_system_hides_no_other() {
    let folder = TempDir::new().unwrap();
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    for (name, readable, accepted) in [("0a0a0a0a.0", false, false), ("0b0b0b0b.0", true, true)] {
        let text = if readable { authority.cert.pem() } else { damaged.to_owned() };
        fs::write(folder.path().join(name), text).unwrap();
        let mut child = this_test("with_the_certificates_of_a_folder");
        child.env("SSL_CERT_DIR", folder.path()).env_remove("SSL_CERT_FILE");
        child.env("MUSTER_TEST_ACCEPTED", accepted.to_string());
        assert!(child.status().unwrap().success(), "the child process printed why");
    }
}

// Runs in the child processes of the test above.
#[tokio::test]
async fn with_the_certificates_of_a_folder() {
    let Ok(accepted) = env::var("MUSTER_TEST_ACCEPTED") else { return };
    let connected = EsdbStore::connect("esdb://localhost:1").await;
    assert_eq!(connected.is_ok().to_string(), accepted, "{:?}", connected.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_log_is_refused() {
    let (address, _node) = serve().await;
    let store = EsdbStore::connect(&address).await.unwrap();
    let appended =
        store.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    let beyond = Position(appended.position.0 + 1);
    let error = Err(ReadError::BeyondEnd { after: beyond });
    assert_eq!(store.read_all(beyond, &EventFilter::default(), 10).await, error);
    let mut follower = store.subscribe(beyond, EventFilter::default());
    assert_eq!(follower.next().await, Some(Err(ReadError::BeyondEnd { after: beyond })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_at_a_log_that_was_restored_meanwhile_and_has_grown_since() {
    let folder = TempDir::new().unwrap();
    let (path, copy) = (folder.path().join("log.db"), folder.path().join("copy.db"));
    let serve = async |path: &Path, listener: TcpListener| {
        let log = SqliteStore::open(path).unwrap();
        let stop = CancellationToken::new();
        let config = node::NodeConfig::default();
        let served = tokio::spawn(node::serve(listener, log.clone(), config, stop.clone().cancelled_owned()));
        (log, stop, served)
    };
    let append = async |log: &SqliteStore| {
        log.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    };
    let log = SqliteStore::open(&path).unwrap();
    append(&log).await;
    log.close().await;
    std::fs::copy(&path, &copy).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, stop, served) = serve(&path, listener).await;
    append(&log).await;
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    let mut follower = store.subscribe(Position::START, EventFilter::default());
    let mut delivered = 0;
    while delivered < 2 {
        let item = timeout(DEADLINE, follower.next()).await.expect("in time").unwrap().unwrap();
        delivered += usize::from(matches!(item, SubscriptionItem::Event(_)));
    }
    stop.cancel();
    served.await.unwrap().unwrap();
    log.close().await;

    let restored = SqliteStore::open(&copy).unwrap();
    append(&restored).await;
    append(&restored).await;
    restored.close().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (_restored, _stop, _served) = serve(&copy, listener).await;
    let ended = loop {
        match timeout(DEADLINE, follower.next()).await.expect("in time") {
            Some(Ok(SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_))) => {}
            ended => break ended,
        }
    };
    assert!(
        matches!(&ended, Some(Err(ReadError::OtherLog { after: Position(2), why })) if why.contains("restored")),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_asks_for_deletions_is_told_of_both_kinds() {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let [kept, soft, gone] = [(); 3].map(|()| new_stream());
    for stream in [&kept, &soft, &gone] {
        log.append(stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    }
    soft_delete(&log, &soft).await;
    tombstone(&log, &gone).await;
    log.append(&kept, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let mut stores: Vec<Box<dyn EventStore>> = vec![Box::new(log.clone())];
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut addresses = vec![listener.local_addr().unwrap()];
    tokio::spawn(node::serve(
        listener,
        log.clone(),
        node::NodeConfig::default(),
        stop.clone().cancelled_owned(),
    ));
    for profile in [ServerProfile::V23_10_8, ServerProfile::V24_10_14] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let stop = stop.clone().cancelled_owned();
        tokio::spawn(profiled::serve(listener, log.clone(), profile, ServerTrouble::default(), stop));
    }
    for address in addresses {
        stores.push(Box::new(EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap()));
    }
    for store in &stores {
        let prefixed = EventFilter::stream_prefix("test-");
        for (filter, deletions) in [
            (EventFilter::default(), false),
            (EventFilter::default().with_deletions(), true),
            (prefixed.clone(), false),
            (prefixed.with_deletions(), true),
        ] {
            let mut deliveries = store.subscribe(Position::START, filter.clone());
            let mut delivered = Vec::new();
            loop {
                match timeout(DEADLINE, deliveries.next()).await.expect("in time").unwrap().unwrap() {
                    SubscriptionItem::Event(event) => delivered.push(event),
                    SubscriptionItem::CaughtUp(_) => break,
                    SubscriptionItem::Checkpoint(_) => {}
                }
            }
            assert_eq!(delivered, store.read_all(Position::START, &filter, 100).await.unwrap().events);
            let deleted: Vec<_> = delivered.iter().filter_map(|event| event.deleted_stream()).collect();
            let expected = if deletions { vec![soft.clone(), gone.clone()] } else { vec![] };
            assert_eq!((deleted, delivered.len()), (expected, if deletions { 6 } else { 4 }));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_of_the_node_is_corrupt_to_its_clients() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let log = SqliteStore::open(&path).unwrap();
    let stream = new_stream();
    log.append(&stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    log.clone().close().await;
    support::damage(&path);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), std::future::pending()));
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    let read = store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await;
    assert!(matches!(read, Err(ReadError::Corrupt(_))), "{read:?}");
    let page = store.read_all(Position::START, &EventFilter::default(), 10).await;
    assert!(matches!(page, Err(ReadError::Corrupt(_))), "{page:?}");
    let mut deliveries = store.subscribe(Position::START, EventFilter::default());
    let last = timeout(DEADLINE, deliveries.next()).await.expect("in time");
    assert!(matches!(last, Some(Err(ReadError::Corrupt(_)))), "{last:?}");
    assert!(deliveries.next().await.is_none(), "the error is the last item");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_position_before_a_moment_is_found_by_who_has_read_the_log() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let log = SqliteStore::open(&path).unwrap();
    for _ in 0..50 {
        log.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0), event_of_size(0)])
            .await
            .unwrap();
    }
    log.close().await;
    // An event every ten minutes.
    support::edit_events(&path, "UPDATE events SET recorded_at = 600000000 * position");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = SqliteStore::open(&path).unwrap();
    tokio::spawn(node::serve(listener, log.clone(), node::NodeConfig::default(), std::future::pending()));
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    let late = Timestamp::from_second(600 * 99).unwrap();
    assert_eq!(store.position_before(late).await.unwrap(), Position::START, "nothing is known yet");
    store.read_all(Position::START, &EventFilter::default(), usize::MAX).await.unwrap();
    for position in 1..=100 {
        let moment = Timestamp::from_second(600 * position).unwrap();
        let exact = log.position_before(moment).await.unwrap();
        assert_eq!(exact, Position(position as u64 - 1));
        assert_eq!(store.position_before(moment).await.unwrap(), exact);
    }
}

fn this_test(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command
}

async fn next_event(follower: &mut Subscription) -> Uuid {
    loop {
        let delivery = timeout(DEADLINE, follower.next()).await.expect("in time");
        if let SubscriptionItem::Event(event) = delivery.expect("no end").expect("no error") {
            return event.id;
        }
    }
}
