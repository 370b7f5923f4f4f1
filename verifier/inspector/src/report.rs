//! The facts, and their text form: one line for each.
//!
//! ```text
//! memory 67108864
//! default-route none
//! ```
//!
//! The report comes from a sandbox. So a reader takes only visible ASCII up to a
//! bound, and ignores lines that it does not know.

use std::collections::BTreeMap;
use std::fmt;

/// The length in characters at which values are cut.
const VALUE_MAX: usize = 200;

/// A fact that the kernel shows to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SandboxFact {
    /// The capabilities of the process in any set but the bounding set: 16
    /// hexadecimal digits.
    Capabilities,
    /// The capabilities that the process could gain: 16 hexadecimal digits.
    Bounding,
    /// `1` if a setuid program gives no new rights, else `0`.
    NoNewPrivileges,
    /// The seccomp mode: `2` for a filter, `0` for none.
    Seccomp,
    /// The AppArmor profile, or `none`.
    AppArmor,
    /// The user id that the container's root has outside: `0` is the node's root.
    RootOutside,
    /// The memory limit in bytes, or `max`.
    Memory,
    /// The swap limit in bytes beside the memory, or `max`. It is `0` if the node has
    /// no swap.
    Swap,
    /// The limit of the number of processes, or `max`.
    Processes,
    /// The processor limit in thousandths of one processor, or `max`.
    Processors,
    /// The root file system: `read-only` or `writable`.
    Root,
    /// The writable mounts on a disk, or `none`.
    Disk,
    /// The writable file systems in memory with their sizes in bytes:
    /// `/tmp=16777216 /run=max`.
    Tmpfs,
    /// The interfaces with a default route, or `none`.
    DefaultRoute,
    /// The interfaces other than the loopback, or `none`.
    Interfaces,
    /// The devices beyond those that every container has, or `none`.
    Devices,
    /// The paths in /proc and /sys that show or change settings of the node and are
    /// neither hidden nor read-only, or `none`.
    Exposed,
    /// The release of the kernel.
    Kernel,
    /// The version of the control groups: `1` or `2`.
    ControlGroups,
    /// The ways into the kernel that the node lets through, of those that the inspector tries, or `none`.
    LetThrough,
    /// The number of inotify instances that each user of the kernel may have. Containers without a user namespace share one user's.
    InotifyInstances,
}

impl SandboxFact {
    /// Every fact.
    pub const ALL: [Self; 21] = [
        Self::Capabilities,
        Self::Bounding,
        Self::NoNewPrivileges,
        Self::Seccomp,
        Self::AppArmor,
        Self::RootOutside,
        Self::Memory,
        Self::Swap,
        Self::Processes,
        Self::Processors,
        Self::Root,
        Self::Disk,
        Self::Tmpfs,
        Self::DefaultRoute,
        Self::Interfaces,
        Self::Devices,
        Self::Exposed,
        Self::Kernel,
        Self::ControlGroups,
        Self::LetThrough,
        Self::InotifyInstances,
    ];

    /// Returns the name of the fact in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Bounding => "bounding",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::Seccomp => "seccomp",
            Self::AppArmor => "apparmor",
            Self::RootOutside => "root-outside",
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Processes => "processes",
            Self::Processors => "processors",
            Self::Root => "root",
            Self::Disk => "disk",
            Self::Tmpfs => "tmpfs",
            Self::DefaultRoute => "default-route",
            Self::Interfaces => "interfaces",
            Self::Devices => "devices",
            Self::Exposed => "exposed",
            Self::Kernel => "kernel",
            Self::ControlGroups => "control-groups",
            Self::LetThrough => "let-through",
            Self::InotifyInstances => "inotify-instances",
        }
    }
}

/// The facts that a container could see. A missing fact could not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InspectionReport {
    facts: BTreeMap<SandboxFact, String>,
}

impl InspectionReport {
    /// Adds a fact. Characters other than visible ASCII and spaces are removed.
    pub fn set(&mut self, fact: SandboxFact, value: &str) {
        let visible = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        self.facts.insert(fact, value.chars().filter(visible).take(VALUE_MAX).collect());
    }

    /// Returns the value of a fact, if it was seen.
    #[must_use]
    pub fn get(&self, fact: SandboxFact) -> Option<&str> {
        self.facts.get(&fact).map(String::as_str)
    }

    /// Parses the text form of a [`InspectionReport`], and ignores lines that are not part of it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            if let Some(fact) = SandboxFact::ALL.into_iter().find(|fact| fact.name() == name) {
                report.set(fact, value);
            }
        }
        report
    }
}

impl fmt::Display for InspectionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.iter().try_for_each(|(fact, value)| writeln!(f, "{} {value}", fact.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut report = InspectionReport::default();
        for fact in SandboxFact::ALL {
            report.set(fact, &format!("value of {}", fact.name()));
        }
        assert_eq!(InspectionReport::parse(&report.to_string()), report);
    }

    #[test]
    fn nothing_but_short_plain_facts_comes_out_of_a_sandbox() {
        let text = format!("memory 1\u{1b}[31m\u{202e}2\nnonsense 1\nmemory\n\nkernel {}", "x".repeat(5000));
        let report = InspectionReport::parse(&text);
        assert_eq!(report.get(SandboxFact::Memory), Some("1[31m2"));
        assert_eq!(report.get(SandboxFact::Kernel).map(str::len), Some(VALUE_MAX));
        assert_eq!(report.get(SandboxFact::Swap), None);
    }
}
