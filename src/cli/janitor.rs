//! `muster janitor`: removes ended containers and unused images of participants from one node. It needs no manager of
//! the Swarm.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use verifier::janitor::{self, Housekeeping};

use super::up::install_signal_handlers;
use super::{Exit, fail_with};
use crate::config::{JanitorOptions, TelemetrySettings};
use crate::telemetry;

/// Removes participants' containers that ended or ran too long, and participants'
/// images that are no longer used, from this node, until SIGTERM or Ctrl-C.
///
/// Run it on each sandbox node. `muster up` and the verifier do the same for the
/// engines that `--swarm` names. Other containers and images stay untouched.
///
/// Exit codes: 0 stopped by a signal, 1 failed, 2 an argument is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct JanitorCommand {
    /// Engine of the node: unix:///PATH or tcp://HOST:PORT
    #[arg(long, value_name = "ENGINE", default_value = "unix:///var/run/docker.sock")]
    engine: String,

    /// Directory with ca.pem, cert.pem and key.pem for an engine over tcp://
    #[arg(long, value_name = "DIRECTORY")]
    certificates: Option<PathBuf>,

    /// Minutes to keep an image after its last use
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    keep: u64,

    /// GiB for participants' images; above this, the images unused for longest go earlier
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
            return fail_with(format_args!("the signal handlers cannot be installed: {error}"), Exit::Failed);
        }
        tracing::info!(engine = self.engine, "the janitor watches this engine");
        janitor.run(stopping).await;
        Exit::Success
    }
}
