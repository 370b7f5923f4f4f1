//! The `docker run` command that runs an image as Muster does, for participants who want to see what happens.

use std::fmt::Write as _;

use super::{Challenge, ProbeRules};
use crate::sandbox::SandboxGrade;

/// The port of the participant's own machine at which the app answers.
const LOCAL_PORT: u16 = 8000;

impl Challenge {
    /// Returns the lowest grade of sandbox that an app may get, if an operator has done as the documents say. Nodes that
    /// do not set no-new-privileges are below it.
    pub fn lowest_grade(&self) -> SandboxGrade {
        self.sandbox.grade.unwrap_or(SandboxGrade::ReadOnly)
    }

    /// Returns the directories in memory that an app may write to in this grade, beside its volumes, or `None` if it may
    /// write everywhere.
    pub fn places_in_memory(&self, grade: SandboxGrade) -> Option<Vec<String>> {
        let places = grade.places_in_memory()?;
        Some(places.into_iter().map(str::to_owned).chain(self.sandbox.writable.iter().cloned()).collect())
    }

    /// Returns the command that runs an image with the limits of this grade.
    pub fn docker_run(&self, grade: SandboxGrade, image: &str) -> String {
        let ProbeRules::Http(probe) = &self.probe;
        let limits = &self.limits;
        let mut command = format!(
            "docker run --rm --publish 127.0.0.1:{LOCAL_PORT}:{} --memory {memory}m --memory-swap {memory}m --cpus {} \
             --pids-limit {} --security-opt no-new-privileges --cap-drop ALL",
            probe.port,
            limits.cpus,
            limits.pids,
            memory = limits.memory_mib,
        );
        let mut add = |option: String| {
            // Writing to a text cannot fail.
            let _ = write!(command, " {option}");
        };
        grade.capabilities().iter().for_each(|name| add(format!("--cap-add {name}")));
        if let Some(places) = self.places_in_memory(grade) {
            add("--read-only".to_owned());
            places.iter().for_each(|path| add(format!("--tmpfs {path}:size={}m", limits.tmpfs_mib)));
        }
        add(image.to_owned());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_limits_of_the_grade() {
        let challenge = Challenge::birthday();
        let writable = challenge.docker_run(SandboxGrade::Writable, "ada/app");
        assert_eq!(
            writable,
            "docker run --rm --publish 127.0.0.1:8000:80 --memory 256m --memory-swap 256m --cpus 0.5 --pids-limit 128 \
             --security-opt no-new-privileges --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
             --cap-add KILL --cap-add NET_BIND_SERVICE --cap-add SETGID --cap-add SETUID ada/app"
        );
        let read_only = challenge.docker_run(SandboxGrade::ReadOnly, "ada/app");
        assert!(read_only.contains(" --read-only --tmpfs /tmp:size=16m "), "{read_only}");
        let bare = challenge.docker_run(SandboxGrade::Bare, "ada/app");
        assert!(!bare.contains("--cap-add") && bare.ends_with("--tmpfs /run:size=16m ada/app"), "{bare}");
    }
}
