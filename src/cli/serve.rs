//! `muster serve`: runs one role of Muster in a process of its own.

use super::up::run_until_signal;
use super::{Exit, fail_with};
use crate::config::{AllOptions, LogLocation, Settings};
use crate::system::Role;

/// Runs one role of `muster up` in a process of its own.
///
/// The roles share one event log over the network: `muster eventstore` on one
/// machine, or an EventStoreDB. Each verifier needs a data directory of its own,
/// because its name comes from there. The gate needs no log: verifiers ask it
/// over HTTP.
///
/// Exit codes: 0 stopped by a signal, 1 a part failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct ServeCommand {
    /// The role to run
    role: Role,

    #[command(flatten)]
    options: AllOptions,
}

impl ServeCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = Settings::read(&self.options);
        if self.role != Role::Gate
            && let Ok(Settings { eventstore: LogLocation::Sqlite(_), .. }) = settings
        {
            let why = "several processes cannot share a log in a file; start `muster eventstore`, and then give \
                --eventstore esdb://127.0.0.1:2113?tls=false, or MUSTER_EVENTSTORE";
            return fail_with(why, Exit::Refused);
        }
        run_until_signal(settings, &[self.role]).await
    }
}
