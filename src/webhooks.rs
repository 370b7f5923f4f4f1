//! Webhooks for organisers: a message to their own systems when a submission is judged or stuck, a node is lost, or the queue
//! is long.
//!
//! `file` reads the settings, `notice` makes notices of the log's events, `form` makes bodies of notices, `queue` decides
//! when each is tried, and `worker` does so. `destination` keeps messages away from addresses inside.

mod address;
mod board;
mod destination;
mod file;
mod form;
mod kept;
mod metrics;
mod notice;
mod queue;
mod routes;
mod sender;
mod signature;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use file::WebhookSettings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use commands::QueueLength;
use event_store::Follow;
use http_edge::{Metrics, OrganiserTokens};
use projections::ViewQueries;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use self::board::HookBoard;
use self::kept::KeptFile;
use self::metrics::WebhookMetrics;
use self::routes::WebhooksApi;
use self::sender::MessageSender;
use self::worker::HookWorker;
use crate::data_lock;

/// The pause after the log could not be read.
const LOG_PAUSE: Duration = Duration::from_secs(2);

/// The webhooks of a process.
pub(crate) struct Webhooks {
    settings: WebhookSettings,
    boards: Vec<Arc<HookBoard>>,
}

/// The parts of the process that webhooks need.
pub(crate) struct WebhookSources {
    log: Arc<dyn Follow>,
    views: Arc<dyn ViewQueries>,
    length: watch::Receiver<QueueLength>,
    data: PathBuf,
}

impl WebhookSources {
    /// Takes the log, the views with the length of the queue, and the directory in which the places in the log are kept.
    pub(crate) fn new(
        log: Arc<dyn Follow>,
        views: Arc<dyn ViewQueries>,
        length: watch::Receiver<QueueLength>,
        data: &Path,
    ) -> Self {
        Self { log, views, length, data: data.to_owned() }
    }
}

impl Webhooks {
    pub(crate) fn new(settings: WebhookSettings) -> Self {
        let boards = settings.hooks.iter().map(|hook| Arc::new(HookBoard::new(hook))).collect();
        Self { settings, boards }
    }

    /// Returns the routes for organisers.
    pub(crate) fn routes(&self, tokens: OrganiserTokens) -> OpenApiRouter {
        routes::router(WebhooksApi { boards: self.boards.clone(), tokens })
    }

    /// Delivers until the process is asked to stop. If another process of this data directory delivers, waits for its
    /// end first.
    ///
    /// # Errors
    /// If the lock or the sender cannot be made.
    pub(crate) async fn deliver(
        self,
        sources: WebhookSources,
        metrics: Metrics,
        stopping: CancellationToken,
    ) -> anyhow::Result<()> {
        if self.settings.hooks.is_empty() {
            stopping.cancelled().await;
            return Ok(());
        }
        let taking = data_lock::wait_for_webhooks(&sources.data);
        let Some(lock) = stopping.run_until_cancelled(taking).await else { return Ok(()) };
        let _lock = lock?;
        let (counted, sender) = (WebhookMetrics::default(), MessageSender::new(&self.settings)?);
        metrics.register(|registry| counted.register(registry));
        let length = settled_length(&sources, stopping.clone());
        let mut workers = JoinSet::new();
        for (setting, board) in self.settings.hooks.into_iter().zip(self.boards) {
            let worker = HookWorker {
                log: Arc::clone(&sources.log),
                file: KeptFile::new(&sources.data, &setting.name),
                setting,
                sender: sender.clone(),
                board,
                metrics: counted.clone(),
                queue_long: self.settings.queue_long,
                length: length.clone(),
                stopping: stopping.clone(),
            };
            workers.spawn(worker.run());
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// Passes the length of the queue on from the moment at which the views have reached today's end of the log. Before, it is a
/// length of the past.
fn settled_length(
    sources: &WebhookSources,
    stopping: CancellationToken,
) -> watch::Receiver<Option<QueueLength>> {
    let (sender, settled) = watch::channel(None);
    let (log, views, mut length) =
        (Arc::clone(&sources.log), Arc::clone(&sources.views), sources.length.clone());
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        let head = loop {
            match log.head().await {
                Ok(head) => break head,
                Err(_) => sleep(LOG_PAUSE).await,
            }
        };
        if views.watch().wait_for(|reached| *reached >= head).await.is_err() {
            return;
        }
        // The length that is known now may be older than the views.
        length.mark_unchanged();
        let mut is_fresh = false;
        while length.changed().await.is_ok() {
            let now = *length.borrow_and_update();
            if std::mem::replace(&mut is_fresh, true) {
                sender.send_replace(Some(now));
            }
        }
    }));
    settled
}
