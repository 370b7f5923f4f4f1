//! The parts of one process: the log, the views, the verifier and the HTTP server, or those of them that its roles need.
//! If a part ends by itself, the process ends with an error.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use axum::{Extension, Router};
use commands::{Commands, Gazetteer, WaitingSubmissions};
use event_store::{AppendError, EventStore, LogIdentity, node};
use http_edge::{Metrics, Operations, OrganiserTokens, TrustedProxies};
use read_api::{ReadApi, ReaderLimits, WatchedQueries};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;
use verifier::{Health, Verifier};

use crate::config::{Settings, ViewsLocation};
use crate::event_log::EventLog;
use crate::shutdown::Shutdown;
use crate::views::{OpenViews, remove_unused_snapshots};
use crate::webhooks::{WebhookSettings, WebhookSources, Webhooks};
use crate::{data, gate_role, platform, queue_length, server};

/// The time that a verification under way may take after the process was asked to stop.
const VERIFIER_GRACE: Duration = Duration::from_secs(5);

/// The time that all parts may take to end. Parts that are left then are cut off, which loses only time. The verifier
/// takes longest: its grace, at most 40 s for its slots, and a report to the log.
const END_DEADLINE: Duration = Duration::from_secs(55);

/// The pause after the rules or the log's identity could not be published.
const PUBLISHING_PAUSE: Duration = Duration::from_secs(2);

/// The time without a verdict after which nothing counts as verified, in longest attempts.
const ATTEMPTS_OF_PATIENCE: u32 = 3;

/// A part of Muster that a process can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Accepts submissions and organisers' requests over HTTP
    Commands,
    /// Runs images on the Swarm and probes them
    Verifier,
    /// Keeps the views in MongoDB up to date
    Projections,
    /// Answers requests that read: status, map, statistics, history
    ReadApi,
    /// Sends organisers' webhooks, and shows organisers how that goes
    Webhooks,
    /// Looks into images for verifiers, and serves the images to the nodes
    Gate,
}

/// The open sockets of a process.
#[derive(Debug)]
pub struct Listeners {
    /// HTTP: the API of the roles, and the health and metrics of the process.
    pub http: Option<TcpListener>,
    /// Clients of the log, and the terms for them.
    pub node: Option<(TcpListener, node::NodeConfig)>,
}

impl Role {
    /// The roles of `muster up`, whose verifier has a gate of its own.
    pub const ALL: [Self; 5] =
        [Self::Commands, Self::Verifier, Self::Projections, Self::ReadApi, Self::Webhooks];

    /// Returns whether the role has an HTTP API.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Commands | Self::ReadApi | Self::Webhooks)
    }

    /// Returns whether the role reads the views.
    fn reads_views(self) -> bool {
        matches!(self, Self::ReadApi | Self::Webhooks)
    }
}

/// Runs the parts of these roles until `shutdown` stops them.
///
/// # Errors
/// If a part cannot start, or ends by itself.
pub async fn run(
    settings: Settings,
    roles: &[Role],
    listeners: Listeners,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    data::ensure_directory(&settings.data)?;
    if roles == [Role::Gate] {
        return gate_role::run(&settings, listeners.http, shutdown).await;
    }
    let log = EventLog::open(&settings.eventstore, &settings.data).await?;
    let ended = run_over(&log, settings, roles, listeners, shutdown).await;
    log.close().await;
    ended
}

async fn run_over(
    log: &EventLog,
    settings: Settings,
    roles: &[Role],
    listeners: Listeners,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let stopping = shutdown.stopping.clone();
    let has = |role| roles.contains(&role);
    let key_space = data::key_space(&settings.data)?;
    let store = log.store();
    let commands = Commands::new(log.store(), Arc::clone(&settings.challenge));
    let mut parts = ProcessParts::new(shutdown.clone());
    let (metrics, mut routes) = (Metrics::new(), OpenApiRouter::new());
    if let Some((listener, config)) = listeners.node {
        tracing::info!("the event log is served at esdb://{}", listener.local_addr()?);
        parts.start("event store's server", log.serve(listener, config, stopping.clone())?);
    }
    let tokens = OrganiserTokens::new(settings.token.clone(), log.store());
    let mut operations = Operations {
        log: store.clone(),
        log_condition: log.condition(),
        views: None,
        pause_reason: None,
        verifying: None,
        metrics: metrics.clone(),
        // A process without the public API has its listener for operators alone.
        tokens: roles.iter().any(|role| role.is_served()).then(|| tokens.clone()),
        leaving: shutdown.leaving.clone(),
    };
    if has(Role::Verifier) {
        let verifier = new_verifier(log, &commands, &settings, key_space)?;
        metrics.register(|registry| verifier.metrics().register(registry));
        let pause_reason = parts.watch_health(verifier.health(), metrics.clone());
        // A process that only verifies is not ready during a pause. Other processes still serve their readers.
        operations.pause_reason = (roles == [Role::Verifier]).then(|| pause_reason.clone());
        operations.verifying = Some(pause_reason);
        parts.start("verifier", verifier.run(stopping.clone()));
    }
    let mut waiting = WaitingSubmissions::default();
    let reads_views = roles.iter().any(|role| role.reads_views());
    if has(Role::Projections) || reads_views {
        let opened = OpenViews::open(&settings).await?;
        let views = opened.store.clone();
        // No other process can read views in memory, so the process that reads them also updates them.
        match (&settings.views, reads_views) {
            (ViewsLocation::Memory, false) => bail!(
                "no other process can read views in memory; \
                 name a MongoDB with --views mongodb://… or MUSTER_VIEWS"
            ),
            (ViewsLocation::Mongo(_), true) if !has(Role::Projections) => {}
            _ => parts.start("projection", opened.project(store.clone(), stopping.clone())),
        }
        operations.views = Some(Arc::new(WatchedQueries(views.clone())));
        let patience = settings.challenge.attempt_max() * ATTEMPTS_OF_PATIENCE;
        let platform = platform::watch_platform(views.clone(), patience, stopping.clone());
        operations.verifying = Some(platform.cause.clone());
        let length = queue_length::watch_length(views.clone(), stopping.clone());
        waiting = WaitingSubmissions::new(length.clone());
        if has(Role::Webhooks) {
            let webhooks = Webhooks::new(webhooks_for(&settings, roles)?);
            routes = routes.merge(webhooks.routes(tokens));
            let sources = WebhookSources::new(store.clone(), views.clone(), length, &settings.data);
            parts.start("webhooks", webhooks.deliver(sources, metrics.clone(), stopping.clone()));
        }
        if has(Role::ReadApi) {
            routes = routes.merge(read_api::router(ReadApi {
                unknown_rules: platform.unknown_rules,
                fetches: platform.fetches,
                pause_reason: platform.pause_message,
                pause_cause: platform.cause,
                queries: views,
                log: store.clone(),
                subscribe: store,
                token: settings.token.clone(),
                tiles: settings.tiles.clone(),
                metrics: metrics.clone(),
                readers: ReaderLimits::default(),
                venues: settings.challenge.venues.clone(),
                stopping: stopping.clone(),
            }));
        }
    } else {
        remove_unused_snapshots(&settings);
    }
    if has(Role::Commands) {
        let preparing = prepare_log(log.store(), commands.clone());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(preparing));
        let following = waiting.clone().follow(log.store());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(following));
        let write_api = write_api(&settings, key_space, waiting);
        routes = routes.merge(commands::router(commands, Gazetteer::shipped(), write_api));
    }
    if let Some(listener) = listeners.http {
        let routes = routes.merge(http_edge::operations(operations));
        let routes = http_edge::server_routes(routes, &metrics, read_api::not_found_page);
        parts.serve_http(listener, routes, settings.trusted_proxies)?;
    }
    parts.wait_for_all().await
}

fn new_verifier(
    log: &EventLog,
    commands: &Commands,
    settings: &Settings,
    key_space: Uuid,
) -> anyhow::Result<Verifier> {
    Verifier::new(log.store(), commands.clone(), verifier(settings, key_space))
        .context(
                "the settings swarm, swarm-certificates, slots and gate-… \
                 (--swarm, MUSTER_SWARM, --swarm-certificates, MUSTER_SWARM_CERTIFICATES, --slots, MUSTER_SLOTS, \
                 --gate-listen, MUSTER_GATE_LISTEN)",
            )
}

/// Gives the log an identity unless it has one, so that the views recognise it. If the log refuses that, they recognise it
/// by its events alone.
pub(crate) async fn identify_log(log: Arc<dyn EventStore>) {
    loop {
        match LogIdentity::ensure(&*log).await {
            Ok(_) => return,
            Err(error @ AppendError::Unavailable(_)) => {
                tracing::warn!(%error, "cannot give the log an identity; trying again");
                sleep(PUBLISHING_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the log gets no identity");
                return;
            }
        }
    }
}

/// Makes the log ready for submissions: gives it an identity, and publishes the rules.
async fn prepare_log(log: Arc<dyn EventStore>, commands: Commands) {
    tokio::join!(identify_log(log), publish_rules(commands));
}

/// Publishes the rules in force, so that they can be looked up before anybody submits.
async fn publish_rules(commands: Commands) {
    while let Err(error) = commands.publish_rules().await {
        tracing::warn!(%error, "cannot publish the rules; trying again");
        sleep(PUBLISHING_PAUSE).await;
    }
}

/// Returns the webhooks to deliver. A process with other roles may have none.
fn webhooks_for(settings: &Settings, roles: &[Role]) -> anyhow::Result<WebhookSettings> {
    match &settings.webhooks {
        None if roles == [Role::Webhooks] => {
            bail!("name the file of webhooks with --webhooks or MUSTER_WEBHOOKS")
        }
        webhooks => Ok(webhooks.clone().unwrap_or_default()),
    }
}

fn verifier(settings: &Settings, key_space: Uuid) -> verifier::VerifierSettings {
    verifier::VerifierSettings {
        name: data::verifier_name(key_space),
        swarm: settings.swarm.clone(),
        swarm_certificates: settings.swarm_certificates.clone(),
        insecure_registries: settings.insecure_registries.clone(),
        logins: settings.logins.clone(),
        gate: settings.gate.clone(),
        slots_per_node: settings.slots,
        grace: VERIFIER_GRACE,
    }
}

fn write_api(
    settings: &Settings,
    key_space: Uuid,
    waiting: WaitingSubmissions,
) -> commands::WriteApiSettings {
    commands::WriteApiSettings {
        key_space,
        token: settings.token.clone(),
        rate_by_address: settings.rate_by_address,
        rate_by_owner: settings.rate_by_owner,
        waiting,
        venues: settings.venues.clone(),
    }
}

/// The parts that run side by side.
struct ProcessParts {
    shutdown: Shutdown,
    running: JoinSet<anyhow::Result<&'static str>>,
}

impl ProcessParts {
    fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, running: JoinSet::new() }
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

    /// Serves these routes until the process is asked to stop.
    fn serve_http(
        &mut self,
        listener: TcpListener,
        routes: Router,
        proxies: TrustedProxies,
    ) -> anyhow::Result<()> {
        tracing::info!("HTTP is served at http://{}", listener.local_addr()?);
        let (shutdown, routes) = (self.shutdown.clone(), routes.layer(Extension(proxies.clone())));
        self.start("server", async {
            server::serve(listener, routes, proxies, shutdown).await;
            anyhow::Ok(())
        });
        Ok(())
    }

    /// Logs the verifier's health, and returns the pause reason for operators, if there is one.
    fn watch_health(
        &self,
        mut health: watch::Receiver<Health>,
        metrics: Metrics,
    ) -> watch::Receiver<Option<String>> {
        let (operator, pause_reason) = watch::channel(None);
        let stopping = self.shutdown.stopping.clone();
        tokio::spawn(stopping.run_until_cancelled_owned(async move {
            loop {
                let now = health.borrow_and_update().clone();
                let (nodes, slots) = (now.ready().count(), now.slots());
                metrics.set_capacity(nodes, slots);
                match &now.pause_reason {
                    None => tracing::info!(nodes, slots, "the verifier is ready"),
                    Some(why) => tracing::warn!(reason = why, "the verifier pauses, submissions wait"),
                }
                operator.send_replace(now.pause_reason.map(|why| format!("submissions wait: {why}")));
                if health.changed().await.is_err() {
                    return;
                }
            }
        }));
        pause_reason
    }

    /// Waits until all parts have ended. If a part ends without being asked, the others are asked to end.
    async fn wait_for_all(mut self) -> anyhow::Result<()> {
        let first = self.next().await;
        let outcome = match first {
            Ok(name) if !self.shutdown.leaving.is_cancelled() => Err(anyhow!("the {name} ended by itself")),
            first => first.map(drop),
        };
        self.shutdown.leaving.cancel();
        self.shutdown.stopping.cancel();
        let ending = async {
            while !self.running.is_empty() {
                self.next().await?;
            }
            anyhow::Ok(())
        };
        let left = match timeout(END_DEADLINE, ending).await {
            Ok(left) => left,
            Err(_) => Err(anyhow!("not all parts ended within {} s", END_DEADLINE.as_secs())),
        };
        outcome.and(left)
    }

    /// Waits for the next part to end, and returns its name.
    async fn next(&mut self) -> anyhow::Result<&'static str> {
        match self.running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => bail!("a part panicked: {error}"),
            None => bail!("this process has no parts to run"),
        }
    }
}
