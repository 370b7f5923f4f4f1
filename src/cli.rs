//! The command line: one file for each subcommand.

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
mod serve;
mod stats;
mod status;
mod submit;
mod terminal;
mod try_image;
mod up;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs container challenges: pulls the images that participants submit, runs them in
/// a sandbox on a Docker Swarm, probes them over HTTP, and puts those that pass on a map.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run all of Muster in this process
    Up(up::UpCommand),
    /// Run one role of Muster in a process of its own
    Serve(serve::ServeCommand),
    /// Serve the embedded event log in EventStoreDB's protocol
    Eventstore(eventstore::EventstoreCommand),
    /// Remove old images and forgotten containers from this node
    Janitor(janitor::JanitorCommand),
    /// Run an image on your own Docker as Muster would, and show its verdict
    Try(try_image::TryCommand),
    /// Submit an entry and show its progress up to the verdict
    Submit(submit::SubmitCommand),
    /// Show the status of a submission, with the reasons
    Status(status::StatusCommand),
    /// Show the totals over all submissions, now or at a past moment
    Stats(stats::StatsCommand),
    /// Export the events of the log, for analysts
    Replay(replay::ReplayCommand),
    /// Build the views in MongoDB again from the log, while they are in use
    Rebuild(rebuild::RebuildCommand),
    /// Verify submissions again, or show which verdicts would change
    Rejudge(rejudge::RejudgeCommand),
    /// Check this machine and the nodes, and show how to fix each problem
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
                CliCommand::Rejudge(rejudge) => rejudge.run().await,
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

/// Prints on one line why a command fails, and returns its exit code.
fn fail_with(why: impl Display, exit: Exit) -> Exit {
    eprintln!("muster: {why}");
    exit
}
