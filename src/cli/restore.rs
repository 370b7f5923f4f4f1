//! `muster restore`: makes an embedded log, and the secret of its data directory, from a backup.

use std::fs;
use std::path::{Path, PathBuf};

use event_store::restore_log;

use super::backup::failure;
use super::verify::PassedOver;
use super::{Exit, embedded_log, fail_with};
use crate::config::EventLogOptions;
use crate::data;
use crate::views::remove_snapshots;

/// Makes a log from the directory of a backup, and verifies it before it gets its name.
///
/// No log is overwritten. Views in MongoDB that have seen events which the backup lacks
/// say so; then run `muster rebuild --other-log`.
///
/// Exit codes: 0 the log is there and whole, 1 the backup is damaged or the log cannot
/// be written, 2 a setting is wrong, there is a log already, or the directory has no
/// backup.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreCommand {
    /// Directory of the backup
    directory: PathBuf,

    #[command(flatten)]
    log: EventLogOptions,
}

impl RestoreCommand {
    pub(super) async fn run(self) -> Exit {
        let elsewhere = "muster restore writes the file of an embedded log; name it with --data or --eventstore sqlite:PATH";
        let (settings, log) = match embedded_log(&self.log, elsewhere) {
            Ok(found) => found,
            Err(exit) => return exit,
        };
        if !self.directory.is_dir() {
            return fail_with(format_args!("{} is no directory", self.directory.display()), Exit::Refused);
        }
        if let Err(error) = data::ensure_directory(&settings.data) {
            return fail_with(format_args!("{error:#}"), Exit::Failed);
        }
        if let Err(error) = data::copy_key_space(&self.directory, &settings.data) {
            return fail_with(format_args!("{error:#}"), Exit::Refused);
        }
        let done = tokio::task::spawn_blocking(move || {
            let mut passed_over = PassedOver::default();
            let report = restore_log(&self.directory, &log, |event| passed_over.understands(event));
            (report, log)
        });
        match done.await {
            Ok((Ok(report), log)) => {
                // They would be refused anyway, but may have data that this log has no more. A log elsewhere has none here.
                if is_in(&log, &settings.data)
                    && let Err(error) = remove_snapshots(&settings.data)
                {
                    return fail_with(format_args!("{error:#}"), Exit::Failed);
                }
                let (events, streams) = (report.events, report.streams);
                println!(
                    "restored {events} events of {streams} streams to {}; the log is whole",
                    log.display()
                );
                Exit::Success
            }
            Ok((Err(error), _)) => failure(error).fail(),
            Err(error) => fail_with(error, Exit::Failed),
        }
    }
}

/// Returns whether a file that exists is in this directory.
fn is_in(file: &Path, directory: &Path) -> bool {
    match (fs::canonicalize(file), fs::canonicalize(directory)) {
        (Ok(file), Ok(directory)) => file.parent() == Some(&directory),
        _ => false,
    }
}
