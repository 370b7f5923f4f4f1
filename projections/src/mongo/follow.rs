//! Keeping in touch: what is current, and how far it is. Another process may
//! write, so somebody has to look.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event_store::Position;
use mongodb::error::{ErrorKind, Result, WriteFailure};
use tokio::time::timeout;

use super::collections::{Collections, Current, Generation, Head};
use super::{ANSWER, Shared, late, said};

/// How often to look. It is one read of one small document.
const PAUSE: Duration = Duration::from_millis(20);

/// How often to look for a MongoDB that is away.
const PAUSE_AWAY: Duration = Duration::from_millis(500);

/// The first generation.
const FIRST: Generation = 1;

/// Looks until nobody wants to know any longer.
pub(super) async fn follow(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let looked = timeout(ANSWER, shared.look()).await;
        let looked = looked.unwrap_or_else(|_| Err(late(ANSWER)));
        let away = looked.is_err();
        match (&looked, shared.away.swap(away, Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(error = said(error), "MongoDB is away: the views wait for it");
            }
            (Ok(_), true) => tracing::info!("MongoDB is back"),
            (Ok(_), false) | (Err(_), true) => {}
        }
        drop(shared);
        tokio::time::sleep(if away { PAUSE_AWAY } else { PAUSE }).await;
    }
}

impl Shared {
    /// Looks which generation is current and how far it is. The very first look
    /// makes what is missing.
    pub(super) async fn look(&self) -> Result<Position> {
        let current = match Collections::current(&self.database).find_one(Current::filter()).await? {
            Some(current) => current.generation,
            None => self.create().await?,
        };
        if self.generation.borrow().is_none() {
            Collections::new(self.database.clone(), current).create().await?;
        }
        let checkpoint = Collections::new(self.database.clone(), current).checkpoint().await?;
        let checkpoint = checkpoint.unwrap_or(Position::START);
        self.generation.send_if_modified(|known| known.replace(current) != Some(current));
        self.saw(checkpoint);
        Ok(checkpoint)
    }

    /// Makes the first generation, unless another process just did.
    async fn create(&self) -> Result<Generation> {
        Collections::new(self.database.clone(), FIRST).create().await?;
        let head = Collections::heads(&self.database).insert_one(Head::empty(FIRST)).await;
        unless_there(head.map(drop))?;
        let current = Current { id: "current".to_owned(), generation: FIRST, newest: FIRST };
        unless_there(Collections::current(&self.database).insert_one(current).await.map(drop))?;
        Ok(FIRST)
    }
}

/// That a document is there already is fine.
pub(super) fn unless_there(inserted: Result<()>) -> Result<()> {
    const DUPLICATE_KEY: i32 = 11000;
    inserted.or_else(|error| match *error.kind {
        ErrorKind::Write(WriteFailure::WriteError(ref write)) if write.code == DUPLICATE_KEY => Ok(()),
        _ => Err(error),
    })
}
