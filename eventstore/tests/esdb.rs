//! The official client is held to the contract over the wire node, and over
//! a real server when `MUSTER_TEST_ESDB` names one (`esdb://host:2113?tls=false`).
//! Then what needs processes of its own: a node that is killed, a system
//! without certificates, another TLS library.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use event_store::{
    Append, ConnectError, EsdbStore, EventFilter, ExpectedRevision, Position, Read, ReadError, SqliteStore,
    Subscribe, Subscription, SubscriptionItem, node,
};
use futures::StreamExt;
use jiff::Timestamp;
use support::{event, stream};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

mod support;

const DEADLINE: Duration = Duration::from_secs(30);

/// The node and its log, for as long as a test wants them.
struct Node {
    _folder: TempDir,
    _stop: DropGuard,
}

async fn open() -> (EsdbStore, Option<Node>) {
    if let Ok(address) = env::var("MUSTER_TEST_ESDB") {
        return (EsdbStore::connect(&address).await.unwrap(), None);
    }
    let (address, node) = serve().await;
    (EsdbStore::connect(&address).await.unwrap(), Some(node))
}

event_store::contract!(open);

async fn serve() -> (String, Node) {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("esdb://{}?tls=false", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), stop.clone().cancelled_owned()));
    (address, Node { _folder: folder, _stop: stop.drop_guard() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_and_comes_back_is_found_again() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log.db");
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut node = start_node(address, &log);
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    let stream = stream();
    let mut follower = store.subscribe(Position::START, EventFilter::stream_prefix(stream.as_str()));
    let mut expected = ExpectedRevision::NoStream;
    for _ in 0..3 {
        for _ in 0..5 {
            let written = event();
            let appended = store.append(&stream, expected, vec![written.clone()]).await.unwrap();
            expected = ExpectedRevision::Exact(appended.revision);
            assert_eq!(next_event(&mut follower).await, written.id);
        }
        node.kill().unwrap();
        node.wait().unwrap();
        let written = event();
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

/// What the test above kills; by itself it has no log.
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
    // Whoever reads nothing more must not stop the node from writing.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn without_certificates_an_unencrypted_server_is_reached_all_the_same() {
    let status = this_test("without_certificates").env("SSL_CERT_FILE", "/no/such/file").status();
    assert!(status.unwrap().success(), "see above");
}

/// What the test above runs where certificates are missing.
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
    store.append(&stream(), ExpectedRevision::NoStream, vec![event()]).await.unwrap();
}

#[test]
fn a_tls_library_that_was_there_first_is_a_clear_error_and_one_that_comes_later_none() {
    for test in ["after_another_tls_library", "before_another_tls_library"] {
        let status = this_test(test).env("OTHER_TLS_LIBRARY", "1").status();
        assert!(status.unwrap().success(), "see above");
    }
}

/// One half of the test above, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_another_tls_library() {
    if env::var_os("OTHER_TLS_LIBRARY").is_none() {
        return;
    }
    aws_lc_rs::default_provider().install_default().unwrap();
    let error = EsdbStore::connect("esdb://localhost:1?tls=false").await.unwrap_err();
    assert_eq!(error, ConnectError::Cryptography);
}

/// The other half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_another_tls_library() {
    if env::var_os("OTHER_TLS_LIBRARY").is_none() {
        return;
    }
    let (address, _node) = serve().await;
    let store = EsdbStore::connect(&address).await.unwrap();
    assert!(CryptoProvider::get_default().is_some(), "others find the choice made");
    aws_lc_rs::default_provider().install_default().unwrap_err();
    let again = EsdbStore::connect(&address).await.unwrap();
    store.append(&stream(), ExpectedRevision::NoStream, vec![event()]).await.unwrap();
    again.append(&stream(), ExpectedRevision::NoStream, vec![event()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_log_is_refused() {
    let (address, _node) = serve().await;
    let store = EsdbStore::connect(&address).await.unwrap();
    let appended = store.append(&stream(), ExpectedRevision::NoStream, vec![event()]).await.unwrap();
    let beyond = Position(appended.position.0 + 1);
    let error = Err(ReadError::BeyondEnd { after: beyond });
    assert_eq!(store.read_all(beyond, &EventFilter::default(), 10).await, error);
    let mut follower = store.subscribe(beyond, EventFilter::default());
    assert_eq!(follower.next().await, Some(Err(ReadError::BeyondEnd { after: beyond })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_long_past_is_passed_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let log = SqliteStore::open(&path).unwrap();
    for _ in 0..50 {
        log.append(&stream(), ExpectedRevision::NoStream, vec![event(), event()]).await.unwrap();
    }
    log.close().await;
    // An event every ten minutes.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("UPDATE events SET recorded_at = 600000000 * position", [])
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = SqliteStore::open(&path).unwrap();
    tokio::spawn(node::serve(listener, log.clone(), node::NodeConfig::default(), std::future::pending()));
    let store = EsdbStore::connect(&format!("esdb://{address}?tls=false")).await.unwrap();
    for position in 1..=100 {
        let moment = Timestamp::from_second(600 * position).unwrap();
        let (exact, found) =
            (log.position_before(moment).await.unwrap(), store.position_before(moment).await.unwrap());
        assert_eq!(exact, Position(position as u64 - 1));
        assert!(found <= exact && exact.0 - found.0 <= 1, "{found} instead of {exact}");
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
