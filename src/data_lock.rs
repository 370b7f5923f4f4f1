//! The locks of a data directory. The embedded log has one writer, and a verifier's name comes from its directory: two
//! verifiers of one name would interrupt each other's claims. One process delivers webhooks. The operating system frees a
//! lock when its process ends.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use verifier::GateChoice;

use crate::config::{LogLocation, Settings};
use crate::data;
use crate::system::Role;

/// The time for which a newcomer waits: a process that was asked to stop has ended by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// The name of the lock of the process that opens the log.
const LOG: &str = "log.lock";

/// The name of a verifier's lock.
const VERIFIER: &str = "verifier.lock";

/// The name of the lock of the gate, which counts the layers in its directory.
const GATE: &str = "gate.lock";

/// The name of the lock of the process that delivers webhooks.
const WEBHOOKS: &str = "webhooks.lock";

/// The locks that a process holds, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct DataLocks {
    _held: Vec<File>,
}

impl DataLocks {
    /// Takes the locks that these roles need, and creates the directory. Waits for another process that has them and
    /// may be stopping.
    ///
    /// # Errors
    /// If another process keeps a lock, or a lock's file cannot be written.
    pub(crate) async fn take(settings: &Settings, roles: &[Role]) -> anyhow::Result<Self> {
        data::ensure_directory(&settings.data)?;
        let mut held = Vec::new();
        for path in needed(settings, roles) {
            held.push(take(&path, Some(PATIENCE)).await?);
        }
        Ok(Self { _held: held })
    }
}

/// Takes the lock of the process that delivers webhooks. Waits without an end, because a second process is there to take
/// over.
///
/// # Errors
/// If the lock's file cannot be written.
pub(crate) async fn wait_for_webhooks(data: &Path) -> anyhow::Result<DataLocks> {
    Ok(DataLocks { _held: vec![take(&data.join(WEBHOOKS), None).await?] })
}

/// Returns whether a process has the lock of the one that opens a log's file.
pub(crate) fn is_log_in_use(data: &Path) -> bool {
    // The lock is free again once the file is closed.
    File::open(data.join(LOG)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn needed(settings: &Settings, roles: &[Role]) -> Vec<PathBuf> {
    // The log in a file has a lock beside it as well, in case it is in another directory. Nobody waits for that one.
    let is_gate = roles == [Role::Gate];
    let log = (matches!(settings.eventstore, LogLocation::Sqlite(_)) && !is_gate).then_some(LOG);
    let verifier = roles.contains(&Role::Verifier);
    let keeps_layers = is_gate || verifier && matches!(settings.gate, GateChoice::Own(_));
    let names = log.into_iter().chain(verifier.then_some(VERIFIER)).chain(keeps_layers.then_some(GATE));
    names.map(|name| settings.data.join(name)).collect()
}

/// Takes one lock, and writes the number of this process into its file. Without a `patience`, it waits without an end.
async fn take(path: &Path, patience: Option<Duration>) -> anyhow::Result<File> {
    let shown = path.display();
    let open = || File::options().create(true).read(true).append(true).mode(0o600).open(path);
    let mut file = open().with_context(|| format!("the lock {shown} cannot be opened"))?;
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut is_told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                if !std::mem::replace(&mut is_told, true) {
                    let holder = holder(path);
                    let most = patience.map(|most| format!(" for at most {} s", most.as_secs()));
                    tracing::warn!("{holder} has {shown}; waiting for its end{}", most.unwrap_or_default());
                }
                sleep(PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => bail!(
                "{} has {shown}: end that process, or give this one a directory of its own with --data",
                holder(path)
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{shown} cannot be locked"));
            }
        }
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.with_context(|| format!("the lock {shown} cannot be written"))?;
    Ok(file)
}

/// Returns the process that holds a lock, as its file names it. A process of another container may have another number
/// here.
fn holder(path: &Path) -> String {
    let pid = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_waits_for_the_holder_and_then_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(VERIFIER);
        let first = take(&path, Some(PATIENCE)).await.unwrap();
        let refused = take(&path, Some(PATIENCE)).await.unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} has", std::process::id())), "{refused}");
        assert!(refused.contains("--data"), "{refused}");

        let second = tokio::spawn({
            let path = path.clone();
            async move { take(&path, Some(PATIENCE)).await }
        });
        sleep(PATIENCE / 2).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap().expect("the lock of an ended process is taken");
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
    }
}
