//! The meaning of SQLite's errors to a reader.

use rusqlite::{Error, ErrorCode};

use crate::ReadError;

/// Tells a damaged file, which stays damaged, from a failure that may pass.
///
/// An error without a code comes from a row: a column has a value that the schema does not allow.
pub(super) fn read_error(error: Error) -> ReadError {
    if is_corrupt(&error) {
        ReadError::Corrupt(error.to_string())
    } else {
        ReadError::Unavailable(error.to_string())
    }
}

/// Returns true if the file or a row is damaged.
pub(super) fn is_corrupt(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
