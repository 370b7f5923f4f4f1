//! The event log that the settings name, whoever keeps it.

use std::sync::Arc;

use anyhow::{Context, bail};
use event_store::node::{self, NodeConfig};
use event_store::{EsdbStore, EventStore, SqliteStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::LogLocation;

/// The log, open.
pub(crate) enum EventLog {
    /// A file of this process.
    Embedded(SqliteStore),
    /// Another process, or a cluster of them.
    Esdb(EsdbStore),
}

impl EventLog {
    /// Opens the log. Does not wait for a remote one to be there.
    pub(crate) async fn open(at: &LogLocation) -> anyhow::Result<Self> {
        match at {
            LogLocation::Sqlite(path) => {
                Ok(Self::Embedded(SqliteStore::open(path).context("the event log")?))
            }
            LogLocation::Esdb(address) => {
                Ok(Self::Esdb(EsdbStore::connect(address).await.context("the event log")?))
            }
        }
    }

    /// The port to it.
    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Esdb(log) => Arc::new(log.clone()),
        }
    }

    /// Serves the log to others until it is asked to stop.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        config: NodeConfig,
        stopping: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let Self::Embedded(log) = self else {
            bail!(
                "a log that another process keeps is served there, not here; leave out --eventstore-listen"
            );
        };
        let log = log.clone();
        Ok(async move {
            node::serve(listener, log, config, stopping.cancelled_owned()).await?;
            Ok(())
        })
    }

    /// Writes what is queued and lets the next process have the log.
    pub(crate) async fn close(self) {
        if let Self::Embedded(log) = self {
            log.close().await;
        }
    }
}
