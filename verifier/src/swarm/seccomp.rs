//! The system calls that an app may make. The profile lists them, and the kernel refuses all others.
//!
//! Services of engines from API 1.44 on carry the profile. Older managers drop it, and their nodes have the engine's own
//! filter, which permits more. The inspector shows on each node which ways into the kernel are open.
//!
//! The list has the calls of ordinary servers: of their runtimes, of shells, databases and process managers. It leaves out
//! the calls that need rights an app never has, those that look into other processes, and those for which exploits ask:
//! `io_uring`, `bpf`, `userfaultfd`, `keyctl`, `ptrace`, `perf_event_open`, new namespaces. Programs for 32-bit x86 are
//! killed, because the kernel's second table of calls would have no such list.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The profile, as JSON that an engine reads.
static PROFILE: LazyLock<String> = LazyLock::new(|| profile().to_string());

/// The profile as the Swarm's API takes it.
pub(super) static ENCODED: LazyLock<String> = LazyLock::new(|| STANDARD.encode(PROFILE.as_bytes()));

/// Returns the profile as a security option of a container.
pub(crate) fn option() -> String {
    format!("seccomp={}", PROFILE.as_str())
}

const FILES: &str = "access cachestat chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat \
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock \
    fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch \
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioctl lchown \
    lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr lstat memfd_create mkdir mkdirat mknod mknodat \
    newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink \
    readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat \
    sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes write writev";

const MEMORY: &str = "brk madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync \
    munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect shmat shmctl shmdt shmget";

const PROCESSES: &str = "arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait \
    futex_waitv futex_wake get_robust_list getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority \
    getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo \
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp \
    set_robust_list set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid \
    setreuid setrlimit setsid setuid sigaltstack tgkill tkill vfork wait4 waitid";

const EVENTS: &str = "alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait \
    epoll_pwait2 epoll_wait eventfd eventfd2 getitimer gettimeofday msgctl msgget msgrcv msgsnd nanosleep poll ppoll pselect6 \
    select semctl semget semop semtimedop setitimer signalfd signalfd4 time timer_create timer_delete timer_getoverrun \
    timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times";

const NETWORK: &str = "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg \
    sendmmsg sendmsg sendto setsockopt shutdown";

const MACHINE: &str = "getrandom sysinfo uname";

/// The flags of `clone` that make namespaces: mount, control group, host name, IPC, user, process and network.
const NAMESPACES: u64 = 0x7e02_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EPROTONOSUPPORT: u32 = 93;

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
/// The only family of netlink that programs ask for without more rights: routes and addresses.
const NETLINK_ROUTE: u64 = 0;
/// The protocols from IP to UDP, with ICMP and TCP between. SCTP, DCCP and their like have larger numbers.
const UDP: u64 = 17;
const ICMP_6: u64 = 58;
const MPTCP: u64 = 262;

fn profile() -> Value {
    let names: Vec<&str> = [FILES, MEMORY, PROCESSES, EVENTS, NETWORK, MACHINE]
        .into_iter()
        .flat_map(str::split_ascii_whitespace)
        .collect();
    let is = |index: u32, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    let at_most = |index: u32, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_LE" });
    let allow = |name: &str, arguments: Vec<Value>| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments });
    let mut calls = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    for family in [AF_INET, AF_INET6] {
        calls.extend(
            [at_most(2, UDP), is(2, ICMP_6), is(2, MPTCP)]
                .map(|protocol| allow("socket", vec![is(0, family), protocol])),
        );
    }
    calls.extend([
        allow("socket", vec![is(0, AF_UNIX)]),
        allow("socket", vec![is(0, AF_NETLINK), is(2, NETLINK_ROUTE)]),
        // By this error `su` knows that there is no audit to write to.
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": EPROTONOSUPPORT,
            "args": [is(0, AF_NETLINK), { "index": 2, "value": NETLINK_ROUTE, "op": "SCMP_CMP_NE" }],
        }),
        allow("socketpair", vec![is(0, AF_UNIX)]),
        allow(
            "clone",
            vec![json!({ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" })],
        ),
        // The flags of `clone3` are in memory, where no filter sees them. Programs then use `clone`.
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
        // The question for the personality, and the ordinary one.
        allow("personality", vec![is(0, 0)]),
        allow("personality", vec![is(0, 0xffff_ffff)]),
    ]);
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_permits_by_name_and_leaves_out_the_ways_of_exploits() {
        let profile = profile();
        let named: Vec<&str> = profile["syscalls"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .filter_map(Value::as_str)
            .collect();
        for needed in ["openat", "execve", "accept4", "epoll_wait", "futex", "setgroups", "io_submit"] {
            assert!(named.contains(&needed), "{needed}");
        }
        for way in [
            "io_uring_setup",
            "bpf",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "ptrace",
            "unshare",
            "setns",
            "mount",
            "perf_event_open",
            "process_vm_readv",
            "open_by_handle_at",
            "modify_ldt",
            "vmsplice",
            "chroot",
        ] {
            assert!(!named.contains(&way), "{way}");
        }
        let plain = profile["syscalls"][0]["names"].as_array().unwrap();
        for bounded in ["socket", "clone", "clone3", "personality", "socketpair"] {
            assert!(!plain.iter().any(|name| name == bounded), "{bounded} has no bound");
        }
    }

    #[test]
    fn a_service_stays_small() {
        // Each task of a service has it, and managers keep all tasks in memory.
        assert!(ENCODED.len() < 7000, "{} bytes", ENCODED.len());
    }
}
