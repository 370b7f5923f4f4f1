//! The projection itself: follows the log and keeps the views up to date,
//! whatever goes away in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_store::{
    EventFilter, Position, ReadError, RecordedEvent, Subscribe, Subscription, SubscriptionItem,
};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::view::SandboxView;
use crate::{ApplyError, EventEnvelope, QueryError, ViewStore};

/// Streams of submissions begin with this.
pub(crate) const STREAM_PREFIX: &str = "submission-";

/// At most so many deliveries are applied at once, and as many more are read
/// ahead. The more, the fewer the documents that MongoDB must write for each.
pub(crate) const BATCH: usize = 4096;

/// The pauses after something was unavailable: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Why a projection stops: going on would skip an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the views cannot follow the log: {0}")]
pub struct ProjectionError(#[from] pub ReadError);

/// Keeps the views up to date until it is told to stop. What is unavailable is
/// tried again for ever; a batch is applied whole or not at all.
///
/// # Errors
/// When an event cannot be understood, or the log refuses to be read. The
/// events before it were applied.
pub async fn run(
    subscribe: Arc<dyn Subscribe>,
    views: Arc<dyn ViewStore>,
    shutdown: CancellationToken,
) -> Result<(), ProjectionError> {
    let mut pace = Pace::default();
    loop {
        match follow(&*subscribe, &*views, &shutdown, &mut pace).await {
            Interruption::Shutdown => return Ok(()),
            Interruption::Overtaken(position) => {
                tracing::info!(%position, "another projector was faster");
                continue;
            }
            Interruption::Unavailable(why) => {
                tracing::warn!(why, pause = ?pace.pause, "the projection waits");
            }
            Interruption::Fatal(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pace.pause) => pace.slow(),
        }
    }
}

/// How the projection goes on after something was unavailable.
struct Pace {
    /// How long it waits first.
    pause: Duration,
    /// How many deliveries it applies at once: what is too much for a store's
    /// memory or deadline may fit in parts.
    batch: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: PAUSES[0], batch: BATCH }
    }
}

impl Pace {
    fn slow(&mut self) {
        self.pause = (self.pause * 2).min(PAUSES[1]);
        self.batch = (self.batch / 2).max(1);
    }

    /// After a batch that was applied.
    fn recover(&mut self) {
        self.pause = PAUSES[0];
        self.batch = (self.batch + BATCH / 64).min(BATCH);
    }
}

/// Why following ended.
enum Interruption {
    Shutdown,
    Overtaken(Position),
    Unavailable(String),
    Fatal(ProjectionError),
}

impl From<ReadError> for Interruption {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::Unavailable(error.to_string()),
            ReadError::StreamDeleted(_)
            | ReadError::BeyondEnd { .. }
            | ReadError::Corrupt(_)
            | ReadError::Refused(_)
            | ReadError::Undecodable { .. } => Self::Fatal(ProjectionError(error)),
        }
    }
}

/// Follows the log from the views' checkpoint on.
async fn follow(
    subscribe: &dyn Subscribe,
    views: &dyn ViewStore,
    shutdown: &CancellationToken,
    pace: &mut Pace,
) -> Interruption {
    let mut at = match views.checkpoint().await {
        Ok(position) => position,
        Err(QueryError::Unavailable(why)) => return Interruption::Unavailable(why),
    };
    let (ahead, mut read) = mpsc::channel(BATCH);
    // All of the log, so that the checkpoint keeps up with its end.
    let deliveries = subscribe.subscribe(at, EventFilter::default());
    let reading = CancellationToken::new();
    let _ends_with_us = reading.clone().drop_guard();
    tokio::spawn(reading.run_until_cancelled_owned(read_ahead(deliveries, ahead)));

    let mut batch = Vec::new();
    loop {
        batch.clear();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Interruption::Shutdown,
            _ = read.recv_many(&mut batch, pace.batch) => {}
        }
        let mut end = batch.is_empty().then(|| Interruption::Unavailable("the log ended".to_owned()));
        let (mut events, mut upto) = (Vec::with_capacity(batch.len()), at);
        let mut sandboxes = BTreeMap::new();
        for seen in batch.drain(..) {
            match seen {
                Ok(Seen::Event(envelope)) => {
                    upto = envelope.position;
                    events.push(*envelope);
                }
                Ok(Seen::Sandbox(sandbox)) => {
                    upto = sandbox.position;
                    sandboxes.insert(sandbox.verifier.clone(), *sandbox);
                }
                Ok(Seen::Nothing(position)) => upto = upto.max(position),
                Err(error) => end = Some(error.into()),
            }
        }
        // Before the checkpoint moves past them.
        for sandbox in sandboxes.values() {
            match views.record_sandbox(sandbox).await {
                Ok(()) => {}
                Err(ApplyError::Overtaken(position)) => return Interruption::Overtaken(position),
                Err(ApplyError::Unavailable(why)) => return Interruption::Unavailable(why),
            }
        }
        if upto > at {
            match views.apply(at, &events, upto).await {
                Ok(()) => {
                    at = upto;
                    pace.recover();
                }
                Err(ApplyError::Overtaken(position)) => return Interruption::Overtaken(position),
                Err(ApplyError::Unavailable(why)) => return Interruption::Unavailable(why),
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// What the log delivered.
enum Seen {
    Event(Box<EventEnvelope>),
    Sandbox(Box<SandboxView>),
    /// Nothing for us up to here.
    Nothing(Position),
}

impl Seen {
    fn of(recorded: &RecordedEvent) -> Result<Self, ReadError> {
        if recorded.stream.as_str().starts_with(STREAM_PREFIX) {
            return EventEnvelope::decode(recorded).map(|envelope| Self::Event(Box::new(envelope)));
        }
        let sandbox = SandboxView::decode(recorded)?;
        // Others may keep what is theirs in the same log.
        Ok(sandbox.map_or(Self::Nothing(recorded.position), |sandbox| Self::Sandbox(Box::new(sandbox))))
    }
}

/// Reads and decodes while the events before are being applied. An error is the last item.
async fn read_ahead(mut deliveries: Subscription, ahead: mpsc::Sender<Result<Seen, ReadError>>) {
    while let Some(delivery) = deliveries.next().await {
        let seen = match delivery {
            Ok(SubscriptionItem::Event(recorded)) => Seen::of(&recorded),
            Ok(SubscriptionItem::Checkpoint(position) | SubscriptionItem::CaughtUp(position)) => {
                Ok(Seen::Nothing(position))
            }
            Err(error) => Err(error),
        };
        let last = seen.is_err();
        if ahead.send(seen).await.is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_halved_until_it_is_taken_and_then_grows_slowly() {
        let mut pace = Pace::default();
        assert_eq!((pace.batch, pace.pause), (BATCH, PAUSES[0]));
        pace.slow();
        pace.slow();
        assert_eq!((pace.batch, pace.pause), (BATCH / 4, PAUSES[0] * 4));
        pace.recover();
        assert!(pace.batch > BATCH / 4 && pace.batch < BATCH / 2 && pace.pause == PAUSES[0]);
        (0..100).for_each(|_| pace.slow());
        assert_eq!((pace.batch, pace.pause), (1, PAUSES[1]));
        (0..100).for_each(|_| pace.recover());
        assert_eq!(pace.batch, BATCH);
    }
}
