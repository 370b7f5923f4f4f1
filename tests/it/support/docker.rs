//! Docker's command line, against the engine of a testbed's node.

use std::process::Output;
use std::time::Duration;

use testbed::Node;
use tokio::process::Command;
use tokio::time::timeout;

/// The deadline of a command. The first push of a large base compresses it.
const DOCKER: Duration = Duration::from_secs(240);

/// Runs a command to its end, with the classic builder, which each engine has. Returns its standard output.
pub(crate) async fn docker(node: &Node, arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.arg("--host").arg(node.endpoint()).args(arguments).env("DOCKER_BUILDKIT", "0").kill_on_drop(true);
    let Output { status, stdout, stderr } =
        timeout(DOCKER, command.output()).await.expect("docker ends in time").unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(status.success(), "docker {}: {stdout}{stderr}", arguments.join(" "));
    stdout
}
