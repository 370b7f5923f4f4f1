//! The schema of the log's file: creates it in a new file, and brings an older one up to date.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::open::{OpenLogError, sqlite_error};

/// SQLite's application id of a Muster event log: "Mstr" in ASCII.
const APPLICATION_ID: i32 = 0x4d73_7472;

/// The version of `schema.sql`, kept in the file.
pub(super) const SCHEMA_VERSION: i32 = 2;

/// The steps from each version to the next, the first from version 1. They touch no event's row, so that they cost nothing in
/// a large log.
const UPGRADES: [&str; SCHEMA_VERSION as usize - 1] = [
    // 2: a checksum of each event. Those from before get theirs in the background.
    "ALTER TABLE events ADD COLUMN checksum INTEGER;
     CREATE TABLE unsummed (first INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
     INSERT INTO unsummed SELECT 1, max(position) FROM events HAVING max(position) IS NOT NULL;",
];

/// The events before which the clock was set back. Logs of older programs lack the table, and their clock never went back.
const CLOCK_STEPS: &str = "CREATE TABLE IF NOT EXISTS clock_steps (position INTEGER PRIMARY KEY) STRICT";

/// Creates the schema in a new file, and brings an older one up to date. A file that is no log, or of a newer version, is not
/// changed.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenLogError> {
    let failed = |error| sqlite_error(path, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = found_version(&transaction, path)?;
    let prepared = || -> rusqlite::Result<()> {
        match found {
            None => {
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            }
            Some(version) => {
                for upgrade in UPGRADES.iter().skip(version as usize - 1) {
                    transaction.execute_batch(upgrade)?;
                }
            }
        }
        transaction.execute_batch(CLOCK_STEPS)?;
        if found != Some(SCHEMA_VERSION) {
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        Ok(())
    };
    prepared().map_err(failed)?;
    transaction.commit().map_err(failed)?;
    if let Some(older) = found.filter(|found| *found < SCHEMA_VERSION) {
        tracing::info!("brought the event log from schema version {older} to {SCHEMA_VERSION}");
    }
    Ok(())
}

/// Returns the version of the file's schema, from 1 to [`SCHEMA_VERSION`], or `None` if the file is empty.
pub(super) fn found_version(log: &Transaction<'_>, path: &Path) -> Result<Option<i32>, OpenLogError> {
    let number = |sql| log.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(|e| sqlite_error(path, e));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let application = number("SELECT application_id FROM pragma_application_id")?;
    let version = number("SELECT user_version FROM pragma_user_version")?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(None),
        (APPLICATION_ID, 1..=SCHEMA_VERSION) => Ok(Some(version)),
        (APPLICATION_ID, found) => Err(OpenLogError::Version { path: path.to_owned(), found }),
        _ => Err(OpenLogError::NotALog(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the columns of all tables, and the indexes.
    fn shape(log: &Connection) -> Vec<String> {
        log.prepare(
            "SELECT m.type || ' ' || m.name || ' ' || coalesce(c.name || ' ' || c.type || c.\"notnull\" || c.pk, '')
             FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) c ORDER BY m.type, m.name, c.name",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
    }

    #[test]
    fn an_upgraded_file_has_the_shape_of_a_new_one() {
        let mut new = Connection::open_in_memory().unwrap();
        prepare(&mut new, Path::new("new")).unwrap();
        let mut old = Connection::open_in_memory().unwrap();
        prepare(&mut old, Path::new("old")).unwrap();
        old.execute_batch(
            "ALTER TABLE events DROP COLUMN checksum; DROP TABLE unsummed; DROP TABLE clock_steps; PRAGMA user_version = 1",
        )
        .unwrap();
        assert_ne!(shape(&old), shape(&new));
        prepare(&mut old, Path::new("old")).unwrap();
        assert_eq!(shape(&old), shape(&new));
        assert_eq!(shape(&new).iter().filter(|line| line.contains("checksum")).count(), 1);
    }
}
