//! `muster up`: runs all of Muster in one process. Also the common part of all commands that run until a signal.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, fail_with};
use crate::config::{AllOptions, SettingError, Settings};
use crate::data_lock::DataLocks;
use crate::server::LEAVING;
use crate::shutdown::Shutdown;
use crate::system::{self, Listeners, Role};
use crate::telemetry;

/// Runs all of Muster in this process, until SIGTERM or Ctrl-C.
///
/// Exit codes: 0 stopped by a signal, 1 a part failed, 2 a setting is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct UpCommand {
    #[command(flatten)]
    options: AllOptions,
}

impl UpCommand {
    pub(super) async fn run(self) -> Exit {
        run_until_signal(Settings::read(&self.options), &Role::ALL).await
    }
}

/// Runs these roles until SIGTERM or Ctrl-C.
pub(super) async fn run_until_signal(settings: Result<Settings, SettingError>, roles: &[Role]) -> Exit {
    let settings = match settings {
        Ok(settings) => settings,
        Err(why) => return fail_with(why, Exit::Refused),
    };
    telemetry::start(&settings.telemetry);
    raise_open_file_limit();
    let _locks = match DataLocks::take(&settings, roles).await {
        Ok(locks) => locks,
        Err(error) => return fail_with(format_args!("{error:#}"), Exit::Failed),
    };
    let listeners = match listeners(&settings, roles).await {
        Ok(listeners) => listeners,
        Err(why) => return fail_with(why, Exit::Failed),
    };
    let shutdown = Shutdown::after(leaving_time(&settings, roles));
    if let Err(error) = install_signal_handlers(shutdown.leaving.clone()) {
        return fail_with(format_args!("the signal handlers cannot be installed: {error}"), Exit::Failed);
    }
    match system::run(settings, roles, listeners, shutdown).await {
        Ok(()) => Exit::Success,
        Err(error) => fail_with(format_args!("{error:#}"), Exit::Failed),
    }
}

/// Returns the time that a balancer in front has to send its clients elsewhere.
fn leaving_time(settings: &Settings, roles: &[Role]) -> Duration {
    let behind_balancer = settings.trusted_proxies.names_any() && roles.iter().any(|role| role.is_served());
    if behind_balancer { LEAVING } else { Duration::ZERO }
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
        .map_err(|error| format!("cannot listen on {address}: {error}; choose another address with --listen"))
}

/// Raises the soft limit of open files to the hard one. Every connection is an open file, and the usual soft limit is
/// too low for a server.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, limit = ?limit.current, "the limit of open files cannot be raised");
    }
}

/// Stops the process gracefully at the first SIGTERM or Ctrl-C, and at once at the second.
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
        tracing::info!("stopping; send the signal again to stop at once");
        stopping.cancel();
        std::process::exit(next().await);
    });
    Ok(())
}
