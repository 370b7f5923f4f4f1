//! The facts, and how they travel: a line of text for each.
//!
//! ```text
//! memory 67108864
//! default-route none
//! ```
//!
//! The report is read outside the sandbox, so nothing but visible ASCII is taken
//! over, a bounded amount of it, and a line that is not known is left out.

use std::collections::BTreeMap;
use std::fmt;

/// Longer values are cut.
const VALUE_MAX: usize = 200;

/// One thing that the kernel tells a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The capabilities of the process, in any of its sets but the bounding
    /// one: 16 hexadecimal digits.
    Capabilities,
    /// The capabilities that it could ever get, likewise.
    Bounding,
    /// Whether a setuid program gives no new rights: `1` or `0`.
    NoNewPrivileges,
    /// The seccomp mode: `2` is a filter, `0` none.
    Seccomp,
    /// The AppArmor profile, or `none`.
    AppArmor,
    /// Whom the container's root is outside: `0` is the node's own root.
    RootOutside,
    /// Bytes of memory that it may have, or `max`.
    Memory,
    /// Bytes of swap besides, or `max`; `0` also where the node has no swap.
    Swap,
    /// How many processes it may have, or `max`.
    Processes,
    /// Thousandths of a processor that it may use, or `max`.
    Processors,
    /// The root file system: `read-only` or `writable`.
    Root,
    /// Mounts on a disk that it may write to, or `none`.
    Disk,
    /// Bytes of each file system in memory that it may write to, as
    /// `/tmp=16777216 /run=max`.
    Tmpfs,
    /// Interfaces with a default route, or `none`.
    DefaultRoute,
    /// Interfaces other than the loopback.
    Interfaces,
    /// Devices beyond those that every container has, or `none`.
    Devices,
    /// Paths in /proc and /sys that tell or change what is the node's, and are
    /// neither hidden nor read-only, or `none`.
    Exposed,
    /// The kernel's release.
    Kernel,
    /// The version of the control groups: `1` or `2`.
    ControlGroups,
}

impl Fact {
    /// Every fact.
    pub const ALL: [Self; 19] = [
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
    ];

    /// Its name in a report.
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
        }
    }
}

/// What a container could tell. A fact that is missing was not to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    facts: BTreeMap<Fact, String>,
}

impl Report {
    /// Adds a fact, without what is not visible ASCII or blank.
    pub fn set(&mut self, fact: Fact, value: &str) {
        let visible = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        self.facts.insert(fact, value.chars().filter(visible).take(VALUE_MAX).collect());
    }

    /// What was seen.
    #[must_use]
    pub fn get(&self, fact: Fact) -> Option<&str> {
        self.facts.get(&fact).map(String::as_str)
    }

    /// Reads what [`Report`]'s `Display` wrote, and as much as it can of
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            if let Some(fact) = Fact::ALL.into_iter().find(|fact| fact.name() == name) {
                report.set(fact, value);
            }
        }
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.iter().try_for_each(|(fact, value)| writeln!(f, "{} {value}", fact.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut report = Report::default();
        for fact in Fact::ALL {
            report.set(fact, &format!("value of {}", fact.name()));
        }
        assert_eq!(Report::parse(&report.to_string()), report);
    }

    #[test]
    fn nothing_but_short_plain_facts_comes_out_of_a_sandbox() {
        let text = format!("memory 1\u{1b}[31m\u{202e}2\nnonsense 1\nmemory\n\nkernel {}", "x".repeat(5000));
        let report = Report::parse(&text);
        assert_eq!(report.get(Fact::Memory), Some("1[31m2"));
        assert_eq!(report.get(Fact::Kernel).map(str::len), Some(VALUE_MAX));
        assert_eq!(report.get(Fact::Swap), None);
    }
}
