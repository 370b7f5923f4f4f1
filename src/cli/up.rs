//! `muster up`: everything in one process. And what all processes have in
//! common that stay up until they are asked to stop.

use std::io;
use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, fail_with};
use crate::config::{AllOptions, SettingError, Settings};
use crate::system::{self, Listeners, Role};
use crate::telemetry;

/// Starts everything in this process and stays up until SIGTERM or Ctrl-C.
///
/// Exit codes: 0 stopped as asked, 1 a part failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct UpCommand {
    #[command(flatten)]
    options: AllOptions,
}

impl UpCommand {
    pub(super) async fn run(self) -> Exit {
        stay_up(Settings::read(&self.options), &Role::ALL).await
    }
}

/// Does what the roles are for until SIGTERM or Ctrl-C.
pub(super) async fn stay_up(settings: Result<Settings, SettingError>, roles: &[Role]) -> Exit {
    let settings = match settings {
        Ok(settings) => settings,
        Err(why) => return fail_with(why, Exit::Refused),
    };
    telemetry::start(&settings.telemetry);
    raise_the_limit_of_open_files();
    let listeners = match listeners(&settings, roles).await {
        Ok(listeners) => listeners,
        Err(why) => return fail_with(why, Exit::Failed),
    };
    let stopping = CancellationToken::new();
    if let Err(error) = install_signal_handlers(stopping.clone()) {
        return fail_with(format_args!("signals cannot be heard: {error}"), Exit::Failed);
    }
    match system::run(settings, roles, listeners, stopping).await {
        Ok(()) => Exit::Success,
        Err(error) => fail_with(format_args!("{error:#}"), Exit::Failed),
    }
}

async fn listeners(settings: &Settings, roles: &[Role]) -> Result<Listeners, String> {
    let mut listeners = Listeners { http: None, node: None };
    let served = roles.iter().any(|role| role.is_served());
    if let Some(address) = served.then(|| settings.api()).or(settings.listen) {
        listeners.http = Some(listener(address).await?);
    }
    if let Some(node) = &settings.node {
        listeners.node = Some((listener(node.listen).await?, node.config.clone()));
    }
    Ok(listeners)
}

async fn listener(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address} cannot be listened on: {error}; --listen chooses another"))
}

/// Every connection is an open file, and what is usually allowed at first is
/// meant for programs that have few.
fn raise_the_limit_of_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, at = ?limit.current, "the limit of open files stays");
    }
}

/// The first signal asks to stop. The second does not ask.
pub(super) fn install_signal_handlers(stopping: CancellationToken) -> io::Result<()> {
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
