//! The views in MongoDB, as a replica set. Any number of processes may read
//! them, and also write them.
//!
//! A batch of events, its effects and its checkpoint commit in one transaction
//! that compares the checkpoint first. A batch loads the part of [`ViewState`]
//! that it will touch, applies its events and writes back the changes.
//!
//! Queries go to the primary and read what a majority of the set has stored. So
//! a reader that has seen a checkpoint also sees the events before it. The queue
//! and the cells of the map are cached in this process, and refreshed to the
//! newest checkpoint before they answer.
//!
//! Each generation of the views has its own collections: a rebuild fills a new
//! generation beside the old one and then replaces it. While MongoDB is away,
//! every query answers `Unavailable` within a few seconds. No restart is needed
//! when it is back.
//!
//! [`ViewState`]: crate::fold::ViewState

mod batch;
mod block_cache;
mod blocks;
mod collections;
mod documents;
mod map_query;
mod polling;
mod queries;
mod queue;
mod rebuild;
mod sandboxes;
mod transaction;
mod unread;
mod venues;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::{LogIdentity, Position};
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::block_cache::BlockCache;
use self::collections::ViewCollections;
use self::polling::PolledState;
use self::queue::CachedQueue;
pub use self::rebuild::RebuildError;
use crate::view::{DeletionView, SandboxView, SetAsideEvent, StandstillView};
use crate::{ApplyError, EventEnvelope, QueryError, ViewStore};

/// The name of the database if the address has none.
const DATABASE: &str = "muster";

/// The time to find a server. An election takes longer; queries fail then, and the projection tries again.
const SELECTION_DEADLINE: Duration = Duration::from_secs(2);

/// The time for a query.
const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// The time for a batch of events.
const BATCH_DEADLINE: Duration = Duration::from_secs(30);

/// The views in MongoDB.
pub struct MongoViews {
    client: Client,
    polled: Arc<PolledState>,
    block_cache: tokio::sync::RwLock<BlockCache>,
    cached_queue: Mutex<CachedQueue>,
    /// Held while the queue is refreshed.
    refreshing: tokio::sync::Mutex<()>,
    _polling: AbortOnDropHandle<()>,
}

/// The address of MongoDB is not valid. A MongoDB that does not answer is no error here. The error does not show the
/// address, because it may contain a password.
#[derive(Debug, thiserror::Error)]
#[error("not the address of a MongoDB: {0}")]
pub struct MongoAddressError(String);

impl MongoAddressError {
    /// Explains why the driver refuses an address. The driver's reason may quote a part of a password, so the reason
    /// comes from a second attempt, without the login and without parameters that hold secrets.
    async fn explain(address: &str) -> Self {
        match ClientOptions::parse(without_secrets(address)).await {
            Err(error) => Self(reason(&error)),
            Ok(_) => Self(
                "in its user name and password, write : / ? # [ ] @ and % as %3A %2F %3F %23 %5B %5D %40 and %25; \
                 otherwise a parameter is wrong"
                    .to_owned(),
            ),
        }
    }
}

impl MongoViews {
    /// Opens the views at an address such as `mongodb://host,host/database?replicaSet=name`. MongoDB need
    /// not be reachable yet; until then, every query answers `Unavailable`.
    ///
    /// # Errors
    /// If the address is not valid.
    pub async fn open(address: &str) -> Result<Self, MongoAddressError> {
        // The driver panics if a letter beyond ASCII is part of a percent-encoded byte, and the panic shows the rest.
        if address.contains('%') && !address.is_ascii() {
            return Err(MongoAddressError("write letters beyond ASCII as %XX as well".to_owned()));
        }
        let Ok(mut options) = ClientOptions::parse(address).await else {
            return Err(MongoAddressError::explain(address).await);
        };
        options.app_name.get_or_insert_with(|| "muster".to_owned());
        options.server_selection_timeout = Some(SELECTION_DEADLINE);
        options.connect_timeout = Some(SELECTION_DEADLINE);
        options.read_concern = Some(ReadConcern::majority());
        options.write_concern = Some(WriteConcern::majority());
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
        let client = Client::with_options(options).map_err(|error| MongoAddressError(reason(&error)))?;
        let polled = Arc::new(PolledState::new(client.database(&name)));
        let polling = tokio::spawn(polling::keep_polling(Arc::downgrade(&polled)));
        Ok(Self {
            client,
            polled,
            block_cache: tokio::sync::RwLock::default(),
            cached_queue: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            _polling: AbortOnDropHandle::new(polling),
        })
    }

    /// Returns the collections of the generation that is read now.
    fn collections(&self) -> Result<ViewCollections, mongodb::error::Error> {
        self.polled.collections()
    }

    /// Starts a session in which all queries see the same moment.
    async fn snapshot(&self) -> Result<ClientSession, mongodb::error::Error> {
        self.client.start_session().snapshot(true).await
    }

    fn cached_queue(&self) -> std::sync::MutexGuard<'_, CachedQueue> {
        self.cached_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address without its user name and password, and without parameters if one of them holds a secret.
fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("mongodb", address));
    let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    let lower = hosts.to_ascii_lowercase();
    let has_secret = ["password", "properties", "token", "proxy"].iter().any(|name| lower.contains(name));
    let hosts = hosts.split('?').next().filter(|_| has_secret).unwrap_or(hosts);
    format!("{scheme}://{hosts}")
}

fn reason(error: &mongodb::error::Error) -> String {
    match &*error.kind {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        kind => kind.to_string(),
    }
}

impl fmt::Debug for MongoViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoViews").field("polled", &self.polled).finish_non_exhaustive()
    }
}

#[async_trait]
impl ViewStore for MongoViews {
    async fn apply(
        &self,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<(), ApplyError> {
        timeout(BATCH_DEADLINE, self.apply_batch(from, events, upto))
            .await
            .unwrap_or_else(|_| Err(ApplyError::Unavailable(describe(&late(BATCH_DEADLINE)))))
    }

    async fn apply_deletion(&self, from: Position, deletion: &DeletionView) -> Result<(), ApplyError> {
        timeout(BATCH_DEADLINE, self.delete_submission(from, deletion))
            .await
            .unwrap_or_else(|_| Err(ApplyError::Unavailable(describe(&late(BATCH_DEADLINE)))))
    }

    async fn note_log(&self, log: LogIdentity) -> Result<(), ApplyError> {
        written(async { self.collections()?.note_log(log).await }).await
    }

    async fn show_from(&self, end: Position) -> Result<(), ApplyError> {
        written(async { self.collections()?.show_from(end).await }).await
    }

    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError> {
        written(self.write_sandbox(sandbox)).await
    }

    async fn record_set_aside(&self, events: &[SetAsideEvent]) -> Result<(), ApplyError> {
        written(async { self.collections()?.write_set_aside(events).await }).await
    }

    async fn record_standstill(&self, standstill: &StandstillView) -> Result<(), ApplyError> {
        written(async { self.collections()?.write_standstill(standstill).await }).await
    }

    async fn resume(
        &self,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> Result<(), ApplyError> {
        timeout(BATCH_DEADLINE, self.resume_submission(id, checkpoint, events, next))
            .await
            .unwrap_or_else(|_| Err(ApplyError::Unavailable(describe(&late(BATCH_DEADLINE)))))
    }
}

/// Waits for a small write until a query's deadline.
async fn written(write: impl Future<Output = mongodb::error::Result<()>>) -> Result<(), ApplyError> {
    within_deadline(write).await.map_err(|QueryError::Unavailable(why)| ApplyError::Unavailable(why))
}

/// Waits for a query until its deadline.
async fn within_deadline<T>(query: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, QueryError> {
    let answer = timeout(QUERY_DEADLINE, query).await.unwrap_or_else(|_| Err(late(QUERY_DEADLINE)));
    answer.map_err(|error| QueryError::Unavailable(describe(&error)))
}

/// Returns an error of this program, in the type of the driver's errors.
fn own_error(why: impl Into<String>) -> mongodb::error::Error {
    mongodb::error::Error::custom(why.into())
}

fn late(deadline: Duration) -> mongodb::error::Error {
    own_error(format!("no answer within {} s", deadline.as_secs()))
}

/// Describes an error without the driver's wrapping if it is an error of this program.
fn describe(error: &mongodb::error::Error) -> String {
    error.get_custom::<String>().map_or_else(|| format!("MongoDB: {error}"), |why| format!("MongoDB: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_this_program_is_described_without_the_drivers_words() {
        assert_eq!(describe(&late(Duration::from_secs(5))), "MongoDB: no answer within 5 s");
        assert_eq!(describe(&own_error("not reached yet")), "MongoDB: not reached yet");
        let lost: mongodb::error::Error = std::io::Error::other("the line is cut").into();
        assert!(describe(&lost).contains("the line is cut"), "{}", describe(&lost));
        assert_eq!(
            RebuildError::from(own_error("the views were removed")).to_string(),
            "MongoDB: the views were removed"
        );
    }

    #[tokio::test]
    async fn no_error_shows_a_password() {
        for address in [
            "mongodb://ada:s3cret/w0rd@localhost/muster",
            "mongodb://ada:s3cret@w0rd@localhost:port/muster",
            "mongodb://ada:s3cret?w0rd@localhost",
            "mongodb://ada:s3cret:w0rd@localhost",
            "mongodb://ada:%s3cret@localhost",
            "mongodb://ada:%aés3cret@localhost",
            "mongodb://ada:s3cret@localhost/muster?replicaSet",
            "mongodb://ada:s3cret@localhost/muster?w=majority&connectTimeoutMS=soon",
            "mongodb://localhost/?authMechanism=s3cret&authMechanismProperties=AWS_SESSION_TOKEN:s3cret,w0rd",
            "mongodb://localhost/?tls=true&tlsCertificateKeyFilePassword=s3cret&tls=w0rd",
            "mongodb+srv://ada:s3cret@w0rd@localhost:27017",
            "mongo://ada:s3cret@localhost",
            "mongodb://",
        ] {
            let Err(error) = MongoViews::open(address).await else { panic!("{address} was taken") };
            let mut shown = format!("{error} {error:?}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                shown += &cause.to_string();
                source = cause.source();
            }
            assert!(!shown.contains("s3cret") && !shown.contains("w0rd"), "{address}: {shown}");
        }
    }
}
