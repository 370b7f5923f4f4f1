//! The command line: one file for each subcommand.

mod bar;
mod client;
mod doctor;
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
mod up;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs container challenges: pulls the images that participants submit, runs
/// them in a sandbox on a Docker Swarm, asks them over HTTP, and shows who
/// passes on a map.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Start everything in this process and stay up until asked to stop
    Up(up::UpCommand),
    /// Do one role of the whole in a process of its own
    Serve(serve::ServeCommand),
    /// Serve the embedded log in EventStoreDB's protocol
    Eventstore(eventstore::EventstoreCommand),
    /// Keep this node tidy: old images and forgotten containers leave
    Janitor(janitor::JanitorCommand),
    /// Submit an entry and follow it to its verdict
    Submit(submit::SubmitCommand),
    /// Say where a submission stands, and why
    Status(status::StatusCommand),
    /// Say the totals over all submissions, now or at a moment
    Stats(stats::StatsCommand),
    /// Write out what happened, for analysts
    Replay(replay::ReplayCommand),
    /// Make the views in MongoDB anew from the log, while they are read
    Rebuild(rebuild::RebuildCommand),
    /// Have submissions verified again, or say what would come of it
    Rejudge(rejudge::RejudgeCommand),
    /// Say what is missing here, and how to get it
    Doctor(doctor::DoctorCommand),
}

/// How a command ends; its number is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// What was asked for was done; a submission passed.
    Success = 0,
    /// It failed: the verdict, or the command itself.
    Failed = 1,
    /// What was asked for is wrong: an argument, a setting, an entry.
    Refused = 2,
    /// Nobody answers, or not in a way that can be understood.
    Unreachable = 3,
    /// There is no verdict yet.
    Undecided = 4,
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return fail_with(format_args!("no threads can be started: {error}"), Exit::Failed).into();
            }
        };
        let exit = runtime.block_on(async {
            match self.command {
                CliCommand::Up(up) => up.run().await,
                CliCommand::Serve(serve) => serve.run().await,
                CliCommand::Eventstore(eventstore) => eventstore.run().await,
                CliCommand::Janitor(janitor) => janitor.run().await,
                CliCommand::Submit(submit) => submit.run().await,
                CliCommand::Status(status) => status.run().await,
                CliCommand::Stats(stats) => stats.run().await,
                CliCommand::Replay(replay) => replay.run().await,
                CliCommand::Rebuild(rebuild) => rebuild.run().await,
                CliCommand::Rejudge(rejudge) => rejudge.run().await,
                CliCommand::Doctor(doctor) => doctor.run().await,
            }
        });
        // What still blocks a thread must not keep the process.
        runtime.shutdown_background();
        exit.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says on one line why a command ends as it does.
fn fail_with(why: impl Display, exit: Exit) -> Exit {
    eprintln!("muster: {why}");
    exit
}
