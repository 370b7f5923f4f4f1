//! `muster eventstore`: serves the embedded log to other processes, in any language.

use super::up::run_until_signal;
use super::{Exit, fail_with};
use crate::config::{EventstoreOptions, LogLocation, Settings};

/// Serves the embedded log in EventStoreDB's protocol.
///
/// Without a login, every process of this machine may use the log. An address that
/// other machines can reach needs a login and a certificate.
///
/// Exit codes: 0 stopped by a signal, 1 failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct EventstoreCommand {
    #[command(flatten)]
    options: EventstoreOptions,
}

impl EventstoreCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = Settings::read_for_node(&self.options);
        if let Ok(Settings { eventstore: LogLocation::Esdb(_), .. }) = settings {
            let why = "--eventstore (MUSTER_EVENTSTORE) names a log that another process serves; \
                give sqlite:PATH, or --data alone";
            return fail_with(why, Exit::Refused);
        }
        run_until_signal(settings, &[]).await
    }
}
