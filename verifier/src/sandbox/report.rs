//! Records the state of the sandbox in the log whenever it changes. Each report is complete, so readers need
//! only the newest one of each verifier.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use domain::StoredEvent;
use domain::sandbox::{self, SCHEMA, SandboxReported};
use event_store::{
    EventMetadata, EventStore, ExpectedRevision, NewEvent, ReadDirection, ReadError, RecordedEvent, Revision,
    StreamName,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::health::{Health, NodeHealth, NodeState};

/// The shortest time between two reports, so that a node that comes and goes does not fill the log.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause after the log could not be reached.
const AWAY: Duration = Duration::from_secs(2);

/// The time for the last report when the verifier stops.
const LAST_REPORT: Duration = Duration::from_secs(2);

/// The number of events that are searched for the last report. If strangers wrote more, the report is recorded again.
const LOOK_BACK: usize = 32;

/// The reports of one verifier.
pub(crate) struct SandboxReporter {
    store: Arc<dyn EventStore>,
    verifier: String,
    stream: StreamName,
    /// The last recorded report. `None` until it was read from the log.
    last: Option<SandboxReported>,
}

impl SandboxReporter {
    pub(crate) fn new(store: Arc<dyn EventStore>, verifier: &str) -> Self {
        let stream = StreamName::new(SandboxReported::stream(verifier));
        let stream = stream.expect("a verifier's name is short, and letters, digits and hyphens");
        Self { store, verifier: verifier.to_owned(), stream, last: None }
    }

    /// Records each change, until it is dropped.
    pub(crate) async fn record_changes(&mut self, mut health: watch::Receiver<Health>) -> Infallible {
        loop {
            let now = reported(&health.borrow_and_update());
            if let Err(error) = self.record(now).await {
                tracing::warn!(%error, "could not record the sandbox of {}; trying again", self.verifier);
                sleep(AWAY).await;
                health.mark_changed();
            }
            sleep(PAUSE).await;
            if health.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Records that the verifier stopped, if the log accepts it in time.
    pub(crate) async fn record_stop(&mut self) {
        let pause_reason = Some("the verifier was stopped".to_owned());
        let stopped = SandboxReported { pause_reason, nodes: vec![] };
        if !matches!(timeout(LAST_REPORT, self.record(stopped)).await, Ok(Ok(()))) {
            tracing::warn!("shutdown: could not record that {} stopped", self.verifier);
        }
    }

    async fn record(&mut self, now: SandboxReported) -> Result<(), String> {
        if self.last.is_none() {
            self.last = self.newest().await.map_err(|error| error.to_string())?;
        }
        if self.last.as_ref() == Some(&now) {
            return Ok(());
        }
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
        self.last = Some(now);
        Ok(())
    }

    /// Returns the last report in the log.
    async fn newest(&self) -> Result<Option<SandboxReported>, ReadError> {
        let newest =
            self.store.read_stream(&self.stream, Revision::MAX, ReadDirection::Backwards, LOOK_BACK).await?;
        Ok(newest.iter().find_map(report))
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

fn reported(health: &Health) -> SandboxReported {
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
        let mut before = SandboxReporter::new(Arc::clone(&log), "v1");
        let following = health.clone();
        let following = tokio::spawn(async move { before.record_changes(following).await });
        let first = until_recorded(&store, 1).await;
        assert_eq!((first[0].slots(), &first[0].pause_reason), (4, &None));
        following.abort();

        // A verifier of the same name starts and finds the last report.
        let mut after = SandboxReporter::new(log, "v1");
        let mut stopping = health.clone();
        let following = tokio::spawn(async move {
            tokio::select! {
                never = after.record_changes(health) => match never {},
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
        let last = recorded(&store).await.pop().unwrap();
        assert_eq!(last.pause_reason.as_deref(), Some("the verifier was stopped"));
    }
}
