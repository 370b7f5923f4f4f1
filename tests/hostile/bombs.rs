//! Attacks that use up the machine's processes, memory, disk, logs and processors if the sandbox allows it.

use std::path::Path;

use domain::sandbox::SandboxGrade;
use serde_json::{Value, json};
use testbed::{App, Layer};

use super::attack::Attack;
use super::attack::Deserves::{Fail, FailEither, Pass};

/// The amount with which an app has escaped from a place in memory. It is a little more than the challenge
/// allows in each writable directory.
const TOO_MUCH_MIB: &str = "20";

/// The amount with which an app has escaped from a writable root file system: more than its memory.
const BEYOND_MEMORY_MIB: &str = "100";

/// The end of an app that uses too much memory.
const OUT_OF_MEMORY: super::attack::Deserves = Fail("out_of_memory", "32 MiB");

/// The end of an app that fills its memory with the kernel's records of files. The kernel frees and makes them again for
/// seconds before it kills the app, so on a slow machine the challenge's patience may end first.
const OUT_OF_FILES: super::attack::Deserves =
    FailEither([("out_of_memory", "32 MiB"), ("nothing_on_port", "80")]);

pub(crate) fn all(grade: SandboxGrade) -> Vec<Attack> {
    let thousandfold = App::playing(&["page-cache", "/zeros"], &Value::Null)
        .with_layers([Layer::zeros("zeros", 64).unwrap()]);
    let mut attacks = vec![
        Attack::playing("fork-bomb", &["fork-bomb"], Fail("nothing_on_port", "80")),
        Attack::playing("cpu-burn", &["cpu-burn"], Fail("nothing_on_port", "80")),
        Attack::playing("memory-bomb", &["memory-bomb"], OUT_OF_MEMORY),
        Attack::playing("shared-memory-bomb", &["fill", "200", "/dev/shm", "/dev", "/tmp"], OUT_OF_MEMORY),
        Attack::playing("many-files", &["many-files", "/tmp"], OUT_OF_FILES),
        Attack::playing("log-flood", &["log-flood"], Pass),
        // The app reads a layer that expands a thousandfold.
        Attack::new("thousandfold-layer", thousandfold, Pass),
    ];
    attacks.extend(match grade {
        SandboxGrade::Writable => of_the_root(),
        SandboxGrade::ReadOnly | SandboxGrade::Bare => of_places_in_memory(),
    });
    attacks
}

/// Attacks on a node whose root file system is read-only.
fn of_places_in_memory() -> Vec<Attack> {
    let volume =
        App::playing(&["fill", TOO_MUCH_MIB, "/data"], &Value::Null).with("Volumes", json!({ "/data": {} }));
    vec![
        Attack::playing("fill-tmp", &["fill", TOO_MUCH_MIB, "/tmp"], Pass),
        Attack::new("fill-volume", volume, Pass),
        Attack::playing("write-anywhere", &["write-anywhere", "root"], Pass),
    ]
}

/// Attacks on the disk of a node whose root file system is writable.
fn of_the_root() -> Vec<Attack> {
    let fill =
        |name, directory: &str| Attack::playing(name, &["fill", BEYOND_MEMORY_MIB, directory], OUT_OF_MEMORY);
    let in_volume = |name, mode: &[&str], deserves| {
        let app = App::playing(mode, &Value::Null).with("Volumes", json!({ "/data": {} }));
        Attack::new(name, app, deserves)
    };
    let mut attacks = vec![
        fill("fill-root", "/"),
        fill("fill-tmp", "/tmp"),
        fill("fill-etc", "/etc"),
        in_volume("fill-volume", &["fill", BEYOND_MEMORY_MIB, "/data"], OUT_OF_MEMORY),
        in_volume("many-files-in-volume", &["many-files", "/data"], OUT_OF_FILES),
        Attack::playing("many-files-in-root", &["many-files", "/"], OUT_OF_FILES),
        Attack::playing("sparse-file", &["sparse", "/"], OUT_OF_MEMORY),
        in_volume("sparse-file-in-volume", &["sparse", "/data"], OUT_OF_MEMORY),
        Attack::playing("fill-hosts", &["append", BEYOND_MEMORY_MIB, "/etc/hosts"], OUT_OF_MEMORY),
        Attack::playing("write-to-the-kernel", &["write-anywhere", "kernel"], Pass),
    ];
    // With cgroup v1 the directory above the controllers is a memory file system of the container's own.
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        attacks.push(fill("fill-above-the-controllers", "/sys/fs/cgroup"));
    }
    attacks
}
