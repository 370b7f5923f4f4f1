//! Measures the projection of a log from its beginning: into memory, compared
//! with reading the same log only; and into a MongoDB replica set of three
//! members on this machine, compared with MongoDB's own bulk write of as many
//! small documents.
//!
//! `cargo bench -p projections --bench projecting [-- SUBMISSIONS]`: the number of
//! submissions, a million by default, each with six events. Only the events of
//! the first [`IN_MONGO`] submissions are projected into MongoDB.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

mod support;
#[path = "support/written_log.rs"]
mod written_log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_store::{EventFilter, Position, Read, SqliteStore, Subscribe, SubscriptionItem};
use futures::StreamExt;
use mongodb::bson::{Bson, Document, doc};
use projections::{MemoryViews, ViewQueries, ViewStore, run};
use support::{in_mongo, load, size_argument};
use tokio_util::sync::CancellationToken;
use written_log::write;

/// The number of submissions whose events are projected into MongoDB.
const IN_MONGO: u64 = 100_000;

/// The number of documents in one command.
const BULK: usize = 1_000;

#[tokio::main]
async fn main() {
    let submissions = size_argument(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let start = Instant::now();
    write(&log, 0..submissions).await;
    let head = log.head().await.unwrap();
    println!("{submissions} submissions, {head} events, written in {:.1?}", start.elapsed());

    println!("\ninto memory, {}", load());
    let reading = read(&log, head).await;
    print_pace("reading only", head, reading, reading);
    let memory = Arc::new(MemoryViews::new());
    print_pace("folding", head, project(&log, memory.clone(), head).await, reading);
    drop(memory);

    let part = Position(head.0 * IN_MONGO.min(submissions) / submissions);
    let (mongo, views) = in_mongo().await;
    println!("\ninto a replica set of three, the first {part} events, {}", load());
    let bulk = bulk_write(&mongo.uri(), part.0).await;
    print_pace("MongoDB's own bulk write", part, bulk, bulk);
    let (views, start) = (Arc::new(views), Instant::now());
    let stopped = CancellationToken::new();
    let projecting = tokio::spawn(run(Arc::new(log.clone()), views.clone(), stopped.clone()));
    let reached = *views.watch().wait_for(|checkpoint| *checkpoint >= part).await.unwrap();
    print_pace("projecting", reached, start.elapsed(), bulk);
    stopped.cancel();
    projecting.await.unwrap().unwrap();
    drop(views);
    mongo.stop().await.unwrap();
}

async fn read(log: &SqliteStore, upto: Position) -> Duration {
    let start = Instant::now();
    let mut deliveries = log.subscribe(Position::START, EventFilter::stream_prefix("submission-"));
    while let Some(delivery) = deliveries.next().await {
        let at = match delivery.unwrap() {
            SubscriptionItem::Event(event) => event.position,
            SubscriptionItem::Checkpoint(at) | SubscriptionItem::CaughtUp(at) => at,
        };
        if at >= upto {
            break;
        }
    }
    start.elapsed()
}

async fn project(log: &SqliteStore, views: Arc<dyn ViewStore>, upto: Position) -> Duration {
    let (start, stopped) = (Instant::now(), CancellationToken::new());
    let projecting = tokio::spawn(run(Arc::new(log.clone()), views.clone(), stopped.clone()));
    views.watch().wait_for(|checkpoint| *checkpoint >= upto).await.unwrap();
    let took = start.elapsed();
    stopped.cancel();
    projecting.await.unwrap().unwrap();
    took
}

/// Inserts as many small documents, each acknowledged by a majority of the replica set.
async fn bulk_write(address: &str, documents: u64) -> Duration {
    let client = mongodb::Client::with_uri_str(format!("{address}&w=majority")).await.unwrap();
    let bulk = client.database("bulk").collection::<Document>("small");
    let start = Instant::now();
    let numbers: Vec<i64> = (0..i64::try_from(documents).unwrap()).collect();
    for some in numbers.chunks(BULK) {
        let small = |number: &i64| doc! { "_id": *number, "text": "a small document", "n": Bson::Int64(1) };
        bulk.insert_many(some.iter().map(small)).ordered(false).await.unwrap();
    }
    start.elapsed()
}

fn print_pace(name: &str, events: Position, took: Duration, reference: Duration) {
    let pace = events.0 as f64 / took.as_secs_f64();
    let times = took.as_secs_f64() / reference.as_secs_f64();
    println!("  {name:28} {pace:>9.0} events a second   {took:>8.1?}   {times:.2} ×");
}
