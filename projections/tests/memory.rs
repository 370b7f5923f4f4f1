//! The views in memory: the contract, and projections of a real log.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::sandbox::SandboxReported;
use domain::submission::CATEGORY;
use event_store::{Append, ExpectedRevision, Position, StreamName};
use projections::contract::{EventHistory, ViewsUnderTest, assert_same, in_memory};
use projections::{HistoryPoint, MemoryViews, ViewQueries, ViewStore, run};
use support::{log, stored, write};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

projections::contract!(open);

const DEADLINE: Duration = Duration::from_secs(30);

struct InMemory(Arc<MemoryViews>);

#[async_trait]
impl ViewsUnderTest for InMemory {
    fn views(&self) -> Arc<dyn ViewStore> {
        Arc::clone(&self.0) as _
    }

    async fn reopened(&self) -> Arc<dyn ViewStore> {
        self.views()
    }
}

async fn open() -> InMemory {
    InMemory(Arc::new(MemoryViews::new()))
}

#[tokio::test]
async fn two_projections_of_a_growing_log_count_each_event_once() {
    let (log, _folder) = log();
    let views = Arc::new(MemoryViews::new());
    let shutdown = CancellationToken::new();
    let projectors =
        [(); 2].map(|()| tokio::spawn(run(Arc::new(log.clone()), views.clone(), shutdown.clone())));
    let history = EventHistory::random(21, 1500);
    let written = write(&log, &history.events).await;
    let head = written.last().unwrap().position;
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= head)).await.unwrap().unwrap();
    shutdown.cancel();
    for projector in projectors {
        timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();
    }

    let folded = MemoryViews::new();
    folded.apply(Position::START, &written, head).await.unwrap();
    assert_same(&*views, &folded, history.submissions()).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_stops_the_projection_before_it() {
    let (log, _folder) = log();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let before = write(&log, &history.events).await;
    let stream = StreamName::of(CATEGORY, Uuid::new_v4());
    log.append(&stream, ExpectedRevision::NoStream, vec![stored("Exploded", b"{}")]).await.unwrap();
    log.append(
        &StreamName::of(CATEGORY, Uuid::new_v4()),
        ExpectedRevision::Any,
        vec![stored("Passed", br#"{"attempt":1}"#)],
    )
    .await
    .unwrap();

    let views = Arc::new(MemoryViews::new());
    let stopped = run(Arc::new(log), views.clone(), CancellationToken::new());
    let error = timeout(DEADLINE, stopped).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("Exploded") && error.contains(stream.as_str()), "{error}");
    assert_eq!(views.checkpoint().await.unwrap(), before.last().unwrap().position);
    assert_eq!(views.stats().await.unwrap().pins, 1);
}

#[tokio::test]
async fn reports_on_sandboxes_are_recorded_and_foreign_events_are_skipped() {
    let (log, _folder) = log();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    write(&log, &history.events).await;
    let append = async |stream: &str, kind: &str, data: &[u8]| {
        let stream = StreamName::new(stream).unwrap();
        log.append(&stream, ExpectedRevision::Any, vec![stored(kind, data)]).await.unwrap().position
    };
    append("sandbox-v1", SandboxReported::KIND, br#"{"trouble":"none yet","nodes":[]}"#).await;
    let newest = append("sandbox-v1", SandboxReported::KIND, br#"{"trouble":null,"nodes":[]}"#).await;
    let end = append("orders-1", "Ordered", b"{}").await;

    let views = Arc::new(MemoryViews::new());
    let running = tokio::spawn(run(Arc::new(log.clone()), views.clone(), CancellationToken::new()));
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= end)).await.unwrap().unwrap();
    let kept = views.sandboxes().await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let v1 = &kept[0];
    assert_eq!((v1.verifier.as_str(), v1.position, &v1.sandbox.pause_reason), ("v1", newest, &None));

    // A report that cannot be decoded is never skipped.
    append("sandbox-v1", "SandboxPainted", b"{}").await;
    let error = timeout(DEADLINE, running).await.unwrap().unwrap().unwrap_err().to_string();
    assert!(error.contains("SandboxPainted") && error.contains("sandbox-v1"), "{error}");
    assert_eq!(views.checkpoint().await.unwrap(), end);
}

#[tokio::test]
async fn the_views_of_any_point_in_history_can_be_folded() {
    let (log, _folder) = log();
    let history = EventHistory::random(22, 300);
    let written = write(&log, &history.events).await;
    let upto = written[199].position;
    let then = MemoryViews::at(&log, HistoryPoint::Position(upto)).await.unwrap();
    let folded = MemoryViews::new();
    folded.apply(Position::START, &written[..200], upto).await.unwrap();
    assert_same(&then, &folded, history.submissions()).await;

    let before_all = MemoryViews::at(&log, HistoryPoint::Time(jiff::Timestamp::UNIX_EPOCH)).await.unwrap();
    assert_eq!(before_all.checkpoint().await.unwrap(), Position::START);
    let now = MemoryViews::at(&log, HistoryPoint::Time(jiff::Timestamp::now())).await.unwrap();
    assert_eq!(now.checkpoint().await.unwrap(), written.last().unwrap().position);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_history() {
    assert_eq!(EventHistory::random(3, 100).events, EventHistory::random(3, 100).events);
    assert_eq!(
        in_memory(&EventHistory::random(3, 100)).await.checkpoint().await.unwrap(),
        EventHistory::random(3, 100).head()
    );
}
