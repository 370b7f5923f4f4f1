//! `muster eventstore`: the embedded log for other processes, in any language.

use super::up::stay_up;
use super::{Exit, fail_with};
use crate::config::{EventstoreOptions, LogLocation, Settings};

/// Serves the embedded log in EventStoreDB's own protocol.
///
/// Whoever is on this machine may use it, unless a login is asked for. To be
/// reached from elsewhere it needs a login and a certificate.
///
/// Exit codes: 0 stopped as asked, 1 it failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct EventstoreCommand {
    #[command(flatten)]
    options: EventstoreOptions,
}

impl EventstoreCommand {
    pub(super) async fn run(self) -> Exit {
        let settings = Settings::read_for_node(&self.options);
        if let Ok(Settings { eventstore: LogLocation::Esdb(_), .. }) = settings {
            let why = "--eventstore (MUSTER_EVENTSTORE) names a log that is served already; \
                sqlite:PATH is expected here, or --data";
            return fail_with(why, Exit::Refused);
        }
        stay_up(settings, &[]).await
    }
}
