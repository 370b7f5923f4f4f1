//! The number that one testbed owns, and the janitor that cleans up after the testbed.
//!
//! All names and addresses of a testbed come from a number. The number is held through a lock that the
//! kernel releases when the holder dies. If a number can be locked but has a directory, a killed run left
//! it, and it is swept.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::run::run;
use crate::wait::until;

/// The directory of all testbeds' files, the same for all users of the machine.
const ROOT: &str = "/tmp/muster-testbed";
/// The highest number. It is the third byte of the testbed's addresses, so it must fit.
const LAST: u8 = 250;
const SWEEP: &str = include_str!("sweep.sh");

/// A number that this process owns until it releases the number or dies.
pub(crate) struct Claim {
    id: u8,
    lock: Option<File>,
    janitor: Child,
}

impl Claim {
    /// Sweeps the leftovers of dead testbeds, and takes the lowest free number.
    pub(crate) async fn take() -> Result<Self> {
        fs::create_dir_all(ROOT).with_context(|| format!("cannot create {ROOT}"))?;
        let mut ours = None;
        for id in 1..=LAST {
            let left = directory(id).exists();
            if ours.is_some() && !left {
                continue;
            }
            let Some(lock) = try_lock(id)? else { continue };
            if left && let Err(error) = sweep(id).await {
                eprintln!("testbed: number {id} is not reused: {error:#}");
            } else if ours.is_none() {
                ours = Some((id, lock));
            }
        }
        let Some((id, lock)) = ours else {
            bail!("all {LAST} testbed numbers under {ROOT} are taken");
        };
        fs::create_dir(directory(id))?;
        Ok(Self { id, lock: Some(lock), janitor: janitor(id)? })
    }

    /// Returns the number, from 1 to 250.
    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    /// Returns the claim's directory. It is removed with the claim.
    pub(crate) fn directory(&self) -> PathBuf {
        directory(self.id)
    }

    /// Gives the number back and waits until everything with that number is gone.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.lock = None;
        drop(self.janitor.stdin.take());
        let status =
            until("the testbed's janitor to finish", LIMIT, async || self.janitor.try_wait().transpose())
                .await??;
        if !status.success() {
            bail!("testbed {} left something behind: {status}", self.id);
        }
        Ok(())
    }
}

/// The deadline of a sweep. It is longer than the sweep's own, so that the sweep's error is seen.
const LIMIT: Duration = Duration::from_secs(90);

fn directory(id: u8) -> PathBuf {
    Path::new(ROOT).join(id.to_string())
}

fn lock_path(id: u8) -> PathBuf {
    Path::new(ROOT).join(format!("{id}.lock"))
}

/// Locks a number. Returns `None` if a living process holds it.
fn try_lock(id: u8) -> Result<Option<File>> {
    let path = lock_path(id);
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock"),
    }
}

async fn sweep(id: u8) -> Result<()> {
    let id = id.to_string();
    run("sh", ["-c", SWEEP, "sweep", ROOT, &id]).await?;
    Ok(())
}

/// Starts the process that sweeps after this one, however this one ends: its standard input closes with us,
/// and a session of its own protects it from Ctrl-C.
fn janitor(id: u8) -> Result<Child> {
    const WAIT: &str = r#"cat >/dev/null; exec flock -w 30 "$1" sh -c "$2" sweep "$3" "$4""#;
    Command::new("setsid")
        .args(["sh", "-c", WAIT, "janitor"])
        .arg(lock_path(id))
        .args([SWEEP, ROOT, &id.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start setsid: apt-get install -y util-linux")
}
