//! `muster backup`: copies the events of the embedded log, and the secret of its data directory, to another directory.

use std::path::PathBuf;

use event_store::{BackupError, BackupReport, back_up_log};

use super::error::CliError;
use super::{Exit, embedded_log, fail_with};
use crate::config::EventLogOptions;
use crate::data;

/// Copies the embedded log to a directory, at rest or while Muster runs.
///
/// The first time it copies all events, and then only the new ones. Each event's
/// checksum is compared on the way. The directory also gets the secret of the data
/// directory, so keep it as safe as that. `muster restore` makes a log from it.
///
/// Exit codes: 0 all events are in the backup, 1 the log is damaged or the directory
/// cannot be written, 2 a setting is wrong, or the directory has the backup of
/// another log.
#[derive(Debug, clap::Args)]
pub(super) struct BackupCommand {
    /// Directory of the backup, on another disk or host than the log
    directory: PathBuf,

    #[command(flatten)]
    log: EventLogOptions,
}

impl BackupCommand {
    pub(super) async fn run(self) -> Exit {
        let elsewhere = "muster backup copies the file of an embedded log; run it on the host of that file, with --data or \
            --eventstore sqlite:PATH. For an EventStoreDB see docs/operations.md";
        let (settings, log) = match embedded_log(&self.log, elsewhere) {
            Ok(found) => found,
            Err(exit) => return exit,
        };
        let directory = self.directory;
        if let Err(error) = data::ensure_directory(&directory) {
            return fail_with(format_args!("{error:#}"), Exit::Failed);
        }
        // The secret comes first: whoever has the events of a log can use its secret.
        if let Err(error) = data::copy_key_space(&settings.data, &directory) {
            return fail_with(format_args!("{error:#}"), Exit::Refused);
        }
        let done = tokio::task::spawn_blocking(move || {
            let report = back_up_log(&log, &directory);
            (report, directory)
        });
        match done.await {
            Ok((Ok(BackupReport { added, events, parts }), directory)) => {
                println!(
                    "added events: {added}; in {} now: {events} events, in files: {parts}",
                    directory.display()
                );
                Exit::Success
            }
            Ok((Err(error), _)) => failure(error).fail(),
            Err(error) => fail_with(error, Exit::Failed),
        }
    }
}

/// Returns the command's error, with a hint where there is something to do.
pub(super) fn failure(error: BackupError) -> CliError {
    match error {
        BackupError::OtherLog { .. } => {
            CliError::refused(format!("{error}. Begin another directory, and keep this one"))
        }
        BackupError::Exists(_) => {
            CliError::refused(format!("{error}. Stop Muster, and move the old log and its -wal away"))
        }
        BackupError::Damaged(_) | BackupError::Read(_) => {
            CliError::failed(format!("{error}. muster verify tells about each damage"))
        }
        BackupError::Log(_) | BackupError::Empty(_) | BackupError::InUse(_) => {
            CliError::refused(error.to_string())
        }
        BackupError::NotWhole(_) | BackupError::Part { .. } | BackupError::Missing { .. } => {
            CliError::failed(format!("{error}. Take another copy of this directory, or another backup"))
        }
        error => CliError::failed(error.to_string()),
    }
}
