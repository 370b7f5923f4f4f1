//! The processes of a system: how they are started, killed and asked to end.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use testbed::until;

use super::{Part, Shape, System, TOKEN};
use crate::support::ports::free_address;

/// A second process of a part. It is killed when it is dropped.
pub(crate) struct ClonedPart {
    process: Child,
    pub(crate) address: String,
}

impl Drop for ClonedPart {
    fn drop(&mut self) {
        // Both calls fail only if the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.kill();
    }
}

impl System {
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
        let gate = self.gate.as_ref().map(|_| Some(Part::Gate));
        for part in parts.iter().chain(&gate) {
            if self.processes.iter().any(|(running, _)| running == part) {
                continue;
            }
            let process = self.spawn(self.arguments(*part));
            self.processes.push((*part, process));
        }
    }

    /// Starts a second process of a part, with the secret of the first one's data directory, as on a cloned machine.
    pub(crate) fn clone_part(&self, part: Part) -> ClonedPart {
        let [data, copy] = ["data", "clone"].map(|name| self.files.path().join(name));
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(data.join("key-space"), copy.join("key-space")).unwrap();
        let (address, own) = (free_address().to_string(), &self.parts[part as usize]);
        let [data, copy] = [data, copy].map(|path| path.display().to_string());
        let of_the_clone = |argument: String| match argument {
            argument if argument == data => copy.clone(),
            argument if argument == *own => address.clone(),
            argument => argument,
        };
        let arguments = self.arguments(Some(part)).into_iter().map(of_the_clone).collect();
        ClonedPart { process: self.spawn(arguments), address }
    }

    /// Starts the program. It writes to the log of all processes.
    fn spawn(&self, arguments: Vec<String>) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let muster = env!("CARGO_BIN_EXE_muster");
        let mut command = match &self.network {
            None => Command::new(muster),
            Some(network) => {
                let mut inside = Command::new("nsenter");
                inside.arg(format!("--net={}", network.display())).arg(muster);
                inside
            }
        };
        command
            .args(arguments)
            .env("MUSTER_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
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
}

fn ask_to_end(process: &Child) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}
