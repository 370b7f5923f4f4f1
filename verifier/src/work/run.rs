//! The verifier's main loop: applies the log to the queue, looks at the images of the next submissions, starts an attempt at one
//! when a slot is free, and interrupts claims whose deadline has passed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use commands::{Actor, Cause, CommandError, Commands};
use domain::submission::{CATEGORY, InterruptionCode, PlatformFault, has_come};
use domain::{Command, Event, StoredEvent, SubmissionId};
use event_store::{
    EventFilter, EventStore, LogCheckpoint, Position, ReadDirection, ReadError, RecordedEvent, StreamName,
    Subscription, SubscriptionItem,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::sandbox::slots::{SlotLease, Slots};
use crate::work::attempt::{AttemptEnd, AttemptRunner};
use crate::work::image_look::LookedUpImages;
use crate::work::queue::{ClaimQueue, EventRef, HeldClaim, Ticket};

/// The interval at which deadlines and moments of retry are checked.
const TICK: Duration = Duration::from_millis(250);

/// The number of looks under way. A slow registry thus keeps at most so many others from being looked at.
const LOOKS_AHEAD: usize = 16;

/// The number of submissions that were looked at and wait for a slot.
const LOOKED_AHEAD: usize = 16;

/// The pause before a submission that could not be claimed is tried again. By then the log has delivered the
/// reason.
const CLAIM_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// The pause before a submission is looked at again whose rules cannot be carried out here. By then another verifier may
/// have judged it, or a node of the grade that it demands may be there.
const OTHERS_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The time that interrupted attempts have for their reports when the verifier stops.
const REPORT: Duration = Duration::from_secs(10);

/// The pause before the next subscription after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of events of a stream that are read at a time.
const PAGE_EVENTS: usize = 64;

/// The verifier's main loop.
pub(crate) struct WorkLoop {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) commands: Commands,
    pub(crate) verifier: String,
    pub(crate) attempts: Arc<AttemptRunner>,
    pub(crate) slots: Slots,
    pub(crate) grace: Duration,
}

/// The state of the main loop.
struct LoopState {
    queue: ClaimQueue,
    /// The last event that the queue has.
    place: LogCheckpoint,
    /// True once the queue has every event that was recorded before the start.
    caught_up: bool,
    /// The looks under way, and those that are done, in their order.
    looking: JoinSet<LookedAhead>,
    looked: VecDeque<(Ticket, LookedUpImages)>,
    /// The submissions of both.
    ahead: HashSet<SubmissionId>,
    /// The attempts under way.
    under_way: JoinSet<(SubmissionId, AttemptEnd)>,
    /// The token that stops each attempt under way.
    stops: HashMap<SubmissionId, CancellationToken>,
    /// The claims that are being interrupted.
    interrupting: JoinSet<()>,
}

/// A submission whose images were looked at, or the reason why they were not.
type LookedAhead = (Ticket, Result<LookedUpImages, AttemptEnd>);

impl WorkLoop {
    /// Verifies until `shutdown`. Then waits for the attempts under way, and interrupts them after the grace
    /// period.
    pub(crate) async fn until(self, shutdown: CancellationToken) -> Result<(), ReadError> {
        let mut state = LoopState {
            queue: ClaimQueue::new(Arc::clone(&self.attempts.runs)),
            place: LogCheckpoint::default(),
            caught_up: false,
            looking: JoinSet::new(),
            looked: VecDeque::new(),
            ahead: HashSet::new(),
            under_way: JoinSet::new(),
            stops: HashMap::new(),
            interrupting: JoinSet::new(),
        };
        let stop = CancellationToken::new();
        let ended = self.work(&mut state, &shutdown, &stop).await;
        state.looking.shutdown().await;
        let finish = async { while state.under_way.join_next().await.is_some() {} };
        if timeout(self.grace, finish).await.is_err() {
            stop.cancel();
            let report = async { while state.under_way.join_next().await.is_some() {} };
            if timeout(REPORT, report).await.is_err() {
                let n = state.under_way.len();
                tracing::warn!(
                    "shutdown: the event log did not accept the reports of {n} attempts; their claims will expire"
                );
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
        let mut log = self.subscribe(state.place.position);
        let mut changes = self.slots.changes();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                delivery = log.next() => match delivery {
                    Some(delivery) => match self.apply(state, delivery).await {
                        Ok(()) => {}
                        Err(error @ ReadError::Unavailable(_)) => {
                            let at = state.place.position;
                            tracing::warn!(%error, "lost the event log; subscribing again after {at}");
                            tokio::time::sleep(PAUSE).await;
                            log = self.subscribe_again(state.place).await?;
                        }
                        Err(error) => return Err(error),
                    },
                    None => log = self.subscribe_again(state.place).await?,
                },
                // A look that was aborted has no attempt.
                Some(done) = state.looking.join_next() => if let Ok((ticket, looked)) = done {
                    self.take_look(state, ticket, looked, stop);
                },
                Some(done) = state.under_way.join_next() => if let Ok((id, end)) = done {
                    state.stops.remove(&id);
                    state.end(id, end);
                },
                Some(_) = state.interrupting.join_next() => {}
                _ = changes.changed() => {}
                _ = tick.tick() => {
                    self.interrupt_overdue(state);
                    self.measure(state);
                }
            }
            if state.caught_up {
                self.begin_next(state, stop);
            }
        }
    }

    /// Subscribes after an event, unless the log was replaced meanwhile: the queue would miss some of its events.
    async fn subscribe_again(&self, place: LogCheckpoint) -> Result<Subscription, ReadError> {
        match place.check(&*self.store, None).await {
            Err(error @ ReadError::OtherLog { .. }) => Err(error),
            // The subscription waits for a log that is away, and knows whether a server only lags.
            _ => Ok(self.subscribe(place.position)),
        }
    }

    fn subscribe(&self, after: Position) -> Subscription {
        self.store.subscribe(after, EventFilter::stream_prefix(format!("{CATEGORY}-")))
    }

    /// Applies a delivery. After an error the position has not moved, so the event is delivered again.
    async fn apply(
        &self,
        state: &mut LoopState,
        delivery: Result<SubscriptionItem, ReadError>,
    ) -> Result<(), ReadError> {
        match delivery? {
            SubscriptionItem::Event(recorded) => {
                self.apply_event(state, &recorded).await?;
                state.place =
                    LogCheckpoint { log: None, position: recorded.position, event: Some(recorded.id) };
            }
            // The place to subscribe again is that of an event.
            SubscriptionItem::Checkpoint(_) => {}
            SubscriptionItem::CaughtUp(_) => {
                if !std::mem::replace(&mut state.caught_up, true) {
                    self.interrupt_predecessors(state);
                }
            }
        }
        Ok(())
    }

    async fn apply_event(&self, state: &mut LoopState, recorded: &RecordedEvent) -> Result<(), ReadError> {
        match stored_event(recorded) {
            StoredEvent::Submission(id, event) => {
                // The queue forgot the submission's owner at the verdict, so its acceptance is read again.
                if matches!(*event, Event::RejudgeRequested(_))
                    && !state.queue.knows(id)
                    && let Some(submitted) = self.acceptance(&recorded.stream).await?
                {
                    state.queue.apply(id, event_ref(recorded), &submitted);
                }
                state.queue.apply(id, event_ref(recorded), &event);
                if let (Event::Withdrawn(_), Some(stop)) = (&*event, state.stops.get(&id)) {
                    tracing::info!("submission {id} was withdrawn; its attempt is stopped");
                    stop.cancel();
                }
            }
            StoredEvent::Unread(id, unread) => {
                let position = recorded.position;
                tracing::warn!("submission {id} stands still at position {position}: {}", unread.why);
                state.queue.stand_still(id);
            }
            StoredEvent::Sandbox(..)
            | StoredEvent::Rules(_)
            | StoredEvent::Informing
            | StoredEvent::Foreign(_)
            | StoredEvent::Elsewhere => {}
        }
        Ok(())
    }

    /// Returns the event that accepted the submission of a stream, or `None` if the stream was deleted.
    async fn acceptance(&self, stream: &StreamName) -> Result<Option<Event>, ReadError> {
        let mut from = 0;
        loop {
            let page = match self.store.read_stream(stream, from, ReadDirection::Forwards, PAGE_EVENTS).await
            {
                Err(ReadError::StreamDeleted(_)) => return Ok(None),
                page => page?,
            };
            let mut events = page.iter().filter_map(|recorded| stored_event(recorded).into_event());
            if let Some(submitted) = events.find(|event| matches!(event, Event::Submitted(_))) {
                return Ok(Some(submitted));
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE_EVENTS) else { return Ok(None) };
            from = last.revision + 1;
        }
    }

    /// Takes the outcome of a look. An attempt that needs no slot begins at once.
    fn take_look(
        &self,
        state: &mut LoopState,
        ticket: Ticket,
        looked: Result<LookedUpImages, AttemptEnd>,
        stop: &CancellationToken,
    ) {
        match looked {
            _ if !state.queue.is_taken(ticket.id) => {
                state.ahead.remove(&ticket.id);
            }
            Err(end) => {
                state.ahead.remove(&ticket.id);
                state.end(ticket.id, end);
            }
            Ok(looked) if looked.needs_slot() => state.looked.push_back((ticket, looked)),
            Ok(looked) => self.begin(state, ticket, looked, None, stop),
        }
    }

    /// Begins attempts at the submissions that were looked at, as long as slots are free, and looks at the images of the next ones.
    fn begin_next(&self, state: &mut LoopState, stop: &CancellationToken) {
        while self.slots.has_free()
            && let Some((ticket, looked)) = state.looked.remove(self.next_looked(state))
        {
            if !state.queue.is_taken(ticket.id) {
                state.ahead.remove(&ticket.id);
                continue;
            }
            if looked.is_old() {
                // The old look's room in the gate is free before the new one asks for some.
                drop(looked);
                self.look(state, ticket);
                continue;
            }
            // An attempt that needed a second slot may have taken the last one meanwhile.
            let avoid = self.attempts.last_failed_on(ticket.id);
            let Some(lease) = self.slots.take(avoid.as_ref(), looked.home()) else {
                state.looked.push_front((ticket, looked));
                break;
            };
            self.begin(state, ticket, looked, Some(lease), stop);
        }
        while state.looking.len() < LOOKS_AHEAD
            && state.looked.len() < LOOKED_AHEAD
            && (self.slots.has_free() || self.slots.are_in_use())
        {
            let Some(ticket) = state.queue.take(Timestamp::now()) else { return };
            // If it was queued again since its look began, the first look is enough.
            if state.ahead.insert(ticket.id) {
                self.look(state, ticket);
            }
        }
    }

    /// Returns the place of the first submission whose images are where a slot is ready, or of the first of all.
    fn next_looked(&self, state: &LoopState) -> usize {
        let is_ready =
            |looked: &LookedUpImages| looked.home().is_none_or(|home| self.slots.is_home_ready(home));
        state.looked.iter().position(|(_, looked)| is_ready(looked)).unwrap_or(0)
    }

    fn begin(
        &self,
        state: &mut LoopState,
        ticket: Ticket,
        looked: LookedUpImages,
        lease: Option<SlotLease>,
        stop: &CancellationToken,
    ) {
        state.ahead.remove(&ticket.id);
        let (attempts, stop) = (Arc::clone(&self.attempts), stop.child_token());
        state.stops.insert(ticket.id, stop.clone());
        let attempt = async move { (ticket.id, attempts.run(ticket, looked, lease, &stop).await) };
        state.under_way.spawn(attempt);
    }

    fn look(&self, state: &mut LoopState, ticket: Ticket) {
        let attempts = Arc::clone(&self.attempts);
        state.looking.spawn(async move { (ticket, attempts.look_ahead(ticket).await) });
    }

    /// Interrupts the claims of an earlier process with this verifier's name, unless that process is at work: it would have
    /// answered at this one's start.
    fn interrupt_predecessors(&self, state: &mut LoopState) {
        if self.slots.is_name_shared() {
            return;
        }
        for held in state.queue.claims(|held| held.verifier == self.verifier) {
            let message = format!("{} was restarted", self.verifier);
            let fault = PlatformFault::new(InterruptionCode::LeaseExpired, message);
            let others_run = held.others_run;
            let command =
                Command::Interrupt { attempt: held.attempt, fault, at: Timestamp::now(), others_run };
            self.interrupt(state, &held, command);
        }
    }

    fn interrupt_overdue(&self, state: &mut LoopState) {
        if !state.caught_up || !state.interrupting.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let longest = self.commands.attempt_max();
        for held in state.queue.claims(|held| has_come(held.deadline, now, longest)) {
            let others_run = held.others_run;
            self.interrupt(state, &held, Command::Expire { attempt: held.attempt, at: now, others_run });
        }
    }

    /// Brings the metrics of the queue and of the registries' pauses up to date.
    fn measure(&self, state: &LoopState) {
        let metrics = &self.attempts.metrics;
        for (name, figures) in state.queue.figures(Timestamp::now()) {
            metrics.set_queue(name, figures);
        }
        let limited = self.attempts.gate.limited();
        let limited = limited.borrow();
        let now = Timestamp::now();
        metrics.set_pauses(|name| {
            let pause = limited.iter().find(|registry| registry.name == name)?.pause.as_ref()?;
            Duration::try_from(pause.until.duration_since(now)).ok()
        });
    }

    fn interrupt(&self, state: &mut LoopState, held: &HeldClaim, command: Command) {
        let (commands, id, metrics) = (self.commands.clone(), held.id, self.attempts.metrics.clone());
        let cause = Cause { actor: Actor::Verifier(self.verifier.clone()), id: held.cause };
        state.interrupting.spawn(async move {
            match commands.handle(id, command, cause).await {
                Ok(handled) => {
                    metrics.count_interruptions(&handled.events);
                    tracing::info!("interrupted the overdue claim of submission {id}");
                }
                // The claim's verifier reported, another verifier interrupted it, or it is left to those that know its rules.
                Err(CommandError::Rejected(_) | CommandError::UnknownRules(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "could not interrupt the overdue claim of submission {id}")
                }
            }
        });
    }
}

impl LoopState {
    /// Notes the end of an attempt, or the reason why there was none.
    fn end(&mut self, id: SubmissionId, end: AttemptEnd) {
        match end {
            AttemptEnd::NotClaimed => self.queue.put_back(id, later(CLAIM_PAUSE)),
            AttemptEnd::LeftToOthers => self.queue.put_back(id, later(OTHERS_PAUSE)),
            AttemptEnd::NothingToClaim => self.queue.stand_still(id),
            AttemptEnd::Reported => {}
        }
    }
}

fn stored_event(recorded: &RecordedEvent) -> StoredEvent {
    StoredEvent::read(recorded.stream.as_str(), &recorded.kind, &recorded.metadata, &recorded.data)
}

fn event_ref(recorded: &RecordedEvent) -> EventRef {
    EventRef { event: recorded.id, position: recorded.position, at: recorded.recorded_at }
}

fn later(by: SignedDuration) -> Timestamp {
    Timestamp::now().saturating_add(by).unwrap_or(Timestamp::MAX)
}
