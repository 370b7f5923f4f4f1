//! One engine of the Swarm, asked in its own words over its own socket.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Finding;
use super::daemon::{self, Daemon};

const DEADLINE: Duration = Duration::from_secs(5);

/// The oldest API that has all we need.
const API_MIN: (u32, u32) = (1, 41);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    memory_limit: bool,
    cpu_cfs_quota: bool,
    pids_limit: bool,
    swarm: Swarm,
    #[serde(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm {
    local_node_state: String,
    control_available: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// What is to be said of an engine; over TCP, asked with these certificates.
pub(super) async fn examine(endpoint: &str, certificates: Option<&Path>) -> Vec<Finding> {
    let engine = match Engine::at(endpoint, certificates) {
        Ok(engine) => engine,
        Err(finding) => return vec![finding],
    };
    let version: Version = match engine.get("version").await {
        Ok(version) => version,
        Err(why) => return vec![unreachable(endpoint, &why)],
    };
    let mut findings = vec![api(endpoint, &version)];
    match engine.get::<Info>("info").await {
        Ok(info) => {
            findings.push(limits(endpoint, &info));
            findings.push(swarm(endpoint, &info.swarm));
            findings.extend(daemon::examine(endpoint, certificates.is_some(), &info.daemon));
            if info.swarm.control_available {
                findings.extend(sandbox(&engine).await);
            }
        }
        Err(why) => findings.push(Finding::missing(
            format!("engine {endpoint}: {why}"),
            "read its log: journalctl -u docker",
        )),
    }
    findings
}

struct Engine {
    http: reqwest::Client,
    base: String,
}

impl Engine {
    fn at(endpoint: &str, certificates: Option<&Path>) -> Result<Self, Finding> {
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy();
        let (http, base) = match endpoint.split_once("://") {
            Some(("unix", path)) => (http.unix_socket(Path::new(path)), "http://engine".to_owned()),
            Some(("tcp" | "http", host)) => match certificates {
                None => (http, format!("http://{host}")),
                Some(directory) => (secured(http, directory)?, format!("https://{host}")),
            },
            _ => {
                let cure = "write it as unix:///PATH or tcp://HOST:PORT in --swarm";
                return Err(Finding::missing(format!("engine {endpoint}: not an address"), cure));
            }
        };
        let http = http.build().map_err(|error| {
            Finding::missing(
                format!("engine {endpoint}: {error}"),
                "install the system's certificates: ca-certificates",
            )
        })?;
        Ok(Self { http, base })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let answer = self.http.get(format!("{}/{path}", self.base)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(|error| root(&error))?;
        answer.json().await.map_err(|error| format!("its answer is not an engine's: {}", root(&error)))
    }
}

/// Trusts the authority in the directory alone, and shows the certificate beside it.
fn secured(http: reqwest::ClientBuilder, directory: &Path) -> Result<reqwest::ClientBuilder, Finding> {
    let missing = |why: String| {
        let what = format!("certificates in {}: {why}", directory.display());
        Finding::missing(
            what,
            "ca.pem, cert.pem and key.pem belong there; --swarm-certificates names the place",
        )
    };
    let file =
        |name: &str| std::fs::read(directory.join(name)).map_err(|error| missing(format!("{name}: {error}")));
    let authority = reqwest::Certificate::from_pem_bundle(&file("ca.pem")?);
    let identity = reqwest::Identity::from_pem(&[file("cert.pem")?, file("key.pem")?].concat());
    let (authority, identity) =
        authority.and_then(|authority| Ok((authority, identity?))).map_err(|error| missing(root(&error)))?;
    Ok(http.tls_certs_only(authority).identity(identity))
}

fn unreachable(endpoint: &str, why: &str) -> Finding {
    let why = format!("engine {endpoint}: {why}");
    let Some(socket) = endpoint.strip_prefix("unix://") else {
        return Finding::missing(why, "start the engine there, and open its port to this machine only");
    };
    let installed = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];
    let cure = if !installed.iter().any(|path| Path::new(path).exists()) {
        "sudo apt-get install -y docker.io".to_owned()
    } else if Path::new(socket).exists() && why.contains("ermission denied") {
        "sudo usermod -aG docker \"$USER\", then log in again".to_owned()
    } else {
        "sudo systemctl start docker, or without systemd: sudo dockerd &".to_owned()
    };
    Finding::missing(why, cure)
}

fn api(endpoint: &str, version: &Version) -> Finding {
    let what = format!("engine {endpoint}: {}, API {}", version.version, version.api_version);
    let mut parts = version.api_version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= API_MIN => Finding::ok(what),
        _ => Finding::missing(what, format!("update it to API {}.{} or newer", API_MIN.0, API_MIN.1)),
    }
}

fn limits(endpoint: &str, info: &Info) -> Finding {
    let kept =
        [("memory", info.memory_limit), ("processors", info.cpu_cfs_quota), ("processes", info.pids_limit)];
    let not_kept: Vec<_> = kept.iter().filter(|(_, kept)| !kept).map(|(what, _)| *what).collect();
    if not_kept.is_empty() {
        return Finding::ok(format!("limits of {endpoint}: memory, processors and processes"));
    }
    let cure = "boot with cgroup_enable=memory swapaccount=1, or on a kernel with all cgroup controllers";
    Finding::missing(format!("limits of {endpoint}: none on {}", not_kept.join(", ")), cure)
}

fn swarm(endpoint: &str, swarm: &Swarm) -> Finding {
    let docker = format!("docker --host {endpoint}");
    match (swarm.local_node_state.as_str(), swarm.control_available) {
        ("active", true) => Finding::ok(format!("swarm at {endpoint}: a manager")),
        ("active", false) => {
            let cure = "name a manager first in --swarm, or on one: docker node promote NODE";
            Finding::warn(format!("swarm at {endpoint}: a worker"), cure)
        }
        (state, _) => {
            let cure = format!("{docker} swarm init --advertise-addr 127.0.0.1");
            Finding::missing(format!("swarm at {endpoint}: {state}"), cure)
        }
    }
}

/// Where participants' containers may run; nothing to say of a Swarm of one.
async fn sandbox(engine: &Engine) -> Option<Finding> {
    let nodes: Vec<Node> = engine.get("nodes").await.ok()?;
    let labelled = |node: &&Node| {
        node.spec.labels.iter().flatten().any(|(name, value)| name == "muster.sandbox" && value == "true")
    };
    match (nodes.len(), nodes.iter().filter(labelled).count()) {
        (0 | 1, _) => None,
        (all, 0) => {
            let cure = "keep them to some: docker node update --label-add muster.sandbox=true NODE";
            Some(Finding::warn(format!("sandbox: participants' containers run on all {all} nodes"), cure))
        }
        (all, some) => {
            Some(Finding::ok(format!("sandbox: participants' containers run on {some} of {all} nodes")))
        }
    }
}

/// What it comes down to.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn version(api: &str) -> Version {
        Version { version: "20.10".into(), api_version: api.into() }
    }

    #[test]
    fn an_engine_must_be_new_enough_keep_limits_and_be_a_manager() {
        assert_eq!(api("e", &version("1.41")).state, State::Ok);
        assert_eq!(api("e", &version("1.100")).state, State::Ok);
        assert_eq!(api("e", &version("1.9")).state, State::Missing);
        assert_eq!(api("e", &version("")).state, State::Missing);
        let node =
            |state: &str, manager| Swarm { local_node_state: state.into(), control_available: manager };
        assert_eq!(swarm("e", &node("active", true)).state, State::Ok);
        assert_eq!(swarm("e", &node("active", false)).state, State::Warn);
        assert!(
            swarm("unix:///s", &node("inactive", false)).to_string().contains("--host unix:///s swarm init")
        );
        let info = |pids| Info {
            memory_limit: true,
            cpu_cfs_quota: true,
            pids_limit: pids,
            swarm: node("", false),
            daemon: Daemon::default(),
        };
        assert_eq!(limits("e", &info(true)).state, State::Ok);
        assert!(limits("e", &info(false)).to_string().contains("none on processes"));
    }

    #[tokio::test]
    async fn what_is_not_an_engine_is_missing_with_what_to_do() {
        for endpoint in ["/var/run/docker.sock", "unix:///nowhere.sock", "tcp://127.0.0.1:1"] {
            let findings = examine(endpoint, None).await;
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].state, State::Missing);
            assert!(findings[0].cure.is_some() && findings[0].what.contains(endpoint), "{findings:?}");
        }
    }
}
