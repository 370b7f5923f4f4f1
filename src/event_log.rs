//! Opens the event log that the settings name: a file, or a server.

use std::sync::Arc;

use anyhow::{Context, bail};
use event_store::node::{self, NodeConfig};
use event_store::{EsdbStore, EventStore, LogCondition, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::LogLocation;

/// The open event log.
pub(crate) enum EventLog {
    /// A file that only this process opens.
    Embedded(SqliteStore),
    /// A server: `muster eventstore` or an EventStoreDB.
    Esdb(EsdbStore),
}

impl EventLog {
    /// Opens the log. Does not wait until a server answers.
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

    /// Returns the log as the port that all parts use.
    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Esdb(log) => Arc::new(log.clone()),
        }
    }

    /// Watches the condition of the log's file, if this process has it open.
    pub(crate) fn condition(&self) -> Option<watch::Receiver<LogCondition>> {
        match self {
            Self::Embedded(log) => Some(log.condition()),
            Self::Esdb(_) => None,
        }
    }

    /// Serves the embedded log to other processes until `stopping` is cancelled.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        config: NodeConfig,
        stopping: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let Self::Embedded(log) = self else {
            bail!(
                "only the process that opens the log file can serve the log; leave out --eventstore-listen"
            );
        };
        let log = log.clone();
        Ok(async move {
            node::serve(listener, log, config, stopping.cancelled_owned()).await?;
            Ok(())
        })
    }

    /// Writes the queued events and releases the file for the next process.
    pub(crate) async fn close(self) {
        if let Self::Embedded(log) = self {
            log.close().await;
        }
    }
}
