//! The loop: what the log says goes into the queue; what is next goes into a
//! slot; claims that are over are interrupted.

use std::sync::Arc;
use std::time::Duration;

use commands::{Actor, Cause, CommandError, Commands};
use domain::submission::{CATEGORY, InterruptionCode, PlatformFault};
use domain::{Command, Event, SubmissionId};
use event_store::{
    EventFilter, EventStore, Position, ReadDirection, ReadError, RecordedEvent, Subscription,
    SubscriptionItem,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::sandbox::slots::Slots;
use crate::work::attempt::AttemptRunner;
use crate::work::queue::{EventRef, HeldClaim, Queue};

/// Moments pass without anybody saying so: retries, deadlines.
const TICK: Duration = Duration::from_millis(250);

/// How long what could not be claimed is left alone: the log says why before.
const LEFT_ALONE: SignedDuration = SignedDuration::from_secs(1);

/// How long a stop waits for what is put back to be reported.
const REPORT: Duration = Duration::from_secs(10);

/// The pause before the log is followed anew after it could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// All that the loop works with.
pub(crate) struct WorkLoop {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) commands: Commands,
    pub(crate) verifier: String,
    pub(crate) attempts: Arc<AttemptRunner>,
    pub(crate) slots: Slots,
    pub(crate) grace: Duration,
}

/// What the loop knows.
struct LoopState {
    queue: Queue,
    position: Position,
    /// Whether the queue knows all that was recorded before the start.
    caught_up: bool,
    under_way: JoinSet<(SubmissionId, bool)>,
    /// Claims that are being interrupted.
    interrupting: JoinSet<()>,
}

impl WorkLoop {
    /// Verifies until `shutdown`; then finishes what is in hand, within the grace.
    pub(crate) async fn until(self, shutdown: CancellationToken) -> Result<(), ReadError> {
        let mut state = LoopState {
            queue: Queue::default(),
            position: Position::START,
            caught_up: false,
            under_way: JoinSet::new(),
            interrupting: JoinSet::new(),
        };
        let stop = CancellationToken::new();
        let ended = self.work(&mut state, &shutdown, &stop).await;
        let finish = async { while state.under_way.join_next().await.is_some() {} };
        if timeout(self.grace, finish).await.is_err() {
            stop.cancel();
            let report = async { while state.under_way.join_next().await.is_some() {} };
            if timeout(REPORT, report).await.is_err() {
                tracing::warn!("the log takes no reports; what is under way is left to its deadline");
                state.under_way.shutdown().await;
            }
        }
        state.interrupting.shutdown().await;
        self.slots.close().await;
        ended
    }

    async fn work(
        &self,
        state: &mut LoopState,
        shutdown: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), ReadError> {
        let mut log = self.follow(state.position);
        let mut changes = self.slots.changes();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                delivery = log.next() => match delivery {
                    Some(Ok(delivery)) => self.take_in(state, delivery).await?,
                    Some(Err(error @ ReadError::Unavailable(_))) => {
                        tracing::warn!(%error, "the log is followed anew");
                        tokio::time::sleep(PAUSE).await;
                        log = self.follow(state.position);
                    }
                    Some(Err(error)) => return Err(error),
                    None => log = self.follow(state.position),
                },
                Some(done) = state.under_way.join_next() => {
                    if let Ok((id, false)) = done {
                        state.queue.put_back(id, later(LEFT_ALONE));
                    }
                }
                Some(_) = state.interrupting.join_next() => {}
                _ = changes.changed() => {}
                _ = tick.tick() => self.interrupt_what_is_over(state),
            }
            if state.caught_up {
                self.begin_what_is_next(state, stop);
            }
        }
    }

    fn follow(&self, after: Position) -> Subscription {
        self.store.subscribe(after, EventFilter::stream_prefix(format!("{CATEGORY}-")))
    }

    async fn take_in(&self, state: &mut LoopState, delivery: SubscriptionItem) -> Result<(), ReadError> {
        match delivery {
            SubscriptionItem::Event(recorded) => {
                if let Some(id) = SubmissionId::from_stream(recorded.stream.as_str()) {
                    let event = recorded.decode(Event::from_stored)?;
                    // The queue has forgotten whose it was when it had its verdict.
                    if matches!(event, Event::RejudgeRequested(_)) && !state.queue.knows(id) {
                        let first =
                            self.store.read_stream(&recorded.stream, 0, ReadDirection::Forwards, 1).await?;
                        if let Some(first) = first.first() {
                            state.queue.apply(id, noted(&recorded), &first.decode(Event::from_stored)?);
                        }
                    }
                    state.queue.apply(id, noted(&recorded), &event);
                }
                state.position = recorded.position;
            }
            SubscriptionItem::Checkpoint(position) => state.position = position,
            SubscriptionItem::CaughtUp(position) => {
                state.position = position;
                if !std::mem::replace(&mut state.caught_up, true) {
                    self.interrupt_predecessors(state);
                }
            }
        }
        Ok(())
    }

    fn begin_what_is_next(&self, state: &mut LoopState, stop: &CancellationToken) {
        while self.slots.has_free() {
            let Some(ticket) = state.queue.take(Timestamp::now()) else { return };
            // An attempt that needed a second slot may have come in between.
            let Some(lease) = self.slots.take(None) else {
                state.queue.put_back(ticket.id, Timestamp::now());
                return;
            };
            let (attempts, stop) = (Arc::clone(&self.attempts), stop.clone());
            state.under_way.spawn(async move { (ticket.id, attempts.make(ticket, lease, &stop).await) });
        }
    }

    /// Whoever bore this verifier's name before is dead, and so are its claims:
    /// they need not be waited for.
    fn interrupt_predecessors(&self, state: &mut LoopState) {
        for held in state.queue.claims(|held| held.verifier == self.verifier) {
            let message = format!("{} was started anew", self.verifier);
            let fault = PlatformFault { code: InterruptionCode::LeaseExpired, message };
            let command = Command::Interrupt { attempt: held.attempt, fault, at: Timestamp::now() };
            self.interrupt(state, &held, command);
        }
    }

    fn interrupt_what_is_over(&self, state: &mut LoopState) {
        if !state.caught_up || !state.interrupting.is_empty() {
            return;
        }
        let now = Timestamp::now();
        for held in state.queue.claims(|held| held.deadline <= now) {
            self.interrupt(state, &held, Command::Expire { attempt: held.attempt, at: now });
        }
    }

    fn interrupt(&self, state: &mut LoopState, held: &HeldClaim, command: Command) {
        let (commands, id) = (self.commands.clone(), held.id);
        let cause = Cause { actor: Actor::Verifier(self.verifier.clone()), id: held.cause };
        state.interrupting.spawn(async move {
            match commands.handle(id, command, cause).await {
                Ok(_) => tracing::info!(submission = %id, "a claim that is over was interrupted"),
                // Its verifier came first, or somebody else interrupted it.
                Err(CommandError::Rejected(_)) => {}
                Err(error) => tracing::warn!(submission = %id, %error, "a claim that is over stays"),
            }
        });
    }
}

fn noted(recorded: &RecordedEvent) -> EventRef {
    EventRef { event: recorded.id, position: recorded.position, at: recorded.recorded_at }
}

fn later(by: SignedDuration) -> Timestamp {
    Timestamp::now().saturating_add(by).unwrap_or(Timestamp::MAX)
}
