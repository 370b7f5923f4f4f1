//! A hundred participants behind one address and one alone elsewhere, over the real HTTP API, in three comparisons: with a hundred
//! at a hundred addresses, beside a laptop in their room that posts without end, and beside a stranger who gives every
//! submission an owner of its own. The rates, the bounds and the queue are the real ones. A task takes submissions from the log in the
//! order of a verifier, and gives verdicts at a fixed pace.
//!
//! `MUSTER_BENCH_SECONDS` is how long each room submits: 30 unless it is set, 600 for the length of an event's rush.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use commands::{Commands, Gazetteer, WaitingSubmissions, WriteApiSettings};
use domain::queue::FairQueue;
use domain::submission::{CATEGORY, Event, Passed, SCHEMA, Submitted, VerdictBasis, VerificationStarted};
use domain::{Challenge, SubmissionId};
use event_store::testing::event_about;
use event_store::{
    Append, EventFilter, ExpectedRevision, Position, SqliteStore, StreamName, Subscribe, SubscriptionItem,
};
use futures::StreamExt;
use http_edge::{Metrics, TrustedProxies};
use muster::shutdown::Shutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// The address of the room.
const ROOM: &str = "203.0.113.7";

/// The address of the one who is alone, and of the stranger.
const ALONE: &str = "192.0.2.1";
const STRANGER: &str = "192.0.2.200";

/// The pause between two submissions of a participant. The room sends 33 a second, and its rate permits 50.
const PAUSE: Duration = Duration::from_secs(3);

/// The verdicts a second.
const PACE: u32 = 12;

/// The number of connections on which a laptop or a stranger posts without a pause.
const CONNECTIONS: usize = 4;

/// A participant: the owner of the images, and the address that the proxy names.
#[derive(Clone)]
struct Client {
    owner: String,
    address: String,
}

/// The ones who post without a pause.
#[derive(Clone, Copy, PartialEq)]
enum Nuisance {
    Nobody,
    /// One owner, from the room's address.
    Laptop,
    /// An owner for each submission, from an address outside the venue.
    Stranger,
}

/// The results of one owner.
#[derive(Default, Clone, Copy)]
struct Got {
    accepted: u64,
    verdicts: u64,
    waited: Duration,
}

/// A server without views, and a log of its own.
struct Room {
    address: SocketAddr,
    store: SqliteStore,
    stopping: CancellationToken,
    _files: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::var("MUSTER_BENCH_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let lasting = Duration::from_secs(seconds.unwrap_or(30));
    println!("a hundred and one participants submit for {lasting:?}, {PACE} verdicts a second");
    let apart =
        play("at a hundred addresses", |n| format!("198.51.100.{n}"), Nuisance::Nobody, lasting).await?;
    let room = play("in a venue, behind one address", |_| ROOM.to_owned(), Nuisance::Nobody, lasting).await?;
    println!(
        "the room's share of what the hundred addresses got: {:.3} (aim: at least 0.9)",
        ratio(&room, &apart)
    );
    let beside = play("beside a laptop in the venue", |_| ROOM.to_owned(), Nuisance::Laptop, lasting).await?;
    println!("the hundred beside the laptop, of what they got without it: {:.3}", ratio(&beside, &room));
    let beside =
        play("beside a stranger elsewhere", |_| ROOM.to_owned(), Nuisance::Stranger, lasting).await?;
    println!("the hundred beside the stranger, of what they got without it: {:.3}", ratio(&beside, &room));
    Ok(())
}

/// Lets a hundred participants at these addresses and one elsewhere submit, and prints and returns the results by owner.
async fn play(
    name: &str,
    address: impl Fn(u32) -> String,
    nuisance: Nuisance,
    lasting: Duration,
) -> anyhow::Result<HashMap<String, Got>> {
    let room = Room::open().await?;
    let over = CancellationToken::new();
    let judging = tokio::spawn(judge(room.store.clone(), over.clone()));
    let hundred = (0..100).map(|n| Client { owner: format!("owner{n}"), address: address(n) });
    let clients = hundred.chain([Client { owner: "alone".into(), address: ALONE.into() }]);
    let mut posting = tokio::task::JoinSet::new();
    for (n, client) in (0_u32..).zip(clients) {
        posting.spawn(participate(room.address, client, PAUSE * (n % 101) / 101, over.clone()));
    }
    let numbers = Arc::new(AtomicU64::new(0));
    for _ in 0..if nuisance == Nuisance::Nobody { 0 } else { CONNECTIONS } {
        posting.spawn(flood(room.address, nuisance, Arc::clone(&numbers), over.clone()));
    }
    tokio::time::sleep(lasting).await;
    over.cancel();
    while let Some(ended) = posting.join_next().await {
        ended??;
    }
    let got = timeout(Duration::from_secs(30), judging).await.context("the verdicts end")???;
    let (hundred, alone) = (sum(&got, "docker.io/owner"), sum(&got, "docker.io/alone"));
    println!("{name}");
    println!("  the hundred   {hundred}");
    println!("  the one       {alone}");
    if nuisance != Nuisance::Nobody {
        let requests = numbers.load(Ordering::Relaxed);
        println!("  the nuisance  {} of {requests} requests", sum(&got, "docker.io/nuisance"));
    }
    Ok(got)
}

impl Room {
    async fn open() -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let store = SqliteStore::open(files.path().join("log.sqlite"))?;
        let venue = format!(
            "[[venues]]\nname = \"berlin\"\ntitle = \"Berlin\"\nlocation = \"Berlin, DE\"\nnetworks = [\"{ROOM}\"]"
        );
        let file = format!("{}\n{venue}", include_str!("../domain/challenges/birthday.toml"));
        let commands = Commands::new(Arc::new(store.clone()), Arc::new(Challenge::parse(&file)?));
        let waiting = WaitingSubmissions::default();
        let stopping = CancellationToken::new();
        let following = waiting.clone().follow(Arc::new(store.clone()));
        tokio::spawn(stopping.clone().run_until_cancelled_owned(following));
        let settings = WriteApiSettings { waiting, ..WriteApiSettings::default() };
        let routes = commands::router(commands, Gazetteer::shipped(), settings);
        let routes = http_edge::server_routes(routes, &Metrics::new(), || None);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = Shutdown { stopping: stopping.clone(), ..Shutdown::default() };
        tokio::spawn(muster::server::serve(listener, routes, TrustedProxies::default(), shutdown));
        Ok(Self { address, store, stopping, _files: files })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Submits at each pause, whatever the answers are.
async fn participate(
    server: SocketAddr,
    client: Client,
    first: Duration,
    over: CancellationToken,
) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, PAUSE);
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        submit(&http, server, &client).await?;
    }
    Ok(())
}

/// Submits without a pause.
async fn flood(
    server: SocketAddr,
    nuisance: Nuisance,
    numbers: Arc<AtomicU64>,
    over: CancellationToken,
) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    while !over.is_cancelled() {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let client = match nuisance {
            Nuisance::Stranger => Client { owner: format!("nuisance{number}"), address: STRANGER.into() },
            Nuisance::Laptop | Nuisance::Nobody => Client { owner: "nuisance".into(), address: ROOM.into() },
        };
        submit(&http, server, &client).await?;
    }
    Ok(())
}

async fn submit(http: &reqwest::Client, server: SocketAddr, client: &Client) -> anyhow::Result<()> {
    let Client { owner, address } = client;
    let entry = json!({
        "name": owner, "location": "London, UK", "images": [format!("{owner}/app")], "vote": "Python",
    });
    let post = http.post(format!("http://{server}/api/v1/submissions")).header("x-forwarded-for", address);
    let status = post.json(&entry).send().await?.status().as_u16();
    anyhow::ensure!(matches!(status, 202 | 429), "{owner} at {address}: {status}");
    Ok(())
}

/// Takes submissions in the order of a verifier's queue, and gives verdicts at a fixed pace. Returns the results by owner.
async fn judge(store: SqliteStore, over: CancellationToken) -> anyhow::Result<HashMap<String, Got>> {
    let filter = EventFilter::stream_prefix(format!("{CATEGORY}-"));
    let mut log = store.subscribe(Position::START, filter);
    let (mut queue, mut waiting) = (FairQueue::default(), HashMap::new());
    let mut got: HashMap<String, Got> = HashMap::new();
    let mut pace = interval(Duration::from_secs(1) / PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            () = over.cancelled() => return Ok(got),
            delivered = log.next() => {
                let SubscriptionItem::Event(recorded) = delivered.context("the log goes on")?? else { continue };
                let event = recorded.decode(Event::from_stored)?;
                let Some(id) = SubmissionId::from_stream(recorded.stream.as_str()) else { continue };
                queue.apply(id, recorded.position.0, &event);
                if let Event::Submitted(Submitted { owner, .. }) = event {
                    got.entry(owner.clone()).or_default().accepted += 1;
                    waiting.insert(id, (owner, Instant::now()));
                }
            }
            _ = pace.tick() => {
                let Some(id) = queue.candidates().next() else { continue };
                let Some((owner, since)) = waiting.remove(&id) else { continue };
                let at = pass(&store, id).await?;
                queue.claim(id, at.0);
                let got = got.entry(owner).or_default();
                got.verdicts += 1;
                got.waited += since.elapsed();
            }
        }
    }
}

async fn pass(store: &SqliteStore, id: SubmissionId) -> anyhow::Result<Position> {
    let deadline = "2100-01-01T00:00:00Z".parse()?;
    let started = VerificationStarted { attempt: 1, verifier: "v1".to_owned(), deadline };
    let passed = Passed { attempt: 1, basis: VerdictBasis::default() };
    let events = [Event::VerificationStarted(started), Event::Passed(passed)];
    let events = events.iter().map(|event| event_about(id.0, SCHEMA, event.kind(), event.to_stored()));
    let stream = StreamName::of(CATEGORY, id.0);
    Ok(store.append(&stream, ExpectedRevision::Any, events.collect()).await?.position)
}

/// Returns the sum of the results of the owners whose names begin with this text.
fn sum(got: &HashMap<String, Got>, owners: &str) -> Got {
    let all = got.iter().filter(|(owner, _)| owner.starts_with(owners));
    all.fold(Got::default(), |sum, (_, got)| Got {
        accepted: sum.accepted + got.accepted,
        verdicts: sum.verdicts + got.verdicts,
        waited: sum.waited + got.waited,
    })
}

/// Returns the verdicts of the hundred, as a part of those of another hundred.
fn ratio(got: &HashMap<String, Got>, of: &HashMap<String, Got>) -> f64 {
    let [one, other] = [got, of].map(|got| sum(got, "docker.io/owner").verdicts as f64);
    one / other
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wait = self.waited.as_secs_f64() / self.verdicts.max(1) as f64;
        write!(f, "{} accepted, {} verdicts after {wait:.1} s", self.accepted, self.verdicts)
    }
}
