//! Ten thousand readers of the map's live stream, of which half stop reading. The other half does not
//! notice, and the server keeps nothing for the stalled readers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testbed::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::system::TOKEN;
use crate::support::{Log, Shape, System};

const READERS: usize = 10_000;

/// The readers of one address. The server allows 2,000.
const PER_ADDRESS: usize = 1_500;

const CONNECTING: usize = 100;

/// The rounds, and the passes in each. A round is a frame of 30 KB. All rounds together exceed the server's
/// buffer of a reader.
const ROUNDS: u64 = 12;
const PASSES: u64 = 60;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_readers_are_served_although_half_of_them_stall() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    assert!(
        limit.maximum.is_none_or(|most| most > READERS as u64 + 500),
        "too few files may be open: run `ulimit -Hn 12000` as root first"
    );
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let address: SocketAddr = system.url("").trim_start_matches("http://").parse().unwrap();
    let before = resident_kb(system.pid());

    let began = Instant::now();
    let (mut stalled, mut readers) = (Vec::new(), Vec::new());
    for first in (0..READERS).step_by(CONNECTING) {
        for (n, stream) in join_all((first..first + CONNECTING).map(|n| listen(address, n))).await {
            if is_stalling(n) { stalled.push(stream) } else { readers.push(stream) }
        }
    }
    let metric = format!("muster_live_readers {READERS}\n");
    let all_in =
        until("all to be let in", DEADLINE, async || metrics(&system).await.contains(&metric).then_some(()));
    all_in.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    let connected = resident_kb(system.pid());
    println!(
        "{READERS} listen after {:.1?}: {:.1} KB each",
        began.elapsed(),
        per_reader(before, connected, READERS)
    );

    let seen: Arc<[AtomicU64]> = readers.iter().map(|_| AtomicU64::new(0)).collect();
    for (n, stream) in readers.into_iter().enumerate() {
        tokio::spawn(read(stream, Arc::clone(&seen), n));
    }
    let log = Log::of(&system).await;
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let passes = join_all((0..PASSES).map(|n| log.pass(round * PASSES + n))).await;
        let newest = passes.into_iter().max().unwrap();
        let recorded = Instant::now();
        let told = until("everybody who reads to be told", DEADLINE, async || {
            let all = seen.iter().all(|at| at.load(Ordering::Relaxed) >= newest.0);
            all.then(|| recorded.elapsed())
        });
        delays.push(told.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail())));
    }
    delays.sort_unstable();
    let after = resident_kb(system.pid());
    println!(
        "told to all {} who read: half of the frames within {:.0?}, the slowest {:.0?}; {:.1} KB more for each who stalls",
        seen.len(),
        delays[delays.len() / 2],
        delays[delays.len() - 1],
        per_reader(connected, after, stalled.len()),
    );
    // All rounds together sent 360 KB to each reader.
    assert!(
        per_reader(connected, after, stalled.len()) < 128.0,
        "{after} KB are in use, {connected} KB were"
    );

    // The server disconnects a reader that accepts nothing for its deadline, and keeps the others.
    let left = format!("muster_live_readers {}\n", seen.len());
    let cut_off = until("those who stall to be cut off", DEADLINE, async || {
        metrics(&system).await.contains(&left).then_some(())
    });
    cut_off.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
    let newest = log.pass(ROUNDS * PASSES).await;
    let told = until("the others to be told", DEADLINE, async || {
        seen.iter().all(|at| at.load(Ordering::Relaxed) >= newest.0).then_some(())
    });
    told.await.unwrap_or_else(|error| panic!("{error}\n{}", system.log_tail()));
}

fn is_stalling(n: usize) -> bool {
    n.is_multiple_of(2)
}

/// Connects a reader and reads the beginning of the stream.
async fn listen(to: SocketAddr, n: usize) -> (usize, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    if is_stalling(n) {
        // A small buffer makes the reader stall sooner.
        socket.set_recv_buffer_size(4096).unwrap();
    }
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(n / PER_ADDRESS + 1).unwrap());
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: muster\r\n\r\n").await.unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200", "{n}");
    (n, stream)
}

/// Reads, and stores the position of the last event.
async fn read(mut stream: TcpStream, seen: Arc<[AtomicU64]>, n: usize) {
    let mut rest: Vec<u8> = Vec::new();
    while stream.read_buf(&mut rest).await.is_ok_and(|read| read > 0) {
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        for line in rest[..end].split(|byte| *byte == b'\n') {
            // The position, and the mark of the log.
            let id = line
                .strip_prefix(b"id: ")
                .and_then(|id| std::str::from_utf8(id).ok()?.trim().split('-').next()?.parse().ok());
            if let Some(id) = id {
                seen[n].store(id, Ordering::Relaxed);
            }
        }
        rest.drain(..=end);
    }
}

async fn metrics(system: &System) -> String {
    let answer = system.http().get(system.url("/metrics")).bearer_auth(TOKEN).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Returns the resident memory of a process.
fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

fn per_reader(before: u64, after: u64, readers: usize) -> f64 {
    after.saturating_sub(before) as f64 / readers as f64
}
