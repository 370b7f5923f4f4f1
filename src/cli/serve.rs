//! `muster serve`: one role of the whole, as a process of its own.

use super::up::stay_up;
use super::{Exit, fail_with};
use crate::config::{AllOptions, LogLocation, Settings};
use crate::system::Role;

/// Does one role of `muster up` in a process of its own.
///
/// The roles meet in the log, which is reached over the wire: at `muster
/// eventstore` on one machine, or at an EventStoreDB. Each verifier needs a
/// data directory of its own, for that gives it its name.
///
/// Exit codes: 0 stopped as asked, 1 a part failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct ServeCommand {
    /// Which
    role: Role,

    #[command(flatten)]
    options: AllOptions,
}

impl ServeCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = Settings::read(&self.options);
        if let Ok(Settings { eventstore: LogLocation::Sqlite(_), .. }) = settings {
            let why = "a file cannot be the log of several processes; start `muster eventstore`, \
                and give --eventstore esdb://127.0.0.1:2113?tls=false, or MUSTER_EVENTSTORE";
            return fail_with(why, Exit::Refused);
        }
        stay_up(settings, &[self.role]).await
    }
}
