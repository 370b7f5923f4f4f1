//! The behaviour of every store of views at another log, and at one that was restored from an older copy.

use std::sync::Arc;
use std::time::Duration;

use domain::submission::{CATEGORY, SubmissionId};
use event_store::testing::{soft_delete, tombstone};
use event_store::{EventFilter, LogIdentity, Position, Read, ReadError, SqliteStore, StreamName};
use jiff::Timestamp;
use projections::contract::EventHistory;
use projections::{HistoryPoint, LogItem, MemoryViews, ProjectionError, ViewQueries, ViewStore, run};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::write;

const DEADLINE: Duration = Duration::from_secs(60);

/// A log that grew after it was copied, and the copy, which grew too: by other events, and further.
pub(crate) struct RestoredLog {
    pub(crate) grown: SqliteStore,
    pub(crate) restored: SqliteStore,
    /// The newest position of the log that was not restored.
    pub(crate) end: Position,
    _folder: TempDir,
}

impl RestoredLog {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let open = |name: &str| SqliteStore::open(folder.path().join(name)).unwrap();
        let copy = |to: &str| std::fs::copy(folder.path().join("log.db"), folder.path().join(to)).unwrap();
        let log = open("log.db");
        LogIdentity::ensure(&log).await.unwrap();
        write(&log, &EventHistory::random(51, 20).events).await;
        log.close().await;
        copy("restored.db");

        let (grown, restored) = (open("log.db"), open("restored.db"));
        let end = write(&grown, &EventHistory::random(52, 20).events).await.last().unwrap().position;
        write(&restored, &EventHistory::random(53, 40).events).await;
        Self { grown, restored, end, _folder: folder }
    }
}

/// Projects a log until the views have reached a position.
pub(crate) async fn project(log: &SqliteStore, views: &Arc<dyn ViewStore>, upto: Position) {
    let shutdown = CancellationToken::new();
    let projector = tokio::spawn(run(Arc::new(log.clone()), Arc::clone(views), shutdown.clone()));
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= upto)).await.unwrap().unwrap();
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();
}

/// Returns the error with which a projection of the log ends.
pub(crate) async fn refused(log: &SqliteStore, views: &Arc<dyn ViewStore>) -> ProjectionError {
    let ended = run(Arc::new(log.clone()), Arc::clone(views), CancellationToken::new());
    timeout(DEADLINE, ended).await.expect("in time").expect_err("it is another log")
}

/// The views skip no event of a log that was restored from an older copy and has grown past their checkpoint.
pub(crate) async fn views_stop_at_a_restored_log(views: Arc<dyn ViewStore>) {
    let logs = RestoredLog::new().await;
    project(&logs.grown, &views, logs.end).await;
    let before = views.stats().await.unwrap();
    let error = refused(&logs.restored, &views).await;
    assert!(
        matches!(&error, ProjectionError(ReadError::OtherLog { after, .. }) if *after == logs.end),
        "{error}"
    );
    assert!(error.to_string().contains("muster rebuild --other-log"), "{error}");
    assert_eq!(views.stats().await.unwrap(), before, "nothing of it was applied");
    project(&logs.grown, &views, logs.end).await;
}

/// The views stop at another log although they have applied none of its events.
pub(crate) async fn views_stop_at_a_log_of_another_identity(views: Arc<dyn ViewStore>) {
    let folder = TempDir::new().unwrap();
    let log = |name: &str| SqliteStore::open(folder.path().join(name)).unwrap();
    let (first, second) = (log("first.db"), log("second.db"));
    LogIdentity::ensure(&first).await.unwrap();
    project(&first, &views, first.head().await.unwrap()).await;
    LogIdentity::ensure(&second).await.unwrap();
    let error = refused(&second, &views).await;
    assert!(matches!(&error, ProjectionError(ReadError::OtherLog { after: Position::START, .. })), "{error}");
}

/// A copy that has all events that the views have applied is no other log to them.
pub(crate) async fn views_go_on_with_a_copy_that_has_all_they_know(views: Arc<dyn ViewStore>) {
    let logs = RestoredLog::new().await;
    let common = Position(21);
    project_part(&logs.grown, &views, common).await;
    let end = logs.restored.head().await.unwrap();
    project(&logs.restored, &views, end).await;
}

/// Applies the events of a log up to a position.
async fn project_part(log: &SqliteStore, views: &Arc<dyn ViewStore>, upto: Position) {
    let page = log.read_all(Position::START, &EventFilter::stream_prefix("submission-"), 1000).await.unwrap();
    let events: Vec<_> = page
        .events
        .iter()
        .filter(|event| event.position <= upto)
        .filter_map(|event| LogItem::read(event).into_event())
        .collect();
    views.apply(Position::START, &events, upto).await.unwrap();
}

/// The views learn of deletions while they follow the log, and also from a log from which the streams are gone already.
pub(crate) async fn deletions_are_followed(views: Arc<dyn ViewStore>, later: Arc<dyn ViewStore>) {
    let folder = TempDir::new().unwrap();
    let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
    let mut history = EventHistory::new();
    let gone = [0, 1].map(|city| history.submit_and_pass(&format!("gone{city}"), city));
    let kept = history.submit_and_pass("ada", 2);
    write(&log, &history.events).await;
    project(&log, &views, log.head().await.unwrap()).await;
    assert_eq!(views.stats().await.unwrap().pins, 3);

    let stream = |id: SubmissionId| StreamName::of(CATEGORY, id.0);
    soft_delete(&log, &stream(gone[0])).await;
    tombstone(&log, &stream(gone[1])).await;
    // A soft delete and a tombstone are one event each.
    let end = Position(log.head().await.unwrap().0 + 2);
    for views in [views, later] {
        project(&log, &views, end).await;
        for id in gone {
            assert_eq!(views.status(id).await.unwrap(), None);
            assert!(views.deletion(id).await.unwrap().is_some());
        }
        assert!(views.status(kept).await.unwrap().is_some());
        assert_eq!(views.stats().await.unwrap().pins, 1);
        // They go on at an event of ours, and are not at another log after a restart.
        assert!(views.resume_point().await.unwrap().position < end);
        project(&log, &views, end).await;
    }
    // The deletions are the last events, and a moment after them has them as well.
    let now = MemoryViews::at(&log, HistoryPoint::Time(Timestamp::now())).await.unwrap();
    assert_eq!(now.stats().await.unwrap().pins, 1);
    assert_eq!(now.status(gone[1]).await.unwrap(), None);
}
