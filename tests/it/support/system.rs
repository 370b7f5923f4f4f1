//! Muster as one process or as several. Its files are in a directory that outlives the processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Guest, Mongo, Testbed, until};

use super::front::Front;
use super::ports::free_address;

/// The rules of the tests: the birthday challenge with shorter deadlines.
const CHALLENGE: &str = include_str!("challenge.toml");

/// The processes that make up the system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A single process, with the log and the views in it.
    OneProcess,
    /// A process for the log and one for each role, with a network and a MongoDB between them.
    FiveProcesses,
    /// Four processes without a MongoDB: the read API has the views in its memory.
    FourProcesses,
}

/// The part that one of several processes plays. The log comes first, so that it ends last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Log,
    Commands,
    Verifier,
    ReadApi,
    Projections,
    /// The gate, if it is a process of its own.
    Gate,
}

/// The processes, their addresses and their files.
pub(crate) struct System {
    shape: Shape,
    processes: Vec<(Option<Part>, Child)>,
    files: TempDir,
    /// The HTTP address of each part. A single process has only the first.
    parts: [String; 6],
    /// The proxy that makes several processes one site.
    front: Option<Front>,
    /// The address of the served log.
    node: String,
    views: String,
    engines: String,
    /// The allowed registries, separated by commas.
    registries: String,
    /// The network namespace of the processes, if it is not this machine's.
    network: Option<PathBuf>,
    /// Further arguments of the single process.
    settings: Vec<String>,
    /// The arguments of a gate in a process of its own, if there is one, and those of its verifier.
    gate: Option<[Vec<String>; 2]>,
    http: reqwest::Client,
}

/// A second verifier with the name of the first. It is killed when it is dropped.
pub(crate) struct ClonedVerifier {
    process: Child,
    pub(crate) address: String,
}

impl Drop for ClonedVerifier {
    fn drop(&mut self) {
        // Both calls fail only if the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl System {
    /// Starts the program in one process and waits until it is ready.
    pub(crate) async fn start(bed: &Testbed) -> Self {
        Self::start_as(Shape::OneProcess, bed).await
    }

    /// Starts one process with the birthday challenge as it is, except for its registry.
    pub(crate) async fn start_for_people(bed: &Testbed) -> Self {
        let engines = bed.swarm.endpoints().join(",");
        let registry = bed.registry.address().to_owned();
        let mut system = Self::prepared(Shape::OneProcess, "memory".into(), engines, registry.clone()).await;
        let birthday = include_str!("../../../domain/challenges/birthday.toml");
        assert!(birthday.contains(r#""docker.io""#), "the challenge names its registry");
        let challenge = birthday.replace(r#""docker.io""#, &format!("{registry:?}"));
        std::fs::write(system.files.path().join("challenge.toml"), challenge).unwrap();
        system.restart().await;
        system
    }

    /// Starts the program in any shape and waits until it is ready.
    pub(crate) async fn start_as(shape: Shape, bed: &Testbed) -> Self {
        let engines = bed.swarm.endpoints().join(",");
        Self::start_shaped(shape, engines, bed.registry.address().to_owned()).await
    }

    /// Starts five processes, and a gate as a sixth, whose only registry it is.
    pub(crate) async fn start_with_gate(bed: &Testbed) -> Self {
        let database = format!("/it-{}?", uuid::Uuid::new_v4().simple());
        let views = Mongo::shared().await.unwrap().uri().replace("/?", &database);
        let (engines, registry) = (bed.swarm.endpoints().join(","), bed.registry.address().to_owned());
        let mut system = Self::prepared(Shape::FiveProcesses, views, engines, registry).await;
        let port = free_address().port();
        let (nodes, verifiers) = (format!("{}:{port}", bed.own_address()), free_address().to_string());
        let names = vec![bed.own_address().to_string(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let file = |name: &str| system.files.path().join(name).display().to_string();
        let (certificate, key, data) = (file("gate.pem"), file("gate-key.pem"), file("gate"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (tls, url) = (format!("{certificate},{key}"), format!("https://{verifiers}"));
        let gate =
            ["--gate-listen", &nodes, "--gate-tls", &tls, "--gate-verifiers", &verifiers, "--data", &data];
        let verifier = ["--gate", &url, "--gate-authority", &certificate];
        let with_secret = |arguments: &[&str]| {
            [arguments, &["--gate-secret", GATE_SECRET]].concat().into_iter().map(str::to_owned).collect()
        };
        system.gate = Some([with_secret(&gate), with_secret(&verifier)]);
        system.restart().await;
        system
    }

    /// Starts one process on a host of its own, with these registries, separated by commas, and further settings.
    pub(crate) async fn start_on(
        guest: &Guest,
        bed: &Testbed,
        registries: String,
        settings: Vec<String>,
    ) -> Self {
        let engines = bed.swarm.endpoints().join(",");
        let mut system = Self::prepared(Shape::OneProcess, "memory".into(), engines, registries).await;
        // The log's own address stays on the loopback, which is the guest's.
        for address in &mut system.parts {
            *address = address.replace("127.0.0.1", &guest.address().to_string());
        }
        system.network = Some(guest.network().unwrap());
        system.settings = settings;
        system.restart().await;
        system
    }

    /// Starts one process with engines and a registry that need not answer.
    pub(crate) async fn start_with(engines: String, registry: String) -> Self {
        Self::start_shaped(Shape::OneProcess, engines, registry).await
    }

    /// Starts one process with further settings, without a Swarm.
    pub(crate) async fn start_set(settings: &[&str]) -> Self {
        let (engines, registry) = ("unix:///nonexistent/engine.sock", "registry.test:5000");
        let mut system =
            Self::prepared(Shape::OneProcess, "memory".into(), engines.into(), registry.into()).await;
        system.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        system.restart().await;
        system
    }

    /// Starts the program without a Swarm.
    pub(crate) async fn without_a_swarm(shape: Shape) -> Self {
        let (engines, registry) = ("unix:///nonexistent/engine.sock", "registry.test:5000");
        Self::start_shaped(shape, engines.into(), registry.into()).await
    }

    /// Starts five processes over these views, without a Swarm, and waits for nothing.
    pub(crate) async fn launched_over(views: String) -> Self {
        let (engines, registry) = ("unix:///nonexistent/engine.sock", "registry.test:5000");
        let mut system = Self::prepared(Shape::FiveProcesses, views, engines.into(), registry.into()).await;
        system.launch();
        system
    }

    async fn start_shaped(shape: Shape, engines: String, registry: String) -> Self {
        let views = match shape {
            Shape::OneProcess | Shape::FourProcesses => "memory".to_owned(),
            Shape::FiveProcesses => {
                let database = format!("/it-{}?", uuid::Uuid::new_v4().simple());
                Mongo::shared().await.unwrap().uri().replace("/?", &database)
            }
        };
        let mut system = Self::prepared(shape, views, engines, registry).await;
        system.restart().await;
        system
    }

    async fn prepared(shape: Shape, views: String, engines: String, registries: String) -> Self {
        let files = tempfile::tempdir().unwrap();
        let challenge = CHALLENGE.replace("REGISTRY", &registries.replace(',', "\", \""));
        std::fs::write(files.path().join("challenge.toml"), challenge).unwrap();
        let [node, parts @ ..] = [(); 7].map(|()| free_address().to_string());
        let front = match shape {
            Shape::OneProcess => None,
            Shape::FourProcesses | Shape::FiveProcesses => {
                let behind = [Part::Commands, Part::ReadApi].map(|part| parts[part as usize].clone());
                let [commands, read_api] = behind;
                Some(Front::of(commands, read_api).await)
            }
        };
        let http = reqwest::Client::builder().timeout(Duration::from_secs(70)).build().unwrap();
        let (processes, settings, network) = (Vec::new(), Vec::new(), None);
        Self {
            shape,
            processes,
            files,
            parts,
            front,
            node,
            views,
            engines,
            registries,
            network,
            settings,
            gate: None,
            http,
        }
    }

    /// Starts the program again after [`System::kill`], and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Starts the program again with more in the challenge's file.
    pub(crate) async fn restart_with(&mut self, more: &str) {
        let file = self.files().join("challenge.toml");
        let challenge = std::fs::read_to_string(&file).unwrap() + more;
        std::fs::write(&file, challenge).unwrap();
        self.kill();
        self.restart().await;
    }

    /// Starts every process that is not running, and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let parts: &[Option<Part>] = match self.shape {
            Shape::OneProcess => &[None],
            Shape::FourProcesses => {
                &[Some(Part::Log), Some(Part::Commands), Some(Part::Verifier), Some(Part::ReadApi)]
            }
            Shape::FiveProcesses => &[
                Some(Part::Log),
                Some(Part::Commands),
                Some(Part::Verifier),
                Some(Part::ReadApi),
                Some(Part::Projections),
            ],
        };
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let gate = self.gate.as_ref().map(|_| Some(Part::Gate));
        for part in parts.iter().chain(&gate) {
            if self.processes.iter().any(|(running, _)| running == part) {
                continue;
            }
            let muster = env!("CARGO_BIN_EXE_muster");
            let mut command = match &self.network {
                None => Command::new(muster),
                Some(network) => {
                    let mut inside = Command::new("nsenter");
                    inside.arg(format!("--net={}", network.display())).arg(muster);
                    inside
                }
            };
            let process = command
                .args(self.arguments(*part))
                .env("MUSTER_LOG", "info")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .unwrap();
            self.processes.push((*part, process));
        }
    }

    /// Starts a second verifier whose data directory is a copy of the first one's, as on a cloned machine.
    pub(crate) fn clone_verifier(&self) -> ClonedVerifier {
        let [data, copy] = ["data", "clone"].map(|name| self.files.path().join(name));
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(data.join("key-space"), copy.join("key-space")).unwrap();
        let (address, own) = (free_address().to_string(), &self.parts[Part::Verifier as usize]);
        let [data, copy] = [data, copy].map(|path| path.display().to_string());
        let of_the_clone = |argument: String| match argument {
            argument if argument == data => copy.clone(),
            argument if argument == *own => address.clone(),
            argument => argument,
        };
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(self.arguments(Some(Part::Verifier)).into_iter().map(of_the_clone))
            .env("MUSTER_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        ClonedVerifier { process, address }
    }

    /// Returns the arguments of a part's process, or of the process of all parts.
    fn arguments(&self, part: Option<Part>) -> Vec<String> {
        let data = self.files.path().join("data").display().to_string();
        let challenge = self.files.path().join("challenge.toml").display().to_string();
        let wire = format!("esdb://{}?tls=false", self.node);
        let everything = [
            ["--swarm", &self.engines],
            ["--insecure-registries", &self.registries],
            ["--token", TOKEN],
            ["--data", &data],
            ["--challenge", &challenge],
        ];
        let everything = everything.as_flattened();
        let part_of = |role, part| {
            let listen = &self.parts[part as usize];
            let served = ["--eventstore", &wire, "--views", &self.views, "--listen", listen];
            [&["serve", role], everything, &served].concat()
        };
        let arguments = match part {
            None => {
                let up = ["up", "--listen", &self.parts[0], "--eventstore-listen", &self.node];
                let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
                [&up, everything, &settings].concat()
            }
            Some(Part::Log) => {
                let operator = &self.parts[Part::Log as usize];
                vec!["eventstore", "--listen", &self.node, "--data", &data, "--operator-listen", operator]
            }
            Some(Part::Commands) => part_of("commands", Part::Commands),
            Some(Part::Verifier) => {
                let gate = self.gate.iter().flat_map(|[_, verifier]| verifier).map(String::as_str);
                part_of("verifier", Part::Verifier).into_iter().chain(gate).collect()
            }
            Some(Part::Gate) => {
                let listen = &self.parts[Part::Gate as usize];
                let gate = self.gate.iter().flat_map(|[gate, _]| gate).map(String::as_str);
                let own = [
                    "serve",
                    "gate",
                    "--insecure-registries",
                    &self.registries,
                    "--challenge",
                    &challenge,
                    "--listen",
                    listen,
                ];
                own.into_iter().chain(gate).collect()
            }
            Some(Part::ReadApi) => part_of("read-api", Part::ReadApi),
            Some(Part::Projections) => part_of("projections", Part::Projections),
        };
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// Waits until the program is ready, except for the verifier, which is never ready without a Swarm.
    /// MongoDB may keep the transaction of a killed projector for a minute.
    pub(crate) async fn ready(&mut self) {
        let asked = match self.shape {
            Shape::OneProcess => vec![self.url("/readyz")],
            _ => [Part::Commands, Part::ReadApi].map(|part| self.part_url(part, "/readyz")).to_vec(),
        };
        let ready = until("muster to be ready", Duration::from_secs(100), async || {
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

    /// Sends SIGKILL to one of several processes, or to the single process.
    pub(crate) fn kill_part(&mut self, part: Part) {
        self.processes.retain_mut(|(running, process)| {
            let is_meant = running.is_none_or(|running| running == part);
            if is_meant {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            !is_meant
        });
    }

    /// Sends SIGKILL to all processes.
    pub(crate) fn kill(&mut self) {
        for (_, mut process) in self.processes.drain(..) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends SIGTERM to each process, the log's last, and waits for its end. Returns the first status that
    /// is not a success, or success.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut status = ExitStatus::default();
        self.processes.sort_by_key(|(part, _)| *part != Some(Part::Log));
        while let Some((_, process)) = self.processes.last() {
            ask_to_end(process);
            let ended = self.ended().await;
            status = if status.success() { ended } else { status };
        }
        status
    }

    /// Sends SIGTERM to a single process.
    pub(crate) fn ask_to_end(&self) {
        ask_to_end(&self.processes[0].1);
    }

    /// Waits for the end of the process that was asked to end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let (_, mut process) = self.processes.pop().unwrap();
        until("muster to end", Duration::from_secs(60), async || process.try_wait().unwrap())
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()))
    }

    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let site = self.front.as_ref().map_or(self.parts[0].as_str(), Front::address);
        format!("http://{site}{path}")
    }

    /// Returns the URL of a path at one of several processes, without the proxy in front.
    pub(crate) fn part_url(&self, part: Part, path: &str) -> String {
        format!("http://{}{path}", self.parts[part as usize])
    }

    /// Returns the setting that names the views.
    pub(crate) fn views(&self) -> &str {
        &self.views
    }

    /// Returns the process number of the single process.
    pub(crate) fn pid(&self) -> u32 {
        let [(_, process)] = &self.processes[..] else { panic!("one process does everything") };
        process.id()
    }

    /// Returns the address and port of the log in EventStoreDB's protocol.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// Submits, and tries again with the same key until the server accepts. Returns the id.
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

    /// Returns the status of a submission, or `None` if the server does not answer.
    pub(crate) async fn status(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(self.url(&format!("/api/v1/submissions/{id}"))).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Waits for the verdict. Returns the status.
    pub(crate) async fn verdict(&self, id: &str, within: Duration) -> Value {
        let mut last = Value::Null;
        let verdict = until("a verdict", within, async || {
            last = self.status(id).await?;
            matches!(last["status"].as_str(), Some("passed" | "failed")).then(|| last.clone())
        })
        .await;
        verdict.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log_tail()))
    }

    /// Returns a public document.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until the totals are right, because the views may be a little behind the log. Returns the
    /// totals.
    pub(crate) async fn stats(&self, are_right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let right = until("the totals to be right", Duration::from_secs(20), async || {
            last = self.get("/api/v1/stats").await;
            are_right(&last).then(|| last.clone())
        });
        right.await.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.log_tail()))
    }

    /// Returns the logs of all processes.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.said();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log(&self) -> std::path::PathBuf {
        self.files.path().join("muster.log")
    }
}

/// The secret that a gate and its verifier share.
const GATE_SECRET: &str = "0c8a41e7d29b5f63";

/// The organiser's token of every system under test.
pub(crate) const TOKEN: &str = "organiser-of-the-tests";

impl Drop for System {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ask_to_end(process: &Child) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}
