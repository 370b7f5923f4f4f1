//! Records how the sandbox is, whenever that changes, for those who look after
//! it: the newest report of each verifier is all that they read.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use domain::sandbox::{self, SCHEMA, SandboxReported};
use event_store::{
    EventMetadata, EventStore, ExpectedRevision, NewEvent, ReadDirection, ReadError, Revision, StreamName,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::health::{Health, NodeHealth, NodeState};

/// The least time between two reports, so that a node that flaps does not fill the log.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause after the log could not be reached.
const AWAY: Duration = Duration::from_secs(2);

/// How long the log may take to hear that a verifier stopped.
const GOODBYE: Duration = Duration::from_secs(2);

/// The reports of one verifier.
pub(crate) struct SandboxReporter {
    store: Arc<dyn EventStore>,
    verifier: String,
    stream: StreamName,
    /// What was recorded last; `None` until that is known.
    told: Option<SandboxReported>,
}

impl SandboxReporter {
    /// Those of the verifier of this name.
    pub(crate) fn new(store: Arc<dyn EventStore>, verifier: &str) -> Self {
        let stream = StreamName::new(SandboxReported::stream(verifier));
        let stream = stream.expect("a verifier's name is short, and letters, digits and hyphens");
        Self { store, verifier: verifier.to_owned(), stream, told: None }
    }

    /// Records each change, until it is dropped.
    pub(crate) async fn follow(&mut self, mut health: watch::Receiver<Health>) -> Infallible {
        loop {
            let now = reported(&health.borrow_and_update());
            if let Err(error) = self.tell(now).await {
                tracing::warn!(%error, "how the sandbox is could not be recorded yet");
                sleep(AWAY).await;
                health.mark_changed();
            }
            sleep(PAUSE).await;
            if health.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Records that the verifier stopped, if the log takes it in time.
    pub(crate) async fn say_goodbye(&mut self) {
        let stopped = SandboxReported { trouble: Some("the verifier was stopped".to_owned()), nodes: vec![] };
        if !matches!(timeout(GOODBYE, self.tell(stopped)).await, Ok(Ok(()))) {
            tracing::warn!("that the verifier stopped could not be recorded");
        }
    }

    async fn tell(&mut self, now: SandboxReported) -> Result<(), String> {
        if self.told.is_none() {
            self.told = self.newest().await.map_err(|error| error.to_string())?;
        }
        if self.told.as_ref() == Some(&now) {
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
            },
        };
        // Nobody else writes here; and should it have been recorded after all,
        // then once more does no harm.
        self.store
            .append(&self.stream, ExpectedRevision::Any, vec![event])
            .await
            .map_err(|error| error.to_string())?;
        self.told = Some(now);
        Ok(())
    }

    /// What was recorded before this start.
    async fn newest(&self) -> Result<Option<SandboxReported>, ReadError> {
        let newest = self.store.read_stream(&self.stream, Revision::MAX, ReadDirection::Backwards, 1).await?;
        newest.first().map(|recorded| recorded.decode(SandboxReported::from_stored)).transpose()
    }
}

fn reported(health: &Health) -> SandboxReported {
    let node = |node: &NodeHealth| {
        let state = match &node.state {
            NodeState::Ready => {
                sandbox::SandboxNodeState::Ready { slots: u32::try_from(node.slots).unwrap_or(u32::MAX) }
            }
            NodeState::Paused => sandbox::SandboxNodeState::Paused,
            NodeState::Drained => sandbox::SandboxNodeState::Drained,
            NodeState::Unheard | NodeState::Down => sandbox::SandboxNodeState::Down,
            NodeState::Refused { why } => sandbox::SandboxNodeState::Refused { reason: why.clone() },
        };
        sandbox::SandboxNode { name: node.name.clone(), state }
    };
    SandboxReported { trouble: health.waiting.clone(), nodes: health.nodes.iter().map(node).collect() }
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
        timeout(DEADLINE, enough).await.expect("it is recorded");
        recorded(store).await
    }

    fn one_node(state: NodeState, slots: usize) -> Health {
        Health { waiting: None, nodes: vec![NodeHealth { name: "n1".to_owned(), state, slots }] }
    }

    #[tokio::test]
    async fn each_change_is_recorded_once_and_a_new_start_repeats_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let (told, health) = watch::channel(one_node(NodeState::Ready, 4));
        let log: Arc<dyn EventStore> = Arc::new(store.clone());
        let mut before = SandboxReporter::new(Arc::clone(&log), "v1");
        let following = health.clone();
        let following = tokio::spawn(async move { before.follow(following).await });
        let first = until_recorded(&store, 1).await;
        assert_eq!((first[0].slots(), &first[0].trouble), (4, &None));
        following.abort();

        // The same name starts again and finds what it said last.
        let mut after = SandboxReporter::new(log, "v1");
        let mut stopping = health.clone();
        let following = tokio::spawn(async move {
            tokio::select! {
                never = after.follow(health) => match never {},
                _ = stopping.wait_for(|health| health.waiting.is_some()) => {}
            }
            after.say_goodbye().await;
        });
        told.send_replace(one_node(NodeState::Refused { why: "no seccomp".to_owned() }, 0));
        let second = until_recorded(&store, 2).await;
        let refused = sandbox::SandboxNodeState::Refused { reason: "no seccomp".to_owned() };
        assert_eq!(second[1].nodes, [sandbox::SandboxNode { name: "n1".to_owned(), state: refused }]);
        assert_eq!(second.len(), 2, "what was known was said again: {second:?}");

        told.send_replace(Health::waiting("it stops"));
        timeout(DEADLINE, following).await.expect("it says good-bye").unwrap();
        let last = recorded(&store).await.pop().unwrap();
        assert_eq!(last.trouble.as_deref(), Some("the verifier was stopped"));
    }
}
