//! Attacks that use up the machine's processes, memory, disk, logs and processors if the sandbox allows it.

use serde_json::{Value, json};
use testbed::{App, Layer};

use super::attack::Attack;
use super::attack::Deserves::{Fail, Pass};

/// The amount with which an app has escaped. It is a little more than the challenge allows in each writable
/// directory.
const TOO_MUCH_MIB: &str = "20";

pub(crate) fn all() -> Vec<Attack> {
    let volume =
        App::playing(&["fill", TOO_MUCH_MIB, "/data"], &Value::Null).with("Volumes", json!({ "/data": {} }));
    let thousandfold = App::playing(&["page-cache", "/zeros"], &Value::Null)
        .with_layers([Layer::zeros("zeros", 64).unwrap()]);
    vec![
        Attack::playing("fork-bomb", &["fork-bomb"], Fail("nothing_on_port", "80")),
        Attack::playing("cpu-burn", &["cpu-burn"], Fail("nothing_on_port", "80")),
        Attack::playing("memory-bomb", &["memory-bomb"], Fail("out_of_memory", "32 MiB")),
        Attack::playing(
            "shared-memory-bomb",
            &["fill", "200", "/dev/shm", "/dev", "/tmp"],
            Fail("out_of_memory", "32 MiB"),
        ),
        Attack::playing("many-files", &["many-files", "/tmp"], Fail("out_of_memory", "32 MiB")),
        Attack::playing("fill-tmp", &["fill", TOO_MUCH_MIB, "/tmp"], Pass),
        Attack::new("fill-volume", volume, Pass),
        Attack::playing("write-anywhere", &["write-anywhere"], Pass),
        Attack::playing("log-flood", &["log-flood"], Pass),
        // The app reads a layer that expands a thousandfold.
        Attack::new("thousandfold-layer", thousandfold, Pass),
    ]
}
