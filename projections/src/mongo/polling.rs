//! Polls MongoDB for the current generation of the views and its checkpoint,
//! because another process may write them.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_store::Position;
use mongodb::Database;
use mongodb::error::{ErrorKind, Result, WriteFailure};
use tokio::sync::watch;
use tokio::time::timeout;

use super::collections::ViewCollections;
use super::documents::{CurrentGeneration, Generation, GenerationHead};
use super::{QUERY_DEADLINE, describe, late, own_error};

/// The pause between two polls. A poll reads two small documents.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause between two polls while MongoDB is away.
const PAUSE_AWAY: Duration = Duration::from_millis(500);

/// The first generation of the views.
const FIRST: Generation = 1;

/// The result of the last poll.
#[derive(Debug)]
pub(super) struct PolledState {
    database: Database,
    /// The generation that is read; `None` until MongoDB was reached.
    generation: watch::Sender<Option<Generation>>,
    checkpoint: watch::Sender<Position>,
    /// The checkpoint from which on the generation is shown.
    shown_from: watch::Sender<Option<Position>>,
    /// True if MongoDB did not answer the last poll.
    away: AtomicBool,
}

/// Polls until the views are dropped.
pub(super) async fn keep_polling(state: Weak<PolledState>) {
    while let Some(state) = state.upgrade() {
        let polled =
            timeout(QUERY_DEADLINE, state.poll()).await.unwrap_or_else(|_| Err(late(QUERY_DEADLINE)));
        let away = polled.is_err();
        match (&polled, state.away.swap(away, Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(error = describe(error), "MongoDB does not answer; the views are unavailable");
            }
            (Ok(head), true) => tracing::info!(checkpoint = %head.checkpoint, "MongoDB answers again"),
            (Ok(_), false) | (Err(_), true) => {}
        }
        drop(state);
        tokio::time::sleep(if away { PAUSE_AWAY } else { PAUSE }).await;
    }
}

impl PolledState {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            generation: watch::Sender::new(None),
            checkpoint: watch::Sender::new(Position::START),
            shown_from: watch::Sender::new(None),
            away: AtomicBool::default(),
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the collections of the generation that is read now.
    pub(super) fn collections(&self) -> Result<ViewCollections> {
        let generation = *self.generation.borrow();
        let generation = generation.ok_or_else(|| own_error("it was not reached yet"))?;
        Ok(ViewCollections::new(self.database.clone(), generation))
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Returns the newest checkpoint that is known in this process.
    pub(super) fn checkpoint(&self) -> Position {
        *self.checkpoint.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.checkpoint.subscribe()
    }

    pub(super) fn shown_from(&self) -> watch::Receiver<Option<Position>> {
        self.shown_from.subscribe()
    }

    /// Returns the generation that is read; `None` until MongoDB was reached.
    pub(super) fn generation(&self) -> Option<Generation> {
        *self.generation.borrow()
    }

    /// Notifies the watchers of a checkpoint that was read or written, unless a higher one of its generation is known.
    pub(super) fn publish(&self, generation: Generation, checkpoint: Position) {
        let current = self.generation.borrow();
        if *current != Some(generation) {
            return;
        }
        self.checkpoint.send_if_modified(|known| {
            let rises = checkpoint > *known;
            *known = checkpoint.max(*known);
            rises
        });
    }

    /// Makes another generation the one that is read. Its checkpoint may be lower, if it follows another log.
    fn change_generation(&self, generation: Generation, checkpoint: Position) {
        self.generation.send_if_modified(|known| {
            let changes = known.replace(generation) != Some(generation);
            if changes {
                self.checkpoint.send_replace(checkpoint);
            }
            changes
        });
    }

    /// Reads the head of the current generation. The first poll creates missing collections.
    pub(super) async fn poll(&self) -> Result<GenerationHead> {
        let current = ViewCollections::current(&self.database).find_one(CurrentGeneration::filter()).await?;
        let current = match current {
            Some(current) => current.generation,
            None => self.create_first_generation().await?,
        };
        let collections = ViewCollections::new(self.database.clone(), current);
        if self.generation.borrow().is_none() {
            collections.create().await?;
        }
        let head = collections.newest_head().await?.unwrap_or_else(|| GenerationHead::empty(current));
        self.change_generation(current, head.checkpoint);
        self.publish(current, head.checkpoint);
        self.shown_from
            .send_if_modified(|known| std::mem::replace(known, head.shown_from) != head.shown_from);
        Ok(head)
    }

    /// Creates the first generation, unless another process has just done so.
    async fn create_first_generation(&self) -> Result<Generation> {
        ViewCollections::new(self.database.clone(), FIRST).create().await?;
        let head = ViewCollections::heads(&self.database).insert_one(GenerationHead::empty(FIRST)).await;
        allow_duplicate(head.map(drop))?;
        let current = CurrentGeneration::new(FIRST);
        allow_duplicate(ViewCollections::current(&self.database).insert_one(current).await.map(drop))?;
        Ok(FIRST)
    }
}

/// Turns the error "duplicate key" into success: the document is already there.
pub(super) fn allow_duplicate(inserted: Result<()>) -> Result<()> {
    const DUPLICATE_KEY: i32 = 11000;
    inserted.or_else(|error| match *error.kind {
        ErrorKind::Write(WriteFailure::WriteError(ref write)) if write.code == DUPLICATE_KEY => Ok(()),
        _ => Err(error),
    })
}
