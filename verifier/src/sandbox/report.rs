//! Records the state of the sandbox in the log whenever it changes. Each report is complete, so readers need
//! only the newest one of each verifier. A report is also repeated, because a verifier that died reports nothing. The moment at
//! which the log records it is compared with the machine's own clock.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use domain::StoredEvent;
use domain::sandbox::{self, ImageFetch, REPORT_EVERY, SCHEMA, SandboxRegistry, SandboxReported};
use event_store::{
    EventMetadata, EventStore, ExpectedRevision, NewEvent, ReadDirection, ReadError, RecordedEvent, Revision,
    StreamName,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::health::{Health, NodeHealth, NodeState};

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

/// The number of events that are searched for the last report. If strangers wrote more, the report is recorded again.
const LOOK_BACK: usize = 32;

/// The reports of one verifier.
pub(crate) struct SandboxReporter {
    store: Arc<dyn EventStore>,
    verifier: String,
    stream: StreamName,
    /// The last recorded report, and the moment of its record. `None` until it was read from the log.
    last: Option<(SandboxReported, Timestamp)>,
    /// The reason why this machine's clock cannot be used.
    clock_fault: watch::Sender<Option<String>>,
}

impl SandboxReporter {
    /// Creates the reports of a verifier. `clock_fault` is told when the machine's clock differs from the log's.
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        verifier: &str,
        clock_fault: watch::Sender<Option<String>>,
    ) -> Self {
        let stream = StreamName::new(SandboxReported::stream(verifier));
        let stream = stream.expect("a verifier's name is short, and letters, digits and hyphens");
        Self { store, verifier: verifier.to_owned(), stream, last: None, clock_fault }
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
        loop {
            let unknown = unknown_rules.borrow_and_update().iter().cloned().collect();
            let now = SandboxReported {
                unknown_rules: unknown,
                fetches: fetches.borrow_and_update().clone(),
                ..reported(&health.borrow_and_update(), &registries.borrow_and_update())
            };
            if let Err(error) = self.record(now, is_due).await {
                tracing::warn!(%error, "could not record the sandbox of {}; trying again", self.verifier);
                sleep(AWAY).await;
                health.mark_changed();
            }
            sleep(PAUSE).await;
            let again = if self.clock_fault.borrow().is_some() { CLOCK_AGAIN } else { REPORT_EVERY };
            is_due = tokio::select! {
                changed = health.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return pending().await,
                },
                Ok(()) = registries.changed() => false,
                Ok(()) = unknown_rules.changed() => false,
                Ok(()) = fetches.changed() => false,
                () = sleep(again) => true,
            };
        }
    }

    /// Records that the verifier stopped, if the log accepts it in time.
    pub(crate) async fn record_stop(&mut self) {
        let pause_reason = Some("the verifier was stopped".to_owned());
        let stopped = SandboxReported { pause_reason, ..SandboxReported::default() };
        if !matches!(timeout(LAST_REPORT, self.record(stopped, false)).await, Ok(Ok(()))) {
            tracing::warn!("shutdown: could not record that {} stopped", self.verifier);
        }
    }

    /// Records a report, unless the log has the same one, is younger than [`REPORT_EVERY`], and none is due.
    async fn record(&mut self, now: SandboxReported, is_due: bool) -> Result<(), String> {
        if self.last.is_none() {
            self.last = self.newest().await.map_err(|error| error.to_string())?;
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
                causation_id: id,
                actor: format!("verifier:{}", self.verifier),
                informs: true,
            },
        };
        // Only this verifier writes this stream, and a report that is recorded twice does no harm.
        self.store
            .append(&self.stream, ExpectedRevision::Any, vec![event])
            .await
            .map_err(|error| error.to_string())?;
        let after = Timestamp::now();
        let recorded = self.newest().await.ok().flatten();
        if let Some((_, at)) = recorded.as_ref().filter(|(report, _)| *report == now) {
            self.compare_clock(before, *at, after);
        }
        self.last = Some((now, after));
        Ok(())
    }

    /// Compares the machine's clock before and after a record with the moment that the log gave it.
    fn compare_clock(&self, before: Timestamp, recorded: Timestamp, after: Timestamp) {
        let fault = clock_fault(before, recorded, after);
        self.clock_fault.send_if_modified(|known| {
            if let (None, Some(fault)) = (&known, &fault) {
                tracing::error!("{fault}");
            }
            std::mem::replace(known, fault.clone()) != fault
        });
    }

    /// Returns the last report in the log, and the moment of its record.
    async fn newest(&self) -> Result<Option<(SandboxReported, Timestamp)>, ReadError> {
        let newest =
            self.store.read_stream(&self.stream, Revision::MAX, ReadDirection::Backwards, LOOK_BACK).await?;
        Ok(newest.iter().find_map(|recorded| Some((report(recorded)?, recorded.recorded_at))))
    }
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
    Duration::try_from(Timestamp::now().duration_since(recorded)).is_ok_and(|age| age < REPORT_EVERY)
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
mod tests {
    use event_store::{Read, SqliteStore};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn recorded(store: &SqliteStore) -> Vec<SandboxReported> {
        let stream = StreamName::new("sandbox-v1").unwrap();
        let recorded = store.read_stream(&stream, 0, ReadDirection::Forwards, 100).await.unwrap();
        recorded.iter().map(|event| event.decode(SandboxReported::from_stored).unwrap()).collect()
    }

    async fn until_recorded(store: &SqliteStore, count: usize) -> Vec<SandboxReported> {
        let enough = async {
            while recorded(store).await.len() < count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, enough).await.expect("the reports are recorded");
        recorded(store).await
    }

    fn one_node(state: NodeState, slots: usize) -> Health {
        Health {
            pause_reason: None,
            nodes: vec![NodeHealth { name: "n1".to_owned(), state, slots, grade: None }],
        }
    }

    #[tokio::test]
    async fn each_change_is_recorded_once_and_a_restart_repeats_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let (sender, health) = watch::channel(one_node(NodeState::Ready, 4));
        let log: Arc<dyn EventStore> = Arc::new(store.clone());
        let no_fault = watch::Sender::new(None);
        let (_registries, none) = watch::channel(Vec::new());
        let mut before = SandboxReporter::new(Arc::clone(&log), "v1", no_fault.clone());
        let (_unknown, no_rules) = watch::channel(BTreeSet::new());
        let (_fetches, no_fetches) = watch::channel(Vec::new());
        let (following, registries, unknown) = (health.clone(), none.clone(), no_rules.clone());
        let fetches = no_fetches.clone();
        let following =
            tokio::spawn(async move { before.record_changes(following, registries, unknown, fetches).await });
        let first = until_recorded(&store, 1).await;
        assert_eq!((first[0].slots(), &first[0].pause_reason), (4, &None));
        following.abort();

        // A verifier of the same name starts and finds the last report.
        let mut after = SandboxReporter::new(log, "v1", no_fault.clone());
        let mut stopping = health.clone();
        let following = tokio::spawn(async move {
            tokio::select! {
                never = after.record_changes(health, none, no_rules, no_fetches) => match never {},
                _ = stopping.wait_for(|health| health.pause_reason.is_some()) => {}
            }
            after.record_stop().await;
        });
        sender.send_replace(one_node(NodeState::Refused { why: "no seccomp".to_owned() }, 0));
        let second = until_recorded(&store, 2).await;
        let refused = sandbox::SandboxNodeState::Refused { reason: "no seccomp".to_owned() };
        assert_eq!(second[1].nodes, [sandbox::SandboxNode { name: "n1".to_owned(), state: refused }]);
        assert_eq!(second.len(), 2, "a known report was recorded again: {second:?}");

        sender.send_replace(Health::paused("it stops"));
        timeout(DEADLINE, following).await.expect("the stop is recorded").unwrap();
        assert_eq!(*no_fault.borrow(), None, "the log and this machine have one clock");
        let last = recorded(&store).await.pop().unwrap();
        assert_eq!(last.pause_reason.as_deref(), Some("the verifier was stopped"));
    }

    #[tokio::test]
    async fn a_report_is_repeated_when_it_is_due_and_when_the_one_in_the_log_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let log: Arc<dyn EventStore> = Arc::new(store.clone());
        let mut reporter = SandboxReporter::new(log, "v1", watch::Sender::new(None));
        let limited = SandboxRegistry { name: "docker.io".to_owned(), pause: None, pulls_remaining: Some(7) };
        let report = reported(&one_node(NodeState::Ready, 4), &[limited]);
        for (is_due, count) in [(false, 1), (false, 1), (true, 2), (false, 2)] {
            reporter.record(report.clone(), is_due).await.unwrap();
            assert_eq!(recorded(&store).await.len(), count);
        }
        reporter.last = Some((report.clone(), Timestamp::now() - REPORT_EVERY));
        reporter.record(report.clone(), false).await.unwrap();
        assert_eq!(recorded(&store).await, [report.clone(), report.clone(), report]);
    }

    #[test]
    fn a_clock_that_differs_by_seconds_is_named_with_its_direction() {
        let second = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(clock_fault(second(100), second(100), second(100)), None);
        // A slow log shows no fault.
        assert_eq!(clock_fault(second(100), second(130), second(140)), None);
        assert_eq!(clock_fault(second(100), second(95), second(101)), None);
        let ahead = clock_fault(second(100), second(58), second(101)).unwrap();
        assert!(ahead.contains("42 s ahead of the log's"), "{ahead}");
        let behind = clock_fault(second(100), second(110), second(101)).unwrap();
        assert!(behind.contains("9 s behind the log's"), "{behind}");
    }
}
