//! Measures a start with views in memory: from the log's beginning, and from a
//! snapshot. Also the snapshot itself, and the time for which readers wait while it is
//! written and events go on to change the views.
//!
//! `cargo bench -p projections --bench starting [-- SUBMISSIONS]`: the number of
//! submissions, 100,000 by default, each with six events.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

#[expect(dead_code, reason = "only the other benchmarks ask MongoDB")]
mod support;
#[path = "support/written_log.rs"]
mod written_log;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_store::{Position, Read, SqliteStore};
use projections::{MemoryViews, ViewQueries, ViewSnapshots, run};
use support::{id, load, mix, size_argument};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use written_log::write;

/// The share of the submissions that come while the snapshot is written.
const MEANWHILE: u64 = 10;

#[tokio::main]
async fn main() {
    let submissions = size_argument(100_000);
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let start = Instant::now();
    write(&log, 0..submissions).await;
    println!("{submissions} submissions, {} events, written in {:.1?}", head(&log).await, start.elapsed());

    println!("\na start, {}", load());
    let begun = Instant::now();
    let (views, mut snapshots, projecting) = start_up(folder.path(), &log).await;
    println!("  from the log's beginning      {:>8.2?}", begun.elapsed());

    let begun = Instant::now();
    let length = snapshots.write(&views, &log).await.unwrap().unwrap();
    println!("  writing a snapshot            {:>8.2?}, {length} bytes", begun.elapsed());
    let stopped = projecting.stop().await;
    drop((views, snapshots));
    assert!(stopped >= head(&log).await);

    let begun = Instant::now();
    let (views, mut snapshots, projecting) = start_up(folder.path(), &log).await;
    println!("  from the snapshot             {:>8.2?}", begun.elapsed());

    println!("\na status read while {} submissions come, {}", submissions / MEANWHILE, load());
    let part = submissions / MEANWHILE;
    let reader = Reader::start(views.clone(), submissions);
    write(&log, submissions..submissions + part).await;
    reader.print("without a snapshot").await;
    let reader = Reader::start(views.clone(), submissions);
    let kept = log.clone();
    let writing = tokio::spawn(async move { snapshots.write(&views, &kept).await.map(drop) });
    write(&log, submissions + part..submissions + 2 * part).await;
    writing.await.unwrap().unwrap();
    reader.print("with one").await;
    projecting.stop().await;
}

async fn head(log: &SqliteStore) -> Position {
    log.head().await.unwrap()
}

/// A projection that runs.
struct Projecting(CancellationToken, Arc<MemoryViews>, JoinHandle<()>);

impl Projecting {
    /// Ends the projection, and returns the position that it reached.
    async fn stop(self) -> Position {
        self.0.cancel();
        self.2.await.unwrap();
        self.1.checkpoint().await.unwrap()
    }
}

/// Starts the views as a process does, and waits until they have all of the log.
async fn start_up(folder: &Path, log: &SqliteStore) -> (Arc<MemoryViews>, ViewSnapshots, Projecting) {
    let mut snapshots = ViewSnapshots::in_directory(folder);
    let views = Arc::new(MemoryViews::new());
    snapshots.load(&views, log).await;
    let stopped = CancellationToken::new();
    let running = run(Arc::new(log.clone()), views.clone(), stopped.clone());
    let projecting = tokio::spawn(async { running.await.unwrap() });
    let head = head(log).await;
    views.watch().wait_for(|checkpoint| *checkpoint >= head).await.unwrap();
    (views.clone(), snapshots, Projecting(stopped, views, projecting))
}

/// A reader of statuses.
struct Reader(CancellationToken, JoinHandle<Vec<Duration>>);

impl Reader {
    fn start(views: Arc<MemoryViews>, submissions: u64) -> Self {
        let (stopped, mut took) = (CancellationToken::new(), Vec::new());
        let stopping = stopped.clone();
        let reading = tokio::spawn(async move {
            while !stopping.is_cancelled() {
                let wanted = id(mix(took.len() as u64) % submissions);
                let begun = Instant::now();
                assert!(views.status(wanted).await.unwrap().is_some());
                took.push(begun.elapsed());
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            took
        });
        Self(stopped, reading)
    }

    async fn print(self, name: &str) {
        self.0.cancel();
        let mut took = self.1.await.unwrap();
        took.sort_unstable();
        let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
        println!(
            "  {name:28}  p50 {:>8.1?}   p99 {:>8.1?}   longest {:>8.1?}   of {}",
            at(500),
            at(990),
            at(1000),
            took.len()
        );
    }
}
