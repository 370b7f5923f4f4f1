//! The command line: one file for each subcommand.

mod backup;
mod bar;
mod client;
mod doctor;
mod error;
mod eventstore;
mod janitor;
mod progress;
mod rebuild;
mod rejudge;
mod replay;
mod restore;
mod serve;
mod stats;
mod status;
mod submit;
mod terminal;
mod token;
mod try_image;
mod up;
mod verify;
mod visibility;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{EventLogOptions, LogLocation, Settings};

/// Runs container challenges: pulls the images that participants submit, runs them in
/// a sandbox on a Docker Swarm, probes them over HTTP, and puts those that pass on a map.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

/// The subcommands. Each describes itself where its options are.
#[derive(Debug, Subcommand)]
enum CliCommand {
    Up(up::UpCommand),
    Serve(serve::ServeCommand),
    Eventstore(eventstore::EventstoreCommand),
    Janitor(janitor::JanitorCommand),
    Try(try_image::TryCommand),
    Submit(submit::SubmitCommand),
    Status(status::StatusCommand),
    Stats(stats::StatsCommand),
    Replay(replay::ReplayCommand),
    Rebuild(rebuild::RebuildCommand),
    Verify(verify::VerifyCommand),
    Backup(backup::BackupCommand),
    Restore(restore::RestoreCommand),
    Rejudge(rejudge::RejudgeCommand),
    Hide(visibility::HideCommand),
    Show(visibility::ShowCommand),
    Correct(visibility::CorrectCommand),
    Withdraw(visibility::WithdrawCommand),
    Token(token::TokenCommand),
    Doctor(doctor::DoctorCommand),
}

/// The result of a command. The number is the exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// The command did its work; a submission passed.
    Success = 0,
    /// The submission failed, or the command itself.
    Failed = 1,
    /// The request is wrong: an argument, a setting, an entry.
    Refused = 2,
    /// The other side does not answer, or not as Muster does.
    Unreachable = 3,
    /// There is no verdict yet.
    Undecided = 4,
}

impl Cli {
    /// Runs the command and returns its exit code.
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail_with(
                    format_args!("the threads of the runtime cannot be started: {error}"),
                    Exit::Failed,
                )
                .into();
            }
        };
        let exit = runtime.block_on(async {
            match self.command {
                CliCommand::Up(up) => up.run().await,
                CliCommand::Serve(serve) => serve.run().await,
                CliCommand::Eventstore(eventstore) => eventstore.run().await,
                CliCommand::Janitor(janitor) => janitor.run().await,
                CliCommand::Try(command) => command.run().await,
                CliCommand::Submit(submit) => submit.run().await,
                CliCommand::Status(status) => status.run().await,
                CliCommand::Stats(stats) => stats.run().await,
                CliCommand::Replay(replay) => replay.run().await,
                CliCommand::Rebuild(rebuild) => rebuild.run().await,
                CliCommand::Verify(verify) => verify.run().await,
                CliCommand::Backup(backup) => backup.run().await,
                CliCommand::Restore(restore) => restore.run().await,
                CliCommand::Rejudge(rejudge) => rejudge.run().await,
                CliCommand::Hide(hide) => hide.run().await,
                CliCommand::Show(show) => show.run().await,
                CliCommand::Correct(correct) => correct.run().await,
                CliCommand::Withdraw(withdraw) => withdraw.run().await,
                CliCommand::Token(token) => token.run().await,
                CliCommand::Doctor(doctor) => doctor.run().await,
            }
        });
        // A blocked thread must not keep the process from ending.
        runtime.shutdown_background();
        exit.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Returns the settings and the file of the embedded log. If the log is on a server, fails and says so with `elsewhere`.
fn embedded_log(options: &EventLogOptions, elsewhere: &str) -> Result<(Settings, PathBuf), Exit> {
    let settings = Settings::read(options).map_err(|why| fail_with(why, Exit::Refused))?;
    match settings.eventstore.clone() {
        LogLocation::Sqlite(log) => Ok((settings, log)),
        LogLocation::Esdb(_) => Err(fail_with(elsewhere, Exit::Refused)),
    }
}

/// Prints on one line why a command fails, and returns its exit code.
fn fail_with(why: impl Display, exit: Exit) -> Exit {
    // If nobody reads standard error, the exit code still tells.
    let _ = writeln!(io::stderr(), "muster: {why}");
    exit
}
