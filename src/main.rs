//! The program: parses its arguments, runs the command, and returns the exit code.

use std::process::ExitCode;

use clap::Parser;
use muster::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
