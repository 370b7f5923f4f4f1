//! Records the state of the sandbox in the log whenever it changes. Each report is complete, so readers need
//! only the newest one of each verifier. A report is also repeated, because a verifier that died reports nothing. The moment at
//! which the log records it is compared with the machine's own clock. A report of this verifier that another process wrote shows
//! that two have its name.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use domain::StoredEvent;
use domain::sandbox::{
    self, ImageFetch, REPORT_EVERY, SCHEMA, SILENT_AFTER, SandboxRegistry, SandboxReported,
};
use event_store::{
    EventMetadata, EventStore, ExpectedRevision, NewEvent, ReadDirection, ReadError, RecordedEvent, Revision,
    StreamName,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::health::{Health, NodeHealth, NodeState};
use crate::sandbox::slots::VerifierFault;

/// The shortest time between two reports, so that a node that comes and goes does not fill the log.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause after the log could not be reached.
const AWAY: Duration = Duration::from_secs(2);

/// The largest difference between the machine's own clock and the log's at which submissions are claimed. Deadlines of
/// claims are compared with the log's moments and with other machines' clocks.
const CLOCK_MAX: SignedDuration = SignedDuration::from_secs(5);

/// The interval between two reports while the clock is wrong.
const CLOCK_AGAIN: Duration = Duration::from_secs(20);

/// The time for the last report when the verifier stops.
const LAST_REPORT: Duration = Duration::from_secs(2);

/// The interval at which the log is searched for reports of a verifier of the same name.
const LOOK: Duration = Duration::from_secs(1);

/// The time for which a start waits for the answer of an earlier run. That run answers after a pause and a look, at the latest.
const ANSWER: Duration = Duration::from_secs(3);

/// The interval at which a start looks for the answer.
const ANSWER_LOOK: Duration = Duration::from_millis(200);

/// The number of events that are searched for the last report. If strangers wrote more, the report is recorded again.
const LOOK_BACK: usize = 32;

/// The reports of one verifier.
pub(crate) struct SandboxReporter {
    store: Arc<dyn EventStore>,
    verifier: String,
    stream: StreamName,
    /// The last recorded report, and the moment of its record. `None` until it was read from the log.
    last: Option<(SandboxReported, Timestamp)>,
    /// The id of this run, later than that of an earlier run. Each report names it as its cause.
    run: Uuid,
    /// The newest event of the stream that this run has seen.
    seen: Option<Uuid>,
    /// The reason why this machine's clock cannot be used.
    clock_fault: Option<String>,
    /// The reason why this verifier's name cannot be used.
    name_fault: Option<String>,
    /// The reason why this verifier begins nothing: one of the faults.
    fault: watch::Sender<Option<VerifierFault>>,
}

/// The finding of a look at the reports of this verifier's name.
#[derive(Debug, PartialEq, Eq)]
enum NameLook {
    /// This process alone has the name.
    Alone,
    /// A later run has the name as well, and yields as soon as it sees a newer report of this one.
    Later,
    /// An earlier run has the name as well. This one yields.
    Earlier,
}

impl SandboxReporter {
    /// Creates the reports of a verifier. `fault` is told when the machine's clock differs from the log's, and when an earlier
    /// run with the verifier's name is at work.
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        verifier: &str,
        fault: watch::Sender<Option<VerifierFault>>,
    ) -> Self {
        let stream = StreamName::new(SandboxReported::stream(verifier));
        let stream = stream.expect("a verifier's name is short, and letters, digits and hyphens");
        Self {
            store,
            verifier: verifier.to_owned(),
            stream,
            last: None,
            run: Uuid::now_v7(),
            seen: None,
            clock_fault: None,
            name_fault: None,
            fault,
        }
    }

    /// Finds out whether an earlier run with this verifier's name is at work, before anything with the name is swept or interrupted.
    /// If the log has a young report of such a run, this one reports itself, and waits for an answer. A run that was killed gives
    /// none. Returns the fault that holds from the start. Returns none if the log cannot be read: its other readers tell.
    pub(crate) async fn meet_predecessor(&mut self, health: &watch::Sender<Health>) -> Option<VerifierFault> {
        loop {
            match self.read_newest().await {
                Ok(()) => break,
                Err(error @ ReadError::Unavailable(_)) => {
                    health.send_replace(Health::paused(&format!("the event log is away: {error}")));
                    sleep(AWAY).await;
                }
                Err(_) => return None,
            }
        }
        let (report, at) = self.last.as_ref()?;
        if *report == stopped() || is_silent(*at) {
            return None;
        }
        let starting = SandboxReported {
            pause_reason: Some("the verifier is starting".to_owned()),
            ..SandboxReported::default()
        };
        // The time for an answer begins when the question is in the log.
        let mut deadline = None;
        let mut must_report = true;
        while self.name_fault.is_none() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            if must_report {
                match self.record(starting.clone(), true).await {
                    Ok(()) => {
                        deadline.get_or_insert_with(|| Instant::now() + ANSWER);
                        must_report = false;
                    }
                    Err(error) => {
                        let why = format!("cannot ask whether another verifier is named {}", self.verifier);
                        health.send_replace(Health::paused(&format!("{why}: {error}")));
                        sleep(AWAY).await;
                    }
                }
            }
            sleep(ANSWER_LOOK).await;
            must_report |= self.must_answer().await;
        }
        self.fault.borrow().clone()
    }

    /// Records each change, and repeats the last report, until it is dropped.
    pub(crate) async fn record_changes(
        &mut self,
        mut health: watch::Receiver<Health>,
        mut registries: watch::Receiver<Vec<SandboxRegistry>>,
        mut unknown_rules: watch::Receiver<BTreeSet<String>>,
        mut fetches: watch::Receiver<Vec<ImageFetch>>,
    ) -> Infallible {
        let mut is_due = false;
        let mut next_look = Instant::now() + LOOK;
        loop {
            let unknown = unknown_rules.borrow_and_update().iter().cloned().collect();
            let now = SandboxReported {
                unknown_rules: unknown,
                fetches: fetches.borrow_and_update().clone(),
                ..reported(&health.borrow_and_update(), &registries.borrow_and_update())
            };
            // The report of the earlier run of this name stays the newest.
            if self.name_fault.is_none()
                && let Err(error) = self.record(now, is_due).await
            {
                tracing::warn!(%error, "could not record the sandbox of {}; trying again", self.verifier);
                sleep(AWAY).await;
                health.mark_changed();
            }
            sleep(PAUSE).await;
            let again = if self.clock_fault.is_some() { CLOCK_AGAIN } else { REPORT_EVERY };
            let due = Instant::now() + again;
            is_due = loop {
                tokio::select! {
                    changed = health.changed() => match changed {
                        Ok(()) => break false,
                        Err(_) => return pending().await,
                    },
                    Ok(()) = registries.changed() => break false,
                    Ok(()) = unknown_rules.changed() => break false,
                    Ok(()) = fetches.changed() => break false,
                    () = sleep_until(due) => break true,
                    () = sleep_until(next_look) => {
                        next_look = Instant::now() + LOOK;
                        if self.must_answer().await {
                            break true;
                        }
                    }
                }
            };
        }
    }

    /// Looks for another process with this verifier's name. Returns true if that process has to see a report of this run.
    async fn must_answer(&mut self) -> bool {
        // A log that is away shows nobody.
        let Ok(look) = self.look().await else { return false };
        match look {
            NameLook::Alone => {}
            NameLook::Later => {
                tracing::error!(
                    "a second verifier with the name {0} started, and is told to yield: give it another name",
                    self.verifier
                );
            }
            NameLook::Earlier => {
                let fault = format!(
                    "another verifier with the name {} is at work with this log, so this one begins nothing; \
                     give one of them another name, or stop one",
                    self.verifier
                );
                tracing::error!("{fault}");
                self.name_fault = Some(fault);
                self.tell();
            }
        }
        look == NameLook::Later
    }

    /// Reads the reports of this verifier's name that others wrote since the last look. Ends the name's fault if the other
    /// one stopped, or was silent for long.
    async fn look(&mut self) -> Result<NameLook, ReadError> {
        let newest = self.newest_events().await?;
        let reports = || newest.iter().filter(|recorded| report(recorded).is_some());
        if self.name_fault.is_some() {
            let is_over = reports().next().is_none_or(|recorded| {
                report(recorded).is_some_and(|report| report == stopped()) || is_silent(recorded.recorded_at)
            });
            if is_over {
                self.name_fault = None;
                self.seen = newest.first().map(|recorded| recorded.id);
                self.tell();
            }
            return Ok(NameLook::Alone);
        }
        let others: Vec<Uuid> = reports()
            .take_while(|recorded| Some(recorded.id) != self.seen)
            .filter_map(|recorded| serde_json::from_slice::<EventMetadata>(&recorded.metadata).ok())
            .map(|metadata| metadata.causation_id)
            .collect();
        self.seen = newest.first().map(|recorded| recorded.id);
        Ok(match others.iter().min() {
            None => NameLook::Alone,
            Some(other) if *other < self.run => NameLook::Earlier,
            // A machine was cloned while it ran, so both runs have one id. From now on they differ.
            Some(other) if *other == self.run => {
                self.run = Uuid::now_v7();
                NameLook::Later
            }
            Some(_) => NameLook::Later,
        })
    }

    /// Tells the fault that holds now, if it is another one than before.
    fn tell(&self) {
        let clock = self.clock_fault.clone().map(VerifierFault::Clock);
        let now = self.name_fault.clone().map(VerifierFault::Name).or(clock);
        self.fault.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
    }

    /// Records that the verifier stopped, if the log accepts it in time.
    pub(crate) async fn record_stop(&mut self) {
        // The other verifier of the name did not stop.
        if self.name_fault.is_some() {
            return;
        }
        if !matches!(timeout(LAST_REPORT, self.record(stopped(), false)).await, Ok(Ok(()))) {
            tracing::warn!("shutdown: could not record that {} stopped", self.verifier);
        }
    }

    /// Records a report, unless the log has the same one, is younger than [`REPORT_EVERY`], and none is due.
    async fn record(&mut self, now: SandboxReported, is_due: bool) -> Result<(), String> {
        if self.last.is_none() {
            self.read_newest().await.map_err(|error| error.to_string())?;
        }
        if let Some((last, at)) = &self.last
            && !is_due
            && *last == now
            && is_fresh(*at)
        {
            return Ok(());
        }
        let before = Timestamp::now();
        let id = Uuid::now_v7();
        let event = NewEvent {
            id,
            kind: SandboxReported::KIND.to_owned(),
            data: now.to_stored().into(),
            metadata: EventMetadata {
                schema: SCHEMA,
                correlation_id: id,
                causation_id: self.run,
                actor: format!("verifier:{}", self.verifier),
                informs: true,
            },
        };
        // A report that is recorded twice does no harm.
        self.store
            .append(&self.stream, ExpectedRevision::Any, vec![event])
            .await
            .map_err(|error| error.to_string())?;
        self.seen = Some(id);
        let after = Timestamp::now();
        let recorded = self.newest_events().await.ok().and_then(|newest| last_report(&newest));
        if let Some((_, at)) = recorded.as_ref().filter(|(report, _)| *report == now) {
            self.compare_clock(before, *at, after);
        }
        self.last = Some((now, after));
        Ok(())
    }

    /// Compares the machine's clock before and after a record with the moment that the log gave it.
    fn compare_clock(&mut self, before: Timestamp, recorded: Timestamp, after: Timestamp) {
        let fault = clock_fault(before, recorded, after);
        if let (None, Some(fault)) = (&self.clock_fault, &fault) {
            tracing::error!("{fault}");
        }
        self.clock_fault = fault;
        self.tell();
    }

    /// Reads the last report in the log. All events up to now count as seen.
    async fn read_newest(&mut self) -> Result<(), ReadError> {
        let newest = self.newest_events().await?;
        self.last = last_report(&newest);
        self.seen = newest.first().map(|recorded| recorded.id);
        Ok(())
    }

    /// Reads the newest events of the stream, the newest first.
    async fn newest_events(&self) -> Result<Vec<RecordedEvent>, ReadError> {
        self.store.read_stream(&self.stream, Revision::MAX, ReadDirection::Backwards, LOOK_BACK).await
    }
}

/// Finds the last report, and the moment of its record.
fn last_report(newest: &[RecordedEvent]) -> Option<(SandboxReported, Timestamp)> {
    newest.iter().find_map(|recorded| Some((report(recorded)?, recorded.recorded_at)))
}

/// Returns the last report of a verifier.
fn stopped() -> SandboxReported {
    let pause_reason = Some("the verifier was stopped".to_owned());
    SandboxReported { pause_reason, ..SandboxReported::default() }
}

/// Reads a report of ours. A stranger's event, or one of a newer version, is none.
fn report(recorded: &RecordedEvent) -> Option<SandboxReported> {
    let RecordedEvent { stream, kind, metadata, data, .. } = recorded;
    match StoredEvent::read(stream.as_str(), kind, metadata, data) {
        StoredEvent::Sandbox(_, report) => Some(report),
        _ => None,
    }
}

fn is_fresh(recorded: Timestamp) -> bool {
    age(recorded).is_some_and(|age| age < REPORT_EVERY)
}

fn is_silent(recorded: Timestamp) -> bool {
    age(recorded).is_some_and(|age| age > SILENT_AFTER)
}

/// Returns the time since a moment, or `None` if it has not come.
fn age(recorded: Timestamp) -> Option<Duration> {
    Duration::try_from(Timestamp::now().duration_since(recorded)).ok()
}

/// Returns the reason why a clock cannot be used that showed `before` and `after` around a record, in a sentence for the
/// operator.
fn clock_fault(before: Timestamp, recorded: Timestamp, after: Timestamp) -> Option<String> {
    let (ahead, behind) = (before.duration_since(recorded), recorded.duration_since(after));
    let (off, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    (off > CLOCK_MAX).then(|| {
        format!(
            "the clock of this machine is {} s {direction} the log's, so it claims no submission; \
             set its clock, and keep it right with NTP",
            off.as_secs()
        )
    })
}

fn reported(health: &Health, registries: &[SandboxRegistry]) -> SandboxReported {
    let node = |node: &NodeHealth| {
        let state = match &node.state {
            NodeState::Ready => {
                let slots = u32::try_from(node.slots).unwrap_or(u32::MAX);
                sandbox::SandboxNodeState::Ready { slots, grade: node.grade }
            }
            NodeState::Paused => sandbox::SandboxNodeState::Paused,
            NodeState::Drained => sandbox::SandboxNodeState::Drained,
            NodeState::Unheard | NodeState::Down => sandbox::SandboxNodeState::Down,
            NodeState::Refused { why } => sandbox::SandboxNodeState::Refused { reason: why.clone() },
        };
        sandbox::SandboxNode { name: node.name.clone(), state }
    };
    SandboxReported {
        pause_reason: health.pause_reason.clone(),
        nodes: health.nodes.iter().map(node).collect(),
        registries: registries.to_vec(),
        unknown_rules: Vec::new(),
        fetches: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
