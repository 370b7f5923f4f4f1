//! Gathers the facts from the kernel's files. A file that cannot be read leaves its
//! facts out of the report, and the verifier says which are missing.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::attempts;
use crate::mounts::{self, MountPoint};
use crate::report::{InspectionReport, SandboxFact};

/// The number of bytes that are read of one file. The kernel's files are smaller.
const FILE_MAX: u64 = 64 * 1024;

/// From this number on a limit means "no limit" in control groups of version 1.
const NO_LIMIT: u64 = 1 << 60;

/// The names that every container has in /dev.
const DEVICES: [&str; 15] = [
    "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
    "stdout", "tty", "urandom",
];

/// Paths that show settings of the node. Engines hide them under empty mounts.
const HIDDEN: [&str; 7] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/acpi",
    "/sys/firmware",
];

/// Paths that change settings of the node.
const READ_ONLY: [&str; 3] = ["/proc/sys", "/proc/sysrq-trigger", "/sys"];

/// A mount under these paths hides files of the node, and cannot grow.
const KERNELS_OWN: [&str; 2] = ["/proc/", "/sys/"];

/// Returns all facts that can be seen from this container.
#[must_use]
pub fn report() -> InspectionReport {
    let mut report = InspectionReport::default();
    if let Some(status) = read("/proc/self/status") {
        report_process(&status, &mut report);
    }
    let profile = read("/proc/self/attr/apparmor/current").or_else(|| read("/proc/self/attr/current"));
    report.set(SandboxFact::AppArmor, profile.as_deref().map_or("none", str::trim));
    if let Some(map) = read("/proc/self/uid_map")
        && let Some(outside) = map.split_ascii_whitespace().nth(1)
    {
        report.set(SandboxFact::RootOutside, outside);
    }
    report_limits(&mut report);
    if let Some(mountinfo) = read("/proc/self/mountinfo") {
        report_files(&mounts::parse(&mountinfo), &mut report);
    }
    report_network(&mut report);
    report_devices(&mut report);
    if let Some(open) = attempts::let_through() {
        report.set(SandboxFact::LetThrough, &open);
    }
    if let Some(release) = read("/proc/sys/kernel/osrelease") {
        report.set(SandboxFact::Kernel, release.trim());
    }
    if let Some(instances) = read("/proc/sys/fs/inotify/max_user_instances") {
        report.set(SandboxFact::InotifyInstances, instances.trim());
    }
    report
}

fn report_process(status: &str, report: &mut InspectionReport) {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let set = |name: &str| u64::from_str_radix(line(name)?, 16).ok();
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].map(set);
    if let [Some(inheritable), Some(permitted), Some(effective), Some(ambient)] = sets {
        let any = inheritable | permitted | effective | ambient;
        report.set(SandboxFact::Capabilities, &format!("{any:016x}"));
    }
    if let Some(bounding) = set("CapBnd:") {
        report.set(SandboxFact::Bounding, &format!("{bounding:016x}"));
    }
    for (fact, name) in [(SandboxFact::NoNewPrivileges, "NoNewPrivs:"), (SandboxFact::Seccomp, "Seccomp:")] {
        if let Some(value) = line(name) {
            report.set(fact, value);
        }
    }
}

/// Reports the limits of the container's control group. It is mounted at the path
/// where a host has the root group.
fn report_limits(report: &mut InspectionReport) {
    const ROOT: &str = "/sys/fs/cgroup";
    let number = |path: &str| limit(&read(&format!("{ROOT}/{path}"))?);
    let unified = Path::new(ROOT).join("cgroup.controllers").exists();
    let memory = number(if unified { "memory.max" } else { "memory/memory.limit_in_bytes" });
    let swap = if unified {
        number("memory.swap.max")
    } else {
        let both = number("memory/memory.memsw.limit_in_bytes");
        both.zip(memory).map(|(both, memory)| match both {
            u64::MAX => both,
            both => both.saturating_sub(memory),
        })
    };
    let processors = if unified {
        read(&format!("{ROOT}/cpu.max")).and_then(|both| {
            let (quota, period) = both.split_once(' ')?;
            share(limit(quota)?, limit(period)?)
        })
    } else {
        let quota = number("cpu/cpu.cfs_quota_us").or_else(|| number("cpu,cpuacct/cpu.cfs_quota_us"));
        let period = number("cpu/cpu.cfs_period_us").or_else(|| number("cpu,cpuacct/cpu.cfs_period_us"));
        quota.zip(period).and_then(|(quota, period)| share(quota, period))
    };
    let processes = number(if unified { "pids.max" } else { "pids/pids.max" });
    // A limit beyond the node's swap means nothing, and without a limit the node's
    // swap is the limit.
    let swap = match (swap, node_swap()) {
        (Some(swap), Some(all)) => Some(swap.min(all)),
        (swap, all) => swap.or(all),
    };
    for (fact, value) in [
        (SandboxFact::Memory, memory),
        (SandboxFact::Swap, swap),
        (SandboxFact::Processes, processes),
        (SandboxFact::Processors, processors),
    ] {
        match value {
            Some(u64::MAX) => report.set(fact, "max"),
            Some(value) => report.set(fact, &value.to_string()),
            None => {}
        }
    }
    report.set(SandboxFact::ControlGroups, if unified { "2" } else { "1" });
}

/// Parses a limit. `u64::MAX` means that there is none.
fn limit(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(u64::MAX),
        number => number.parse().ok().map(|number| if number >= NO_LIMIT { u64::MAX } else { number }),
    }
}

/// Returns a share of the processors, in thousandths of one.
fn share(quota: u64, period: u64) -> Option<u64> {
    if quota == u64::MAX { Some(quota) } else { quota.checked_mul(1000)?.checked_div(period) }
}

/// Returns the swap of the node, in bytes.
fn node_swap() -> Option<u64> {
    let memory = read("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("SwapTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn report_files(mounts: &[MountPoint<'_>], report: &mut InspectionReport) {
    // Tried by writing, because mount options do not prove that writing fails.
    let path = "/.muster-inspector";
    let writable = File::create(path).is_ok();
    // If no file was created, there is none to remove.
    let _ = fs::remove_file(path);
    report.set(SandboxFact::Root, if writable { "writable" } else { "read-only" });

    let of_the_kernel = ["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue"];
    let written = mounts.iter().filter(|mount| !mount.read_only && !of_the_kernel.contains(&mount.kind));
    let (memory, disk): (Vec<_>, Vec<_>) = written.partition(|mount| mount.kind == "tmpfs");
    let disk: Vec<_> = disk.iter().map(|mount| mount.at).filter(|at| *at != "/" || writable).collect();
    report.set(SandboxFact::Disk, &or_none(&disk));
    let memory = memory.iter().filter(|mount| !KERNELS_OWN.iter().any(|at| mount.at.starts_with(at)));
    let memory: Vec<_> = memory
        .map(|mount| match mount.size() {
            Some(size) => format!("{}={size}", mount.at),
            None => format!("{}=max", mount.at),
        })
        .collect();
    report.set(SandboxFact::Tmpfs, &memory.join(" "));

    let is_bare = |path: &&str| !mounts.iter().any(|mount| mount.at == *path) && has_content(path);
    let can_write = |path: &&str| {
        let mount = mounts.iter().find(|mount| mount.at == *path);
        Path::new(path).exists() && mount.is_none_or(|mount| !mount.read_only)
    };
    let exposed: Vec<_> = HIDDEN
        .into_iter()
        .filter(|path| is_bare(path))
        .chain(READ_ONLY.into_iter().filter(|path| can_write(path)))
        .collect();
    report.set(SandboxFact::Exposed, &or_none(&exposed));
}

fn has_content(path: &str) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => {
            let mut byte = [0];
            File::open(path).and_then(|mut file| file.read(&mut byte)).is_ok_and(|size| size > 0)
        }
    }
}

fn report_network(report: &mut InspectionReport) {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name != "lo").collect();
    names.sort();
    report.set(SandboxFact::Interfaces, &or_none(&names));
    let Some(routes) = read("/proc/net/route") else { return };
    // Without IPv6 there is no such file, and no such route.
    let routes_6 = read("/proc/net/ipv6_route").unwrap_or_default();
    let mut through: Vec<_> = routes.lines().skip(1).filter_map(default_4).collect();
    through.extend(routes_6.lines().filter_map(default_6));
    report.set(SandboxFact::DefaultRoute, &or_none(&through));
}

/// Returns the interface of an IPv4 default route. The line is `eth0 00000000
/// 0100000A 0003 0 0 0 00000000 …`: interface, destination, gateway, and five
/// numbers, the last of which is the mask.
fn default_4(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let interface = words.next()?;
    let is_zero = |word: &str| word.bytes().all(|digit| digit == b'0');
    (is_zero(words.next()?) && is_zero(words.nth(5)?)).then_some(interface)
}

/// Returns the interface of an IPv6 default route. The line is `<destination>
/// <length> … <interface>`. A default route through `lo` is the kernel's own: it
/// refuses packets that have no other route.
fn default_6(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let zero = words.next()?.bytes().all(|digit| digit == b'0') && words.next()? == "00";
    words.last().filter(|interface| zero && *interface != "lo")
}

fn report_devices(report: &mut InspectionReport) {
    let Ok(entries) = fs::read_dir("/dev") else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> =
        names.filter(|name| name != "zero" && !DEVICES.contains(&name.as_str())).collect();
    names.sort();
    report.set(SandboxFact::Devices, &or_none(&names));
}

fn or_none<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capabilities_and_filters_of_a_process_are_read() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000400\n\
                      CapEff:\t0000000000000001\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
                      NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let mut report = InspectionReport::default();
        report_process(status, &mut report);
        assert_eq!(report.get(SandboxFact::Capabilities), Some("0000000000000401"));
        assert_eq!(report.get(SandboxFact::Bounding), Some("00000000a80425fb"));
        assert_eq!(report.get(SandboxFact::NoNewPrivileges), Some("1"));
        assert_eq!(report.get(SandboxFact::Seccomp), Some("2"));
    }

    #[test]
    fn each_form_of_no_limit_is_recognised() {
        for none in ["max\n", "-1\n", "9223372036854771712\n"] {
            assert_eq!(limit(none), Some(u64::MAX), "{none}");
        }
        assert_eq!(limit("67108864\n"), Some(64 << 20));
        assert_eq!(limit(""), None);
        assert_eq!(share(50_000, 100_000), Some(500));
        assert_eq!(share(u64::MAX, 100_000), Some(u64::MAX));
        assert_eq!(share(1, 0), None);
    }

    #[test]
    fn only_a_default_route_leads_out() {
        assert_eq!(default_4("eth1\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0"), Some("eth1"));
        assert_eq!(default_4("eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"), None);
        let all = "0".repeat(32);
        let line = |interface| format!("{all} 00 {all} 00 {all} 00000400 1 0 00000001 {interface}");
        assert_eq!(default_6(&line("eth0")), Some("eth0"));
        assert_eq!(default_6(&line("lo")), None);
    }

    #[test]
    fn this_process_can_be_reported_on() {
        let report = report();
        for fact in [
            SandboxFact::Capabilities,
            SandboxFact::Seccomp,
            SandboxFact::Root,
            SandboxFact::DefaultRoute,
            SandboxFact::Kernel,
            SandboxFact::InotifyInstances,
        ] {
            assert!(report.get(fact).is_some(), "{fact:?}: {report}");
        }
    }
}
