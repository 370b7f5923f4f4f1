//! The embedded log: the contract, and the promises that only this adapter makes.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not foresee")]

use std::{fs, process::Command};

use event_store::testing::{append_foreign, event_of_size, new_stream, tombstone};
use event_store::{
    Append, AppendError, EventFilter, ExpectedRevision, LogIdentity, OpenLogError, Position, Read,
    ReadDirection, ReadError, SqliteStore, StreamName, Subscribe,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};

use tempfile::TempDir;

mod backup;
mod damage;
mod support;

async fn open() -> (SqliteStore, TempDir) {
    let folder = TempDir::new().unwrap();
    (SqliteStore::open(folder.path().join("log.db")).unwrap(), folder)
}

event_store::contract!(open);

#[tokio::test]
async fn positions_start_at_1() {
    let (store, _folder) = open().await;
    assert_eq!(store.head().await, Ok(Position::START));
    let appended =
        store.append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();
    assert_eq!(appended.position, Position(1));
}

#[tokio::test]
async fn a_log_that_was_closed_is_opened_again_with_all_its_events() {
    let (store, folder) = open().await;
    let stream = new_stream();
    for _ in 0..3 {
        store.append(&stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    }
    let before = store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap();
    store.close().await;
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!files.iter().any(|file| file == "log.db-wal"), "flushed into the log: {files:?}");

    let store = SqliteStore::open(folder.path().join("log.db")).unwrap();
    assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap(), before);
    assert_eq!(store.head().await, Ok(Position(3)));
}

#[tokio::test]
async fn one_append_while_the_clock_is_wrong_spoils_no_later_moment() {
    let (store, folder) = open().await;
    let path = folder.path().join("log.db");
    let append = async |store: &SqliteStore| {
        store
            .append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0)])
            .await
            .unwrap()
            .position
    };
    for _ in 0..3 {
        append(&store).await;
    }
    store.close().await;
    // The machine woke in 2050 and appended once.
    let wrong = "2050-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let sql = format!("UPDATE events SET recorded_at = {} WHERE position = 3", wrong.as_microsecond());
    support::edit_events(&path, &sql);

    let store = SqliteStore::open(&path).unwrap();
    let before = Timestamp::now();
    for _ in 0..5 {
        append(&store).await;
    }
    store.close().await;
    let store = SqliteStore::open(&path).unwrap();
    append(&store).await;
    let all = store.read_all(Position::START, &EventFilter::default(), 100).await.unwrap().events;
    assert!(all[3..].iter().all(|event| event.recorded_at >= before && event.recorded_at < wrong), "{all:?}");
    assert!(all[3..].is_sorted_by_key(|event| event.recorded_at));
    // Every event of a moment follows the position before it, also where the moments go back.
    for moment in all.iter().map(|event| event.recorded_at) {
        let found = store.position_before(moment).await.unwrap();
        let first = all.iter().find(|event| event.recorded_at >= moment).unwrap().position;
        assert_eq!(found.0, first.0 - 1, "the position before {moment}");
    }
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_log() {
    let (store, folder) = open().await;
    let clone = store.clone();
    drop(store);
    clone.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    drop(clone);
    SqliteStore::open(folder.path().join("log.db")).unwrap();
}

#[tokio::test]
async fn closing_ends_subscriptions_and_refuses_appends() {
    let (store, _folder) = open().await;
    let clone = store.clone();
    let mut deliveries = store.subscribe(Position::START, Default::default());
    deliveries.next().await.unwrap().unwrap();
    store.close().await;
    assert!(matches!(deliveries.next().await, Some(Err(ReadError::Unavailable(_)))));
    assert!(deliveries.next().await.is_none());
    let refused =
        clone.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap_err();
    assert_eq!(refused.to_string(), "the event store is unavailable: the store is closed");
}

#[tokio::test]
async fn a_log_in_use_is_not_opened_twice() {
    let (store, folder) = open().await;
    let path = folder.path().join("log.db");
    let again = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(again, OpenLogError::InUse(_)));
    assert!(again.to_string().contains("is in use by another process"), "{again}");
    store.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
}

#[test]
fn a_file_that_is_not_our_log_is_refused_and_not_changed() {
    let folder = TempDir::new().unwrap();

    let text = folder.path().join("text");
    fs::write(&text, "not a database, but long enough to look at".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(OpenLogError::NotALog(_))));
    assert!(fs::read_to_string(&text).unwrap().starts_with("not a database"));

    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    assert!(matches!(SqliteStore::open(&other), Err(OpenLogError::NotALog(_))));

    let newer = folder.path().join("newer.db");
    drop(SqliteStore::open(&newer).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&newer).unwrap();
    let error = SqliteStore::open(&newer).unwrap_err();
    assert!(error.to_string().contains("has schema version 99; this program reads versions 1 to"), "{error}");
    assert_eq!(fs::read(&newer).unwrap(), before);

    let nowhere = SqliteStore::open(folder.path().join("no/such/folder/log.db")).unwrap_err();
    assert!(nowhere.to_string().contains("no/such/folder"), "{nowhere}");
}

#[tokio::test]
async fn a_position_of_another_log_is_refused() {
    let (store, _folder) = open().await;
    store.append(&new_stream(), ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let page = store.read_all(Position(2), &Default::default(), 10).await;
    assert_eq!(page, Err(ReadError::BeyondEnd { after: Position(2) }));
    let mut deliveries = store.subscribe(Position(2), Default::default());
    assert_eq!(deliveries.next().await, Some(Err(ReadError::BeyondEnd { after: Position(2) })));
}

#[tokio::test]
async fn the_position_before_a_moment_is_the_one_that_a_scan_finds() {
    let (store, folder) = open().await;
    let path = folder.path().join("log.db");
    assert_eq!(store.position_before(Timestamp::now()).await, Ok(Position::START));
    for _ in 0..60 {
        store
            .append(&new_stream(), ExpectedRevision::NoStream, vec![event_of_size(0), event_of_size(0)])
            .await
            .unwrap();
    }
    store.close().await;
    // Seven events have the same time, then there is a gap.
    support::edit_events(&path, "UPDATE events SET recorded_at = 1000 * (position / 7) * (position / 7)");
    let store = SqliteStore::open(&path).unwrap();
    let all = store.read_all(Position::START, &EventFilter::default(), 1000).await.unwrap().events;
    for near in all.iter().map(|event| event.recorded_at) {
        for nanoseconds in [-1_000_000, -1000, -1, 0, 1, 1000] {
            let moment = near + SignedDuration::from_nanos(nanoseconds);
            let scanned = all.iter().take_while(|event| event.recorded_at < moment).last();
            let scanned = scanned.map_or(Position::START, |event| event.position);
            assert_eq!(store.position_before(moment).await, Ok(scanned), "{moment}");
        }
    }
}

#[tokio::test]
async fn recorded_at_does_not_go_back_when_the_clock_does_by_less_than_a_minute() {
    let (store, folder) = open().await;
    let (path, stream) = (folder.path().join("log.db"), new_stream());
    store.append(&stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    store.close().await;
    // The clock was half a minute ahead when the first event was recorded.
    support::edit_events(&path, "UPDATE events SET recorded_at = recorded_at + 30000000");
    let store = SqliteStore::open(&path).unwrap();
    store.append(&stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let events = store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap();
    assert!(events[1].recorded_at >= events[0].recorded_at);
}

#[tokio::test]
async fn a_damaged_row_is_an_error_not_a_gap() {
    let (store, folder) = open().await;
    let (path, stream) = (folder.path().join("log.db"), new_stream());
    store.append(&stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    store.close().await;
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE events SET id = x'00'", []).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let read = store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await;
    assert!(matches!(read, Err(ReadError::DamagedEvent { .. })), "{read:?}");
    let mut deliveries = store.subscribe(Position::START, Default::default());
    assert!(matches!(deliveries.next().await, Some(Err(ReadError::DamagedEvent { .. }))));
}

#[tokio::test]
async fn a_damaged_file_is_corrupt_to_every_reader() {
    let (store, folder) = open().await;
    let (path, stream) = (folder.path().join("log.db"), new_stream());
    store.append(&stream, ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let clone = store.clone();
    store.close().await;
    support::damage(&path);
    let read = clone.read_stream(&stream, 0, ReadDirection::Forwards, 10).await;
    assert!(matches!(read, Err(ReadError::Corrupt(_))), "{read:?}");
    let page = clone.read_all(Position::START, &EventFilter::default(), 10).await;
    assert!(matches!(page, Err(ReadError::Corrupt(_))), "{page:?}");
    let before = clone.position_before(Timestamp::now()).await;
    assert!(matches!(before, Err(ReadError::Corrupt(_))), "{before:?}");
    let mut deliveries = clone.subscribe(Position::START, EventFilter::default());
    assert!(matches!(deliveries.next().await, Some(Err(ReadError::Corrupt(_)))));
    assert!(deliveries.next().await.is_none(), "the error is the last item");
}

#[tokio::test]
async fn a_damaged_row_makes_an_append_corrupt_not_retried() {
    let (store, folder) = open().await;
    let (path, stream) = (folder.path().join("log.db"), new_stream());
    let first = event_of_size(0);
    store.append(&stream, ExpectedRevision::NoStream, vec![first.clone()]).await.unwrap();
    store.close().await;
    rusqlite::Connection::open(&path).unwrap().execute("UPDATE events SET id = x'00'", []).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let again = store.append(&stream, ExpectedRevision::NoStream, vec![first]).await;
    assert!(matches!(again, Err(AppendError::Corrupt(_))), "{again:?}");
}

// Mounts a disk of one megabyte in a mount namespace that ends with the child process.
#[test]
fn a_full_disk_fails_appends_clearly_and_they_work_again_when_there_is_space() {
    let folder = TempDir::new().unwrap();
    let status = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=1m tmpfs "$SMALL_DISK" && exec "$0" --exact on_a_small_disk --nocapture"#)
        .arg(std::env::current_exe().unwrap())
        .env("SMALL_DISK", folder.path())
        .status()
        .expect("needs unshare and mount: apt-get install util-linux mount");
    assert!(status.success(), "the child process printed why");
}

// Runs in the child process of the test above; does nothing in any other process.
#[tokio::test]
async fn on_a_small_disk() {
    let Some(disk) = std::env::var_os("SMALL_DISK") else { return };
    let disk = std::path::PathBuf::from(disk);
    let ballast = disk.join("ballast");
    let store = SqliteStore::open(disk.join("log.db")).unwrap();
    let stream = new_stream();
    store.append(&stream, ExpectedRevision::NoStream, vec![event_of_size(0)]).await.unwrap();

    // `write` fails when the disk is full, and then the disk is full.
    let _ = fs::write(&ballast, vec![0; 1024 * 1024]);
    let large = event_of_size(100 * 1024);
    let error = store.append(&stream, ExpectedRevision::Exact(0), vec![large.clone()]).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
    assert_eq!(store.head().await, Ok(Position(1)));

    fs::remove_file(&ballast).unwrap();
    let appended = store.append(&stream, ExpectedRevision::Exact(0), vec![large]).await.unwrap();
    assert_eq!((appended.revision, appended.position), (1, Position(2)));
    store.append(&stream, ExpectedRevision::Exact(1), vec![event_of_size(0)]).await.unwrap();
}

#[test]
fn a_read_only_disk_is_named_when_the_log_is_opened() {
    let folder = TempDir::new().unwrap();
    drop(SqliteStore::open(folder.path().join("log.db")).unwrap());
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(
            r#"mount --bind "$READ_ONLY_DISK" "$READ_ONLY_DISK" && mount -o remount,ro,bind "$READ_ONLY_DISK" &&
               exec "$0" --exact on_a_read_only_disk --nocapture"#,
        )
        .arg(std::env::current_exe().unwrap())
        .env("READ_ONLY_DISK", folder.path())
        .status()
        .expect("needs unshare and mount: apt-get install util-linux mount");
    assert!(output.success(), "the child process printed why");
}

// Runs in the child process of the test above; does nothing in any other process.
#[test]
fn on_a_read_only_disk() {
    let Some(disk) = std::env::var_os("READ_ONLY_DISK") else { return };
    let error = SqliteStore::open(std::path::PathBuf::from(disk).join("log.db")).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_strangers_event_gives_a_log_no_identity_and_takes_none_away() {
    let (store, _folder) = open().await;
    let stream = StreamName::new("log-identity").unwrap();
    assert_eq!(LogIdentity::read(&store).await, Ok(None));
    append_foreign(&store, &stream, "LogIdentified", "{}", "{}").await;
    assert_eq!(LogIdentity::read(&store).await, Ok(None));
    let identity = LogIdentity::ensure(&store).await.unwrap();
    append_foreign(&store, &stream, "Note", "{}", "").await;
    assert_eq!(LogIdentity::read(&store).await, Ok(Some(identity)));
    assert_eq!(LogIdentity::ensure(&store).await, Ok(identity));

    tombstone(&store, &stream).await;
    assert_eq!(LogIdentity::read(&store).await, Ok(None), "the log lost its name and nothing else");
    assert!(matches!(LogIdentity::ensure(&store).await, Err(AppendError::Refused(_))));
}
