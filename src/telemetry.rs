//! What the process says of itself, on standard error: `MUSTER_LOG` chooses
//! what (`info`, `warn,verifier=debug`, …), `MUSTER_LOG_FORMAT=json` how.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Begins to write the log.
///
/// # Errors
/// When a setting is wrong; in one line.
pub(crate) fn start() -> Result<(), String> {
    let filter = match env::var("MUSTER_LOG") {
        Ok(filter) if !filter.is_empty() => {
            EnvFilter::try_new(&filter).map_err(|error| format!("MUSTER_LOG is {filter:?}: {error}"))?
        }
        _ => EnvFilter::new("info"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match env::var("MUSTER_LOG_FORMAT").unwrap_or_default().as_str() {
        "" | "text" => log.with_ansi(io::stderr().is_terminal()).init(),
        "json" => log.json().init(),
        other => return Err(format!("MUSTER_LOG_FORMAT is {other:?}: text or json is expected")),
    }
    Ok(())
}
