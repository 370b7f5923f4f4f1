//! Checks the configuration of an engine, as far as the engine reports it: advice for the nodes that run participants'
//! containers.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::DoctorFinding;

/// The first release of each runc line that fixes the escapes of 2024 and 2025. Earlier lines have no such release, but
/// a distribution may have fixed its own.
const RUNC_FIXED: [(u32, u32, u32); 2] = [(1, 2, 8), (1, 3, 3)];

/// The sizes of a slot's network that are advised: 16 to 64 addresses. It needs one for each image, for the relay and for the gateway,
/// and one for each of the two engines that may take part.
const SUBNET_LARGEST: u8 = 26;
const SUBNET_SMALLEST: u8 = 28;

/// The report of an engine about itself. Older engines leave out some fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EngineSetup {
    live_restore_enabled: bool,
    logging_driver: String,
    driver: String,
    driver_status: Option<Vec<(String, String)>>,
    docker_root_dir: String,
    cgroup_version: String,
    kernel_version: String,
    default_runtime: String,
    runc_commit: RuncCommit,
    registry_config: RegistryMirrors,
    swarm: SwarmSetup,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SwarmSetup {
    /// Only managers know it.
    cluster: Option<ClusterSetup>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ClusterSetup {
    subnet_size: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuncCommit {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RegistryMirrors {
    mirrors: Option<Vec<String>>,
}

/// Returns the findings about one engine.
pub(super) fn examine(endpoint: &str, has_certificates: bool, daemon: &EngineSetup) -> Vec<DoctorFinding> {
    let on = |what: &str| format!("{what} of {endpoint}");
    let mut findings = vec![
        transport(endpoint, has_certificates),
        either(
            !daemon.live_restore_enabled,
            on("live-restore"),
            "off",
            "on",
            "set \"live-restore\": false in daemon.json, because a Swarm does not support it",
        ),
        logs(&on("log driver"), &daemon.logging_driver),
        storage(&on("storage"), daemon),
        either(
            daemon.cgroup_version == "2",
            on("control groups"),
            "version 2",
            "version 1",
            "boot the machine with systemd.unified_cgroup_hierarchy=1",
        ),
        runtime(&on("runtime"), daemon),
        DoctorFinding::ok(format!("{}: {}", on("kernel"), daemon.kernel_version)),
        mirror(&on("pull-through cache"), &daemon.registry_config),
    ];
    findings.extend(daemon.swarm.cluster.as_ref().map(|cluster| subnets(&on("networks"), cluster)));
    findings.push(root(endpoint, &on("data root"), &daemon.docker_root_dir));
    findings.push(DoctorFinding::unseen(
        format!("{}, {}", on("userland-proxy"), on("icc")),
        "set \"userland-proxy\": false and \"icc\": false in daemon.json, for other containers of this node",
    ));
    findings
}

fn either(fine: bool, what: String, good: &str, bad: &str, cure: &str) -> DoctorFinding {
    if fine {
        DoctorFinding::ok(format!("{what}: {good}"))
    } else {
        DoctorFinding::warn(format!("{what}: {bad}"), cure)
    }
}

/// Checks the connection to the engine. A client of an engine has root rights on its machine.
fn transport(endpoint: &str, has_certificates: bool) -> DoctorFinding {
    let Some((_, place)) = endpoint.split_once("://").filter(|(scheme, _)| *scheme != "unix") else {
        return DoctorFinding::ok(format!("connection to {endpoint}: a socket of this machine"));
    };
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if has_certificates {
        return DoctorFinding::ok(format!("connection to {endpoint}: mutual TLS"));
    }
    let cure =
        "let the engine require client certificates (--tlsverify), and name Muster's in --swarm-certificates";
    either(
        near,
        format!("connection to {endpoint}"),
        "within this machine",
        "without TLS, so that everyone on the network can become root",
        cure,
    )
}

/// Checks the size of the networks that the Swarm makes for slots. An app fills the kernel's table of neighbours with the addresses of
/// its network.
fn subnets(what: &str, ClusterSetup { subnet_size }: &ClusterSetup) -> DoctorFinding {
    either(
        (SUBNET_LARGEST..=SUBNET_SMALLEST).contains(subnet_size),
        what.to_owned(),
        &format!("/{subnet_size}"),
        &format!("/{subnet_size}, in which an app can fill the kernel's table of neighbours"),
        "make the Swarm anew: docker swarm init --default-addr-pool 10.0.0.0/8 --default-addr-pool-mask-length 28",
    )
}

fn logs(what: &str, driver: &str) -> DoctorFinding {
    // Participants' containers have limits of their own.
    let cure = "set \"log-driver\": \"local\" in daemon.json, which limits the size of logs";
    either(matches!(driver, "local" | "none" | "journald"), what.to_owned(), driver, driver, cure)
}

fn storage(what: &str, daemon: &EngineSetup) -> DoctorFinding {
    let of = |name: &str| {
        let rows = daemon.driver_status.iter().flatten();
        rows.clone().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let on = of("Backing Filesystem").unwrap_or("an unknown file system");
    let found = format!("{} on {on}", daemon.driver);
    let cure =
        "put the data root on xfs, mounted with pquota, and set \"storage-opts\": [\"overlay2.size=2G\"]";
    either(
        on == "xfs",
        what.to_owned(),
        &found,
        &format!("{found}, which does not limit the files of a container"),
        cure,
    )
}

fn runtime(what: &str, daemon: &EngineSetup) -> DoctorFinding {
    let (name, version) = (daemon.default_runtime.as_str(), daemon.runc_commit.id.as_str());
    let found = format!("{name}, runc {version}");
    match numbers(version) {
        _ if name != "runc" => DoctorFinding::ok(found_at(what, &found)),
        None => {
            DoctorFinding::unseen(found_at(what, &found), "check the version on the node: runc --version")
        }
        Some(version) if is_fixed(version) => DoctorFinding::ok(found_at(what, &found)),
        Some(_) => DoctorFinding::warn(
            found_at(what, &found),
            "update to runc 1.2.8, 1.3.3 or newer, which have no known escape; a distribution may have fixed an older one \
             (CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881)",
        ),
    }
}

fn found_at(what: &str, found: &str) -> String {
    format!("{what}: {found}")
}

fn is_fixed(version: (u32, u32, u32)) -> bool {
    let (major, minor, _) = version;
    match RUNC_FIXED.iter().find(|(of, line, _)| (*of, *line) == (major, minor)) {
        Some(fixed) => version >= *fixed,
        None => version > RUNC_FIXED[RUNC_FIXED.len() - 1],
    }
}

/// Parses versions such as `v1.1.12-0-g51d5e946` and `1.1.5+ds1-1+deb12u1`.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
    let mut numbers = version[..end].split('.').map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
        _ => None,
    }
}

fn mirror(what: &str, registries: &RegistryMirrors) -> DoctorFinding {
    let mirrors = registries.mirrors.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
    let cure = "set \"registry-mirrors\": [\"https://CACHE\"] in daemon.json, because registries limit the number of pulls";
    let found = if mirrors.is_empty() { "none" } else { &mirrors };
    either(!mirrors.is_empty(), what.to_owned(), found, found, cure)
}

/// Checks that images and containers have a disk of their own, which is the only one that they can fill.
fn root(endpoint: &str, what: &str, path: &str) -> DoctorFinding {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let cure = "put the directory that \"data-root\" in daemon.json names on a disk of its own";
    // The path is one of this machine only if the engine is.
    match (endpoint.starts_with("unix://"), device(Path::new(path)), device(Path::new("/"))) {
        (true, Some(its), Some(ours)) => either(
            its != ours,
            what.to_owned(),
            &format!("{path}, a disk of its own"),
            &format!("{path}, on the system's disk"),
            cure,
        ),
        _ => DoctorFinding::unseen(format!("{what}: {path}"), cure),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FindingState;
    use super::*;

    #[test]
    fn the_escapes_of_runc_are_known() {
        for (version, fine) in [
            ("1.1.5+ds1-1+deb12u1", false),
            ("v1.1.12-0-g51d5e946", false),
            ("1.2.7", false),
            ("1.2.8", true),
            ("v1.3.2", false),
            ("v1.3.3-0-gd842d77", true),
            ("1.4.0", true),
        ] {
            let commit = RuncCommit { id: version.into() };
            let daemon =
                EngineSetup { default_runtime: "runc".into(), runc_commit: commit, ..EngineSetup::default() };
            assert_eq!(runtime("runtime", &daemon).state == FindingState::Ok, fine, "{version}");
        }
        let unknown = EngineSetup { default_runtime: "runc".into(), ..EngineSetup::default() };
        assert_eq!(runtime("runtime", &unknown).state, FindingState::Unseen);
    }

    #[test]
    fn an_engine_without_tls_gets_a_warning() {
        for (endpoint, state) in [
            ("unix:///run/docker.sock", FindingState::Ok),
            ("tcp://127.0.0.1:2375", FindingState::Ok),
            ("tcp://10.0.0.7:2375", FindingState::Warn),
        ] {
            assert_eq!(transport(endpoint, false).state, state, "{endpoint}");
        }
    }

    #[test]
    fn an_engine_that_reports_few_fields_can_be_checked() {
        let silent: EngineSetup = serde_json::from_str("{}").unwrap();
        assert_eq!(examine("tcp://10.0.0.7:2375", true, &silent).len(), 10);
        let known: EngineSetup = serde_json::from_str(
            r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","xfs"]],"CgroupVersion":"2",
                "LoggingDriver":"local","DefaultRuntime":"runsc","RegistryConfig":{"Mirrors":["https://c/"]},
                "Swarm":{"Cluster":{"SubnetSize":28}}}"#,
        )
        .unwrap();
        let findings = examine("unix:///nowhere.sock", false, &known);
        let odd: Vec<_> = findings.iter().filter(|finding| finding.state != FindingState::Ok).collect();
        assert!(odd.iter().all(|finding| finding.state == FindingState::Unseen), "{odd:?}");
        assert_eq!(subnets("networks", &ClusterSetup { subnet_size: 24 }).state, FindingState::Warn);
    }
}
