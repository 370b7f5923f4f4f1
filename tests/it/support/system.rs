//! `muster up` as a process, its files in a directory that outlives it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Testbed, until};

/// The rules that the tests run under: the birthday challenge, with less time.
const CHALLENGE: &str = include_str!("challenge.toml");

/// The program, its address and its files.
pub(crate) struct System {
    program: Option<Child>,
    files: TempDir,
    listen: String,
    engines: String,
    registry: String,
    http: reqwest::Client,
}

impl System {
    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(bed: &Testbed) -> Self {
        let engines = bed.swarm.endpoints().join(",");
        Self::start_with(engines, bed.registry.address().to_owned()).await
    }

    /// As before, with engines and a registry that need not answer.
    pub(crate) async fn start_with(engines: String, registry: String) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("challenge.toml"), CHALLENGE.replace("REGISTRY", &registry)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(70)).build().unwrap();
        let mut system =
            Self { program: None, files, listen: free.to_string(), engines, registry, http };
        system.restart().await;
        system
    }

    /// Starts it again after [`System::kill`].
    pub(crate) async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Starts the program and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("up")
            .args(["--listen", &self.listen])
            .args(["--swarm", &self.engines])
            .args(["--insecure-registries", &self.registry])
            .args(["--token", TOKEN])
            .arg("--data")
            .arg(self.files.path().join("data"))
            .arg("--challenge")
            .arg(self.files.path().join("challenge.toml"))
            .env("MUSTER_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.program = Some(child);
    }

    /// Waits until the program says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let ready = until("muster to be ready", Duration::from_secs(30), async || {
            let answer = self.http.get(self.url("/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        if let Err(error) = ready {
            panic!("{error}\n{}", self.log_tail());
        }
    }

    /// SIGKILL: no good-bye.
    pub(crate) fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }

    /// SIGTERM, as an operator would, and waits for the end.
    pub(crate) async fn terminate(&mut self) -> std::process::ExitStatus {
        let mut program = self.program.take().unwrap();
        let pid = program.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("muster to end", Duration::from_secs(60), async || program.try_wait().unwrap())
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// Submits, and keeps trying with the same key while nobody answers.
    pub(crate) async fn submit(&self, key: &str, body: &Value) -> String {
        let accepted = until("a submission to be accepted", Duration::from_secs(60), async || {
            let post = self.http.post(self.url("/api/v1/submissions")).header("Idempotency-Key", key);
            let answer = post.json(body).send().await.ok()?;
            let status = answer.status();
            let answer: Value = answer.json().await.ok()?;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer:#}");
            Some(answer["id"].as_str().unwrap().to_owned())
        });
        accepted.await.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()))
    }

    /// The status, if the program answers.
    pub(crate) async fn status(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(self.url(&format!("/api/v1/submissions/{id}"))).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Waits for the verdict.
    pub(crate) async fn verdict(&self, id: &str, within: Duration) -> Value {
        let mut last = Value::Null;
        let verdict = until("a verdict", within, async || {
            last = self.status(id).await?;
            matches!(last["status"].as_str(), Some("passed" | "failed")).then(|| last.clone())
        })
        .await;
        verdict.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log_tail()))
    }

    /// One public document.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log(&self) -> std::path::PathBuf {
        self.files.path().join("muster.log")
    }
}

/// The organiser's token of every system under test.
pub(crate) const TOKEN: &str = "organiser-of-the-tests";

impl Drop for System {
    fn drop(&mut self) {
        self.kill();
    }
}
