//! `muster up`: everything in one process, until it is asked to stop.

use std::io;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, complain};
use crate::config::{Options, Settings};
use crate::{system, telemetry};

/// Starts everything in this process and stays up until SIGTERM or Ctrl-C.
///
/// Exit codes: 0 stopped as asked, 1 a part failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Up {
    #[command(flatten)]
    options: Options,
}

impl Up {
    pub(super) async fn run(self) -> Exit {
        if let Err(why) = telemetry::start() {
            return complain(why, Exit::Refused);
        }
        let settings = match Settings::read(self.options) {
            Ok(settings) => settings,
            Err(why) => return complain(why, Exit::Refused),
        };
        let listener = match TcpListener::bind(settings.listen).await {
            Ok(listener) => listener,
            Err(error) => {
                let why =
                    format!("{} cannot be listened on: {error}; --listen chooses another", settings.listen);
                return complain(why, Exit::Failed);
            }
        };
        let stopping = CancellationToken::new();
        if let Err(error) = heed_signals(stopping.clone()) {
            return complain(format_args!("signals cannot be heard: {error}"), Exit::Failed);
        }
        match system::run(settings, listener, stopping).await {
            Ok(()) => Exit::Well,
            Err(error) => complain(format_args!("{error:#}"), Exit::Failed),
        }
    }
}

/// The first signal asks to stop. The second does not ask.
fn heed_signals(stopping: CancellationToken) -> io::Result<()> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupted.recv() => 130,
                _ = terminated.recv() => 143,
            }
        };
        next().await;
        tracing::info!("stopping; once more to stop at once");
        stopping.cancel();
        std::process::exit(next().await);
    });
    Ok(())
}
