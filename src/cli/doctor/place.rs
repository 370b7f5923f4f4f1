//! Checks this machine: the data directory, its disk, the port.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;

use super::DoctorFinding;
use crate::config::{LogLocation, Settings};

/// MiB of free space below which the disk will be full soon.
const FREE_MIB_LOW: u64 = 1024;

/// MiB of free space below which the disk counts as full.
const FREE_MIB_MIN: u64 = 64;

/// The deadline of Muster's response at the port.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

pub(super) fn examine(settings: &Settings) -> Vec<DoctorFinding> {
    let mut findings = vec![directory("data directory", &settings.data), disk(&settings.data)];
    if let LogLocation::Sqlite(log) = &settings.eventstore
        && let Some(parent) = log.parent().filter(|parent| *parent != settings.data)
    {
        findings.push(directory("directory of the event log", parent));
        findings.push(disk(parent));
    }
    findings
}

/// Checks that files can be created in the directory, or that the directory itself can be created.
fn directory(what: &str, path: &Path) -> DoctorFinding {
    let (existing, shown) = (existing(path), path.display());
    match tempfile::Builder::new().prefix(".muster-doctor-").tempfile_in(existing) {
        Ok(_) if path.is_dir() => DoctorFinding::ok(format!("{what} {shown}: writable")),
        Ok(_) => DoctorFinding::ok(format!("{what} {shown}: will be created")),
        Err(error) => {
            let cure = format!("sudo install -d -o \"$(id -un)\" {shown}");
            DoctorFinding::missing(format!("{what} {shown}: {}", error.kind()), cure)
        }
    }
}

fn disk(path: &Path) -> DoctorFinding {
    let shown = path.display();
    let free = match statvfs(existing(path)) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024),
        Err(error) => {
            return DoctorFinding::warn(
                format!("disk of {shown}: {error}"),
                "check that the disk is mounted",
            );
        }
    };
    let cure = "free some space, or choose a directory on another disk with --data";
    match free {
        free if free < FREE_MIB_MIN => {
            DoctorFinding::missing(format!("disk of {shown}: {free} MiB free"), cure)
        }
        free if free < FREE_MIB_LOW => DoctorFinding::warn(format!("disk of {shown}: {free} MiB free"), cure),
        free => DoctorFinding::ok(format!("disk of {shown}: {} GiB free", free / 1024)),
    }
}

/// Checks that the port is free, or that Muster answers there already.
pub(super) async fn port(listen: SocketAddr) -> DoctorFinding {
    match TcpListener::bind(listen) {
        Ok(_) => DoctorFinding::ok(format!("port {listen}: free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_muster(listen).await => {
            DoctorFinding::ok(format!("port {listen}: Muster answers there"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let command = format!("ss -ltnp 'sport = :{}'", listen.port());
            let cure =
                format!("choose another port with --listen, or end the process that uses it: {command}");
            DoctorFinding::missing(format!("port {listen}: taken"), cure)
        }
        Err(error) => DoctorFinding::missing(
            format!("port {listen}: {}", error.kind()),
            "choose another address with --listen",
        ),
    }
}

async fn is_muster(listen: SocketAddr) -> bool {
    let ask = async {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build()?;
        http.get(format!("http://{listen}/healthz")).send().await?.text().await
    };
    ask.await.is_ok_and(|answer| answer == "alive\n")
}

/// Returns the nearest directory that exists.
fn existing(path: &Path) -> &Path {
    let there = |path: &&Path| fs::metadata(path).is_ok();
    path.ancestors().filter(|path| !path.as_os_str().is_empty()).find(there).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::super::FindingState;
    use super::*;

    #[test]
    fn a_directory_must_exist_or_be_possible_to_create() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(directory("data", home.path()).state, FindingState::Ok);
        assert_eq!(directory("data", &home.path().join("a/b")).state, FindingState::Ok);
        fs::write(home.path().join("file"), "").unwrap();
        let finding = directory("data", &home.path().join("file/data"));
        assert_eq!(finding.state, FindingState::Missing);
        assert!(finding.to_string().contains("install -d"), "{finding}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
