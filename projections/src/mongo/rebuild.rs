//! A new generation of the views, built from the log beside the old one while
//! that is read and written, and then swapped in.

use event_store::{Filter, Position, Read, ReadError};
use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::error::Error;

use super::MongoViews;
use super::collections::{Collections, Current, Head};
use super::transaction::{Ended, Transaction};
use crate::{Envelope, STREAM_PREFIX};

/// How many events are read and applied at once.
const BATCH: usize = 1024;

/// Why the views were not rebuilt. What is read is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log could not be read, or holds what cannot be understood.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// MongoDB went away, or refused.
    #[error("MongoDB: {0}")]
    Mongo(#[from] Error),
    /// Somebody else rebuilt the views meanwhile.
    #[error("another rebuild was faster")]
    Overtaken,
}

impl MongoViews {
    /// Builds the views anew from the log and swaps them in. Readers see the old
    /// ones until then, and never a checkpoint that goes back. The old ones stay,
    /// for readers that still hold them, until the next rebuild.
    ///
    /// # Errors
    /// When the log or MongoDB cannot be reached; what is read is then as it was.
    pub async fn rebuild(&self, log: &dyn Read) -> Result<(), RebuildError> {
        let shared = &self.shared;
        shared.look().await?;
        let old = shared.collections()?;
        // What is left of earlier rebuilds goes; the newest may have been cut short.
        let new = Collections::new(shared.database.clone(), old.generation + 1);
        for generation in old.generation.saturating_sub(1)..=new.generation {
            if generation != old.generation {
                Collections::new(shared.database.clone(), generation).drop().await?;
            }
        }
        new.create().await?;
        Collections::heads(&shared.database).insert_one(Head::empty(new.generation)).await?;

        let filter = Filter::stream_prefix(STREAM_PREFIX);
        let mut at = Position::START;
        loop {
            let page = log.read_all(at, &filter, BATCH).await?;
            let events = page.events.iter().map(Envelope::decode).collect::<Result<Vec<_>, _>>()?;
            if page.next > at && !new.apply(&shared.client, at, &events, page.next).await? {
                return Err(RebuildError::Overtaken);
            }
            at = page.next.max(at);
            tracing::info!(position = %at, "the views are being rebuilt");
            if page.end && self.swap(&old, &new, at).await? {
                shared.look().await?;
                return Ok(());
            }
        }
    }

    /// Makes `new` what is read, unless the old views are further: then there is more to fold.
    async fn swap(&self, old: &Collections, new: &Collections, at: Position) -> Result<bool, RebuildError> {
        let mut transaction = Transaction::new(&self.shared.client).await?;
        loop {
            let work = retire(transaction.begin().await?, old, new, at).await;
            match transaction.end(work).await? {
                Ended::Committed(true) => return Ok(true),
                Ended::Committed(false) => return Err(RebuildError::Overtaken),
                Ended::Nothing => return Ok(false),
                Ended::Again => {}
            }
        }
    }
}

/// Swaps `old` for `new` if it is no further than `at`; `Some(false)` when
/// somebody else did.
async fn retire(
    session: &mut ClientSession,
    old: &Collections,
    new: &Collections,
    at: Position,
) -> mongodb::error::Result<Option<bool>> {
    // Written, not only read: a projector at work meets us here.
    let retired = Collections::heads(old.database())
        .find_one_and_update(
            doc! { "_id": old.generation, "retired": false },
            doc! { "$set": { "retired": true } },
        )
        .session(&mut *session)
        .await?;
    let Some(retired) = retired else { return Ok(Some(false)) };
    if retired.checkpoint > at {
        return Ok(None);
    }
    Collections::current(old.database())
        .update_one(Current::filter(), doc! { "$set": { "generation": new.generation } })
        .session(&mut *session)
        .await?;
    Ok(Some(true))
}
