//! All parts in one process: the log, the views that follow it, the verifier
//! that works it off, and the HTTP server in front. One part that ends by
//! itself ends them all, visibly.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use commands::{Commands, Gazetteer};
use event_store::SqliteStore;
use projections::MemoryViews;
use read_api::{Metrics, ReadApi, ReaderLimits, Token};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use verifier::{Health, Verifier};

use crate::config::{EventStore, Settings, Views};
use crate::{data, server};

/// How long a verification under way may go on after we are asked to stop.
const VERIFIER_GRACE: Duration = Duration::from_secs(5);

/// How long all parts may take to leave; what is left then is cut off, which
/// loses nothing but time.
const LEAVE_DEADLINE: Duration = Duration::from_secs(40);

/// What participants are told while nothing can be verified. Why exactly is
/// for the operator, in the log.
const PAUSED: &str = "Our Swarm cannot run your images just now, by no fault of yours. \
    Your submission keeps its place in the queue.";

/// Runs everything until it is asked to stop.
///
/// # Errors
/// When a part cannot start, or ends by itself.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    data::ensure_directory(&settings.data)?;
    let key_space = data::key_space(&settings.data)?;
    let EventStore::Sqlite(path) = &settings.eventstore;
    let log = SqliteStore::open(path).context("the event log")?;
    let Views::Memory = settings.views;
    let views = Arc::new(MemoryViews::new());
    let commands = Commands::new(Arc::new(log.clone()), Arc::clone(&settings.challenge));
    let verifier = Verifier::new(Arc::new(log.clone()), commands.clone(), verifier(&settings, key_space))
        .context("the settings swarm and slots (--swarm, MUSTER_SWARM, --slots, MUSTER_SLOTS)")?;

    let mut parts = Parts::new(stopping.clone());
    let metrics = Metrics::new();
    let read_api = ReadApi {
        queries: views.clone(),
        log: Arc::new(log.clone()),
        follow: Arc::new(log.clone()),
        token: settings.token.as_deref().and_then(Token::new),
        platform: parts.platform(verifier.health()),
        metrics: metrics.clone(),
        readers: ReaderLimits::default(),
        stopping: stopping.clone(),
    };
    let write_api = commands::router(commands, Gazetteer::shipped(), write_api(&settings, key_space));
    let site = read_api::site(write_api.merge(read_api::router(read_api)), &metrics);

    tracing::info!("up at http://{}", listener.local_addr()?);
    parts.start("projection", projections::run(Arc::new(log.clone()), views, stopping.clone()));
    parts.start("verifier", verifier.run(stopping.clone()));
    parts.start("server", async {
        server::serve(listener, site, stopping).await;
        anyhow::Ok(())
    });
    let ended = parts.until_all_left().await;
    log.close().await;
    ended
}

fn verifier(settings: &Settings, key_space: Uuid) -> verifier::Settings {
    verifier::Settings {
        name: data::verifier_name(key_space),
        swarm: settings.swarm.clone(),
        insecure_registries: settings.insecure_registries.clone(),
        slots_per_node: settings.slots,
        grace: VERIFIER_GRACE,
    }
}

fn write_api(settings: &Settings, key_space: Uuid) -> commands::Settings {
    commands::Settings {
        key_space,
        token: settings.token.clone(),
        rate_by_address: settings.rate_by_address,
        rate_by_owner: settings.rate_by_owner,
    }
}

/// The parts that run side by side.
struct Parts {
    stopping: CancellationToken,
    running: JoinSet<anyhow::Result<&'static str>>,
}

impl Parts {
    fn new(stopping: CancellationToken) -> Self {
        Self { stopping, running: JoinSet::new() }
    }

    fn start<E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.running.spawn(async move {
            part.await.map_err(|error| error.into().context(format!("the {name} failed")))?;
            Ok(name)
        });
    }

    /// What participants are told of the verifier's health.
    fn platform(&mut self, mut health: watch::Receiver<Health>) -> watch::Receiver<Option<String>> {
        let (told, platform) = watch::channel(Some(PAUSED.to_owned()));
        let stopping = self.stopping.clone();
        tokio::spawn(stopping.run_until_cancelled_owned(async move {
            loop {
                let now = health.borrow_and_update().clone();
                match &now {
                    Health::Well { nodes, slots } => tracing::info!(nodes, slots, "submissions are verified"),
                    Health::Waiting { why } => tracing::warn!(why, "submissions wait"),
                }
                told.send_replace(matches!(now, Health::Waiting { .. }).then(|| PAUSED.to_owned()));
                if health.changed().await.is_err() {
                    return;
                }
            }
        }));
        platform
    }

    /// Waits until the parts are asked to stop and have. If one ends without
    /// being asked, the others are asked to.
    async fn until_all_left(mut self) -> anyhow::Result<()> {
        let first = self.next().await;
        let outcome = match first {
            Ok(name) if !self.stopping.is_cancelled() => Err(anyhow!("the {name} ended by itself")),
            first => first.map(drop),
        };
        self.stopping.cancel();
        let leaving = async {
            while !self.running.is_empty() {
                self.next().await?;
            }
            anyhow::Ok(())
        };
        let left = match timeout(LEAVE_DEADLINE, leaving).await {
            Ok(left) => left,
            Err(_) => Err(anyhow!("not all parts ended within {} s", LEAVE_DEADLINE.as_secs())),
        };
        outcome.and(left)
    }

    /// The next part that ends.
    async fn next(&mut self) -> anyhow::Result<&'static str> {
        match self.running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => bail!("a part broke: {error}"),
            None => bail!("there are no parts"),
        }
    }
}
