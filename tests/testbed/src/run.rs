//! Runs the system's own tools, with a deadline and a clear error.

use std::env;
use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// The deadline of a tool. Each takes less than a second when it works.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs a command to its end. Returns its standard output.
pub(crate) async fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let output = timeout(LIMIT, command.output())
        .await
        .with_context(|| format!("{program} has not ended after {LIMIT:?}"))?
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks that these programs are installed.
///
/// # Errors
///
/// Names the first missing program and the command that installs it.
pub(crate) fn require(programs: &[(&str, &str)]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    for (program, package) in programs {
        if !folders.iter().any(|folder| folder.join(program).exists()) {
            bail!("{program} is missing: apt-get install -y {package}");
        }
    }
    Ok(())
}
