//! The official client is held to the contract over the wire node, and over
//! a real server when `MUSTER_TEST_ESDB` names one (`esdb://host:2113?tls=false`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use event_store::{EsdbStore, SqliteStore, node};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The node and its log, for as long as a test wants them.
struct Node {
    _folder: TempDir,
    _stop: DropGuard,
}

async fn open() -> (EsdbStore, Option<Node>) {
    if let Ok(address) = std::env::var("MUSTER_TEST_ESDB") {
        return (EsdbStore::connect(&address).await.unwrap(), None);
    }
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("esdb://{}?tls=false", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(node::serve(listener, log, node::Config::default(), stop.clone().cancelled_owned()));
    let store = EsdbStore::connect(&address).await.unwrap();
    (store, Some(Node { _folder: folder, _stop: stop.drop_guard() }))
}

event_store::contract!(open);
