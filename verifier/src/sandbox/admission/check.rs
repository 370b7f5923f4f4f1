//! The checks of a node: compares an inspector's report with the requirements, one by one.

use domain::challenge::OpenKernelWays;
use domain::sandbox::SandboxGrade;
use inspector::{InspectionReport, SandboxFact};

use super::InspectionTerms;
use crate::swarm::CAPABILITY_BITS;

/// The check of one protection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of the protection.
    pub item: &'static str,
    pub state: CheckState,
    /// The value that the inspector found.
    pub found: String,
    /// The value that is required.
    pub wanted: String,
    /// The change on the node that brings the required value about.
    pub cure: &'static str,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// The protection is in place.
    Holds,
    /// The protection is missing and recommended. Other walls hold without it.
    Advised,
    /// The protection is missing, and no participant's container may run without it.
    Lacking,
    /// A container cannot see the protection on this node.
    NotSeen,
}

/// The importance of a protection.
#[derive(Clone, Copy)]
enum CheckWeight {
    Must,
    Should,
}

use CheckWeight::{Must, Should};

/// Compares the report of an inspector in a sandbox of this grade with the requirements.
pub(super) fn judge(report: &InspectionReport, terms: &InspectionTerms, grade: SandboxGrade) -> Vec<Check> {
    let limits = &terms.limits;
    let is = |wanted: &'static str| move |found: &str| found == wanted;
    let at_most = |wanted: u64| move |found: &str| found.parse::<u64>().is_ok_and(|found| found <= wanted);
    let (root, disk) = match grade {
        SandboxGrade::Writable => ("writable", "none but the root file system"),
        SandboxGrade::ReadOnly | SandboxGrade::Bare => ("read-only", "none"),
    };
    let allowed = if grade == SandboxGrade::Bare { 0 } else { CAPABILITY_BITS };
    let capabilities = if allowed == 0 { "none".to_owned() } else { format!("at most {allowed:016x}") };
    let few_capabilities =
        |found: &str| u64::from_str_radix(found, 16).is_ok_and(|found| found & !allowed == 0);
    // A process with capabilities must not gain more by a setuid program.
    let no_new_privileges = if allowed == 0 { Should } else { Must };
    let item = |fact, weight, item, wanted: &str, holds: &dyn Fn(&str) -> bool, cure| {
        let (state, found) = state_of(report.get(fact), weight, holds);
        Check { item, state, found: found.to_owned(), wanted: wanted.to_owned(), cure }
    };
    let ways = weight_of(terms.open_kernel_ways);
    let memory = limits.memory_mib.saturating_mul(1 << 20);
    let processors = thousandths(limits.cpus);
    let tmpfs = |found: &str| found.split(' ').all(|mount| !mount.ends_with("=max"));
    vec![
        item(SandboxFact::Capabilities, Must, "capabilities", &capabilities, &few_capabilities, UPDATE),
        item(
            SandboxFact::Bounding,
            Must,
            "capabilities to be gained",
            &capabilities,
            &few_capabilities,
            UPDATE,
        ),
        item(SandboxFact::Seccomp, Must, "seccomp", "2 (a filter)", &is("2"), SECCOMP),
        item(SandboxFact::Memory, Must, "memory limit", &at(memory, "bytes"), &at_most(memory), CGROUPS),
        item(
            SandboxFact::Processes,
            Must,
            "process limit",
            &at(limits.pids, ""),
            &at_most(limits.pids),
            CGROUPS,
        ),
        item(SandboxFact::Root, Must, "root file system", root, &is(root), UPDATE),
        item(
            SandboxFact::Disk,
            Must,
            "a disk to write to",
            disk,
            &|found| found == "none" || grade == SandboxGrade::Writable && found == "/",
            UPDATE,
        ),
        item(SandboxFact::DefaultRoute, Must, "default route", "none", &is("none"), NETWORK),
        item(
            SandboxFact::Interfaces,
            Must,
            "networks",
            "one",
            &|found| found != "none" && !found.contains(' '),
            NETWORK,
        ),
        item(SandboxFact::Devices, Must, "devices of the node", "none", &is("none"), RUNTIME),
        item(SandboxFact::Exposed, Must, "the node's own settings", "none", &is("none"), RUNTIME),
        item(
            SandboxFact::Processors,
            Should,
            "processor limit",
            &at(processors, "thousandths"),
            &at_most(processors),
            CGROUPS,
        ),
        item(SandboxFact::Tmpfs, Should, "files in memory", "all of a bounded size", &tmpfs, UPDATE),
        item(
            SandboxFact::NoNewPrivileges,
            no_new_privileges,
            "no-new-privileges",
            "1",
            &is("1"),
            NO_NEW_PRIVILEGES,
        ),
        item(SandboxFact::Swap, Should, "swap", "0 bytes", &is("0"), SWAP),
        item(
            SandboxFact::RootOutside,
            Should,
            "root, seen from the node",
            "not 0",
            &|found| found != "0",
            USERNS,
        ),
        item(SandboxFact::AppArmor, Should, "AppArmor profile", "docker-default", &is_enforced, APPARMOR),
        item(SandboxFact::ControlGroups, Should, "control groups", "version 2", &is("2"), CGROUPS_2),
        item(SandboxFact::LetThrough, ways, "ways into the kernel", "none", &is("none"), LET_THROUGH),
        item(SandboxFact::InotifyInstances, Should, "inotify instances", MANY, &is_many, INOTIFY),
        item(SandboxFact::Kernel, Should, "kernel", "one that is kept up to date", &|_| true, KERNEL),
    ]
}

const UPDATE: &str = "update the node's engine to 20.10 or newer";
const SECCOMP: &str = "take seccomp-profile out of the node's daemon.json; use a runc built with seccomp";
const CGROUPS: &str = "boot the node with all control groups: cgroup_enable=memory swapaccount=1";
const CGROUPS_2: &str = "boot the node with systemd.unified_cgroup_hierarchy=1";
const NETWORK: &str =
    "nothing but the slot's network may be added to services there: look at its engine's plugins";
const RUNTIME: &str = "set default-runtime to runc or runsc in the node's daemon.json";
const BOUND: &str = "the node's data-root on a tmpfs, so that an app's files count as its memory";
const NO_NEW_PRIVILEGES: &str = "\"no-new-privileges\": true in the node's daemon.json";
const SWAP: &str = "swapoff -a on the node, and no swap in its fstab";
const USERNS: &str = "\"userns-remap\": \"default\" in the node's daemon.json";
const APPARMOR: &str = "install apparmor on the node, where its kernel has it";
const LET_THROUGH: &str = "update the engines of the managers and of the node to 25.0 or newer, so that Muster's own filter \
    holds, or name a tighter seccomp-profile in the node's daemon.json";
const MANY: &str = "at least 1024 for each user";
const INOTIFY: &str = "fs.inotify.max_user_instances = 8192 in a file of the node's /etc/sysctl.d";
const KERNEL: &str = "unattended-upgrades on the node, and a restart when it asks for one";

/// Returns the outcome of a check, and the value that was found.
fn state_of<'a>(
    found: Option<&'a str>,
    weight: CheckWeight,
    holds: &dyn Fn(&str) -> bool,
) -> (CheckState, &'a str) {
    match (found, weight) {
        (None, _) => (CheckState::NotSeen, "not seen from here"),
        (Some(found), _) if holds(found) => (CheckState::Holds, found),
        (Some(found), Must) => (CheckState::Lacking, found),
        (Some(found), Should) => (CheckState::Advised, found),
    }
}

fn weight_of(open_kernel_ways: OpenKernelWays) -> CheckWeight {
    match open_kernel_ways {
        OpenKernelWays::Permitted => Should,
        OpenKernelWays::Refused => Must,
    }
}

/// Returns true if one app can hardly use up the inotify instances of its neighbours. Kernels allow 128.
fn is_many(found: &str) -> bool {
    found.parse::<u64>().is_ok_and(|found| found >= 1024)
}

fn is_enforced(found: &str) -> bool {
    !matches!(found, "none" | "unconfined" | "")
}

fn at(most: u64, unit: &str) -> String {
    format!("at most {most} {unit}").trim_end().to_owned()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's conversion saturates, and a challenge has no negative limits"
)]
fn thousandths(cpus: f64) -> u64 {
    (cpus * 1000.0).ceil() as u64
}

/// Returns the check of the bound on what an app can write, from the result of a trial in a directory.
pub(super) fn bound(directory: &str, found: String) -> Check {
    let bounded = matches!(found.as_str(), "killed" | "refused");
    Check {
        item: "bound of writing",
        state: if bounded { CheckState::Holds } else { CheckState::Lacking },
        found: format!("{found} in {directory}"),
        wanted: "killed or refused".to_owned(),
        cure: BOUND,
    }
}

/// Returns the check that names the grade of the node's sandbox.
pub(super) fn grade(grade: SandboxGrade) -> Check {
    let cure = match grade {
        SandboxGrade::Bare => NO_NEW_PRIVILEGES,
        SandboxGrade::ReadOnly | SandboxGrade::Writable => BOUND,
    };
    Check {
        item: "grade of the sandbox",
        state: if grade == SandboxGrade::Writable { CheckState::Holds } else { CheckState::Advised },
        found: grade.as_str().to_owned(),
        wanted: SandboxGrade::Writable.as_str().to_owned(),
        cure,
    }
}

/// Returns the reason why no participant's container may run on the node, if a required protection is
/// missing.
pub(super) fn refusal(checks: &[Check]) -> Option<String> {
    let lacking = checks.iter().filter(|check| check.state == CheckState::Lacking);
    let reasons: Vec<_> =
        lacking.map(|check| format!("{} is {}, not {}", check.item, check.found, check.wanted)).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn terms() -> InspectionTerms {
        InspectionTerms::from(&domain::Challenge::birthday())
    }

    /// Returns the report of a node on which every protection is in place.
    fn good() -> InspectionReport {
        let limits = terms().limits;
        let mut report = InspectionReport::default();
        for (fact, value) in [
            (SandboxFact::Capabilities, "0000000000000000"),
            (SandboxFact::Bounding, "0000000000000000"),
            (SandboxFact::NoNewPrivileges, "1"),
            (SandboxFact::Seccomp, "2"),
            (SandboxFact::AppArmor, "docker-default (enforce)"),
            (SandboxFact::RootOutside, "100000"),
            (SandboxFact::Memory, &(limits.memory_mib << 20).to_string()),
            (SandboxFact::Swap, "0"),
            (SandboxFact::Processes, &limits.pids.to_string()),
            (SandboxFact::Processors, &thousandths(limits.cpus).to_string()),
            (SandboxFact::Root, "read-only"),
            (SandboxFact::Disk, "none"),
            (SandboxFact::Tmpfs, "/dev=67108864 /tmp=16777216"),
            (SandboxFact::DefaultRoute, "none"),
            (SandboxFact::Interfaces, "eth0"),
            (SandboxFact::Devices, "none"),
            (SandboxFact::Exposed, "none"),
            (SandboxFact::Kernel, "6.1.0"),
            (SandboxFact::ControlGroups, "2"),
            (SandboxFact::LetThrough, "none"),
            (SandboxFact::InotifyInstances, "8192"),
        ] {
            report.set(fact, value);
        }
        report
    }

    #[test]
    fn a_node_with_every_protection_is_not_refused() {
        let checks = judge(&good(), &terms(), SandboxGrade::Bare);
        assert_eq!(checks.len(), SandboxFact::ALL.len(), "every fact has a check");
        assert!(checks.iter().all(|check| check.state == CheckState::Holds), "{checks:#?}");
        assert_eq!(refusal(&checks), None);
    }

    #[test]
    fn every_missing_protection_fails_its_own_check() {
        use CheckState::{Advised, Lacking};
        for (fact, value, state) in [
            (SandboxFact::Capabilities, "00000000a80425fb", Lacking),
            (SandboxFact::Bounding, "0000000000000400", Lacking),
            (SandboxFact::Capabilities, "", Lacking),
            (SandboxFact::Seccomp, "0", Lacking),
            (SandboxFact::Memory, "max", Lacking),
            (SandboxFact::Memory, "99999999999", Lacking),
            (SandboxFact::Processes, "max", Lacking),
            (SandboxFact::Root, "writable", Lacking),
            (SandboxFact::Disk, "/data", Lacking),
            (SandboxFact::DefaultRoute, "eth1", Lacking),
            (SandboxFact::Interfaces, "eth0 eth1", Lacking),
            (SandboxFact::Interfaces, "none", Lacking),
            (SandboxFact::Devices, "sda", Lacking),
            (SandboxFact::Exposed, "/proc/kcore", Lacking),
            (SandboxFact::Processors, "max", Advised),
            (SandboxFact::Tmpfs, "/tmp=max", Advised),
            (SandboxFact::NoNewPrivileges, "0", Advised),
            (SandboxFact::Swap, "1073741824", Advised),
            (SandboxFact::RootOutside, "0", Advised),
            (SandboxFact::AppArmor, "unconfined", Advised),
            (SandboxFact::ControlGroups, "1", Advised),
            (SandboxFact::LetThrough, "AF_ALG io_uring", Advised),
            (SandboxFact::InotifyInstances, "128", Advised),
        ] {
            let mut report = good();
            report.set(fact, value);
            let checks = judge(&report, &terms(), SandboxGrade::Bare);
            let odd: Vec<_> = checks.iter().filter(|check| check.state != CheckState::Holds).collect();
            let [check] = odd[..] else { panic!("{fact:?}: {odd:#?}") };
            assert_eq!((check.state, check.found.as_str()), (state, value));
            assert_eq!(refusal(&checks).is_some_and(|why| why.contains(check.item)), state == Lacking);
        }
    }

    #[test]
    fn a_grade_allows_no_more_than_it_says() {
        let refused = |grade, changes: &[(SandboxFact, &str)]| {
            let mut report = good();
            changes.iter().for_each(|(fact, value)| report.set(*fact, value));
            refusal(&judge(&report, &terms(), grade))
        };
        let seven = (SandboxFact::Bounding, "00000000000004eb");
        let writable = [seven, (SandboxFact::Root, "writable"), (SandboxFact::Disk, "/")];
        assert_eq!(refused(SandboxGrade::Writable, &writable), None);
        assert_eq!(refused(SandboxGrade::ReadOnly, &[seven]), None);
        assert!(refused(SandboxGrade::Bare, &[seven]).is_some());
        assert!(refused(SandboxGrade::ReadOnly, &writable).is_some());
        for more in [
            (SandboxFact::Bounding, "00000000a80425fb"),
            (SandboxFact::NoNewPrivileges, "0"),
            (SandboxFact::Disk, "/ /muster-volume"),
        ] {
            let refused = refused(SandboxGrade::Writable, &[writable.as_slice(), &[more]].concat());
            assert!(refused.is_some(), "{more:?}");
        }
        assert!(refused(SandboxGrade::ReadOnly, &[(SandboxFact::NoNewPrivileges, "0")]).is_some());
        let lacking = [bound("/", "none".into()), bound("/", "the trial ended with code 1".into())];
        assert!(lacking.iter().all(|check| check.state == CheckState::Lacking));
        assert_eq!(bound("/", "killed".into()).state, CheckState::Holds);
    }

    #[test]
    fn open_ways_refuse_a_node_only_if_the_challenge_says_so() {
        let mut report = good();
        report.set(SandboxFact::LetThrough, "AF_VSOCK io_uring");
        let refused = |open_kernel_ways| {
            let terms = InspectionTerms { open_kernel_ways, ..terms() };
            refusal(&judge(&report, &terms, SandboxGrade::Bare))
        };
        assert_eq!(refused(OpenKernelWays::Permitted), None);
        let why = refused(OpenKernelWays::Refused);
        assert_eq!(why.as_deref(), Some("ways into the kernel is AF_VSOCK io_uring, not none"));
    }

    #[test]
    fn a_fact_that_cannot_be_seen_does_not_refuse_the_node() {
        let checks = judge(&InspectionReport::default(), &terms(), SandboxGrade::Bare);
        assert!(checks.iter().all(|check| check.state == CheckState::NotSeen));
        assert_eq!(refusal(&checks), None);
    }
}
