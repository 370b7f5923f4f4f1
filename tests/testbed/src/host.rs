//! A simulated host on this machine: namespaces that live as long as a pipe.
//!
//! The first process of a host waits for the end of its standard input. If the process that started it
//! dies, in whatever way, the pipe closes and the first process ends. Then the kernel removes all other
//! processes of the host, its mounts and its network. Nothing of a host can outlive its test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::run::run;
use crate::wait::until;

/// The deadline for starting a host and for ending a process of it. Both take milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// The script of the host's first process. It reads its process number before it mounts the host's own
/// /proc. It empties /run, because daemons put files with fixed names there. The shell stays, because a
/// first process must reap orphans.
const FIRST: &str = r#"
read -r pid _ </proc/self/stat
mount -t proc proc /proc && mount -t tmpfs tmpfs /run && hostname "$1" || exit 1
ip link set lo up || exit 1
echo "$pid"
cat >/dev/null
exit 0
"#;

/// A host with a network of its own.
pub(crate) struct Host {
    name: String,
    directory: PathBuf,
    life: Mutex<Option<Life>>,
}

impl Host {
    /// Starts the host `name`, whose files are kept in `under/name`.
    pub(crate) async fn start(name: &str, under: &Path) -> Result<Self> {
        let directory = under.join(name);
        std::fs::create_dir_all(&directory)?;
        let host = Self { name: name.to_owned(), directory, life: Mutex::new(None) };
        host.power_on().await?;
        Ok(host)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the directory of the host's files. The path is the same inside and outside.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the number of the host's first process, as this machine counts.
    pub(crate) fn pid(&self) -> Result<u32> {
        match self.life().as_ref() {
            Some(life) => Ok(life.pid),
            None => bail!("host {} is off", self.name),
        }
    }

    /// Starts the host again after [`Host::power_off`], without its network.
    pub(crate) async fn power_on(&self) -> Result<()> {
        let mut first = Command::new("unshare")
            .args(["--net", "--uts", "--mount", "--ipc", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", FIRST, "host", &self.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare: apt-get install -y util-linux")?;
        let stdout = first.stdout.take().context("stdout is piped")?;
        let mut life = Life { first, pid: 0 };
        let said = timeout(LIMIT, spawn_blocking(|| first_line(stdout)))
            .await
            .with_context(|| format!("host {} does not start", self.name))???;
        life.pid = said
            .trim()
            .parse()
            .with_context(|| format!("host {} did not start; it takes root to make one", self.name))?;
        *self.life() = Some(life);
        Ok(())
    }

    /// Ends every process of the host at once, as a power cut does. The files in its directory stay.
    pub(crate) fn power_off(&self) {
        *self.life() = None;
    }

    /// Runs a command inside the host to its end. Returns its standard output.
    pub(crate) async fn run(&self, argv: &[&str]) -> Result<String> {
        let mut inside = self.enter()?;
        inside.extend(argv.iter().map(|&part| part.to_owned()));
        run("nsenter", inside).await.with_context(|| format!("on host {}: {}", self.name, argv.join(" ")))
    }

    /// Starts a long-running process inside the host. It can be signalled by `name`, and it writes to
    /// `NAME.log` in the host's directory.
    pub(crate) fn spawn(&self, name: &str, argv: &[&str]) -> Result<Process> {
        const RECORD: &str = r#"echo $$ >"/run/testbed-$1.pid"; shift; exec "$@""#;
        let log = self.directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new("nsenter")
            .args(self.enter()?)
            .args(["sh", "-c", RECORD, "spawn", name])
            .args(argv)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start nsenter: apt-get install -y util-linux")?;
        Ok(Process { name: name.to_owned(), log, child })
    }

    fn enter(&self) -> Result<Vec<String>> {
        let target = format!("--target={}", self.pid()?);
        let spaces = ["--mount", "--uts", "--ipc", "--pid", "--net", "--"];
        Ok([target].into_iter().chain(spaces.map(str::to_owned)).collect())
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that was started inside a host.
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Sends a signal, named without SIG.
    pub(crate) async fn signal(&self, host: &Host, signal: &str) -> Result<()> {
        const SEND: &str = r#"kill -s "$2" "$(cat "/run/testbed-$1.pid")""#;
        host.run(&["sh", "-c", SEND, "signal", &self.name, signal]).await?;
        Ok(())
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub(crate) async fn kill(&mut self, host: &Host) -> Result<()> {
        if self.exited()?.is_none() {
            self.signal(host, "KILL").await?;
        }
        let what = format!("{} to end", self.name);
        until(&what, LIMIT, async || self.exited().transpose()).await??;
        Ok(())
    }

    /// Returns the exit status of the process, if the process has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Returns the last lines of the process's log, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child is `nsenter`, which only waits. The process inside ends with its host. Both calls fail
        // only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pipe to the first process of a host. The host ends when the pipe closes.
struct Life {
    first: Child,
    pid: u32,
}

impl Drop for Life {
    fn drop(&mut self) {
        // The host's first process ends with its input. `unshare` waits until all other processes of the
        // host are gone. If `unshare` were killed, they could still answer for a moment.
        drop(self.first.stdin.take());
        let deadline = Instant::now() + LIMIT;
        while matches!(self.first.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(2));
        }
        // Both calls fail only if the process is gone already.
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn first_line(from: impl std::io::Read) -> Result<String> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line)?;
    Ok(line)
}
