//! Damages a log's file, for tests of its readers.

#![allow(dead_code, clippy::allow_attributes, reason = "not every test file needs all of it")]

use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;

/// Overwrites the file of a closed log, except for its first page, which holds the schema.
pub(crate) fn damage(log: &Path) {
    let mut bytes = fs::read(log).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(log, bytes).unwrap();
}

/// Changes events of a closed log as if they had been appended so. They get their checksums when the log is opened.
pub(crate) fn edit_events(log: &Path, sql: &str) {
    let log = Connection::open(log).unwrap();
    log.execute_batch(sql).unwrap();
    log.execute_batch(
        "UPDATE events SET checksum = NULL; DELETE FROM unsummed; INSERT INTO unsummed SELECT 1, max(position) FROM events",
    )
    .unwrap();
}

/// Waits until all events of an open log have checksums.
pub(crate) async fn wait_for_checksums(log: &Path) {
    let log = Connection::open(log).unwrap();
    log.busy_timeout(Duration::from_secs(5)).unwrap();
    let is_done =
        || log.query_row("SELECT count(*) = 0 FROM unsummed", [], |row| row.get::<_, bool>(0)).unwrap();
    let done = async {
        while !is_done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("all events have checksums");
}
