//! Attempts at everything that a sandbox forbids, on the machine itself.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::process::{self, Command};
use std::{env, str};

use crate::serve::{answer_config, serve};
use crate::{escaped, fail, text};

/// Paths of the root file system, which an app must not be able to write to if it is read-only.
const ROOT_PLACES: [&str; 9] = [
    "/config.json",
    "/participant",
    "/bomb",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/bomb",
    "/var/bomb",
    "/lib/bomb",
];

/// Files of the kernel, which no app may ever write to. A machine has some of them.
const KERNEL_FILES: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/proc/1/mem",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/cgroup.procs",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/devices/devices.allow",
    "/sys/kernel/uevent_helper",
];

/// The capabilities that an app may have: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID and
/// NET_BIND_SERVICE.
const CAPABILITIES: u64 = 0x4eb;

/// The environment variables that a container may have.
const VARIABLES: [&str; 4] = ["PATH", "HOSTNAME", "HOME", "TERM"];

/// Operations that need privileges, each with its BusyBox command.
const TRICKS: &[&str] = &[
    "arping -c 1 -w 1 -I eth0 10.0.0.1",
    "ping -c 1 -W 1 198.51.100.1",
    "ip link set eth0 promisc on",
    "ip link set eth0 address 02:42:0a:00:00:63",
    "ip address add 10.0.0.99/8 dev eth0",
    "ip route add default dev eth0",
    "ip neigh add 10.0.0.98 lladdr 02:42:0a:00:00:62 dev eth0",
    "ip link add spare type dummy",
    "mount -t tmpfs bomb /tmp",
    "mount -t proc proc /run",
    "mount -o remount,rw /",
    "umount /run",
    "unshare -r true",
    "unshare -n true",
    "chroot / /busybox true",
    "mknod /tmp/disk b 8 0",
    "hostname mallory",
    "renice -n -20 -p 1",
    "sysctl -w net.ipv4.ip_forward=1",
    "reboot -f",
    "dmesg",
];

/// Tries to write to forbidden paths.
pub(crate) fn write_anywhere(arguments: &[String]) -> ! {
    let root = if text(arguments, 0) == "root" { &ROOT_PLACES[..] } else { &[] };
    // A new file beside the kernel's is not the kernel's: with cgroup v1 the directory above the controllers is a
    // memory file system of the container's own.
    let kernel = KERNEL_FILES.iter().map(|file| (file, false));
    for (place, create) in kernel.chain(root.iter().map(|place| (place, true))) {
        let opened = OpenOptions::new().append(true).create(create).open(place);
        if opened.is_ok_and(|mut file| file.write_all(b"\n").is_ok()) {
            escaped(&format!("it wrote to {place}"));
        }
    }
    serve(80, answer_config)
}

/// Checks the app's own rights, devices, secrets and variables.
pub(crate) fn rights(_: &[String]) -> ! {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_else(|error| fail(&error.to_string()));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if !u64::from_str_radix(&field(set), 16).is_ok_and(|held| held & !CAPABILITIES == 0) {
            escaped(&format!("{set} is {}", field(set)));
        }
    }
    for (name, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        if field(name) != wanted {
            escaped(&format!("{name} is {}", field(name)));
        }
    }
    for path in ["/run/secrets", "/var/run/docker.sock", "/dev/sda", "/dev/vda", "/dev/mem", "/dev/kmsg"] {
        if fs::metadata(path).is_ok() {
            escaped(&format!("there is {path}"));
        }
    }
    if let Some((name, value)) = env::vars().find(|(name, _)| !VARIABLES.contains(&name.as_str())) {
        escaped(&format!("it is told {name}={value}"));
    }
    serve(80, answer_config)
}

/// Runs a program that belongs to root and has the setuid bit.
pub(crate) fn setuid(arguments: &[String]) -> ! {
    let program = text(arguments, 0);
    let ran = Command::new(program).arg("whoami").output();
    let ran = ran.unwrap_or_else(|error| fail(&format!("{program}: {error}")));
    let said = String::from_utf8_lossy(&ran.stdout);
    if said.trim() == "0" || said.trim().is_empty() {
        escaped(&format!("it became user {:?}", said.trim()));
    }
    serve(80, answer_config)
}

/// Opens devices, each to read it and to write to it. An error that the device's own driver gave shows that the kernel
/// let the app reach the driver.
pub(crate) fn open_devices(paths: &[String]) -> ! {
    for path in paths {
        for write in [false, true] {
            match OpenOptions::new().read(!write).write(write).open(path) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                Ok(_) => escaped(&format!("it opened {path}")),
                Err(error) => escaped(&format!("{path} gave {error}")),
            }
        }
    }
    serve(80, answer_config)
}

/// Prints the number of the user as whom the program acts.
pub(crate) fn whoami(_: &[String]) -> ! {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    println!("{}", users.split_whitespace().nth(1).unwrap_or_default());
    process::exit(0)
}

/// Tries operations that need privileges, such as raw sockets.
pub(crate) fn busybox_tricks(_: &[String]) -> ! {
    for trick in TRICKS {
        let ran = Command::new("/busybox").args(trick.split(' ')).output();
        let ran = ran.unwrap_or_else(|error| fail(&format!("/busybox: {error}")));
        let said = [ran.stdout, ran.stderr].concat();
        let said = str::from_utf8(&said).unwrap_or_default().trim();
        if said.contains("applet not found") {
            fail(&format!("this BusyBox has no such trick: {trick}"));
        }
        if ran.status.success() {
            escaped(&format!("{trick}: {said}"));
        }
        eprintln!("{trick}: {said}");
    }
    serve(80, answer_config)
}
