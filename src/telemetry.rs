//! The log lines of this process, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, TelemetrySettings};

/// Starts to write log lines.
pub(crate) fn start(settings: &TelemetrySettings) {
    // The settings were checked when they were read.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.filter))
        .with_writer(io::stderr)
        // Whoever reads standard error may go away. To say so there would be a panic.
        .log_internal_errors(false);
    match settings.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}
