//! Backing a log up and restoring it: nothing of a log is missing in the log that is made from a backup, and a backup that is
//! damaged or of another log is named.

use std::{
    fs,
    path::{Path, PathBuf},
};

use event_store::testing::{event_of_size, new_stream, set_metadata, soft_delete, tombstone};
use event_store::{
    Append, BackupError, BackupReport, ExpectedRevision, Position, SqliteStore, StreamName, back_up_log,
    restore_log, verify_log,
};
use proptest::prelude::*;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// A folder with a log, a directory for its backup, and a place for the restored log.
struct Scene {
    folder: TempDir,
    store: SqliteStore,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("backup")).unwrap();
        let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
        Self { folder, store }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn restored(&self) -> PathBuf {
        self.folder.path().join("restored.db")
    }

    async fn append(&self, stream: &StreamName, events: usize) {
        let events = (0..events).map(|_| event_of_size(10)).collect();
        self.store.append(stream, ExpectedRevision::Any, events).await.unwrap();
    }

    fn back_up(&self) -> Result<BackupReport, BackupError> {
        back_up_log(&self.log(), &self.backup())
    }

    fn restore(&self) -> Result<u64, BackupError> {
        restore_log(&self.backup(), &self.restored(), |_| Ok(())).map(|report| report.events)
    }

    /// Returns the paths of the parts, in their order.
    fn parts(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.backup()).unwrap().map(|file| file.unwrap().path());
        let mut parts: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|e| e == "sqlite")).collect();
        parts.sort();
        parts
    }
}

/// Returns everything that a log has, as text.
fn rows(log: &Path) -> Vec<String> {
    let log = Connection::open_with_flags(log, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let tables = [
        "SELECT concat_ws(' ', position, s.name, revision, hex(e.id), kind, json, hex(data), hex(metadata), recorded_at, checksum)
         FROM events e JOIN streams s ON s.id = e.stream ORDER BY position",
        "SELECT concat_ws(' ', name, last_revision, truncate_before, max_count, max_age_s) FROM streams ORDER BY name",
        "SELECT position FROM clock_steps ORDER BY position",
        "SELECT first FROM unsummed",
    ];
    let read = |sql: &str| {
        let mut rows = log.prepare(sql).unwrap();
        let text =
            |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0).map(|v| format!("{v:?}"));
        rows.query_map([], text).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    tables.into_iter().flat_map(read).collect()
}

#[tokio::test]
async fn a_log_in_use_is_backed_up_a_part_after_the_other_and_restored_whole() {
    let scene = Scene::new();
    let [one, two] = [new_stream(), new_stream()];
    scene.append(&one, 3).await;
    assert_eq!(scene.back_up().unwrap(), BackupReport { added: 3, events: 3, parts: 1 });
    assert_eq!(scene.back_up().unwrap(), BackupReport { added: 0, events: 3, parts: 1 });
    scene.append(&two, 2).await;
    soft_delete(&scene.store, &one).await;
    assert_eq!(scene.back_up().unwrap(), BackupReport { added: 3, events: 6, parts: 2 });
    scene.append(&one, 1).await;
    tombstone(&scene.store, &two).await;
    assert_eq!(scene.back_up().unwrap().parts, 3);

    let events = scene.restore().unwrap();
    assert_eq!(rows(&scene.restored()), rows(&scene.log()));
    // The restored log goes on, and so does the backup.
    let restored = SqliteStore::open(scene.restored()).unwrap();
    restored.append(&one, ExpectedRevision::Exact(3), vec![event_of_size(10)]).await.unwrap();
    restored.append(&two, ExpectedRevision::Any, vec![event_of_size(10)]).await.unwrap_err();
    let report = back_up_log(&scene.restored(), &scene.backup()).unwrap();
    assert_eq!(report, BackupReport { added: 1, events: events + 1, parts: 4 });
}

#[tokio::test]
async fn an_empty_log_has_an_empty_backup_which_makes_no_log() {
    let scene = Scene::new();
    assert_eq!(scene.back_up().unwrap(), BackupReport { added: 0, events: 0, parts: 0 });
    assert!(matches!(scene.restore(), Err(BackupError::Empty(_))));
    assert!(!scene.restored().exists());
}

#[tokio::test]
async fn the_backup_of_another_log_is_not_continued() {
    let scene = Scene::new();
    scene.append(&new_stream(), 3).await;
    scene.back_up().unwrap();
    let other = Scene::new();
    // One log has too few events to tell, and one has others.
    for events in [2, 5] {
        other.append(&new_stream(), events).await;
        let refused = back_up_log(&other.log(), &scene.backup()).unwrap_err();
        assert!(matches!(refused, BackupError::OtherLog { position: Position(3), .. }), "{refused}");
    }
    assert_eq!(scene.restore().unwrap(), 3);
    // Nor does a part of another log go into the middle of a backup.
    other.back_up().unwrap();
    fs::copy(&other.parts()[0], scene.parts()[0].with_file_name("events-000000000004-000000000010.sqlite"))
        .unwrap();
    fs::remove_file(scene.restored()).unwrap();
    let refused = scene.restore().unwrap_err().to_string();
    assert!(refused.contains("does not go on after the part before it"), "{refused}");
}

#[tokio::test]
async fn damage_is_named_and_makes_no_log() {
    let scene = Scene::new();
    let stream = new_stream();
    for _ in 0..3 {
        scene.append(&stream, 2).await;
        scene.back_up().unwrap();
    }
    let middle = &scene.parts()[1];
    let whole = fs::read(middle).unwrap();
    let mut flipped = whole.clone();
    let at = flipped.windows(10).position(|bytes| bytes == b"xxxxxxxxxx").unwrap();
    flipped[at] ^= 1;
    for (bytes, expected) in [
        (flipped, "is wrong"),
        (whole[..whole.len() / 2].to_vec(), "events-000000000003-000000000004.sqlite"),
        (b"a letter".to_vec(), "events-000000000003-000000000004.sqlite"),
    ] {
        fs::write(middle, bytes).unwrap();
        let refused = scene.restore().unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!scene.restored().exists());
    }
    fs::remove_file(middle).unwrap();
    for missing in [scene.restore().unwrap_err(), scene.back_up().unwrap_err()] {
        assert!(matches!(missing, BackupError::Missing { position: Position(3), .. }), "{missing}");
    }
    fs::write(middle, whole).unwrap();
    assert_eq!(scene.restore().unwrap(), 6);
}

#[tokio::test]
async fn a_backup_of_events_that_nobody_can_read_makes_no_log() {
    let scene = Scene::new();
    scene.append(&new_stream(), 2).await;
    scene.back_up().unwrap();
    let refused = restore_log(&scene.backup(), &scene.restored(), |_| Err("no version wrote it".to_owned()));
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, BackupError::NotWhole(why) if why.contains("no version wrote it")),
        "{refused}"
    );
    assert!(!scene.restored().exists());
    assert_eq!(scene.restore().unwrap(), 2);
}

#[tokio::test]
async fn a_damaged_log_is_not_backed_up_beyond_the_damage() {
    let scene = Scene::new();
    scene.append(&new_stream(), 2).await;
    scene.back_up().unwrap();
    scene.append(&new_stream(), 2).await;
    let edit = Connection::open(scene.log()).unwrap();
    edit.execute_batch("UPDATE events SET data = x'7b7d' WHERE position = 4").unwrap();
    let refused = scene.back_up().unwrap_err().to_string();
    assert!(refused.contains("position 4"), "{refused}");
    assert_eq!(scene.restore().unwrap(), 2);
}

#[tokio::test]
async fn a_log_is_never_overwritten_and_leftovers_of_killed_processes_are_no_obstacle() {
    let scene = Scene::new();
    scene.append(&new_stream(), 2).await;
    fs::write(scene.backup().join("part.draft"), "half").unwrap();
    scene.back_up().unwrap();
    fs::write(scene.folder.path().join("restored.db.restoring"), "half").unwrap();
    fs::write(scene.folder.path().join("restored.db.restoring-wal"), "half").unwrap();
    assert_eq!(scene.restore().unwrap(), 2);
    assert!(matches!(scene.restore(), Err(BackupError::Exists(_))));
    // A log that is open has a journal, and is in use.
    let refused = restore_log(&scene.backup(), &scene.log(), |_| Ok(())).unwrap_err();
    assert!(matches!(refused, BackupError::Log(_)), "{refused}");
    assert_eq!(verify_log(&scene.restored(), |_| Ok(())).unwrap().events, 2);
    assert!(scene.restore().unwrap_err().to_string().contains("exists already"));
}

/// A change of a log, or a backup of it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append(usize, usize),
    Metadata(usize, &'static str),
    Tombstone(usize),
    BackUp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let metadata = prop_oneof![
        Just("{}"),
        Just(r#"{"$tb":2}"#),
        Just(r#"{"$maxCount":1,"$maxAge":9}"#),
        Just("odd"),
        // The stream is deleted until somebody writes to it again.
        Just(r#"{"$tb":9223372036854775807}"#)
    ];
    let step = prop_oneof![
        4 => (0..3_usize, 1..3_usize).prop_map(|(stream, events)| Step::Append(stream, events)),
        2 => (0..3_usize, metadata).prop_map(|(stream, metadata)| Step::Metadata(stream, metadata)),
        1 => (0..3_usize).prop_map(Step::Tombstone),
        3 => Just(Step::BackUp),
    ];
    prop::collection::vec(step, 1..15)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_log_is_the_same_after_it_was_restored(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new();
            let streams = [new_stream(), new_stream(), new_stream()];
            let mut gone = [false; 3];
            scene.append(&streams[0], 1).await;
            for step in steps {
                match step {
                    Step::BackUp => drop(scene.back_up().unwrap()),
                    // A stream that is gone for good takes no more.
                    Step::Append(stream, _) | Step::Metadata(stream, _)  | Step::Tombstone(stream)
                        if gone[stream] => {}
                    Step::Append(stream, events) => scene.append(&streams[stream], events).await,
                    Step::Metadata(stream, metadata) => set_metadata(&scene.store, &streams[stream], metadata).await,
                    Step::Tombstone(stream) => {
                        tombstone(&scene.store, &streams[stream]).await;
                        gone[stream] = true;
                    }
                }
            }
            scene.back_up().unwrap();
            scene.restore().unwrap();
            assert_eq!(rows(&scene.restored()), rows(&scene.log()));
        });
    }
}
