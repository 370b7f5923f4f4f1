//! Snapshots of the views in memory: they show the same as the log, and if anything is wrong with one, the log is read.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::submission::{CATEGORY, Event, Participant};
use event_store::testing::soft_delete;
use event_store::{
    EventFilter, EventPage, LogIdentity, Position, Read, ReadDirection, ReadError, RecordedEvent, Revision,
    SqliteStore, StreamName,
};
use projections::contract::{EventHistory, assert_same};
use projections::view::{DeletionView, SandboxView, SetAsideEvent, StandstillView};
use projections::{EventEnvelope, MemoryViews, ViewQueries, ViewSnapshots, ViewStore};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{DEADLINE, project};
use crate::support::{log, write};

/// Opens the snapshot in a folder, or empty views.
async fn open(folder: &Path, log: &SqliteStore) -> MemoryViews {
    let views = MemoryViews::new();
    ViewSnapshots::in_directory(folder).load(&views, log).await;
    views
}

/// Writes a snapshot, as another process would, and opens it.
async fn reopened(folder: &Path, log: &SqliteStore, views: &MemoryViews) -> MemoryViews {
    let written = ViewSnapshots::in_directory(folder).write(views, log).await.unwrap();
    let opened = open(folder, log).await;
    assert_eq!(opened.resume_point().await.unwrap(), views.resume_point().await.unwrap());
    assert!(written.is_some());
    opened
}

/// A log with a history in it, and an identity.
async fn filled(seed: u64, events: usize) -> (SqliteStore, TempDir, EventHistory, Vec<EventEnvelope>) {
    let (log, folder) = log();
    LogIdentity::ensure(&log).await.unwrap();
    let history = EventHistory::random(seed, events);
    let written = write(&log, &history.events).await;
    (log, folder, history, written)
}

/// Changes the views by an event, or by something else at its place.
async fn step(views: &MemoryViews, number: usize, envelope: &EventEnvelope) {
    let (from, id) = (views.checkpoint().await.unwrap(), envelope.id);
    let (position, since, revision) = (envelope.position, envelope.recorded_at, envelope.revision);
    let text = || format!("text {number}");
    match number % 23 {
        11 => {
            let (code, message, r#type, why) = (text(), text(), text(), text());
            let standstill = StandstillView { id, code, message, r#type, why, position, revision, since };
            views.record_standstill(&standstill).await.unwrap();
        }
        17 => {
            views.apply_deletion(from, &DeletionView { id, position, at: since }).await.unwrap();
        }
        other => {
            let (stream, r#type, at, why) = (text(), text(), since, text());
            if other == 5 {
                let foreign = SetAsideEvent { position, stream, revision, r#type, at, why };
                views.record_set_aside(&[foreign]).await.unwrap();
                let sandbox = Default::default();
                let report = SandboxView { verifier: format!("v{}", number % 3), position, since, sandbox };
                views.record_sandbox(&report).await.unwrap();
            }
            if views.deletion(id).await.unwrap().is_none() {
                views.apply(from, std::slice::from_ref(envelope), position).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn views_from_a_snapshot_at_any_event_show_what_the_log_would() {
    for seed in [61, 62] {
        let (log, folder, history, written) = filled(seed, 110).await;
        let (all, mut views) = (MemoryViews::new(), MemoryViews::new());
        for (number, envelope) in written.iter().enumerate() {
            step(&all, number, envelope).await;
            step(&views, number, envelope).await;
            if views.resume_point().await.unwrap().event.is_some() {
                views = reopened(folder.path(), &log, &views).await;
            }
            let is_at_an_event = views.checkpoint().await.unwrap() == all.checkpoint().await.unwrap();
            if is_at_an_event && number % 15 == 0 {
                assert_same(&views, &all, history.submissions()).await;
                assert_eq!(views.sandboxes().await.unwrap(), all.sandboxes().await.unwrap());
                let now = jiff::Timestamp::now();
                assert_eq!(views.place_before(now).await.unwrap(), all.place_before(now).await.unwrap());
                assert_eq!(views.overdue(now, 9).await.unwrap(), all.overdue(now, 9).await.unwrap());
            }
        }
        for id in history.submissions() {
            assert_eq!(views.deletion(id).await.unwrap(), all.deletion(id).await.unwrap());
        }
    }
}

#[tokio::test]
async fn views_from_a_snapshot_go_on_in_their_log() {
    let (log, folder, history, written) = filled(64, 300).await;
    for cut in [1, 150, 299, 300] {
        let begun = MemoryViews::new();
        begun.apply(Position::START, &written[..cut], written[cut - 1].position).await.unwrap();
        let views = Arc::new(reopened(folder.path(), &log, &begun).await);
        let head = log.head().await.unwrap();
        project(&log, &views, head).await;
        let all = MemoryViews::new();
        all.apply(Position::START, &written, head).await.unwrap();
        assert_same(&*views, &all, history.submissions()).await;
    }
}

/// Writes a snapshot of a small log, and returns its bytes.
async fn small(seed: u64) -> (SqliteStore, TempDir, Vec<u8>) {
    let (log, folder, _, written) = filled(seed, 60).await;
    let views = MemoryViews::new();
    views.apply(Position::START, &written, written[59].position).await.unwrap();
    reopened(folder.path(), &log, &views).await;
    let bytes = fs::read(folder.path().join("views.snapshot")).unwrap();
    (log, folder, bytes)
}

async fn assert_passed_over(folder: &TempDir, log: &SqliteStore, bytes: &[u8], what: &str) {
    fs::write(folder.path().join("views.snapshot"), bytes).unwrap();
    let views = open(folder.path(), log).await;
    assert_eq!(views.checkpoint().await.unwrap(), Position::START, "{what}");
    assert_eq!(views.stats().await.unwrap(), MemoryViews::new().stats().await.unwrap(), "{what}");
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over() {
    let (log, folder, bytes) = small(65).await;
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        assert_passed_over(&folder, &log, &bytes[..length], &format!("cut to {length}")).await;
    }
    for at in (0..bytes.len()).step_by(53) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_passed_over(&folder, &log, &flipped, &format!("flipped at {at}")).await;
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_passed_over(&folder, &log, &longer, "with more after its end").await;
    let head = [2, 255, 255, 255, 255];
    for checksum in [[0; 4], crc32fast::hash(&head).to_le_bytes()] {
        let huge = [&bytes[..8], &head, &checksum, &[0; 4]].concat();
        assert_passed_over(&folder, &log, &huge, "a chunk of four gigabytes").await;
    }
}

#[tokio::test]
async fn a_snapshot_of_another_version_is_passed_over() {
    let (log, folder, bytes) = small(66).await;
    let length = u32::from_le_bytes(bytes[9..13].try_into().unwrap()) as usize;
    let header = 21..21 + length;
    for (from, to) in [(env!("CARGO_PKG_VERSION").as_bytes(), b"9.9.9".as_slice()), (b"shape", b"shap\x00")] {
        let mut other = bytes.clone();
        let at = other[header.clone()].windows(from.len()).position(|part| part == from).unwrap() + 21;
        match to {
            // The number follows the name and its end.
            b"shap\x00" => other[at + 6] += 1,
            _ => other[at..at + to.len()].copy_from_slice(to),
        }
        let checksum = crc32fast::hash(&other[header.clone()]);
        other[17..21].copy_from_slice(&checksum.to_le_bytes());
        assert_passed_over(&folder, &log, &other, "of another version").await;
    }
    fs::write(folder.path().join("views.snapshot"), &bytes).unwrap();
    assert_ne!(open(folder.path(), &log).await.checkpoint().await.unwrap(), Position::START);
}

#[tokio::test]
async fn a_snapshot_of_another_log_is_passed_over() {
    let (_, _folder, bytes) = small(67).await;
    let (other, folder, _) = small(67).await;
    assert_passed_over(&folder, &other, &bytes, "of another log").await;
    let (empty, folder) = log();
    assert_passed_over(&folder, &empty, &bytes, "of an empty log").await;

    let restored = crate::another_log::RestoredLog::new().await;
    let views = Arc::new(MemoryViews::new());
    project(&restored.grown, &views, restored.end).await;
    let folder = TempDir::new().unwrap();
    ViewSnapshots::in_directory(folder.path()).write(&views, &restored.grown).await.unwrap().unwrap();
    let opened = open(folder.path(), &restored.grown).await;
    assert_eq!(opened.checkpoint().await.unwrap(), restored.end);
    let bytes = fs::read(folder.path().join("views.snapshot")).unwrap();
    assert_passed_over(&folder, &restored.restored, &bytes, "of a log that was restored since").await;
}

#[tokio::test]
async fn a_snapshot_with_more_than_the_log_has_is_passed_over() {
    let (log, folder, _, written) = filled(72, 60).await;
    let views = MemoryViews::new();
    let last = written[59].position;
    views.apply(Position::START, &written, last).await.unwrap();
    // Records between events of submissions, or ahead of the checkpoint, are in the snapshot too.
    let sandbox = SandboxView {
        verifier: "v1".to_owned(),
        position: Position(last.0 + 1),
        since: written[59].recorded_at,
        sandbox: Default::default(),
    };
    views.record_sandbox(&sandbox).await.unwrap();
    let mut snapshots = ViewSnapshots::in_directory(folder.path());
    assert!(snapshots.write(&views, &log).await.is_err(), "the log does not have it");
    assert!(!folder.path().join("views.snapshot.draft").exists());

    log.close().await;
    let copy = folder.path().join("copy.db");
    fs::copy(folder.path().join("log.db"), &copy).unwrap();
    let [log, copy] = [folder.path().join("log.db"), copy].map(|path| SqliteStore::open(path).unwrap());
    for log in [&log, &copy] {
        write(log, &EventHistory::random(73, 3).events).await;
    }
    snapshots.write(&views, &log).await.unwrap().unwrap();
    let bytes = fs::read(folder.path().join("views.snapshot")).unwrap();
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), last);
    assert_passed_over(&folder, &copy, &bytes, "of a copy with another event there").await;
}

/// A log that cannot be read at present.
struct AwayLog;

impl AwayLog {
    fn refuse<T>() -> Result<T, ReadError> {
        Err(ReadError::Unavailable("it is away".to_owned()))
    }
}

#[async_trait]
impl Read for AwayLog {
    async fn read_all(&self, _: Position, _: &EventFilter, _: usize) -> Result<EventPage, ReadError> {
        Self::refuse()
    }

    async fn read_stream(
        &self,
        _: &StreamName,
        _: Revision,
        _: ReadDirection,
        _: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        Self::refuse()
    }

    async fn event_at(&self, _: Position) -> Result<Option<RecordedEvent>, ReadError> {
        Self::refuse()
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Self::refuse()
    }

    async fn position_before(&self, _: jiff::Timestamp) -> Result<Position, ReadError> {
        Self::refuse()
    }
}

#[tokio::test]
async fn files_of_no_use_are_removed_and_others_stay() {
    let (log, folder, bytes) = small(74).await;
    let [newest, draft] = ["views.snapshot", "views.snapshot.draft"].map(|name| folder.path().join(name));
    fs::write(&newest, b"damaged").unwrap();
    fs::write(&draft, &bytes).unwrap();
    open(folder.path(), &log).await;
    assert!(!newest.exists() && !draft.exists());

    fs::write(&newest, &bytes).unwrap();
    let views = MemoryViews::new();
    ViewSnapshots::in_directory(folder.path()).load(&views, &AwayLog).await;
    assert_eq!(views.checkpoint().await.unwrap(), Position::START);
    assert!(newest.exists(), "the log may be back soon");
    assert_ne!(open(folder.path(), &log).await.checkpoint().await.unwrap(), Position::START);
}

#[tokio::test]
async fn a_snapshot_that_an_operator_removes_is_followed_by_another() {
    let (log, folder, _, written) = filled(75, 100).await;
    let (views, mut snapshots) = (MemoryViews::new(), ViewSnapshots::in_directory(folder.path()));
    let mut from = Position::START;
    for part in written.chunks(50) {
        let upto = part[49].position;
        views.apply(from, part, upto).await.unwrap();
        snapshots.write(&views, &log).await.unwrap().unwrap();
        assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), upto);
        fs::remove_file(folder.path().join("views.snapshot")).unwrap();
        from = upto;
    }
    assert!(!folder.path().join("views.snapshot.draft").exists());
}

#[tokio::test]
async fn a_deletion_takes_the_files_away_before_another_is_written() {
    let (log, folder, history, written) = filled(76, 100).await;
    let (views, mut snapshots) = (MemoryViews::new(), ViewSnapshots::in_directory(folder.path()));
    let (first, last) = (written[49].position, written[99].position);
    views.apply(Position::START, &written[..50], first).await.unwrap();
    snapshots.write(&views, &log).await.unwrap();
    let deletion = |position| DeletionView { id: history.events[0].id, position, at: jiff::Timestamp::now() };
    views.apply_deletion(first, &deletion(last)).await.unwrap();
    snapshots.end_by(Instant::now());
    snapshots.write(&views, &log).await.unwrap_err();
    let files = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let snapshots_left = || files().filter(|name| name.to_string_lossy().starts_with("views")).count();
    assert_eq!(snapshots_left(), 0);

    // Also if the views have no submission, and so nothing to write.
    for name in ["views.snapshot", "views.snapshot.1", "views.snapshot.draft"] {
        fs::write(folder.path().join(name), b"somebody's name").unwrap();
    }
    let views = MemoryViews::new();
    views.apply_deletion(Position::START, &deletion(first)).await.unwrap();
    let mut snapshots = ViewSnapshots::in_directory(folder.path());
    assert_eq!(snapshots.write(&views, &log).await.unwrap(), None);
    assert_eq!(snapshots_left(), 0);
}

#[tokio::test]
async fn the_snapshot_before_is_taken_if_the_newest_does_not_fit() {
    let (log, folder, _, written) = filled(68, 100).await;
    let (views, mut snapshots) = (MemoryViews::new(), ViewSnapshots::in_directory(folder.path()));
    let (first, second) = (written[49].position, written[99].position);
    views.apply(Position::START, &written[..50], first).await.unwrap();
    snapshots.write(&views, &log).await.unwrap();
    views.apply(first, &written[50..], second).await.unwrap();
    snapshots.write(&views, &log).await.unwrap();
    let newest = folder.path().join("views.snapshot");
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), second);
    fs::write(&newest, b"damaged").unwrap();
    let (views, mut snapshots) = (MemoryViews::new(), ViewSnapshots::in_directory(folder.path()));
    snapshots.load(&views, &log).await;
    assert_eq!(views.checkpoint().await.unwrap(), first);
    assert!(!newest.exists(), "the damaged one is of no use any more");

    // Another one takes its place, and the one that fits stays the one before.
    views.apply(first, &written[50..], second).await.unwrap();
    snapshots.write(&views, &log).await.unwrap();
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), second);
    fs::remove_file(&newest).unwrap();
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), first);
    ViewSnapshots::remove_from(folder.path()).unwrap();
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), Position::START);
}

#[tokio::test]
async fn a_snapshot_that_takes_too_long_leaves_the_one_before() {
    let (log, folder, _, written) = filled(69, 100).await;
    let (views, mut snapshots) = (MemoryViews::new(), ViewSnapshots::in_directory(folder.path()));
    let first = written[49].position;
    views.apply(Position::START, &written[..50], first).await.unwrap();
    snapshots.write(&views, &log).await.unwrap();
    views.apply(first, &written[50..], written[99].position).await.unwrap();
    snapshots.end_by(Instant::now());
    let refused = snapshots.write(&views, &log).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), first);
    assert!(!folder.path().join("views.snapshot.draft").exists());
}

#[tokio::test]
async fn what_was_deleted_is_in_no_snapshot_soon() {
    let (log, folder) = log();
    let mut history = EventHistory::new();
    let id = history.submit_and_pass("owner1", 0);
    if let Event::Submitted(submitted) = &mut history.events[0].event {
        submitted.participant = Participant { name: "Ada Quaint".to_owned(), twitter: None };
    }
    history.submit_and_pass("owner2", 1);
    let written = write(&log, &history.events).await;
    let views = Arc::new(MemoryViews::new());
    let mut snapshots = ViewSnapshots::in_directory(folder.path());
    for (number, envelope) in written.iter().enumerate() {
        let from = views.checkpoint().await.unwrap();
        views.apply(from, std::slice::from_ref(envelope), envelope.position).await.unwrap();
        views.show_from(Position::START).await.unwrap();
        if number > 3 {
            snapshots.write(&views, &log).await.unwrap();
        }
    }
    let quaint = || {
        let files = ["views.snapshot", "views.snapshot.1"].map(|name| fs::read(folder.path().join(name)));
        let holds = |bytes: &Vec<u8>| bytes.windows(6).any(|part| part == b"Quaint");
        files.iter().flatten().filter(|bytes| holds(bytes)).count()
    };
    assert_eq!(quaint(), 2, "the name is in both");

    let ended = CancellationToken::new();
    let keeping = tokio::spawn(snapshots.keep(views.clone(), Arc::new(log.clone()), ended.clone()));
    let from = views.checkpoint().await.unwrap();
    soft_delete(&log, &StreamName::of(CATEGORY, id.0)).await;
    let position = log.head().await.unwrap();
    let deletion = DeletionView { id, position, at: jiff::Timestamp::now() };
    views.apply_deletion(from, &deletion).await.unwrap();
    let newest = folder.path().join("views.snapshot");
    let gone = async {
        while quaint() > 0 || !newest.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the name is in none");
    assert_eq!(open(folder.path(), &log).await.deletion(id).await.unwrap(), Some(deletion));
    ended.cancel();
    timeout(DEADLINE, keeping).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_snapshot_is_written_when_the_projection_has_ended() {
    let (log, folder, _, written) = filled(70, 50).await;
    let views = Arc::new(MemoryViews::new());
    let ended = CancellationToken::new();
    let snapshots = ViewSnapshots::in_directory(folder.path());
    let keeping = tokio::spawn(snapshots.keep(views.clone(), Arc::new(log.clone()), ended.clone()));
    let head = written[49].position;
    project(&log, &views, head).await;
    ended.cancel();
    timeout(DEADLINE, keeping).await.unwrap().unwrap();
    assert_eq!(open(folder.path(), &log).await.checkpoint().await.unwrap(), head);
}
