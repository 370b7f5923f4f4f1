//! The views in memory: the contract, and projections of a real log.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

#[path = "support/another_log.rs"]
mod another_log;
#[path = "support/snapshots.rs"]
mod snapshots;
mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::sandbox::SandboxReported;
use domain::submission::{CATEGORY, SubmissionId};
use event_store::{
    Append, EventFilter, EventPage, ExpectedRevision, Position, Read, ReadDirection, ReadError,
    RecordedEvent, Revision, SqliteStore, StreamName,
};
use projections::contract::{EventHistory, ViewsUnderTest, WORLD, assert_same, in_memory};
use projections::view::{SET_ASIDE_KEPT, StandstillView, SubmissionStatus};
use projections::{
    EventEnvelope, FirstCatchUp, HistoryPoint, LogItem, MemoryViews, ViewQueries, ViewStore, run,
};
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

/// Runs a projection until the views have reached a position, and ends it.
async fn project(log: &SqliteStore, views: &Arc<MemoryViews>, upto: Position) {
    let shutdown = CancellationToken::new();
    let projector =
        tokio::spawn(run(Arc::new(log.clone()), Arc::<MemoryViews>::clone(views), shutdown.clone()));
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= upto)).await.unwrap().unwrap();
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn views_are_shown_once_they_have_what_the_log_had_when_they_were_begun() {
    let (log, _folder) = log();
    let (views, shutdown) = (Arc::new(MemoryViews::new()), CancellationToken::new());
    assert!(FirstCatchUp::of(&*views).progress().is_some());
    let projector = tokio::spawn(run(Arc::new(log.clone()), views.clone(), shutdown.clone()));
    timeout(DEADLINE, FirstCatchUp::of(&*views).wait()).await.expect("an empty log has been read at once");
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();

    let history = EventHistory::random(22, 5000);
    let head = write(&log, &history.events).await.last().unwrap().position;
    let (views, shutdown) = (Arc::new(MemoryViews::new()), CancellationToken::new());
    let projector = tokio::spawn(run(Arc::new(log.clone()), views.clone(), shutdown.clone()));
    timeout(DEADLINE, FirstCatchUp::of(&*views).wait()).await.expect("the log is read");
    assert_eq!(views.checkpoint().await.unwrap(), head);
    shutdown.cancel();
    timeout(DEADLINE, projector).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_map_of_a_moment_has_pins_and_totals_and_no_submissions() {
    let (log, _folder) = log();
    let history = EventHistory::random(23, 1000);
    let written = write(&log, &history.events).await;
    let point = HistoryPoint::Position(written[700].position);
    let all = MemoryViews::at(&log, point).await.unwrap();
    let map = MemoryViews::map_at(&log, point).await.unwrap();
    assert_eq!(map.stats().await.unwrap(), all.stats().await.unwrap());
    assert!(map.stats().await.unwrap().pins > 0);
    for zoom in [0, 5, 16] {
        assert_eq!(map.pins(WORLD, zoom).await.unwrap(), all.pins(WORLD, zoom).await.unwrap());
    }
    for venue in ["berlin", "paris"] {
        assert_eq!(map.venue_stats(venue).await.unwrap(), all.venue_stats(venue).await.unwrap());
        let changed = map.venue_pins_changed(venue, Position::START, 1000).await.unwrap();
        assert_eq!(changed, all.venue_pins_changed(venue, Position::START, 1000).await.unwrap());
    }
    for id in history.submissions() {
        assert_eq!(map.status(id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_submission_stands_still_where_this_version_cannot_read_it_and_the_others_go_on() {
    let (log, _folder) = log();
    let mut history = EventHistory::new();
    let (id, other) = (history.submit("ada", 0), history.submit("ben", 1));
    write(&log, &history.events).await;
    let append = async |id: SubmissionId, kind: &str, data: &str| {
        let event = stored(kind, data.as_bytes());
        log.append(&StreamName::of(CATEGORY, id.0), ExpectedRevision::Any, vec![event])
            .await
            .unwrap()
            .position
    };
    let odd = append(id, "Exploded", "{}").await;
    append(id, "Failed", "7").await;
    let unknown = SubmissionId(Uuid::new_v4());
    append(unknown, "Submitted", "{}").await;
    let started = history.events.len();
    history.start(other);
    history.pass(other);
    let written = write(&log, &history.events[started..]).await;
    let end = written.last().unwrap().position;

    let views = Arc::new(MemoryViews::new());
    project(&log, &views, end).await;
    let view = views.status(id).await.unwrap().unwrap();
    let standstill = view.standstill.unwrap();
    assert_eq!((view.revision, standstill.code.as_str(), standstill.position), (0, "newer_version", odd));
    assert!(standstill.message.contains("newer version"), "{}", standstill.message);
    assert_eq!(views.queue_place(id).await.unwrap(), None, "it waits for no turn");
    assert_eq!(views.status(other).await.unwrap().unwrap().status, SubmissionStatus::Passed);
    assert_eq!(views.stats().await.unwrap().pins, 1);
    let named = views.standstill(unknown).await.unwrap().unwrap();
    assert_eq!((named.code.as_str(), named.r#type.as_str()), ("damaged", "Submitted"));
    assert_eq!(views.standstills(10).await.unwrap().len(), 2);

    let now = MemoryViews::at(&log, HistoryPoint::Time(jiff::Timestamp::now())).await.unwrap();
    assert_eq!(now.standstills(10).await.unwrap(), views.standstills(10).await.unwrap());
}

#[tokio::test]
async fn a_submission_goes_on_up_to_the_next_event_that_this_version_cannot_read() {
    let (log, _folder) = log();
    let mut history = EventHistory::new();
    let (id, further) = (history.submit("ada", 0), history.submit("ben", 1));
    history.start(further);
    history.start(id);
    let written = write(&log, &history.events).await;
    let odd = stored("Exploded", b"{}");
    log.append(&StreamName::of(CATEGORY, id.0), ExpectedRevision::Any, vec![odd]).await.unwrap();
    history.pass(id);
    let passed = write(&log, &history.events[4..]).await;
    let end = passed[0].position;

    // An older version could read neither the start of the one, nor its next event. It stopped before it had let the
    // other stand still.
    let views = Arc::new(MemoryViews::new());
    let standstill = |at: &EventEnvelope| StandstillView {
        id: at.id,
        code: "newer_version".to_owned(),
        message: "It waits for a newer version.".to_owned(),
        r#type: "VerificationStarted".to_owned(),
        why: "it is new".to_owned(),
        position: at.position,
        revision: at.revision,
        since: at.recorded_at,
    };
    views.record_standstill(&standstill(&written[2])).await.unwrap();
    views.apply(Position::START, &written[..3], written[2].position).await.unwrap();
    views.record_standstill(&standstill(&written[3])).await.unwrap();
    views.apply(written[2].position, &[], end).await.unwrap();
    assert_eq!(views.standstills(10).await.unwrap().len(), 2);

    history.submit("cem", 2);
    history.pass(further);
    let more = write(&log, &history.events[5..]).await;
    project(&log, &views, more[1].position).await;
    let view = views.status(id).await.unwrap().unwrap();
    assert_eq!(
        (view.revision, view.status),
        (1, SubmissionStatus::Verifying),
        "no event is applied over the gap"
    );
    let [left] = views.standstills(10).await.unwrap().try_into().unwrap();
    assert_eq!((left.id, left.revision, left.r#type.as_str()), (id, 2, "Exploded"));
    assert_eq!(view.standstill, Some(left));
    assert_eq!(views.status(further).await.unwrap().unwrap().status, SubmissionStatus::Passed);
}

#[tokio::test]
async fn ten_thousand_events_of_strangers_in_our_streams_change_nothing() {
    const STRANGERS: usize = 10_000;
    let (log, _folder) = log();
    let history = EventHistory::random(25, 300);
    let streams: Vec<StreamName> = history
        .submissions()
        .take(3)
        .map(|id| StreamName::of(CATEGORY, id.0))
        .chain(["submission-stats", "sandbox-mine"].map(|name| StreamName::new(name).unwrap()))
        .collect();
    let foreign = async |numbers: std::ops::Range<usize>| {
        let append = async |number: usize| {
            let data = match number % 2000 {
                0 => "x".repeat(1_000_000),
                _ => ["{}", "no JSON", "", r#"{"attempt":1}"#][number % 4].to_owned(),
            };
            let metadata = ["", "{", r#"{"$correlationId":"mine"}"#][number % 3].to_owned();
            let kind = ["Note", "Passed", "SandboxReported"][number % 3];
            event_store::testing::append_foreign(&log, &streams[number % 5], kind, data, metadata).await
        };
        futures::future::join_all(numbers.map(append)).await
    };
    // Strangers are in the streams before our first event, between ours and after the last.
    let (first, rest) = history.events.split_at(150);
    foreign(0..100).await;
    let mut written = write(&log, first).await;
    for numbers in 0..9 {
        foreign(100 + numbers * 1000..100 + (numbers + 1) * 1000).await;
    }
    written.extend(write(&log, rest).await);
    let end = foreign(9100..STRANGERS).await.into_iter().max().unwrap();

    let views = Arc::new(MemoryViews::new());
    project(&log, &views, end).await;
    let without = MemoryViews::new();
    without.apply(Position::START, &written, end).await.unwrap();
    let mut at = Position::START;
    while at < end {
        let page = log.read_all(at, &EventFilter::default(), 1024).await.unwrap();
        let strangers = page.events.iter().filter_map(|event| match LogItem::read(event) {
            LogItem::SetAside(event) => Some(*event),
            _ => None,
        });
        without.record_set_aside(&strangers.collect::<Vec<_>>()).await.unwrap();
        at = page.next;
    }
    assert_same(&*views, &without, history.submissions()).await;
    assert_eq!(views.sandboxes().await.unwrap(), []);
    let set_aside = views.set_aside().await.unwrap();
    assert_eq!((set_aside.count, set_aside.newest.len()), (STRANGERS as u64, SET_ASIDE_KEPT));
    assert_eq!(set_aside.newest.last().unwrap().position, end);
    assert_eq!(views.standstills(10).await.unwrap(), []);
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

    // A newer version's report only informs, so it is passed over.
    let painted = append("sandbox-v1", "SandboxPainted", b"{}").await;
    timeout(DEADLINE, views.watch().wait_for(|at| *at >= painted)).await.unwrap().unwrap();
    assert_eq!(views.sandboxes().await.unwrap(), kept);
    assert!(!running.is_finished());
    running.abort();
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

/// A log whose events were recorded at other moments.
struct OtherMoments(SqliteStore, Vec<jiff::Timestamp>);

#[async_trait]
impl Read for OtherMoments {
    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        let mut page = self.0.read_all(after, filter, max).await?;
        for event in &mut page.events {
            event.recorded_at = self.1[usize::try_from(event.position.0).unwrap() - 1];
        }
        Ok(page)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.0.read_stream(stream, from, direction, max).await
    }

    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.0.event_at(position).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.0.head().await
    }

    async fn position_before(&self, moment: jiff::Timestamp) -> Result<Position, ReadError> {
        self.0.position_before(moment).await
    }
}

#[tokio::test]
async fn a_moment_that_goes_back_hides_no_later_event() {
    let (log, _folder) = log();
    let history = EventHistory::random(26, 100);
    let written = write(&log, &history.events).await;
    let second = |n: i64| jiff::Timestamp::from_second(1_000_000 + n).unwrap();
    // One append while the clock was wrong by years.
    let moments = (0..100).map(|n| second(if n == 40 { 1_000_000_000 } else { n })).collect();
    let log = OtherMoments(log, moments);
    let then = MemoryViews::at(&log, HistoryPoint::Time(second(79))).await.unwrap();
    assert_eq!(then.checkpoint().await.unwrap(), written[79].position);
    let before = MemoryViews::at(&log, HistoryPoint::Time(second(40))).await.unwrap();
    assert_eq!(before.checkpoint().await.unwrap(), written[39].position);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_history() {
    assert_eq!(EventHistory::random(3, 100).events, EventHistory::random(3, 100).events);
    assert_eq!(
        in_memory(&EventHistory::random(3, 100)).await.checkpoint().await.unwrap(),
        EventHistory::random(3, 100).head()
    );
}

#[tokio::test]
async fn views_stop_at_another_log_and_at_one_that_was_restored() {
    another_log::views_stop_at_a_restored_log(open().await.views()).await;
    another_log::views_stop_at_a_log_of_another_identity(open().await.views()).await;
    another_log::views_go_on_with_a_copy_that_has_all_they_know(open().await.views()).await;
}

#[tokio::test]
async fn deletions_are_followed() {
    another_log::deletions_are_followed(open().await.views(), open().await.views()).await;
}
