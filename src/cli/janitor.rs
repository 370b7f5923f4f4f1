//! `muster janitor`: runs on a sandbox node and keeps it tidy, also when no
//! manager is alive.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use verifier::janitor::{self, Housekeeping};

use super::up::install_signal_handlers;
use super::{Exit, fail_with};
use crate::config::{JanitorOptions, TelemetrySettings};
use crate::telemetry;

/// Removes from this node participants' containers that ended or whose time is over,
/// and participants' images that are not used any more, until SIGTERM or Ctrl-C.
///
/// Run it on each sandbox node. Engines that `--swarm` names have one already,
/// within `muster up` or the verifier. What is not a participant's is not touched.
///
/// Exit codes: 0 stopped as asked, 1 signals cannot be heard, 2 an argument is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct JanitorCommand {
    /// The node's engine: unix:///PATH, or tcp://HOST:PORT
    #[arg(long, value_name = "ENGINE", default_value = "unix:///var/run/docker.sock")]
    engine: String,

    /// Directory of ca.pem, cert.pem and key.pem for an engine over tcp://
    #[arg(long, value_name = "DIRECTORY")]
    certificates: Option<PathBuf>,

    /// Minutes that an image is kept after it was last used
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    keep: u64,

    /// GiB that participants' images may take; beyond it the oldest go sooner
    #[arg(long, value_name = "GIB", default_value_t = 20)]
    space: u64,

    #[command(flatten)]
    options: JanitorOptions,
}

impl JanitorCommand {
    pub(super) async fn run(self) -> Exit {
        match TelemetrySettings::read(&self.options) {
            Ok(settings) => telemetry::start(&settings),
            Err(why) => return fail_with(why, Exit::Refused),
        }
        let rules = Housekeeping {
            keep: Duration::from_secs(self.keep.saturating_mul(60)),
            space_mib: self.space.saturating_mul(1024),
            ..Housekeeping::default()
        };
        let janitor = match janitor::Janitor::new(&self.engine, self.certificates.as_deref(), rules) {
            Ok(janitor) => janitor,
            Err(why) => return fail_with(why, Exit::Refused),
        };
        let stopping = CancellationToken::new();
        if let Err(error) = install_signal_handlers(stopping.clone()) {
            return fail_with(format_args!("signals cannot be heard: {error}"), Exit::Failed);
        }
        tracing::info!(engine = self.engine, "this node is kept tidy");
        janitor.run(stopping).await;
        Exit::Success
    }
}
