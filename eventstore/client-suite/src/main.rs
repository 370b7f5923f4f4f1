//! The official client's own tests of streams, run against the wire node, or
//! against the server at the address that is given
//! (`client-suite esdb://localhost:2113?tls=false`).
//!
//! The tests are not ours and not here: they travel in the client's package.
//! Of that package's other tests these are left out: persistent subscriptions,
//! projections and operations, which the node answers with UNIMPLEMENTED; and
//! those that start a server in a container of their own.

use std::{env, panic::AssertUnwindSafe, process::ExitCode};

use esdb::Client;
use event_store::{SqliteStore, node};
use futures::FutureExt;
use tokio::net::TcpListener;

// The tests know the client by its own name.
extern crate esdb as eventstore;

mod common {
    include!(concat!(env!("CLIENT_TESTS"), "/common.rs"));
}

#[expect(clippy::all, dead_code, reason = "the code is not ours, and run test by test")]
mod streams {
    include!(concat!(env!("CLIENT_TESTS"), "/api/streams.rs"));

    const SOURCE: &str = include_str!(concat!(env!("CLIENT_TESTS"), "/api/streams.rs"));

    /// How many tests there are, and how many passed.
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
        // One that is not on the list counts, and did not pass.
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

/// Says how a test went, and whether well.
async fn outcome<E: std::fmt::Display>(name: &str, test: impl Future<Output = Result<(), E>>) -> bool {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    match &outcome {
        Ok(Ok(())) => println!("passed {name}"),
        Ok(Err(error)) => println!("FAILED {name}: {error}"),
        Err(_) => println!("FAILED {name}: it panicked"),
    }
    matches!(outcome, Ok(Ok(())))
}
