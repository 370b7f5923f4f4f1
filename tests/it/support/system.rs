//! Muster as one process or as several, its files in a directory that outlives
//! them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Testbed, until};

/// The rules that the tests run under: the birthday challenge, with less time.
const CHALLENGE: &str = include_str!("challenge.toml");

/// Which processes there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One that does everything.
    OneProcess,
    /// One for the log, and one for each role, over the wire.
    Roles {
        /// Where the views are: `memory`, or the address of a MongoDB.
        views: String,
    },
}

/// The processes, their addresses and their files.
pub(crate) struct System {
    shape: Shape,
    processes: Vec<Child>,
    files: TempDir,
    /// Where submissions are taken, where all else is read, where the log is served.
    writes: String,
    reads: String,
    node: String,
    engines: String,
    registry: String,
    http: reqwest::Client,
}

impl System {
    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(bed: &Testbed) -> Self {
        Self::start_as(Shape::OneProcess, bed).await
    }

    /// As before, in any shape.
    pub(crate) async fn start_as(shape: Shape, bed: &Testbed) -> Self {
        let engines = bed.swarm.endpoints().join(",");
        Self::start_shaped(shape, engines, bed.registry.address().to_owned()).await
    }

    /// As before, with engines and a registry that need not answer.
    pub(crate) async fn start_with(engines: String, registry: String) -> Self {
        Self::start_shaped(Shape::OneProcess, engines, registry).await
    }

    /// Starts it where there is no Swarm.
    pub(crate) async fn without_a_swarm(shape: Shape) -> Self {
        let (engines, registry) = ("unix:///nonexistent/engine.sock", "registry.test:5000");
        Self::start_shaped(shape, engines.into(), registry.into()).await
    }

    async fn start_shaped(shape: Shape, engines: String, registry: String) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("challenge.toml"), CHALLENGE.replace("REGISTRY", &registry))
            .unwrap();
        // Held until all are chosen, for they must differ.
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [writes, reads, node] = free.map(|listener| listener.local_addr().unwrap().to_string());
        let reads = if shape == Shape::OneProcess { writes.clone() } else { reads };
        let http = reqwest::Client::builder().timeout(Duration::from_secs(70)).build().unwrap();
        let processes = Vec::new();
        let mut system = Self { shape, processes, files, writes, reads, node, engines, registry, http };
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
        let data = self.files.path().join("data");
        let data = data.to_str().unwrap();
        let wire = format!("esdb://{}?tls=false", self.node);
        let challenge = self.files.path().join("challenge.toml");
        let everything = [
            ["--swarm", &self.engines],
            ["--insecure-registries", &self.registry],
            ["--token", TOKEN],
            ["--data", data],
            ["--challenge", challenge.to_str().unwrap()],
        ]
        .concat();
        let processes: Vec<Vec<&str>> = match &self.shape {
            Shape::OneProcess => {
                let up = ["up", "--listen", &self.writes, "--eventstore-listen", &self.node];
                vec![[&up, &everything[..]].concat()]
            }
            Shape::Roles { views } => {
                let shared = [&everything[..], &["--eventstore", &wire, "--views", views]].concat();
                let serve = |role: &[&'static str]| [&["serve"], role, &shared[..]].concat();
                let mut processes = vec![
                    vec!["eventstore", "--listen", &self.node, "--data", data],
                    [&serve(&["commands"])[..], &["--listen", &self.writes]].concat(),
                    serve(&["verifier"]),
                    [&serve(&["read-api"])[..], &["--listen", &self.reads]].concat(),
                ];
                if views != "memory" {
                    processes.push(serve(&["projections"]));
                }
                processes
            }
        };
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let start = |arguments: &Vec<&str>| {
            Command::new(env!("CARGO_BIN_EXE_muster"))
                .args(arguments)
                .env("MUSTER_LOG", "info")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .unwrap()
        };
        self.processes = processes.iter().map(start).collect();
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let asked = [self.url("/readyz"), self.writes_url("/healthz")];
        let ready = until("muster to be ready", Duration::from_secs(30), async || {
            for url in &asked {
                let answer = self.http.get(url).send().await.ok()?;
                answer.status().is_success().then_some(())?;
            }
            Some(())
        })
        .await;
        if let Err(error) = ready {
            panic!("{error}\n{}", self.log_tail());
        }
    }

    /// SIGKILL: no good-bye.
    pub(crate) fn kill(&mut self) {
        for mut process in self.processes.drain(..) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM, as an operator would, the log's process last, and waits for
    /// the ends: the first that was not a success, if any was not.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut status = ExitStatus::default();
        while let Some(mut process) = self.processes.pop() {
            let pid = process.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            let ended = until("muster to end", Duration::from_secs(60), async || process.try_wait().unwrap())
                .await
                .unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()));
            status = if status.success() { ended } else { status };
        }
        status
    }

    /// Where a path is read.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.reads)
    }

    /// Where something is asked for that changes something.
    pub(crate) fn writes_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.writes)
    }

    /// Address and port of the log in EventStoreDB's protocol.
    pub(crate) fn node(&self) -> &str {
        &self.node
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
            let post = self.http.post(self.writes_url("/api/v1/submissions")).header("Idempotency-Key", key);
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
