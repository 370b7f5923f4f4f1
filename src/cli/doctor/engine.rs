//! Checks one engine of the Swarm through its own API.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::DoctorFinding;
use super::daemon::{self, EngineSetup};

const DEADLINE: Duration = Duration::from_secs(5);

/// The oldest API version that has every call Muster needs.
const API_MIN: (u32, u32) = (1, 41);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineVersion {
    version: String,
    api_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineInfo {
    memory_limit: bool,
    cpu_cfs_quota: bool,
    pids_limit: bool,
    swarm: SwarmReply,
    #[serde(flatten)]
    daemon: EngineSetup,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmReply {
    local_node_state: String,
    control_available: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeReply {
    spec: NodeSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeSpec {
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// Returns the findings about one engine. The certificates are for engines over TCP.
pub(super) async fn examine(endpoint: &str, certificates: Option<&Path>) -> Vec<DoctorFinding> {
    let engine = match EngineClient::at(endpoint, certificates) {
        Ok(engine) => engine,
        Err(finding) => return vec![finding],
    };
    let version: EngineVersion = match engine.get("version").await {
        Ok(version) => version,
        Err(why) => return vec![unreachable(endpoint, &why)],
    };
    let mut findings = vec![api(endpoint, &version)];
    match engine.get::<EngineInfo>("info").await {
        Ok(info) => {
            findings.push(limits(endpoint, &info));
            findings.push(swarm(endpoint, &info.swarm));
            findings.extend(daemon::examine(endpoint, certificates.is_some(), &info.daemon));
            if info.swarm.control_available {
                findings.extend(sandbox(&engine).await);
            }
        }
        Err(why) => findings.push(DoctorFinding::missing(
            format!("engine {endpoint}: {why}"),
            "read the log of the engine: journalctl -u docker",
        )),
    }
    findings
}

struct EngineClient {
    http: reqwest::Client,
    base: String,
}

impl EngineClient {
    fn at(endpoint: &str, certificates: Option<&Path>) -> Result<Self, DoctorFinding> {
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy();
        let (http, base) = match endpoint.split_once("://") {
            Some(("unix", path)) => (http.unix_socket(Path::new(path)), "http://engine".to_owned()),
            Some(("tcp" | "http", host)) => match certificates {
                None => (http, format!("http://{host}")),
                Some(directory) => (secured(http, directory)?, format!("https://{host}")),
            },
            _ => {
                let cure = "write it as unix:///PATH or tcp://HOST:PORT in --swarm";
                return Err(DoctorFinding::missing(format!("engine {endpoint}: not an address"), cure));
            }
        };
        let http = http.build().map_err(|error| {
            DoctorFinding::missing(
                format!("engine {endpoint}: {error}"),
                "install the certificate authorities of the system: the package ca-certificates",
            )
        })?;
        Ok(Self { http, base })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let answer = self.http.get(format!("{}/{path}", self.base)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(|error| root(&error))?;
        answer
            .json()
            .await
            .map_err(|error| format!("its response is not one of a Docker engine: {}", root(&error)))
    }
}

/// Trusts only the authority in the directory, and sends the client certificate beside it.
fn secured(http: reqwest::ClientBuilder, directory: &Path) -> Result<reqwest::ClientBuilder, DoctorFinding> {
    let missing = |why: String| {
        let what = format!("certificates in {}: {why}", directory.display());
        DoctorFinding::missing(
            what,
            "put ca.pem, cert.pem and key.pem there, or name another directory with --swarm-certificates",
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

fn unreachable(endpoint: &str, why: &str) -> DoctorFinding {
    let why = format!("engine {endpoint}: {why}");
    let Some(socket) = endpoint.strip_prefix("unix://") else {
        return DoctorFinding::missing(why, "start the engine there, and open its port to this machine only");
    };
    let installed = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];
    let cure = if !installed.iter().any(|path| Path::new(path).exists()) {
        "sudo apt-get install -y docker.io".to_owned()
    } else if Path::new(socket).exists() && why.contains("ermission denied") {
        "sudo usermod -aG docker \"$USER\", then log in again".to_owned()
    } else {
        "sudo systemctl start docker, or without systemd: sudo dockerd &".to_owned()
    };
    DoctorFinding::missing(why, cure)
}

fn api(endpoint: &str, version: &EngineVersion) -> DoctorFinding {
    let what = format!("engine {endpoint}: {}, API {}", version.version, version.api_version);
    let mut parts = version.api_version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= API_MIN => DoctorFinding::ok(what),
        _ => DoctorFinding::missing(what, format!("update it to API {}.{} or newer", API_MIN.0, API_MIN.1)),
    }
}

fn limits(endpoint: &str, info: &EngineInfo) -> DoctorFinding {
    let kept =
        [("memory", info.memory_limit), ("processors", info.cpu_cfs_quota), ("processes", info.pids_limit)];
    let not_kept: Vec<_> = kept.iter().filter(|(_, kept)| !kept).map(|(what, _)| *what).collect();
    if not_kept.is_empty() {
        return DoctorFinding::ok(format!("limits of {endpoint}: memory, processors and processes"));
    }
    let cure = "boot with cgroup_enable=memory swapaccount=1, or on a kernel with all cgroup controllers";
    DoctorFinding::missing(format!("limits of {endpoint}: none on {}", not_kept.join(", ")), cure)
}

fn swarm(endpoint: &str, swarm: &SwarmReply) -> DoctorFinding {
    let docker = format!("docker --host {endpoint}");
    match (swarm.local_node_state.as_str(), swarm.control_available) {
        ("active", true) => DoctorFinding::ok(format!("swarm at {endpoint}: a manager")),
        ("active", false) => {
            let cure = "name a manager first in --swarm, or on one: docker node promote NODE";
            DoctorFinding::warn(format!("swarm at {endpoint}: a worker"), cure)
        }
        (state, _) => {
            let cure = format!("{docker} swarm init --advertise-addr 127.0.0.1");
            DoctorFinding::missing(format!("swarm at {endpoint}: {state}"), cure)
        }
    }
}

/// Checks which nodes may run participants' containers. A Swarm of one node has no choice.
async fn sandbox(engine: &EngineClient) -> Option<DoctorFinding> {
    let nodes: Vec<NodeReply> = engine.get("nodes").await.ok()?;
    let labelled = |node: &&NodeReply| {
        node.spec.labels.iter().flatten().any(|(name, value)| name == "muster.sandbox" && value == "true")
    };
    match (nodes.len(), nodes.iter().filter(labelled).count()) {
        (0 | 1, _) => None,
        (all, 0) => {
            let cure = "restrict them to some nodes: docker node update --label-add muster.sandbox=true NODE";
            Some(DoctorFinding::warn(
                format!("sandbox: participants' containers run on all {all} nodes"),
                cure,
            ))
        }
        (all, some) => {
            Some(DoctorFinding::ok(format!("sandbox: participants' containers run on {some} of {all} nodes")))
        }
    }
}

/// Returns the text of the innermost cause of an error.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::FindingState;
    use super::*;

    fn version(api: &str) -> EngineVersion {
        EngineVersion { version: "20.10".into(), api_version: api.into() }
    }

    #[test]
    fn an_engine_must_be_new_enough_keep_limits_and_be_a_manager() {
        assert_eq!(api("e", &version("1.41")).state, FindingState::Ok);
        assert_eq!(api("e", &version("1.100")).state, FindingState::Ok);
        assert_eq!(api("e", &version("1.9")).state, FindingState::Missing);
        assert_eq!(api("e", &version("")).state, FindingState::Missing);
        let node =
            |state: &str, manager| SwarmReply { local_node_state: state.into(), control_available: manager };
        assert_eq!(swarm("e", &node("active", true)).state, FindingState::Ok);
        assert_eq!(swarm("e", &node("active", false)).state, FindingState::Warn);
        assert!(
            swarm("unix:///s", &node("inactive", false)).to_string().contains("--host unix:///s swarm init")
        );
        let info = |pids| EngineInfo {
            memory_limit: true,
            cpu_cfs_quota: true,
            pids_limit: pids,
            swarm: node("", false),
            daemon: EngineSetup::default(),
        };
        assert_eq!(limits("e", &info(true)).state, FindingState::Ok);
        assert!(limits("e", &info(false)).to_string().contains("none on processes"));
    }

    #[tokio::test]
    async fn an_endpoint_without_an_engine_is_missing_with_a_remedy() {
        for endpoint in ["/var/run/docker.sock", "unix:///nowhere.sock", "tcp://127.0.0.1:1"] {
            let findings = examine(endpoint, None).await;
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].state, FindingState::Missing);
            assert!(findings[0].cure.is_some() && findings[0].subject.contains(endpoint), "{findings:?}");
        }
    }
}
