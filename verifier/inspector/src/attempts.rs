//! Tries the ways into the kernel that ordinary apps do not need, and that exploits begin with. A filter that is active
//! says nothing about what it lets through, so each way is tried.
//!
//! A child process tries them, because a new user namespace needs a process with one thread.

#![expect(
    unsafe_code,
    reason = "the standard library has no such calls, and the inspector has no dependencies"
)]

use std::ffi::{c_int, c_long};
use std::io;
use std::process::{Command, Stdio};

/// The argument by which the program runs as the child.
pub const ARGUMENT: &str = "attempt";

/// The numbers of the system calls.
#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const SOCKET: std::ffi::c_long = 41;
    pub(super) const UNSHARE: std::ffi::c_long = 272;
    pub(super) const KEYCTL: std::ffi::c_long = 250;
    pub(super) const BPF: std::ffi::c_long = 321;
    pub(super) const USERFAULTFD: std::ffi::c_long = 323;
    pub(super) const MKNODAT: std::ffi::c_long = 259;
    pub(super) const IO_URING_SETUP: std::ffi::c_long = 425;
    pub(super) const PTRACE: std::ffi::c_long = 101;
}
#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const SOCKET: std::ffi::c_long = 198;
    pub(super) const UNSHARE: std::ffi::c_long = 97;
    pub(super) const KEYCTL: std::ffi::c_long = 219;
    pub(super) const BPF: std::ffi::c_long = 280;
    pub(super) const USERFAULTFD: std::ffi::c_long = 282;
    pub(super) const MKNODAT: std::ffi::c_long = 33;
    pub(super) const IO_URING_SETUP: std::ffi::c_long = 425;
    pub(super) const PTRACE: std::ffi::c_long = 117;
}

const AF_NETLINK: c_long = 16;
/// The messages of device drivers. Every kernel with a network has this family, and no app needs it.
const NETLINK_KOBJECT_UEVENT: c_long = 15;
const AF_VSOCK: c_long = 40;
const AF_ALG: c_long = 38;
const SOCK_STREAM: c_long = 1;
const SOCK_RAW: c_long = 3;
const SOCK_SEQPACKET: c_long = 5;
const CLONE_NEWUSER: c_long = 0x1000_0000;
const KEYCTL_GET_KEYRING_ID: c_long = 0;
const KEY_SPEC_SESSION_KEYRING: c_long = -3;
const BPF_MAP_CREATE: c_long = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
/// The request by which a process offers itself to its parent.
const PTRACE_TRACEME: c_long = 0;
const AT_FDCWD: c_long = -100;
const CHARACTER_DEVICE: c_long = 0o020_600;
/// The device `/dev/kmsg`, the kernel's log.
const KMSG: c_long = 0x10b;
/// The place for a device node. Every sandbox has it, in memory.
const NODE: &std::ffi::CStr = c"/tmp/.muster-inspector-node";

/// The errors of a way that is closed: `EPERM`, `EACCES`, `ENODEV`, `ENOSPC` (no user namespace is permitted), `EROFS`,
/// `ENOSYS`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EAFNOSUPPORT`.
const CLOSED: [c_int; 9] = [1, 13, 19, 28, 30, 38, 93, 94, 97];

/// The names of the ways, in the order in which they are tried. A new user namespace changes the process, so it is last.
const NAMES: [&str; 10] = [
    "AF_ALG",
    "AF_VSOCK",
    "netlink",
    "io_uring",
    "keyctl",
    "bpf",
    "userfaultfd",
    "mknod",
    "ptrace",
    "user-namespaces",
];

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Returns the names of the ways that are open, or `none`. Returns nothing if they could not be tried.
#[must_use]
pub fn let_through() -> Option<String> {
    let child = Command::new("/proc/self/exe").arg(ARGUMENT).stdin(Stdio::null()).output().ok()?;
    names(&String::from_utf8(child.stdout).ok().filter(|_| child.status.success())?)
}

/// Returns what a child said, if it is `none` or names of ways.
fn names(said: &str) -> Option<String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    let is_known = words.iter().all(|word| NAMES.contains(word)) || words == ["none"];
    (!words.is_empty() && is_known).then(|| words.join(" "))
}

/// Runs as the child: tries each way, and returns the names of those that are open, or `none`.
#[must_use]
pub fn try_all() -> String {
    const ZERO: c_long = 0;
    const ONE: c_long = 1;
    let mut uring = [0_u64; 15];
    let mut map = [0_u32; 16];
    map[..4].copy_from_slice(&[BPF_MAP_TYPE_ARRAY, 4, 4, 1]);
    let length: c_long = 64;
    // SAFETY: the calls get numbers, and pointers to memory of the length that the kernel reads or writes: 120 bytes of
    // `io_uring_params`, 64 bytes of `bpf_attr`, and a text that ends with a zero. What they open ends with this process.
    let open = unsafe {
        [
            is_open(syscall(call::SOCKET, AF_ALG, SOCK_SEQPACKET, ZERO)),
            is_open(syscall(call::SOCKET, AF_VSOCK, SOCK_STREAM, ZERO)),
            is_open(syscall(call::SOCKET, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT)),
            is_open(syscall(call::IO_URING_SETUP, ONE, uring.as_mut_ptr())),
            is_open(syscall(call::KEYCTL, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, ZERO)),
            is_open(syscall(call::BPF, BPF_MAP_CREATE, map.as_ptr(), length)),
            is_open(syscall(call::USERFAULTFD, ZERO)),
            is_open(syscall(call::MKNODAT, AT_FDCWD, NODE.as_ptr(), CHARACTER_DEVICE, KMSG)),
            is_open(syscall(call::PTRACE, PTRACE_TRACEME, ZERO, ZERO, ZERO)),
            is_open(syscall(call::UNSHARE, CLONE_NEWUSER)),
        ]
    };
    let _ = NODE.to_str().map(std::fs::remove_file);
    let open: Vec<&str> =
        NAMES.into_iter().zip(open).filter(|(_, open)| *open).map(|(name, _)| name).collect();
    if open.is_empty() { "none".to_owned() } else { open.join(" ") }
}

/// Returns true if a call that just returned this reached the kernel's code.
fn is_open(returned: c_long) -> bool {
    returned != -1 || !is_refusal(io::Error::last_os_error().raw_os_error())
}

/// Returns true if an error says that a way is closed. Any other error is an answer of the kernel's code.
fn is_refusal(error: Option<c_int>) -> bool {
    error.is_some_and(|error| CLOSED.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_closes_a_way() {
        let (eperm, enosys, einval, enokey) = (1, 38, 22, 126);
        assert!(is_refusal(Some(eperm)) && is_refusal(Some(enosys)));
        assert!(!is_refusal(Some(einval)) && !is_refusal(Some(enokey)));
        assert!(is_open(7));
    }

    #[test]
    fn nothing_but_the_names_of_ways_is_taken_from_a_child() {
        assert_eq!(names("none\n"), Some("none".to_owned()));
        assert_eq!(names("AF_ALG mknod"), Some("AF_ALG mknod".to_owned()));
        assert_eq!(names("running 2 tests"), None);
        assert_eq!(names(""), None);
    }
}
