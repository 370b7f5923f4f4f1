//! Muster as a process on a testbed: submit, wait for the verdicts, and read the times of each step from
//! the history.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Testbed, until};

const CHALLENGE: &str = include_str!("../../tests/it/support/challenge.toml");
const TOKEN: &str = "organiser-of-the-benchmarks";
const READY: Duration = Duration::from_secs(60);

/// A single process of Muster.
pub(crate) struct Muster {
    pub(crate) program: Child,
    listen: String,
    http: reqwest::Client,
    _files: tempfile::TempDir,
}

/// The times of the steps of one verification that reached its verdict at the first attempt, since 1970.
pub(crate) struct Story {
    pub(crate) submitted: Duration,
    pub(crate) claimed: Duration,
    pub(crate) pulled: Duration,
    pub(crate) started: Duration,
    pub(crate) judged: Duration,
}

impl Muster {
    /// Starts Muster on the testbed's Swarm, without rate limits. The challenge compares the fields
    /// `compared`.
    pub(crate) async fn start(bed: &Testbed, compared: &[&str], more: &[&str]) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let rules = CHALLENGE
            .replace("REGISTRY", bed.registry.address())
            .replace(r#"["name", "twitter", "location", "repo", "vote"]"#, &format!("{compared:?}"))
            // The limits of the bare engine's containers.
            .replace("memory_mib = 32", "memory_mib = 64")
            .replace("cpus = 0.25", "cpus = 0.5")
            .replace("pids = 32", "pids = 64");
        std::fs::write(files.path().join("challenge.toml"), rules)?;
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let program = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["up", "--listen", &listen, "--swarm", &bed.swarm.endpoints().join(",")])
            .args(["--insecure-registries", bed.registry.address(), "--token", TOKEN])
            .args(["--rate-by-owner", "off", "--rate-by-address", "off"])
            .args(more)
            .arg("--data")
            .arg(files.path().join("data"))
            .arg("--challenge")
            .arg(files.path().join("challenge.toml"))
            .env("MUSTER_LOG", "error")
            .stdin(Stdio::null())
            .spawn()?;
        let muster = Self { program, listen, http: reqwest::Client::new(), _files: files };
        until("muster to be ready", READY, async || muster.verdicts().await.ok()).await?;
        Ok(muster)
    }

    /// Submits an image whose app must give this answer.
    pub(crate) async fn submit(&self, image: &str, answer: &Value) -> anyhow::Result<()> {
        let mut body = json!({ "location": "Zürich", "images": [image] });
        for (field, value) in answer.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        let sent = self.http.post(self.url("/api/v1/submissions")).json(&body).send().await?;
        sent.error_for_status()?;
        Ok(())
    }

    /// Waits for `count` verdicts. All must be passed.
    pub(crate) async fn judged(&self, count: usize, within: Duration) -> anyhow::Result<()> {
        let what = format!("{count} verdicts");
        until(&what, within, async || match self.verdicts().await {
            Ok((_, failed)) if failed > 0 => Some(Err(anyhow::anyhow!("{failed} failed"))),
            Ok((passed, _)) => (passed >= count).then_some(Ok(())),
            // The server may be busy, and the deadline bounds the wait.
            Err(_) => None,
        })
        .await?
    }

    /// Returns the numbers of submissions that passed and that failed.
    pub(crate) async fn verdicts(&self) -> anyhow::Result<(usize, usize)> {
        let stats: Value = self.http.get(self.url("/api/v1/stats")).send().await?.json().await?;
        let count = |status: &str| stats["submissions"][status].as_u64().unwrap_or(0) as usize;
        Ok((count("passed"), count("failed")))
    }

    /// Returns the verifications that reached their verdict at the first attempt, in the order of the log.
    pub(crate) async fn stories(&self) -> anyhow::Result<Vec<Story>> {
        let history = self.http.get(self.url("/api/v1/history")).bearer_auth(TOKEN).send().await?;
        let mut moments: HashMap<String, HashMap<String, Duration>> = HashMap::new();
        let mut order = Vec::new();
        for line in history.error_for_status()?.text().await?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let text = |field: &str| line[field].as_str().with_context(|| format!("{field} in {line}"));
            let (stream, kind) = (text("stream")?.to_owned(), text("type")?.to_owned());
            let at: Timestamp = text("recorded_at")?.parse()?;
            let at = Duration::try_from(at.duration_since(Timestamp::UNIX_EPOCH))?;
            if kind == "Passed" {
                order.push(stream.clone());
            }
            moments.entry(stream).or_default().insert(kind, at);
        }
        let story = |stream: &String| {
            let moments = &moments[stream];
            Some(Story {
                submitted: *moments.get("Submitted")?,
                claimed: *moments.get("VerificationStarted")?,
                pulled: *moments.get("ImagesPulled")?,
                started: *moments.get("ContainersStarted")?,
                judged: *moments.get("Passed")?,
            })
        };
        Ok(order.iter().filter_map(story).collect())
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.program.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let left = until("muster to leave", READY, async || self.program.try_wait().transpose()).await??;
        if !left.success() {
            bail!("muster left with {left}");
        }
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        // Both calls fail only if the process has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Returns the median, or zero if there is no value.
pub(crate) fn median(all: impl Iterator<Item = Duration>) -> Duration {
    let mut all: Vec<Duration> = all.collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
