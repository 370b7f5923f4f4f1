//! `muster verify`: checks the embedded log from its first page to its last event.

use std::io::ErrorKind;

use domain::{StoredEvent, UnreadCause, UnreadEvent};
use event_store::{OpenLogError, RecordedEvent, verify_log};

use super::error::CliError;
use super::{Exit, embedded_log, fail_with};
use crate::config::EventLogOptions;

/// Checks the embedded log, at rest or while Muster runs, and changes nothing.
///
/// Reads every page of the file and every event: its checksum, its place in its
/// stream and in the log, and its content. Prints each damage with its place.
///
/// Exit codes: 0 the log is whole, 1 it is damaged, 2 a setting is wrong, or the
/// log has another version.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyCommand {
    #[command(flatten)]
    log: EventLogOptions,
}

/// The events that are whole and yet change nothing here.
#[derive(Default)]
pub(super) struct PassedOver {
    /// Events of strangers in streams with names of ours.
    strangers: u64,
    /// Events of a newer version of Muster.
    newer: u64,
}

impl VerifyCommand {
    pub(super) async fn run(self) -> Exit {
        let elsewhere = "muster verify checks the file of an embedded log; run it on the host of that file, with --data or \
            --eventstore sqlite:PATH. An EventStoreDB checks its own files (docs/operations.md)";
        let path = match embedded_log(&self.log, elsewhere) {
            Ok((_, path)) => path,
            Err(exit) => return exit,
        };
        let verified = tokio::task::spawn_blocking(move || {
            let mut passed_over = PassedOver::default();
            let report = verify_log(&path, |event| passed_over.understands(event))?;
            Ok((path, report, passed_over))
        });
        let (path, report, passed_over) = match verified.await {
            Ok(Ok(verified)) => verified,
            Ok(Err(error)) => return failure(error).fail(),
            Err(error) => return fail_with(error, Exit::Failed),
        };
        for damage in &report.damages {
            println!("damaged: {damage}");
        }
        let PassedOver { strangers, newer } = passed_over;
        for (count, what) in [
            (
                report.without_checksum,
                "from before checksums have none yet; the next start of Muster adds them",
            ),
            (strangers, "of strangers stand in streams of Muster"),
            (newer, "are of a newer version of Muster"),
        ] {
            if count > 0 {
                println!("{count} events {what}");
            }
        }
        let (events, streams, path) = (report.events, report.streams, path.display());
        println!("read {events} events of {streams} streams in {path}");
        match report.damaged {
            0 => {
                println!("the log is whole");
                Exit::Success
            }
            1 => fail_with("the log is damaged at 1 place: restore it from a backup", Exit::Failed),
            damaged => fail_with(
                format_args!("the log is damaged at {damaged} places: restore it from a backup"),
                Exit::Failed,
            ),
        }
    }
}

impl PassedOver {
    /// Returns the reason why an event of ours cannot be read, unless a newer version can.
    pub(super) fn understands(&mut self, event: &RecordedEvent) -> Result<(), String> {
        match StoredEvent::read(event.stream.as_str(), &event.kind, &event.metadata, &event.data) {
            StoredEvent::Unread(_, UnreadEvent { cause: UnreadCause::Damaged, why }) => return Err(why),
            StoredEvent::Unread(_, UnreadEvent { cause: UnreadCause::NewerVersion, .. }) => self.newer += 1,
            StoredEvent::Foreign(_) => self.strangers += 1,
            _ => {}
        }
        Ok(())
    }
}

fn failure(error: OpenLogError) -> CliError {
    match error {
        // A log that was cut short is damaged, and not only out of reach.
        OpenLogError::Unreadable { error: cut, .. } if cut.kind() == ErrorKind::UnexpectedEof => {
            CliError::failed("the file is too short for a log: restore it from a backup")
        }
        OpenLogError::Version { .. }
        | OpenLogError::OlderVersion { .. }
        | OpenLogError::Unreadable { .. } => CliError::refused(error.to_string()),
        error => CliError::failed(format!("{error}: restore it from a backup")),
    }
}
