//! The read API and the pages, over a log of its own and views in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::submission::{
    CATEGORY, ChallengeId, ContainersStarted, Event, ImageProbe, ImagesPulled, Participant, Passed,
    ProbeAnswer, ProbeOutcome, Probed, PulledImage, SCHEMA, StartedImage, Submitted, VerdictBasis,
    VerificationStarted,
};
use domain::testing::{located_in, submitted_by};
use domain::{Challenge, ImageRef, SubmissionId};
use event_store::testing::event_about;
use event_store::{Append, ExpectedRevision, Position, Read, SqliteStore, StreamName};
use http_edge::{Metrics, TrustedProxies};
use muster::shutdown::Shutdown;
use projections::{MemoryViews, ViewQueries};
use read_api::{ReadApi, ReaderLimits};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

/// A running server. It ends when it is dropped.
pub(crate) struct Site {
    store: SqliteStore,
    views: Arc<MemoryViews>,
    address: SocketAddr,
    stopping: CancellationToken,
    _files: tempfile::TempDir,
}

impl Site {
    /// Starts a server whose views follow its log.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let site = Self::over(Arc::new(MemoryViews::new())).await?;
        let (store, views, stopping) = (site.store.clone(), site.views.clone(), site.stopping.clone());
        tokio::spawn(projections::run(Arc::new(store), views, stopping));
        Ok(site)
    }

    /// Starts a server over views that the benchmark writes, with an empty log.
    pub(crate) async fn over(views: Arc<MemoryViews>) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let store = SqliteStore::open(files.path().join("log.sqlite"))?;
        let (metrics, stopping) = (Metrics::new(), CancellationToken::new());
        let routes = read_api::router(ReadApi {
            queries: views.clone(),
            log: Arc::new(store.clone()),
            subscribe: Arc::new(store.clone()),
            token: None,
            unknown_rules: watch::channel(Default::default()).1,
            fetches: watch::channel(Default::default()).1,
            pause_reason: watch::channel(None).1,
            pause_cause: watch::channel(None).1,
            tiles: None,
            metrics: metrics.clone(),
            readers: ReaderLimits::default(),
            venues: domain::challenge::Venues::default(),
            stopping: stopping.clone(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = http_edge::server_routes(routes, &metrics, read_api::not_found_page);
        let shutdown = Shutdown { stopping: stopping.clone(), ..Shutdown::default() };
        tokio::spawn(muster::server::serve(listener, routes, TrustedProxies::default(), shutdown));
        Ok(Self { store, views, address, stopping, _files: files })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Appends to a submission's stream.
    pub(crate) async fn record(&self, id: SubmissionId, events: &[Event]) -> anyhow::Result<Position> {
        let events = events.iter().map(|event| event_about(id.0, SCHEMA, event.kind(), event.to_stored()));
        let stream = StreamName::of(CATEGORY, id.0);
        Ok(self.store.append(&stream, ExpectedRevision::Any, events.collect()).await?.position)
    }

    /// Waits until the views have applied every recorded event.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let head = self.store.head().await?;
        let mut checkpoint = self.views.watch();
        let reached = checkpoint.wait_for(|seen| *seen >= head);
        tokio::time::timeout(DEADLINE, reached).await.context("the views follow the log")??;
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Returns the event of a submission from one of many places.
pub(crate) fn submitted(number: u64) -> Event {
    submitted_from(number, place(number))
}

/// Returns the event of a submission from this latitude and longitude, in degrees.
pub(crate) fn submitted_from(number: u64, (lat, lon): (f64, f64)) -> Event {
    Event::Submitted(Submitted {
        challenge: ChallengeId { id: "birthday".to_owned(), rules: Challenge::birthday().digest() },
        participant: Participant { name: format!("Number {number}"), twitter: Some("@someone".to_owned()) },
        location: located_in(&format!("City {lat:.0}"), &format!("C{}", number % 200), lat, lon),
        images: vec![image(number)],
        answers: [("vote".to_owned(), format!("Language {}", number % 50))].into(),
        ..submitted_by(&format!("owner{number}"))
    })
}

/// Returns all events of a submission that passes.
pub(crate) fn passed(number: u64) -> Vec<Event> {
    let image = image(number);
    let digest = format!("sha256:{}", "a1".repeat(32)).parse().expect("it is one");
    let deadline = "2100-01-01T00:00:00Z".parse().expect("it is one");
    let node = "n1".to_owned();
    let pulled =
        PulledImage { image: image.clone(), digest, size_bytes: 1000, node: node.clone(), took_ms: 20 };
    let probe = ImageProbe {
        image: image.clone(),
        outcome: ProbeOutcome::Matched,
        answers: vec![ProbeAnswer::Http { status: 200, latency_ms: 2 }],
        message: None,
        differing: vec![],
    };
    vec![
        submitted(number),
        Event::VerificationStarted(VerificationStarted { attempt: 1, verifier: "v1".to_owned(), deadline }),
        Event::ImagesPulled(ImagesPulled { attempt: 1, images: vec![pulled] }),
        Event::ContainersStarted(ContainersStarted {
            attempt: 1,
            images: vec![StartedImage { image, node, took_ms: 30 }],
        }),
        Event::Probed(Probed { attempt: 1, images: vec![probe] }),
        Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() }),
    ]
}

/// Returns one of 70,000 places.
fn place(number: u64) -> (f64, f64) {
    let mixed = mix(mix(number) % 70_000);
    let part = |bits: u64| (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    (part(mixed) * 130.0 - 60.0, part(mixed >> 32) * 360.0 - 180.0)
}

fn image(number: u64) -> ImageRef {
    format!("owner{number}/votingapp_result-app").parse().expect("it is one")
}

/// Scatters a number over all numbers.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
