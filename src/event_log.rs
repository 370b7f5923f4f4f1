//! Opens the event log that the settings name: a file, or a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use event_store::node::{self, NodeConfig};
use event_store::{EsdbStore, EventStore, IndexedPlace, LogCondition, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::LogLocation;

/// The size of the largest file of places that is read, bytes. A file that was written here has less than a quarter.
const PLACES_BYTES_MAX: u64 = 4 << 20;

/// The open event log.
pub(crate) enum EventLog {
    /// A file that only this process opens.
    Embedded(SqliteStore),
    /// A server: `muster eventstore` or an EventStoreDB. The places of its events by time are kept for the next process.
    Esdb(EsdbStore, PlacesFile),
}

impl EventLog {
    /// Opens the log, of which `data` may have more. Does not wait until a server answers.
    pub(crate) async fn open(at: &LogLocation, data: &Path) -> anyhow::Result<Self> {
        match at {
            LogLocation::Sqlite(path) => {
                Ok(Self::Embedded(SqliteStore::open(path).context("the event log")?))
            }
            LogLocation::Esdb(address) => {
                let log = EsdbStore::connect(address).await.context("the event log")?;
                let places = PlacesFile::of(data);
                log.learn_places(places.read());
                Ok(Self::Esdb(log, places))
            }
        }
    }

    /// Returns the log as the port that all parts use.
    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Embedded(log) => Arc::new(log.clone()),
            Self::Esdb(log, _) => Arc::new(log.clone()),
        }
    }

    /// Watches the condition of the log's file, if this process has it open.
    pub(crate) fn condition(&self) -> Option<watch::Receiver<LogCondition>> {
        match self {
            Self::Embedded(log) => Some(log.condition()),
            Self::Esdb(..) => None,
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
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Esdb(log, places) => places.keep(&log.places()),
        }
    }
}

/// The file with the places of a server's events by time, so that `--since` need not read the log from its start. It may be
/// of another log: a place is compared with the log before it is used.
pub(crate) struct PlacesFile(PathBuf);

impl PlacesFile {
    fn of(data: &Path) -> Self {
        Self(data.join("log-places.json"))
    }

    /// Returns the places in the file, or none if it is missing or nobody of ours wrote it.
    fn read(&self) -> Vec<IndexedPlace> {
        let within = std::fs::metadata(&self.0).is_ok_and(|file| file.len() <= PLACES_BYTES_MAX);
        let text = if within { std::fs::read(&self.0).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the places, if there is a data directory. The file only saves time, so no failure matters.
    fn keep(&self, places: &[IndexedPlace]) {
        let draft = self.0.with_extension(format!("{}.draft", std::process::id()));
        let written = serde_json::to_vec(places).map_err(std::io::Error::from).and_then(|text| {
            std::fs::write(&draft, text)?;
            std::fs::rename(&draft, &self.0)
        });
        if let Err(error) = written {
            tracing::debug!(%error, "the places of the log by time are not kept");
        }
    }
}
