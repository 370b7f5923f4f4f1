//! Muster as one process or as several. Its files are in a directory that outlives the processes.

mod client;
mod processes;

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;
use testbed::{Guest, Mongo, Testbed};

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
}

/// The secret that a gate and its verifier share.
const GATE_SECRET: &str = "0c8a41e7d29b5f63";

/// The organiser's token of every system under test.
pub(crate) const TOKEN: &str = "organiser-of-the-tests";
