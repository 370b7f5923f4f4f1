//! The projection: subscribes to the log and keeps the views up to date. When
//! the log or the views are unavailable, it waits and tries again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::submission::SubmissionId;
use event_store::{
    EventFilter, Follow, LogIdentity, Position, ReadError, Subscribe, Subscription, SubscriptionItem,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::log_item::LogBatch;
use crate::view::{SandboxView, StandstillView};
use crate::{ApplyError, EventEnvelope, LogItem, QueryError, ViewStore};

/// The prefix of the names of submissions' streams.
pub(crate) const STREAM_PREFIX: &str = "submission-";

/// The number of deliveries that are applied at once; as many more are read
/// ahead. The larger the batch, the fewer documents MongoDB writes for each event.
pub(crate) const BATCH: usize = 4096;

/// The first and the longest pause after the log or the views were unavailable.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// The number of submissions that stand still whose events are tried again at the start.
const STANDSTILLS_MAX: usize = 10_000;

/// The number of them whose events are read at a time.
const STANDSTILLS_AT_ONCE: usize = 8;

/// The reason why the projection stopped: to continue would skip an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the projection cannot continue: {0}{remedy}", remedy = remedy(.0))]
pub struct ProjectionError(#[from] pub ReadError);

fn remedy(error: &ReadError) -> &'static str {
    match error {
        ReadError::OtherLog { .. } | ReadError::BeyondEnd { .. } => {
            "; if this log is the right one, e.g. after it was restored from an older copy, build the views again: \
             views in MongoDB with muster rebuild --other-log, views in memory with a restart"
        }
        _ => "",
    }
}

/// Keeps the views up to date until `shutdown` is cancelled. Retries without limit while the log or the
/// views are unavailable. A batch is applied in full or not at all.
///
/// # Errors
/// If the log refuses to be read or is damaged: all events before it are applied. Also if it is not the log that the views
/// have followed so far, or one that was restored from an older copy: events would be left out.
pub async fn run(
    log: Arc<dyn Follow>,
    views: Arc<dyn ViewStore>,
    shutdown: CancellationToken,
) -> Result<(), ProjectionError> {
    let (mut pace, mut unreadable) = (BatchPace::default(), HashSet::new());
    loop {
        match apply_from_checkpoint(&*log, &*views, &shutdown, &mut pace, &mut unreadable).await {
            StopReason::Shutdown => return Ok(()),
            StopReason::Overtaken(position) => {
                tracing::info!(%position, "another projection moved the views; continuing from there");
                continue;
            }
            StopReason::Unavailable(why) => {
                tracing::warn!(why, pause = ?pace.pause, "the projection pauses and tries again");
            }
            StopReason::Fatal(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pace.pause) => pace.slow_down(),
        }
    }
}

/// The pause before the next try, and the size of a batch.
struct BatchPace {
    pause: Duration,
    /// Halved after each failure: a batch that is too large for a store's memory or deadline may fit in parts.
    batch: usize,
}

impl Default for BatchPace {
    fn default() -> Self {
        Self { pause: PAUSES[0], batch: BATCH }
    }
}

impl BatchPace {
    fn slow_down(&mut self) {
        self.pause = (self.pause * 2).min(PAUSES[1]);
        self.batch = (self.batch / 2).max(1);
    }

    /// Resets the pause and enlarges the batch after a batch was applied.
    fn recover(&mut self) {
        self.pause = PAUSES[0];
        self.batch = (self.batch + BATCH / 64).min(BATCH);
    }
}

/// The reason why a subscription was given up.
enum StopReason {
    Shutdown,
    Overtaken(Position),
    Unavailable(String),
    Fatal(ProjectionError),
}

impl From<ReadError> for StopReason {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::Unavailable(error.to_string()),
            ReadError::StreamDeleted(_)
            | ReadError::BeyondEnd { .. }
            | ReadError::OtherLog { .. }
            | ReadError::Corrupt(_)
            | ReadError::DamagedEvent { .. }
            | ReadError::Refused(_)
            | ReadError::Undecodable { .. } => Self::Fatal(ProjectionError(error)),
        }
    }
}

impl From<ApplyError> for StopReason {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Overtaken(position) => Self::Overtaken(position),
            ApplyError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Subscribes to the log from the views' checkpoint on, and applies batch after batch.
async fn apply_from_checkpoint(
    log: &dyn Follow,
    views: &dyn ViewStore,
    shutdown: &CancellationToken,
    pace: &mut BatchPace,
    unreadable: &mut HashSet<(SubmissionId, Position)>,
) -> StopReason {
    let mut checkpoint = match views.checkpoint().await {
        Ok(position) => position,
        Err(QueryError::Unavailable(why)) => return StopReason::Unavailable(why),
    };
    let prepared = async {
        let resume = find_resume_point(log, views).await?;
        resume_standstills(log, views, checkpoint, unreadable).await?;
        Ok(resume)
    };
    let resume = tokio::select! {
        () = shutdown.cancelled() => return StopReason::Shutdown,
        prepared = prepared => match prepared {
            Ok(resume) => resume,
            Err(stop) => return stop,
        }
    };
    let (sender, mut items) = mpsc::channel(BATCH);
    // Without a filter, so that the checkpoint reaches the end of the log.
    let deliveries = log.subscribe(resume, EventFilter::default().with_deletions());
    // The views have seen the strangers' events between both.
    let seen = checkpoint;
    let deliveries = deliveries.filter(move |item| {
        let is_new = !matches!(item, Ok(SubscriptionItem::Event(event)) if event.position <= seen);
        std::future::ready(is_new)
    });
    let reading = CancellationToken::new();
    let _stops_reading = reading.clone().drop_guard();
    tokio::spawn(reading.run_until_cancelled_owned(read_ahead(deliveries.boxed(), sender)));

    let mut batch = Vec::new();
    loop {
        batch.clear();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return StopReason::Shutdown,
            _ = items.recv_many(&mut batch, pace.batch) => {}
        }
        let mut stop = batch.is_empty().then(|| StopReason::Unavailable("the subscription ended".to_owned()));
        let mut at = checkpoint;
        let items = batch.drain(..).filter_map(|item| item.map_err(|error| stop = Some(error.into())).ok());
        let items = items.filter(|item| is_next(&mut at, item.position()));
        for part in LogBatch::split(items) {
            match apply_part(views, checkpoint, &part).await {
                Ok(applied) if applied > checkpoint => {
                    checkpoint = applied;
                    pace.recover();
                }
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
        if let Some(stop) = stop {
            return stop;
        }
    }
}

/// Returns the position from which the views go on, after a check that it is a place in this log.
async fn find_resume_point(log: &dyn Follow, views: &dyn ViewStore) -> Result<Position, StopReason> {
    let identity = LogIdentity::read(log).await?;
    let unavailable = |QueryError::Unavailable(why)| StopReason::Unavailable(why);
    let resume = views.resume_point().await.map_err(unavailable)?;
    match resume.check(log, identity).await {
        // The subscription knows whether the server that was asked only lags.
        Ok(()) | Err(ReadError::BeyondEnd { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(identity) = identity.filter(|_| resume.log.is_none()) {
        views.note_log(identity).await?;
    }
    views.show_from(log.head().await?).await?;
    Ok(resume.position)
}

/// Moves `upto` to an event's position, and returns true if the event follows it. The log delivers no event twice and
/// none too late.
fn is_next(upto: &mut Position, position: Position) -> bool {
    let follows = position > *upto;
    if follows {
        *upto = position;
    } else {
        tracing::error!(%position, %upto, "the log delivered an event at or before the position of the views; it is left out");
    }
    follows
}

/// Applies a part of the log, and returns the new checkpoint. What changes no view is recorded in an order in which a
/// repetition makes up for a crash: the checkpoint does not pass an event that is not recorded.
async fn apply_part(
    views: &dyn ViewStore,
    checkpoint: Position,
    part: &LogBatch,
) -> Result<Position, ApplyError> {
    let newest: BTreeMap<&str, &SandboxView> =
        part.sandboxes.iter().map(|sandbox| (sandbox.verifier.as_str(), sandbox)).collect();
    for sandbox in newest.values() {
        views.record_sandbox(sandbox).await?;
    }
    if !part.set_aside.is_empty() {
        let (count, first) = (part.set_aside.len(), &part.set_aside[0]);
        tracing::warn!(
            "set {count} events of strangers aside, the first in stream {} at position {}: {}",
            first.stream,
            first.position,
            first.why
        );
        views.record_set_aside(&part.set_aside).await?;
    }
    if let Some(deletion) = &part.deletion {
        tracing::info!(
            "submission {} was deleted from the log at position {}",
            deletion.id,
            deletion.position
        );
        views.apply_deletion(checkpoint, deletion).await?;
        return Ok(deletion.position);
    }
    let upto = part.upto.max(checkpoint);
    if upto > checkpoint {
        views.apply(checkpoint, &part.events, upto).await?;
    }
    if let Some(standstill) = &part.standstill {
        let (id, position, why) = (standstill.id, standstill.position, &standstill.why);
        tracing::warn!("submission {id} stands still at position {position}: {why}");
        views.record_standstill(standstill).await?;
    }
    Ok(upto)
}

/// Goes on with submissions that an older version let stand still, if this version can read their events. Also forgets
/// standstills of submissions that are further than that. Those in `unreadable` were tried before by this process.
async fn resume_standstills(
    subscribe: &dyn Subscribe,
    views: &dyn ViewStore,
    checkpoint: Position,
    unreadable: &mut HashSet<(SubmissionId, Position)>,
) -> Result<(), StopReason> {
    let unavailable = |QueryError::Unavailable(why)| StopReason::Unavailable(why);
    let mut standstills = views.standstills(STANDSTILLS_MAX).await.map_err(unavailable)?;
    standstills.retain(|standstill| !unreadable.contains(&(standstill.id, standstill.position)));
    let read = futures::stream::iter(standstills).map(|standstill| async move {
        let view = views.status(standstill.id).await.map_err(unavailable)?;
        let before = view.as_ref().map_or(Position::START, |view| view.position);
        let is_further = view.is_some_and(|view| view.revision >= standstill.revision);
        let (events, next) = read_submission(subscribe, standstill.id, before, checkpoint).await?;
        Ok::<_, StopReason>((standstill, is_further, events, next))
    });
    let mut read = std::pin::pin!(read.buffer_unordered(STANDSTILLS_AT_ONCE));
    while let Some((standstill, is_further, events, next)) = read.try_next().await? {
        let id = standstill.id;
        if !is_further && events.first().is_none_or(|first| first.revision != standstill.revision) {
            unreadable.insert((id, standstill.position));
            continue;
        }
        views.resume(id, checkpoint, &events, next.as_ref()).await?;
        match next {
            Some(next) => {
                tracing::info!("submission {id} goes on, up to position {}: {}", next.position, next.why)
            }
            None if is_further => tracing::info!("submission {id} is past the event at which it stood still"),
            None => tracing::info!("submission {id} goes on: this version can read its events"),
        }
    }
    Ok(())
}

/// Reads the events of a submission after a position up to the first that this version cannot read, which is the second
/// value, or else up to the checkpoint.
async fn read_submission(
    subscribe: &dyn Subscribe,
    id: SubmissionId,
    after: Position,
    checkpoint: Position,
) -> Result<(Vec<EventEnvelope>, Option<StandstillView>), StopReason> {
    let prefix = format!("{STREAM_PREFIX}{id}");
    let mut deliveries = subscribe.subscribe(after, EventFilter::stream_prefix(prefix));
    let mut events = Vec::new();
    while let Some(delivery) = deliveries.next().await {
        match delivery? {
            SubscriptionItem::Event(recorded) if recorded.position <= checkpoint => {
                match LogItem::read(&recorded) {
                    LogItem::Event(envelope) => events.push(*envelope),
                    LogItem::Standstill(standstill) => return Ok((events, Some(*standstill))),
                    LogItem::Sandbox(_)
                    | LogItem::SetAside(_)
                    | LogItem::Deleted(_)
                    | LogItem::Irrelevant(_) => {}
                }
            }
            SubscriptionItem::Checkpoint(at) if at < checkpoint => {}
            SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_) => {
                break;
            }
        }
    }
    Ok((events, None))
}

/// Reads and decodes deliveries while the batch before is applied. An error is the last item.
async fn read_ahead(mut deliveries: Subscription, items: mpsc::Sender<Result<LogItem, ReadError>>) {
    while let Some(delivery) = deliveries.next().await {
        let item = match delivery {
            Ok(SubscriptionItem::Event(recorded)) => Ok(LogItem::read(&recorded)),
            // Between events is no place to resume, so the views never store it.
            Ok(SubscriptionItem::Checkpoint(_) | SubscriptionItem::CaughtUp(_)) => continue,
            Err(error) => Err(error),
        };
        let last = item.is_err();
        if items.send(item).await.is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_halved_until_it_is_applied_and_then_grows_slowly() {
        let mut pace = BatchPace::default();
        assert_eq!((pace.batch, pace.pause), (BATCH, PAUSES[0]));
        pace.slow_down();
        pace.slow_down();
        assert_eq!((pace.batch, pace.pause), (BATCH / 4, PAUSES[0] * 4));
        pace.recover();
        assert!(pace.batch > BATCH / 4 && pace.batch < BATCH / 2 && pace.pause == PAUSES[0]);
        (0..100).for_each(|_| pace.slow_down());
        assert_eq!((pace.batch, pace.pause), (1, PAUSES[1]));
        (0..100).for_each(|_| pace.recover());
        assert_eq!(pace.batch, BATCH);
    }
}
