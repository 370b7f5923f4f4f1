//! How an engine is set up, as far as it tells: advice for the nodes that
//! participants' containers run on.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::DoctorFinding;

/// The first runc of each line without the escapes of 2024 and 2025; lines
/// before the first have no mended one, unless a distribution mended it.
const RUNC_MENDED: [(u32, u32, u32); 2] = [(1, 2, 8), (1, 3, 3)];

/// What an engine tells of itself. Older ones tell less.
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

/// What could be better about an engine, and what is fine.
pub(super) fn examine(endpoint: &str, has_certificates: bool, daemon: &EngineSetup) -> Vec<DoctorFinding> {
    let on = |what: &str| format!("{what} of {endpoint}");
    let mut findings = vec![
        transport(endpoint, has_certificates),
        either(
            !daemon.live_restore_enabled,
            on("live-restore"),
            "off",
            "on",
            "\"live-restore\": false: a Swarm cannot use it",
        ),
        logs(&on("log driver"), &daemon.logging_driver),
        storage(&on("storage"), daemon),
        either(
            daemon.cgroup_version == "2",
            on("control groups"),
            "version 2",
            "version 1",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
        runtime(&on("runtime"), daemon),
        DoctorFinding::ok(format!("{}: {}", on("kernel"), daemon.kernel_version)),
        mirror(&on("pull-through cache"), &daemon.registry_config),
    ];
    findings.push(root(endpoint, &on("data root"), &daemon.docker_root_dir));
    findings.push(DoctorFinding::unseen(
        format!("{}, {}", on("userland-proxy"), on("icc")),
        "\"userland-proxy\": false, \"icc\": false in daemon.json, for what else runs there",
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

/// Whoever can speak to an engine is root there.
fn transport(endpoint: &str, has_certificates: bool) -> DoctorFinding {
    let Some((_, place)) = endpoint.split_once("://").filter(|(scheme, _)| *scheme != "unix") else {
        return DoctorFinding::ok(format!("way to {endpoint}: a socket of this machine"));
    };
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if has_certificates {
        return DoctorFinding::ok(format!("way to {endpoint}: over mutual TLS"));
    }
    let cure =
        "have the engine ask for client certificates (--tlsverify), and name ours in --swarm-certificates";
    either(
        near,
        format!("way to {endpoint}"),
        "within this machine",
        "in the clear, and whoever is there is root",
        cure,
    )
}

fn logs(what: &str, driver: &str) -> DoctorFinding {
    // Participants' containers bring bounds of their own.
    let cure = "\"log-driver\": \"local\" in daemon.json, which has bounds";
    either(matches!(driver, "local" | "none" | "journald"), what.to_owned(), driver, driver, cure)
}

fn storage(what: &str, daemon: &EngineSetup) -> DoctorFinding {
    let of = |name: &str| {
        let rows = daemon.driver_status.iter().flatten();
        rows.clone().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let on = of("Backing Filesystem").unwrap_or("an unknown file system");
    let found = format!("{} on {on}", daemon.driver);
    let cure = "a data root on xfs, mounted with pquota, and \"storage-opts\": [\"overlay2.size=2G\"]";
    either(on == "xfs", what.to_owned(), &found, &format!("{found}, which bounds no container's files"), cure)
}

fn runtime(what: &str, daemon: &EngineSetup) -> DoctorFinding {
    let (name, version) = (daemon.default_runtime.as_str(), daemon.runc_commit.id.as_str());
    let found = format!("{name}, runc {version}");
    match numbers(version) {
        _ if name != "runc" => DoctorFinding::ok(found_at(what, &found)),
        None => DoctorFinding::unseen(found_at(what, &found), "look for the version: runc --version"),
        Some(version) if is_mended(version) => DoctorFinding::ok(found_at(what, &found)),
        Some(_) => DoctorFinding::warn(
            found_at(what, &found),
            "runc 1.2.8, 1.3.3 or newer has no known escape; a distribution may have mended an older one \
             (CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881)",
        ),
    }
}

fn found_at(what: &str, found: &str) -> String {
    format!("{what}: {found}")
}

fn is_mended(version: (u32, u32, u32)) -> bool {
    let (major, minor, _) = version;
    match RUNC_MENDED.iter().find(|(of, line, _)| (*of, *line) == (major, minor)) {
        Some(mended) => version >= *mended,
        None => version > RUNC_MENDED[RUNC_MENDED.len() - 1],
    }
}

/// `v1.1.12-0-g51d5e946`, `1.1.5+ds1-1+deb12u1`
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
    let cure = "\"registry-mirrors\": [\"https://CACHE\"] in daemon.json: registries count what is pulled";
    let found = if mirrors.is_empty() { "none" } else { &mirrors };
    either(!mirrors.is_empty(), what.to_owned(), found, found, cure)
}

/// Whether images and containers can fill up only their own disk.
fn root(endpoint: &str, what: &str, path: &str) -> DoctorFinding {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let cure = "a disk of its own for what \"data-root\" names in daemon.json";
    // Only of this machine's engine is the path one of this machine's.
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
    fn an_engine_in_the_clear_is_not_left_unsaid() {
        for (endpoint, state) in [
            ("unix:///run/docker.sock", FindingState::Ok),
            ("tcp://127.0.0.1:2375", FindingState::Ok),
            ("tcp://10.0.0.7:2375", FindingState::Warn),
        ] {
            assert_eq!(transport(endpoint, false).state, state, "{endpoint}");
        }
    }

    #[test]
    fn every_engine_can_be_read_also_one_that_says_little() {
        let silent: EngineSetup = serde_json::from_str("{}").unwrap();
        assert_eq!(examine("tcp://10.0.0.7:2375", true, &silent).len(), 10);
        let known: EngineSetup = serde_json::from_str(
            r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","xfs"]],"CgroupVersion":"2",
                "LoggingDriver":"local","DefaultRuntime":"runsc","RegistryConfig":{"Mirrors":["https://c/"]}}"#,
        )
        .unwrap();
        let findings = examine("unix:///nowhere.sock", false, &known);
        let odd: Vec<_> = findings.iter().filter(|finding| finding.state != FindingState::Ok).collect();
        assert!(odd.iter().all(|finding| finding.state == FindingState::Unseen), "{odd:?}");
    }
}
