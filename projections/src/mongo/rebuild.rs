//! A new generation of the views, built from the log beside the old one while
//! that is read and written, and then swapped in.

use std::time::Duration;

use event_store::{EventFilter, Position, Read, ReadError};
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::error::{Error, Result};
use mongodb::options::ReturnDocument;
use tokio::time::{Instant, sleep, timeout};

use super::collections::{Collections, Current, Head};
use super::transaction::{Ended, Transaction};
use super::{APPLY, MongoViews, Shared, late, ours, said};
use crate::{BATCH, EventEnvelope, STREAM_PREFIX};

/// For how long a MongoDB that went away is looked for; an election takes some
/// twelve seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the views were not rebuilt. What is read is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log could not be read, or holds what cannot be understood.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// MongoDB is away, or refused.
    #[error("{}", said(.0))]
    Mongo(#[from] Error),
    /// The views have seen what is not in the log.
    #[error("the views are at {views} and the log ends at {log}: it is not the log that they follow")]
    OtherLog {
        /// Up to where the views have seen theirs.
        views: Position,
        /// Where this one ends.
        log: Position,
    },
    /// Somebody else rebuilt the views meanwhile.
    #[error("another rebuild was faster")]
    Overtaken,
}

impl MongoViews {
    /// Builds the views anew from the log and swaps them in; answers up to
    /// where they have seen it, and says so to `progress` on the way. Readers
    /// see the old ones until then, and never a checkpoint that goes back. The
    /// old ones stay, for readers that still hold them, until the next rebuild.
    ///
    /// # Errors
    /// When the log or MongoDB cannot be reached, the latter for a minute; what
    /// is read is then as it was.
    pub async fn rebuild(
        &self,
        log: &dyn Read,
        progress: impl Fn(Position),
    ) -> std::result::Result<Position, RebuildError> {
        let shared = &self.shared;
        let views = shared.look().await?;
        let old = shared.collections()?;
        let head = log.head().await?;
        if head < views {
            return Err(RebuildError::OtherLog { views, log: head });
        }
        let new = shared.begin_generation(&old).await?;
        let filter = EventFilter::stream_prefix(STREAM_PREFIX);
        let mut at = Position::START;
        loop {
            let page = log.read_all(at, &filter, BATCH).await?;
            let events =
                page.events.iter().map(EventEnvelope::decode).collect::<std::result::Result<Vec<_>, _>>()?;
            if page.next > at {
                shared.apply_patiently(&new, at, &events, page.next).await?;
                at = page.next;
            }
            progress(at);
            let swapped = async { timeout(PATIENCE, shared.swap(&old, &new, at)).await };
            if page.end && swapped.await.map_err(|_| late(PATIENCE))?? {
                shared.look().await?;
                return Ok(at);
            }
        }
    }
}

impl Shared {
    /// A generation that nobody else has. What is left of those before the
    /// current one goes, and so does what another rebuild is at: it meets its
    /// end at its next batch.
    async fn begin_generation(&self, old: &Collections) -> Result<Collections> {
        let taken = Collections::current(&self.database)
            .find_one_and_update(Current::filter(), doc! { "$inc": { "newest": 1 } })
            .return_document(ReturnDocument::After)
            .await?;
        let taken = taken.ok_or_else(|| ours("the views were removed"))?;
        let heads = Collections::heads(&self.database).find(doc! { "_id": { "$gte": 0 } }).await?;
        for head in heads.try_collect::<Vec<_>>().await? {
            if head.id != old.generation && head.id != taken.newest {
                Collections::new(self.database.clone(), head.id).drop().await?;
            }
        }
        let new = Collections::new(self.database.clone(), taken.newest);
        Collections::heads(&self.database).insert_one(Head::empty(taken.newest)).await?;
        new.create().await?;
        Ok(new)
    }

    /// Applies a batch, also while there is no primary for a while.
    async fn apply_patiently(
        &self,
        new: &Collections,
        at: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> std::result::Result<(), RebuildError> {
        let (since, mut doubtful) = (Instant::now(), false);
        loop {
            let applied = timeout(APPLY, new.apply(&self.client, at, events, upto)).await;
            match applied.unwrap_or_else(|_| Err(late(APPLY))) {
                Ok(true) => return Ok(()),
                // The word of its success may have been lost.
                Ok(false) if doubtful && new.checkpoint().await? == Some(upto) => return Ok(()),
                Ok(false) => return Err(RebuildError::Overtaken),
                Err(error) if since.elapsed() < PATIENCE => {
                    tracing::warn!(error = said(&error), "the rebuild waits");
                    doubtful = true;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes `new` what is read, unless the old views are further: then there is more to fold.
    async fn swap(
        &self,
        old: &Collections,
        new: &Collections,
        at: Position,
    ) -> std::result::Result<bool, RebuildError> {
        let mut transaction = Transaction::new(&self.client).await?;
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
) -> Result<Option<bool>> {
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
