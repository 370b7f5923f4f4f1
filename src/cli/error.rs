//! The error that ends a command.

use std::fmt;
use std::io::{self, ErrorKind};

use event_store::ReadError;

use super::client::ClientError;
use super::{Exit, fail_with};

/// The reason why a command ends early, and its exit code.
#[derive(Debug)]
pub(super) struct CliError {
    why: String,
    exit: Exit,
}

impl CliError {
    /// The request is wrong: an argument, a setting, an entry.
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Refused }
    }

    /// The server, the log or MongoDB does not answer.
    pub(super) fn unreachable(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Unreachable }
    }

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { why: why.into(), exit: Exit::Failed }
    }

    /// Returns whether the reader of the output went away, which is not a failure.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.exit == Exit::Success
    }

    /// Prints the reason and returns the exit code.
    pub(super) fn fail(self) -> Exit {
        fail_with(&self.why, self.exit)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self { exit: error.exit(), why: error.to_string() }
    }
}

impl From<String> for CliError {
    fn from(why: String) -> Self {
        Self::failed(why)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self { why: String::new(), exit: Exit::Success },
            _ => Self::failed(format!("the output cannot be written: {error}")),
        }
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::unreachable(error.to_string()),
            ReadError::StreamDeleted(_)
            | ReadError::BeyondEnd { .. }
            | ReadError::OtherLog { .. }
            | ReadError::Refused(_) => Self::refused(error.to_string()),
            ReadError::Corrupt(_) | ReadError::DamagedEvent { .. } | ReadError::Undecodable { .. } => {
                Self::failed(error.to_string())
            }
        }
    }
}
