//! The program: reads what it was asked to do, does it, and says by its exit
//! code how that went.

use std::process::ExitCode;

use clap::Parser;
use muster::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
