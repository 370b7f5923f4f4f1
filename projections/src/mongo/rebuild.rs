//! The rebuild: fills a new generation of the views from the log, while the old
//! generation is read and written, and then replaces the old one.

use std::time::Duration;

use event_store::{EventFilter, LogIdentity, Position, Read, ReadError};
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::error::{Error, Result};
use mongodb::options::ReturnDocument;
use tokio::time::{Instant, sleep, timeout};

use super::collections::ViewCollections;
use super::documents::{CurrentGeneration, GenerationHead};
use super::transaction::{RetryingTransaction, TransactionEnd};
use super::{BATCH_DEADLINE, MongoViews, describe, late, own_error};
use crate::log_item::LogBatch;
use crate::{BATCH, LogItem};

/// The time for which a batch is retried while MongoDB is away. An election takes
/// about twelve seconds.
const RETRY_DEADLINE: Duration = Duration::from_secs(60);

/// The pause before a batch is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The reason why the views were not rebuilt. The old views stay in use.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// MongoDB does not answer or refused a command.
    #[error("{}", describe(.0))]
    Mongo(#[from] Error),
    /// The views have applied events that are not in the log.
    #[error(
        "the views follow another log than this one, or this one was restored from an older copy: {0}; \
         if this log is the right one, add --other-log"
    )]
    OtherLog(ReadError),
    /// Another rebuild replaced the views in the meantime.
    #[error("another rebuild has replaced the views in the meantime")]
    Overtaken,
}

impl MongoViews {
    /// Builds the views from the log and replaces the old views with them. Returns the checkpoint of the
    /// new views, and passes each checkpoint on the way to `progress`. Queries read the old views until
    /// then, and never see the checkpoint go back. The old views are removed by the next rebuild, because
    /// queries may still read them.
    ///
    /// With `other_log`, the views may have followed another log so far, or a state of it that a restore undid. Then the
    /// checkpoint may go back.
    ///
    /// # Errors
    /// If the log cannot be read, or MongoDB does not answer for a minute. The old views stay in use.
    pub async fn rebuild(
        &self,
        log: &dyn Read,
        other_log: bool,
        progress: impl Fn(Position),
    ) -> std::result::Result<Position, RebuildError> {
        let head = self.polled.poll().await?;
        let old = self.collections()?;
        let identity = LogIdentity::read(log).await?;
        let fits = match head.resume_point().check(log, identity).await {
            Ok(()) => log.event_at(head.checkpoint).await.map(drop),
            other => other,
        };
        let is_other = match fits {
            Ok(()) => false,
            Err(ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. }) if other_log => true,
            Err(error @ (ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. })) => {
                return Err(RebuildError::OtherLog(error));
            }
            Err(error) => return Err(error.into()),
        };
        let new = self.create_generation(&old).await?;
        if let Some(identity) = identity {
            new.note_log(identity).await?;
        }
        let (mut at, mut read) = (Position::START, Position::START);
        loop {
            // Without a filter, because strangers write into the streams of verifiers too.
            let page = log.read_all(read, &EventFilter::default().with_deletions(), BATCH).await?;
            read = page.next;
            for part in LogBatch::split(page.events.iter().map(LogItem::read)) {
                if part.upto > at {
                    self.apply_with_retry(&new, at, &part).await?;
                    at = part.upto;
                }
                retried(|| new.write_unread(&part)).await?;
            }
            progress(at);
            let upto = if is_other { Position(u64::MAX) } else { at };
            if page.end {
                retried(|| new.show_from(at)).await?;
            }
            let swapped = async { timeout(RETRY_DEADLINE, self.swap(&old, &new, upto)).await };
            if page.end && swapped.await.map_err(|_| late(RETRY_DEADLINE))?? {
                self.polled.poll().await?;
                return Ok(at);
            }
        }
    }
}

impl MongoViews {
    /// Creates a generation with a new number. Removes all others but the current one, so another rebuild
    /// at work fails at its next batch.
    async fn create_generation(&self, old: &ViewCollections) -> Result<ViewCollections> {
        let current = ViewCollections::current(self.polled.database())
            .find_one_and_update(CurrentGeneration::filter(), doc! { "$inc": { "newest": 1 } })
            .return_document(ReturnDocument::After)
            .await?;
        let current = current.ok_or_else(|| own_error("the views were removed"))?;
        let heads =
            ViewCollections::heads(self.polled.database()).find(doc! { "_id": { "$gte": 0 } }).await?;
        for head in heads.try_collect::<Vec<_>>().await? {
            if head.id != old.generation && head.id != current.newest {
                ViewCollections::new(self.polled.database().clone(), head.id).drop().await?;
            }
        }
        let new = ViewCollections::new(self.polled.database().clone(), current.newest);
        ViewCollections::heads(self.polled.database())
            .insert_one(GenerationHead::empty(current.newest))
            .await?;
        new.create().await?;
        Ok(new)
    }

    /// Applies a batch, and retries for a while if MongoDB has no primary.
    async fn apply_with_retry(
        &self,
        new: &ViewCollections,
        at: Position,
        part: &LogBatch,
    ) -> std::result::Result<(), RebuildError> {
        let upto = part.upto;
        let apply = async || match &part.deletion {
            Some(deletion) => new.delete_submission(&self.client, at, deletion).await,
            None => new.apply(&self.client, at, &part.events, upto).await,
        };
        let (since, mut maybe_applied) = (Instant::now(), false);
        loop {
            let applied = timeout(BATCH_DEADLINE, apply()).await;
            match applied.unwrap_or_else(|_| Err(late(BATCH_DEADLINE))) {
                Ok(true) => return Ok(()),
                // The reply to an earlier try may have been lost.
                Ok(false) if maybe_applied && new.checkpoint().await? == Some(upto) => return Ok(()),
                Ok(false) => return Err(RebuildError::Overtaken),
                Err(error) if since.elapsed() < RETRY_DEADLINE => {
                    tracing::warn!(%upto, error = describe(&error), "the rebuild cannot apply a batch and tries again");
                    maybe_applied = true;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes `new` the current generation. Returns false if the old views are further than `upto`, so more
    /// events must be applied first.
    async fn swap(
        &self,
        old: &ViewCollections,
        new: &ViewCollections,
        upto: Position,
    ) -> std::result::Result<bool, RebuildError> {
        let mut transaction = RetryingTransaction::new(&self.client).await?;
        loop {
            let work = retire(transaction.begin().await?, old, new, upto).await;
            match transaction.end(work).await? {
                TransactionEnd::Committed(true) => return Ok(true),
                TransactionEnd::Committed(false) => return Err(RebuildError::Overtaken),
                TransactionEnd::Aborted => return Ok(false),
                TransactionEnd::Retry => {}
            }
        }
    }
}

/// Writes until MongoDB has a primary, for a while.
async fn retried<F: Future<Output = Result<()>>>(write: impl Fn() -> F) -> Result<()> {
    let since = Instant::now();
    loop {
        match timeout(BATCH_DEADLINE, write()).await.unwrap_or_else(|_| Err(late(BATCH_DEADLINE))) {
            Err(error) if since.elapsed() < RETRY_DEADLINE => {
                tracing::warn!(error = describe(&error), "the rebuild cannot write and tries again");
                sleep(PAUSE).await;
            }
            written => return written,
        }
    }
}

/// Replaces `old` with `new`. Returns `None` if `old` is further than `upto`, and
/// `Some(false)` if another rebuild has replaced it.
async fn retire(
    session: &mut ClientSession,
    old: &ViewCollections,
    new: &ViewCollections,
    upto: Position,
) -> Result<Option<bool>> {
    // A write and not a read, so that a projection at work conflicts here.
    let retired = ViewCollections::heads(old.database())
        .find_one_and_update(
            doc! { "_id": old.generation, "retired": false },
            doc! { "$set": { "retired": true } },
        )
        .session(&mut *session)
        .await?;
    let Some(retired) = retired else { return Ok(Some(false)) };
    if retired.checkpoint > upto {
        return Ok(None);
    }
    ViewCollections::current(old.database())
        .update_one(CurrentGeneration::filter(), doc! { "$set": { "generation": new.generation } })
        .session(&mut *session)
        .await?;
    Ok(Some(true))
}
