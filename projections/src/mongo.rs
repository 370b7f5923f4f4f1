//! The views in MongoDB, a replica set of it: any number of processes read
//! them, and may write them too.
//!
//! A batch, its effects and its checkpoint commit in one transaction, and the
//! checkpoint is compared before it is set. What an event means is [`Fold`]'s
//! business: a batch loads what it will touch, folds, and writes back.
//!
//! Reads go to the primary, of which a client knows one, and see what a majority
//! has: so whoever saw a checkpoint sees what led to it. The queue and the map
//! are kept here too, and brought up to date with the checkpoint before they answer.
//!
//! The views of a generation are collections of their own, so that a new one
//! can be built beside the old one and swapped in. While MongoDB is away every
//! answer is `Unavailable`, soon; nothing here needs a restart afterwards.
//!
//! [`Fold`]: crate::fold::Fold

mod batch;
mod blocks;
mod collections;
mod follow;
mod map;
mod queries;
mod queue;
mod rebuild;
mod sandboxes;
mod screen;
mod transaction;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::Position;
use mongodb::options::{ClientOptions, ReadConcern, WriteConcern};
use mongodb::{Client, Database};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::collections::{Collections, Generation};
use self::map::Map;
use self::queue::Places;
pub use self::rebuild::RebuildError;
use crate::view::{BoundingBox, MapView, Pin, QueuePlace, SandboxView, StatsView, StatusView};
use crate::{ApplyError, EventEnvelope, QueryError, ViewQueries, ViewStore};

/// The database, when the address names none.
const DATABASE: &str = "muster";

/// How long a server is looked for. An election takes longer: readers are told, writers try again.
const SELECTION: Duration = Duration::from_secs(2);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a batch may take.
const APPLY: Duration = Duration::from_secs(30);

/// The views in MongoDB.
#[derive(Debug)]
pub struct MongoViews {
    shared: Arc<Shared>,
    _following: AbortOnDropHandle<()>,
}

/// Why the views cannot be opened: the address is wrong. That nobody answers there is no reason.
#[derive(Debug, thiserror::Error)]
#[error("not the address of a MongoDB: {0}")]
pub struct MongoAddressError(#[source] mongodb::error::Error);

struct Shared {
    client: Client,
    database: Database,
    /// What readers read; `None` until MongoDB was reached.
    generation: watch::Sender<Option<Generation>>,
    checkpoint: watch::Sender<Position>,
    /// MongoDB did not answer when it was last looked at.
    away: AtomicBool,
    map: tokio::sync::RwLock<Map>,
    places: Mutex<Places>,
    /// Held by the one who brings them up to date.
    refreshing: tokio::sync::Mutex<()>,
}

impl MongoViews {
    /// Takes an address, `mongodb://host,host/database?replicaSet=name`. MongoDB
    /// need not be there yet: until it is, everything is `Unavailable`.
    ///
    /// # Errors
    /// When the address is not one.
    pub async fn open(address: &str) -> Result<Self, MongoAddressError> {
        let mut options = ClientOptions::parse(address).await.map_err(MongoAddressError)?;
        options.app_name.get_or_insert_with(|| "muster".to_owned());
        options.server_selection_timeout = Some(SELECTION);
        options.connect_timeout = Some(SELECTION);
        options.read_concern = Some(ReadConcern::majority());
        options.write_concern = Some(WriteConcern::majority());
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
        let client = Client::with_options(options).map_err(MongoAddressError)?;
        let shared = Arc::new(Shared {
            database: client.database(&name),
            client,
            generation: watch::Sender::new(None),
            checkpoint: watch::Sender::new(Position::START),
            away: AtomicBool::default(),
            map: tokio::sync::RwLock::default(),
            places: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        });
        let following = tokio::spawn(follow::follow(Arc::downgrade(&shared)));
        Ok(Self { shared, _following: AbortOnDropHandle::new(following) })
    }
}

impl Shared {
    /// The views that are read now.
    fn collections(&self) -> Result<Collections, mongodb::error::Error> {
        let generation = *self.generation.borrow();
        let generation = generation.ok_or_else(|| ours("it was not reached yet"))?;
        Ok(Collections::new(self.database.clone(), generation))
    }

    /// Tells the watchers of a checkpoint that was read or written.
    fn saw(&self, checkpoint: Position) {
        self.checkpoint.send_if_modified(|known| {
            let rises = checkpoint > *known;
            *known = checkpoint.max(*known);
            rises
        });
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("database", &self.database.name())
            .field("generation", &*self.generation.borrow())
            .finish_non_exhaustive()
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
        timeout(APPLY, self.shared.apply(from, events, upto))
            .await
            .unwrap_or_else(|_| Err(ApplyError::Unavailable(said(&late(APPLY)))))
    }

    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError> {
        answer(self.shared.record_sandbox(sandbox))
            .await
            .map_err(|QueryError::Unavailable(why)| ApplyError::Unavailable(why))
    }
}

#[async_trait]
impl ViewQueries for MongoViews {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        answer(self.shared.checkpoint()).await
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.shared.checkpoint.subscribe()
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        answer(self.shared.status(id)).await
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        answer(self.shared.queue_place(id)).await
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        answer(self.shared.stats()).await
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        answer(self.shared.pins(bounds, zoom)).await
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        answer(self.shared.pins_at(lat, lon, max)).await
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        answer(self.shared.pins_changed(after, max)).await
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        answer(self.shared.find_pins(text, max)).await
    }

    async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        answer(self.shared.unfinished(max)).await
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        answer(self.shared.verifying(max)).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        answer(self.shared.sandboxes()).await
    }
}

/// An answer in time, or that there is none.
async fn answer<T>(asked: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, QueryError> {
    let answered = timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(late(ANSWER)));
    answered.map_err(|error| QueryError::Unavailable(said(&error)))
}

/// A failure that is none of the driver's.
fn ours(why: impl Into<String>) -> mongodb::error::Error {
    mongodb::error::Error::custom(why.into())
}

fn late(deadline: Duration) -> mongodb::error::Error {
    ours(format!("no answer within {} s", deadline.as_secs()))
}

/// What went wrong: in our words where they are ours, else in the driver's.
fn said(error: &mongodb::error::Error) -> String {
    error.get_custom::<String>().map_or_else(|| format!("MongoDB: {error}"), |why| format!("MongoDB: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_ours_is_told_in_our_words() {
        assert_eq!(said(&late(Duration::from_secs(5))), "MongoDB: no answer within 5 s");
        assert_eq!(said(&ours("it was not reached yet")), "MongoDB: it was not reached yet");
        let lost: mongodb::error::Error = std::io::Error::other("the line is cut").into();
        assert!(said(&lost).contains("the line is cut"), "{}", said(&lost));
        assert_eq!(
            RebuildError::from(ours("the views were removed")).to_string(),
            "MongoDB: the views were removed"
        );
    }
}
