//! Compares the embedded log with bare SQLite, and the wire node with the embedded log: durable appends,
//! catching up, the delay until a subscriber gets an event, and the memory of subscribers that stop reading.
//!
//! Run with `cargo bench -p event-store --bench log [-- EVENTS]`. EVENTS is the length of the log that a
//! subscriber catches up with; the default is a million.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use event_store::testing::new_event;
use event_store::{
    Append, EsdbStore, EventFilter, EventStore, ExpectedRevision, NewEvent, Position, Read, SqliteStore,
    StreamName, Subscribe, SubscriptionItem, node,
};
use futures::{StreamExt, future::join_all};
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

/// The time for which each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

/// The number of subscribers that stop reading.
const STALLED: usize = 8;

/// The length of a long stream, and the number of appends to it that are measured.
const LONG: usize = 100_000;
const MEASURED: usize = 500;

/// The number of events in each append that fills the log.
const FILL: usize = 1000;

#[tokio::main]
async fn main() {
    // Cargo adds a flag `--bench`, which is no number.
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("esdb://{}?tls=false", listener.local_addr().unwrap());
    tokio::spawn(node::serve(listener, log.clone(), node::NodeConfig::default(), std::future::pending()));
    let wire = Arc::new(EsdbStore::connect(&address).await.unwrap());
    let embedded = Arc::new(log);

    println!("durable appends of one event, a second (median of their times)");
    println!("  bare SQLite, one transaction each   {}", bare(&folder.path().join("bare.db")));
    for writers in [1, 8, 64] {
        println!("  embedded, {writers:2} writers                {}", appends(&embedded, writers).await);
        println!("  over the wire, {writers:2} writers           {}", appends(&wire, writers).await);
    }

    println!(
        "appends to a stream of {LONG} events, a second (median of their times): exact, then any, revision expected"
    );
    println!("  embedded                            {}", long_stream(&embedded).await);
    println!("  over the wire                       {}", long_stream(&wire).await);

    println!("from an append's return to its delivery (median, 99th percentile)");
    println!("  embedded                            {}", deliveries(&embedded).await);
    println!("  over the wire                       {}", deliveries(&wire).await);

    fill(&*embedded, events).await;
    println!("finding the place of a moment in {events} events (median, 99th percentile)");
    println!("  embedded                            {}", moments(&*embedded, SignedDuration::ZERO).await);
    println!("  over the wire, read once            {}", read_moments(&address).await);

    println!("catching up with {events} events, events a second");
    println!("  reading the rows and no more        {}", rows(&folder.path().join("log.db")));
    println!("  embedded                            {}", catch_up(&*embedded).await);
    println!("  over the wire                       {}", catch_up(&*wire).await);

    println!(
        "memory of node and clients, MB: before, and the most while {STALLED} stall before {events} events"
    );
    println!("  over the wire                       {}", stalled(&address).await);
}

/// Measures the transactions of one writer with the log's settings, but without the log's code.
fn bare(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    connection.pragma_update(None, "synchronous", "full").unwrap();
    connection.execute_batch("CREATE TABLE events (position INTEGER PRIMARY KEY, data BLOB)").unwrap();
    let mut insert = connection.prepare("INSERT INTO events (data) VALUES (?1)").unwrap();
    let data = event().data;
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < SPAN {
        let before = Instant::now();
        insert.execute([&data[..]]).unwrap();
        times.push(before.elapsed());
    }
    rate(times, started)
}

async fn appends<S: EventStore + 'static>(store: &Arc<S>, writers: usize) -> String {
    // The first call may have to connect.
    store.append(&stream(), ExpectedRevision::NoStream, vec![event()]).await.unwrap();
    let started = Instant::now();
    let writers = (0..writers).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let stream = stream();
            let mut expected = ExpectedRevision::NoStream;
            let mut times = Vec::new();
            while started.elapsed() < SPAN {
                let before = Instant::now();
                let appended = store.append(&stream, expected, vec![event()]).await.unwrap();
                times.push(before.elapsed());
                expected = ExpectedRevision::Exact(appended.revision);
            }
            times
        })
    });
    let times = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    rate(times, started)
}

/// Measures one writer of a long stream who knows the newest revision, and then one who expects any.
async fn long_stream<S: EventStore + 'static>(store: &Arc<S>) -> String {
    let stream = stream();
    let mut newest = ExpectedRevision::NoStream;
    for _ in 0..LONG / FILL {
        let some = (0..FILL).map(|_| event()).collect();
        newest = ExpectedRevision::Exact(store.append(&stream, newest, some).await.unwrap().revision);
    }
    let mut measured = Vec::new();
    for expects_any in [false, true] {
        let (started, mut times) = (Instant::now(), Vec::new());
        for _ in 0..MEASURED {
            let expected = if expects_any { ExpectedRevision::Any } else { newest };
            let before = Instant::now();
            let appended = store.append(&stream, expected, vec![event()]).await.unwrap();
            times.push(before.elapsed());
            newest = ExpectedRevision::Exact(appended.revision);
        }
        measured.push(rate(times, started));
    }
    measured.join(" ")
}

/// Measures how long it takes to find where a moment stands, for moments all over the log. A client begins earlier by the
/// `margin`.
async fn moments(store: &impl Read, margin: SignedDuration) -> String {
    let first = store.read_all(Position::START, &EventFilter::default(), 1).await.unwrap().events;
    let last = store.event_at(store.head().await.unwrap()).await.unwrap().unwrap();
    let (from, span) = (first[0].recorded_at, last.recorded_at.duration_since(first[0].recorded_at));
    let mut times = Vec::new();
    for part in 0..100 {
        let before = Instant::now();
        store.position_before(from + margin + span * part / 100).await.unwrap();
        times.push(before.elapsed());
    }
    format!("{:>10.2?} {:>10.2?}", percentile(&mut times, 50), percentile(&mut times, 99))
}

/// Measures the same of a client that has read the log once, as the views and the verifier do.
async fn read_moments(address: &str) -> String {
    let client = EsdbStore::connect(address).await.unwrap();
    catch_up(&client).await;
    // Two servers' clocks may differ, so a client looks a minute further back.
    moments(&client, SignedDuration::from_mins(1)).await
}

async fn deliveries<S: EventStore + 'static>(store: &Arc<S>) -> String {
    let stream = stream();
    let head = store.head().await.unwrap();
    let mut follower = store.subscribe(head, EventFilter::stream_prefix(stream.as_str()));
    while !matches!(follower.next().await.unwrap().unwrap(), SubscriptionItem::CaughtUp(_)) {}
    let (heard, mut heard_at) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = follower.next().await {
            if matches!(delivery, SubscriptionItem::Event(_)) && heard.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < SPAN {
        store.append(&stream, ExpectedRevision::Any, vec![event()]).await.unwrap();
        let returned = Instant::now();
        // The event may be delivered before the append returns.
        times.push(heard_at.recv().await.unwrap().saturating_duration_since(returned));
    }
    format!("{:>10.2?} {:>10.2?}", percentile(&mut times, 50), percentile(&mut times, 99))
}

async fn fill(store: &impl Append, events: usize) {
    for _ in 0..events.div_ceil(FILL) {
        let some = (0..FILL).map(|_| event()).collect();
        store.append(&stream(), ExpectedRevision::NoStream, some).await.unwrap();
    }
}

fn rows(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut select = connection
        .prepare("SELECT position, stream, revision, id, kind, data, metadata, recorded_at FROM events")
        .unwrap();
    let started = Instant::now();
    let mut rows = select.query([]).unwrap();
    let mut read: usize = 0;
    while let Some(row) = rows.next().unwrap() {
        std::hint::black_box(row.get_ref(5).unwrap());
        read += 1;
    }
    format!("{:>10.0}", read as f64 / started.elapsed().as_secs_f64())
}

async fn catch_up(store: &impl Subscribe) -> String {
    let started = Instant::now();
    let mut follower = store.subscribe(Position::START, EventFilter::default());
    let mut read: usize = 0;
    loop {
        match follower.next().await.unwrap().unwrap() {
            SubscriptionItem::Event(event) => {
                std::hint::black_box(event);
                read += 1;
            }
            SubscriptionItem::Checkpoint(_) => {}
            SubscriptionItem::CaughtUp(_) => break,
        }
    }
    format!("{:>10.0}", read as f64 / started.elapsed().as_secs_f64())
}

/// Measures the memory while subscribers stall. Each has a client of its own and stops after one event.
async fn stalled(address: &str) -> String {
    let before = resident_mb();
    let followers = join_all((0..STALLED).map(async |_| {
        let client = EsdbStore::connect(address).await.unwrap();
        let mut follower = client.subscribe(Position::START, EventFilter::default());
        follower.next().await.unwrap().unwrap();
        follower
    }))
    .await;
    let mut most = 0;
    let started = Instant::now();
    while started.elapsed() < SPAN {
        most = most.max(resident_mb());
        tokio::time::sleep(SPAN / 100).await;
    }
    drop(followers);
    format!("{before:>10} {most:>10}")
}

fn resident_mb() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / 1_000_000
}

fn rate(mut times: Vec<Duration>, started: Instant) -> String {
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    format!("{rate:>10.0} ({:.2?})", percentile(&mut times, 50))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn stream() -> StreamName {
    StreamName::of("bench", Uuid::new_v4())
}

/// Returns an event as large as a typical event of a submission.
fn event() -> NewEvent {
    new_event("Measured", format!(r#"{{"text":"{}"}}"#, "x".repeat(300)))
}
