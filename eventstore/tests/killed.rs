//! Kills a process during a storm of appends, several times. Every acknowledged event is in the log
//! afterwards, in order and without a gap.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use event_store::testing::{event_of_size, new_stream};
use event_store::{
    Append, EventFilter, ExpectedRevision, Position, Read, SqliteStore, StreamName, verify_log,
};
use tempfile::TempDir;
use uuid::Uuid;

const KILLS: usize = 6;
const WRITERS: usize = 16;

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let before = acknowledged.len();
        acknowledged.extend(storm_until_killed(&path, 100 * (kill + 1)));
        assert!(acknowledged.len() > before, "the storm of kill {kill} acknowledged nothing");
    }

    // The journal of the killed process is still there.
    let report = verify_log(&path, |_| Ok(())).unwrap();
    assert_eq!(report.damages, Vec::<String>::new());
    let store = SqliteStore::open(&path).unwrap();
    let mut at = Position::START;
    let mut log = HashMap::new();
    let mut newest: HashMap<StreamName, u64> = HashMap::new();
    loop {
        let page = store.read_all(at, &EventFilter::default(), 500).await.unwrap();
        for event in page.events {
            assert_eq!(event.position.0, log.len() as u64 + 1, "no gap in the log");
            let next = newest.get(&event.stream).map_or(0, |last| last + 1);
            assert_eq!(event.revision, next, "no gap in {}", event.stream);
            newest.insert(event.stream.clone(), event.revision);
            log.insert(event.id, (event.stream, event.revision, event.position.0));
        }
        at = page.next;
        if page.end {
            break;
        }
    }
    for AcknowledgedEvent { id, stream, revision, position } in &acknowledged {
        assert_eq!(log.get(id), Some(&(stream.clone(), *revision, *position)));
    }
    println!("{} acknowledged, {} in the log, {KILLS} kills", acknowledged.len(), log.len());
}

struct AcknowledgedEvent {
    id: Uuid,
    stream: StreamName,
    revision: u64,
    position: u64,
}

/// Runs the storm in a child process until it has acknowledged `enough` events, kills the process, and
/// returns the acknowledged events.
fn storm_until_killed(path: &Path, enough: usize) -> Vec<AcknowledgedEvent> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storm", "--nocapture"])
        .env("STORM_LOG", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut events = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    // Lines from before the kill may still be in the pipe after it.
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line that the kill cut short is no acknowledgement.
        if let Some(fields) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix('\n')) {
            events.push(acknowledged(fields));
        }
        line.clear();
        assert!(Instant::now() < deadline, "only {} acknowledged", events.len());
        if events.len() >= enough && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed, not done");
    events
}

fn acknowledged(fields: &str) -> AcknowledgedEvent {
    let mut fields = fields.split(' ');
    let mut field = || fields.next().unwrap();
    AcknowledgedEvent {
        id: field().parse().unwrap(),
        stream: StreamName::new(field()).unwrap(),
        revision: field().parse().unwrap(),
        position: field().parse().unwrap(),
    }
}

// Runs in the child process of the test above; does nothing in any other process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm() {
    let Some(path) = std::env::var_os("STORM_LOG") else { return };
    let store = SqliteStore::open(path).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            let stream = new_stream();
            tokio::spawn(async move {
                loop {
                    let events = vec![event_of_size(300), event_of_size(0)];
                    let last = events[1].id;
                    let appended = store.append(&stream, ExpectedRevision::Any, events).await.unwrap();
                    let line = format!("ack {last} {stream} {} {}\n", appended.revision, appended.position);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    // The writers end with the process, unless one of them panics.
    futures::future::select_all(writers).await.0.unwrap();
}
