//! The parts of one process: the log, the views that follow it, the verifier
//! that works it off, and the HTTP server in front; all of them, or those of
//! some roles. One part that ends by itself ends them all, visibly.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use commands::{Commands, Gazetteer};
use event_store::node;
use http_edge::{Metrics, Operations, OrganiserToken};
use projections::{MemoryViews, MongoViews};
use read_api::{ReadApi, ReaderLimits, WatchedQueries};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;
use verifier::{Health, Verifier};

use crate::config::{Settings, ViewsLocation};
use crate::event_log::EventLog;
use crate::{data, platform, server};

/// How long a verification under way may go on after we are asked to stop.
const VERIFIER_GRACE: Duration = Duration::from_secs(5);

/// How long all parts may take to leave; what is left then is cut off, which
/// loses nothing but time. The verifier takes longest: its grace, then forty
/// seconds at most for its slots, and a word to the log.
const LEAVE_DEADLINE: Duration = Duration::from_secs(55);

/// What a process does for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes submissions and organisers' orders over HTTP
    Commands,
    /// Runs images on the Swarm and asks them
    Verifier,
    /// Keeps the views in MongoDB up to date
    Projections,
    /// Answers all that is read over HTTP
    ReadApi,
}

/// Where a process listens.
#[derive(Debug)]
pub struct Listeners {
    /// For HTTP: what its roles serve, and what operators ask of every process.
    pub http: Option<TcpListener>,
    /// For clients of the log, and on what terms.
    pub node: Option<(TcpListener, node::NodeConfig)>,
}

impl Role {
    /// Every role; what one process does when it does everything.
    pub const ALL: [Self; 4] = [Self::Commands, Self::Verifier, Self::Projections, Self::ReadApi];

    /// Whether it is reached over HTTP.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Commands | Self::ReadApi)
    }
}

/// Runs the parts of these roles until it is asked to stop.
///
/// # Errors
/// When a part cannot start, or ends by itself.
pub async fn run(
    settings: Settings,
    roles: &[Role],
    listeners: Listeners,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    data::ensure_directory(&settings.data)?;
    let log = EventLog::open(&settings.eventstore).await?;
    let ended = run_over(&log, settings, roles, listeners, stopping).await;
    log.close().await;
    ended
}

async fn run_over(
    log: &EventLog,
    settings: Settings,
    roles: &[Role],
    listeners: Listeners,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let has = |role| roles.contains(&role);
    let key_space = data::key_space(&settings.data)?;
    let store = log.store();
    let commands = Commands::new(log.store(), Arc::clone(&settings.challenge));
    let mut parts = ProcessParts::new(stopping.clone());
    let (metrics, mut routes) = (Metrics::new(), OpenApiRouter::new());

    if let Some((listener, config)) = listeners.node {
        tracing::info!("the log is served at esdb://{}", listener.local_addr()?);
        parts.start("event store's server", log.serve(listener, config, stopping.clone())?);
    }
    let mut operations = Operations {
        log: store.clone(),
        views: None,
        pause_reason: None,
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    };
    if has(Role::Verifier) {
        let verifier = Verifier::new(log.store(), commands.clone(), verifier(&settings, key_space))
            .context(
                "the settings swarm, swarm-certificates and slots \
                 (--swarm, MUSTER_SWARM, --swarm-certificates, MUSTER_SWARM_CERTIFICATES, --slots, MUSTER_SLOTS)",
            )?;
        let pause_reason = parts.watch_health(verifier.health(), metrics.clone());
        // Who only verifies is of no use while it cannot; others are.
        operations.pause_reason = (roles == [Role::Verifier]).then_some(pause_reason);
        parts.start("verifier", verifier.run(stopping.clone()));
    }
    if has(Role::Projections) || has(Role::ReadApi) {
        let views = open(&settings.views).await?;
        // Views in memory are of no use to other processes: whoever reads them keeps them.
        match (&settings.views, has(Role::ReadApi)) {
            (ViewsLocation::Memory, false) => bail!(
                "the views are in memory, where no other process can read them; \
                 give mongodb://… with --views or MUSTER_VIEWS"
            ),
            (ViewsLocation::Mongo(_), true) if !has(Role::Projections) => {}
            _ => parts.start("projection", projections::run(store.clone(), views.clone(), stopping.clone())),
        }
        operations.views = Some(Arc::new(WatchedQueries(views.clone())));
        if has(Role::ReadApi) {
            routes = routes.merge(read_api::router(ReadApi {
                pause_reason: platform::follow(views.clone(), stopping.clone()),
                queries: views,
                log: store.clone(),
                subscribe: store,
                token: settings.token.as_deref().and_then(OrganiserToken::new),
                tiles: settings.tiles.clone(),
                metrics: metrics.clone(),
                readers: ReaderLimits::default(),
                stopping: stopping.clone(),
            }));
        }
    }
    if has(Role::Commands) {
        routes =
            routes.merge(commands::router(commands, Gazetteer::shipped(), write_api(&settings, key_space)));
    }
    if let Some(listener) = listeners.http {
        tracing::info!("up at http://{}", listener.local_addr()?);
        let routes = routes.merge(http_edge::operations(operations));
        let routes = http_edge::server_routes(routes, &metrics, read_api::not_found_page);
        parts.start("server", async {
            server::serve(listener, routes, stopping).await;
            anyhow::Ok(())
        });
    }
    parts.until_all_left().await
}

async fn open(views: &ViewsLocation) -> anyhow::Result<Arc<dyn projections::ViewStore>> {
    Ok(match views {
        ViewsLocation::Memory => Arc::new(MemoryViews::new()),
        ViewsLocation::Mongo(address) => {
            Arc::new(MongoViews::open(address).await.context("the setting views (--views, MUSTER_VIEWS)")?)
        }
    })
}

fn verifier(settings: &Settings, key_space: Uuid) -> verifier::VerifierSettings {
    verifier::VerifierSettings {
        name: data::verifier_name(key_space),
        swarm: settings.swarm.clone(),
        swarm_certificates: settings.swarm_certificates.clone(),
        insecure_registries: settings.insecure_registries.clone(),
        logins: settings.logins.clone(),
        slots_per_node: settings.slots,
        grace: VERIFIER_GRACE,
    }
}

fn write_api(settings: &Settings, key_space: Uuid) -> commands::WriteApiSettings {
    commands::WriteApiSettings {
        key_space,
        token: settings.token.as_deref().and_then(OrganiserToken::new),
        rate_by_address: settings.rate_by_address,
        rate_by_owner: settings.rate_by_owner,
    }
}

/// The parts that run side by side.
struct ProcessParts {
    stopping: CancellationToken,
    running: JoinSet<anyhow::Result<&'static str>>,
}

impl ProcessParts {
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

    /// What the operator is told of the verifier's health when it is not well.
    fn watch_health(
        &self,
        mut health: watch::Receiver<Health>,
        metrics: Metrics,
    ) -> watch::Receiver<Option<String>> {
        let (operator, pause_reason) = watch::channel(None);
        let stopping = self.stopping.clone();
        tokio::spawn(stopping.run_until_cancelled_owned(async move {
            loop {
                let now = health.borrow_and_update().clone();
                let (nodes, slots) = (now.ready().count(), now.slots());
                metrics.set_capacity(nodes, slots);
                match &now.pause_reason {
                    None => tracing::info!(nodes, slots, "submissions are verified"),
                    Some(why) => tracing::warn!(why, "submissions wait"),
                }
                operator.send_replace(now.pause_reason.map(|why| format!("submissions wait: {why}")));
                if health.changed().await.is_err() {
                    return;
                }
            }
        }));
        pause_reason
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
