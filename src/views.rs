//! The views of a process: in memory with snapshots beside the log's file, or in MongoDB.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use event_store::EventStore;
use projections::{MemoryViews, MongoViews, ProjectionError, ViewSnapshots, ViewStore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{LogLocation, Settings, ViewsLocation};
use crate::data_lock::is_log_in_use;
use crate::system::identify_log;

/// The time that the views wait for the log's identity.
const IDENTITY_WAIT: Duration = Duration::from_secs(10);

/// The open views.
pub(crate) struct OpenViews {
    pub(crate) store: Arc<dyn ViewStore>,
    snapshots: Option<(ViewSnapshots, Arc<MemoryViews>)>,
}

impl OpenViews {
    /// Opens the views that the settings name. Views in memory go on from a snapshot, if this process has the log's file: a
    /// server's log may be followed by several processes with one data directory.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        match (&settings.views, &settings.eventstore) {
            (ViewsLocation::Memory, LogLocation::Sqlite(_)) => {
                let views = Arc::new(MemoryViews::new());
                let snapshots = ViewSnapshots::in_directory(&settings.data);
                Ok(Self { store: views.clone(), snapshots: Some((snapshots, views)) })
            }
            (ViewsLocation::Memory, LogLocation::Esdb(_)) => {
                remove_unused_snapshots(settings);
                Ok(Self { store: Arc::new(MemoryViews::new()), snapshots: None })
            }
            (ViewsLocation::Mongo(address), _) => {
                remove_unused_snapshots(settings);
                let views = MongoViews::open(address).await;
                let views = views.context("the setting views (--views, MUSTER_VIEWS)")?;
                Ok(Self { store: Arc::new(views), snapshots: None })
            }
        }
    }

    /// Keeps the views up to date with the log, which gets an identity first, and takes snapshots of them. Reading the last
    /// snapshot is a part of that, so that nobody's request waits for it without an answer.
    pub(crate) async fn project(
        mut self,
        log: Arc<dyn EventStore>,
        stopping: CancellationToken,
    ) -> Result<(), ProjectionError> {
        if let Some((snapshots, views)) = &mut self.snapshots {
            stopping.run_until_cancelled(snapshots.load(views, &*log)).await;
        }
        // A log that takes no appends can be read, so the views do not wait for long.
        let identified = timeout(IDENTITY_WAIT, identify_log(log.clone()));
        if let Some(Err(_)) = stopping.run_until_cancelled(identified).await {
            tracing::warn!("the log has no identity yet; the views recognise it by its events alone");
        }
        let projecting = projections::run(log.clone(), self.store, stopping);
        let Some((snapshots, views)) = self.snapshots else { return projecting.await };
        let ended = CancellationToken::new();
        let keeping = tokio::spawn(snapshots.keep(views, log, ended.clone()));
        // After an error no snapshot is written: the views may be those of another log.
        projecting.await.inspect_err(|_| keeping.abort())?;
        ended.cancel();
        if let Err(error) = keeping.await {
            tracing::error!(%error, "the last snapshot of the views is missing");
        }
        Ok(())
    }
}

/// Removes the snapshots of a data directory, whose log is about to be another one.
///
/// # Errors
/// If one cannot be removed.
pub(crate) fn remove_snapshots(data: &Path) -> anyhow::Result<()> {
    let removed = ViewSnapshots::remove_from(data);
    removed.with_context(|| format!("an old snapshot of the views in {} cannot be removed", data.display()))
}

/// Removes the snapshots that views in memory once left in the data directory of a process that has no such views. Nobody
/// would take deleted data out of them.
pub(crate) fn remove_unused_snapshots(settings: &Settings) {
    // A process that has the log's file has its lock too, so no other one uses the directory's snapshots.
    let is_ours = matches!(settings.eventstore, LogLocation::Sqlite(_));
    if !is_ours && is_log_in_use(&settings.data) {
        return;
    }
    if let Err(error) = remove_snapshots(&settings.data) {
        tracing::warn!("{error:#}");
    }
}
