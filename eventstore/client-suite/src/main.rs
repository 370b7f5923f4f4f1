//! Runs the stream tests of the official EventStoreDB client against the wire node, or against the server at a
//! given address (`client-suite esdb://localhost:2113?tls=false`).
//!
//! The tests come from the client's package. Its other tests are left out: tests of persistent subscriptions,
//! projections and operations, which the node does not support, and tests that start a server in a container.

use std::{env, panic::AssertUnwindSafe, process::ExitCode};

use esdb::Client;
use event_store::{SqliteStore, node};
use futures::FutureExt;
use tokio::net::TcpListener;

// The tests import the client by its own name.
extern crate esdb as eventstore;

mod common {
    include!(concat!(env!("CLIENT_TESTS"), "/common.rs"));
}

#[expect(
    clippy::all,
    dead_code,
    reason = "the code comes from the client's package, and not all of it is called"
)]
mod streams {
    include!(concat!(env!("CLIENT_TESTS"), "/api/streams.rs"));

    const SOURCE: &str = include_str!(concat!(env!("CLIENT_TESTS"), "/api/streams.rs"));

    /// Runs the tests. Returns the number of tests in the source, and the number that passed.
    pub async fn run(client: &Client) -> (usize, usize) {
        let mut passed = 0;
        macro_rules! run {
            ($($test:ident)*) => {$(
                passed += usize::from(crate::outcome(stringify!($test), $test(client)).await);
            )*};
        }
        run!(
            test_write_events
            test_tick_date_conversion
            test_read_all_stream_events
            test_read_stream_events
            test_read_stream_events_with_position
            test_read_stream_populates_log_position
            test_metadata
            test_metadata_not_exist
            test_read_stream_events_non_existent
            test_delete_stream
            test_tombstone_stream
            test_subscription
            test_subscription_caughtup
            test_subscription_all_filter
            test_batch_append
        );
        // A new test that is not in the list above counts as failed.
        (SOURCE.matches("async fn test_").count(), passed)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder for the log");
    let address = match env::args().nth(1) {
        Some(address) => address,
        None => serve(folder.path()).await,
    };
    let settings = address.parse().expect("an address of an EventStoreDB");
    let client = Client::new(settings).expect("a client");
    let (tests, passed) = streams::run(&client).await;
    println!("{passed} of {tests} of the client's tests of streams passed");
    if passed == tests { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn serve(folder: &std::path::Path) -> String {
    let log = SqliteStore::open(folder.join("log.db")).expect("a new log");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(node::serve(listener, log, node::NodeConfig::default(), std::future::pending()));
    format!("esdb://{address}?tls=false&discoveryInterval=20")
}

/// Runs one test, prints its result, and returns true if it passed.
async fn outcome<E: std::fmt::Display>(name: &str, test: impl Future<Output = Result<(), E>>) -> bool {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    match &outcome {
        Ok(Ok(())) => println!("passed {name}"),
        Ok(Err(error)) => println!("FAILED {name}: {error}"),
        Err(_) => println!("FAILED {name}: it panicked"),
    }
    matches!(outcome, Ok(Ok(())))
}
