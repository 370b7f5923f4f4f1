//! Verifying a log: one flipped bit anywhere is found, or it changes nothing that can be read.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use event_store::testing::{event_of_size, tombstone};
use event_store::{Append, ExpectedRevision, LogReport, OpenLogError, Position, SqliteStore, verify_log};
use rusqlite::{Connection, OpenFlags};

use super::{TwoStreams, place};

/// The bytes of the header whose flips mean nothing: the count of changes of the schema, and the version of SQLite that
/// wrote last.
const MEANINGLESS: [Range<usize>; 2] = [40..44, 96..100];

fn verify(log: &TwoStreams) -> LogReport {
    verify_log(&log.path(), |_| Ok(())).unwrap()
}

/// Returns all events and their streams as text.
fn all_rows(path: &Path) -> Vec<String> {
    let log = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = log
        .prepare(
            "SELECT concat_ws(' ', s.name, last_revision, truncate_before, max_count, max_age_s, position, revision, hex(e.id), kind, json, hex(data),
                              hex(metadata), recorded_at)
             FROM events e JOIN streams s ON s.id = e.stream ORDER BY position",
        )
        .unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Returns the bytes of the first page of a table or an index.
fn page_of(log: &TwoStreams, name: &str) -> Range<usize> {
    let page: usize = Connection::open_with_flags(log.path(), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
        .unwrap();
    (page - 1) * 4096..page * 4096
}

#[tokio::test]
async fn a_whole_log_is_whole_at_rest_and_in_use() {
    let log = TwoStreams::written().await;
    let whole = LogReport { events: 6, streams: 2, ..LogReport::default() };
    assert_eq!(verify(&log), whole);
    let store = SqliteStore::open(log.path()).unwrap();
    store.append(&log.streams[0], ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    assert_eq!(verify(&log), LogReport { events: 7, ..whole.clone() });
    tombstone(&store, &log.streams[1]).await;
    assert_eq!(verify(&log), LogReport { events: 8, ..whole });
    store.append(&log.streams[0], ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_sqlite_made_of_a_log_in_use_is_whole() {
    let log = TwoStreams::written().await;
    let store = SqliteStore::open(log.path()).unwrap();
    store.append(&log.streams[0], ExpectedRevision::Any, vec![event_of_size(0)]).await.unwrap();
    let copy = log.path().with_file_name("copy.db");
    log.edit(&format!("VACUUM INTO '{}'", copy.display()));
    let whole = LogReport { events: 7, streams: 2, ..LogReport::default() };
    assert_eq!(verify_log(&copy, |_| Ok(())).unwrap(), whole);
    let restored = SqliteStore::open(&copy).unwrap();
    restored.append(&log.streams[0], ExpectedRevision::Exact(3), vec![event_of_size(0)]).await.unwrap();
    assert_eq!(verify_log(&copy, |_| Ok(())).unwrap(), LogReport { events: 8, ..whole });
}

#[tokio::test]
async fn every_flipped_bit_is_found_or_changes_nothing() {
    let log = TwoStreams::written().await;
    let whole = fs::read(log.path()).unwrap();
    let rows = all_rows(&log.path());
    let page_of_events = page_of(&log, "events");
    let file = File::options().write(true).open(log.path()).unwrap();
    // All bits of the header, and one of each other byte that is in use.
    let in_use = (100..whole.len()).filter(|at| whole[*at] != 0).map(|at| (at, at % 8));
    let mut found = 0;
    for (at, bit) in (0..100).flat_map(|at| (0..8).map(move |bit| (at, bit))).chain(in_use) {
        file.write_all_at(&[whole[at] ^ 1 << bit], at as u64).unwrap();
        if verify_log(&log.path(), |_| Ok(())).is_ok_and(|report| report.damaged == 0) {
            let is_known = at >= 100 || MEANINGLESS.iter().any(|range| range.contains(&at));
            assert!(is_known && !page_of_events.contains(&at), "bit {bit} of byte {at} was not found");
            assert_eq!(all_rows(&log.path()), rows, "bit {bit} of byte {at}");
        } else {
            found += 1;
        }
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
    assert!(found > 2500, "{found}");
    assert_eq!(fs::read(log.path()).unwrap(), whole, "verifying changes nothing");
}

#[tokio::test]
async fn each_damage_is_named_with_its_place() {
    let log = TwoStreams::written().await;
    let [first, second] = &log.streams;
    log.edit(
        "UPDATE events SET metadata = x'7b7d' WHERE position = 2; DELETE FROM events WHERE position = 4;
         UPDATE streams SET last_revision = 7 WHERE id = 1",
    );
    let report = verify(&log);
    assert_eq!(
        report.damages,
        [
            format!("{}: the checksum is wrong", place(2, second, 0)),
            "position 4: the event is missing".to_owned(),
            format!("{}: revision 1 was expected", place(6, second, 2)),
            format!("stream {first} should end at revision 7, and ends at revision 2"),
        ]
    );
    assert_eq!((report.events, report.damaged), (5, 4));
    let misread = verify_log(&log.path(), |event| match event.position {
        Position(5) => Err("not our JSON".to_owned()),
        _ => Ok(()),
    });
    let damages = misread.unwrap().damages;
    assert!(damages.contains(&format!("{}: not our JSON", place(5, first, 2))), "{damages:?}");
}

#[tokio::test]
async fn an_index_that_lacks_an_entry_is_found() {
    let log = TwoStreams::written().await;
    let page = page_of(&log, "events_by_revision");
    let mut bytes = fs::read(log.path()).unwrap();
    // The page's count of entries: the last is lost.
    bytes[page.start + 4] -= 1;
    fs::write(log.path(), bytes).unwrap();
    let report = verify(&log);
    assert!(report.damages.iter().any(|damage| damage.contains("events_by_revision")), "{report:?}");
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_damaged_and_one_of_another_version_is_refused() {
    let log = TwoStreams::written().await;
    log.edit("PRAGMA user_version = 99");
    let refused = verify_log(&log.path(), |_| Ok(())).unwrap_err();
    assert!(matches!(refused, OpenLogError::Version { found: 99, .. }), "{refused}");
    log.edit("PRAGMA user_version = 1");
    let refused = verify_log(&log.path(), |_| Ok(())).unwrap_err();
    assert!(matches!(refused, OpenLogError::OlderVersion { found: 1, .. }), "{refused}");
    log.edit("PRAGMA user_version = 2");

    let whole = fs::read(log.path()).unwrap();
    for length in (0..whole.len()).step_by(2048) {
        fs::write(log.path(), &whole[..length]).unwrap();
        let verified = verify_log(&log.path(), |_| Ok(()));
        assert!(!verified.is_ok_and(|report| report.damaged == 0), "cut to {length} bytes");
    }
}
