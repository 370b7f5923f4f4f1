//! Damages a log's file, for tests of its readers.

#![allow(dead_code, clippy::allow_attributes, reason = "not every test file needs all of it")]

use std::{fs, path::Path};

/// Overwrites the file of a closed log, except for its first page, which holds the schema.
pub(crate) fn damage(log: &Path) {
    let mut bytes = fs::read(log).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(log, bytes).unwrap();
}
