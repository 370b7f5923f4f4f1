//! `make run`, on a machine that has a Docker engine with a Swarm already.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testbed::{Node, Testbed, until};

/// The deadline for the sample submission to pass, from the start of the command.
const UP: Duration = Duration::from_secs(180);
const DOWN: Duration = Duration::from_secs(60);

/// The deadline for processes that are being started to have their own programs.
const SETTLED: Duration = Duration::from_secs(10);

/// Starts the command in the background, and prints its process number: START FOLDER STATE PROGRAM OUTPUT.
const START: &str = r#"
cd "$1"
MUSTER_RUN_STATE=$2 MUSTER_RUN_PROGRAM=$3 setsid scripts/run >"$4" 2>&1 </dev/null &
echo $!
"#;

/// Prints everything of the machine's own engine and network that another engine could change.
const MACHINE: &str = r#"
docker --host "$1" info --format '{{.Swarm.NodeID}} {{.Swarm.LocalNodeState}} {{.Images}} {{.Containers}}'
docker --host "$1" network ls --no-trunc --format '{{.ID}} {{.Name}}'
docker --host "$1" image ls --no-trunc --quiet
ip -oneline link | cut -d : -f 2
iptables-save | sed '/^#/d; s/\[.*\]//'
pgrep --count dockerd
"#;

#[tokio::test(flavor = "multi_thread")]
async fn make_run_gives_the_writable_grade_and_leaves_the_machines_own_engine_as_it_was() {
    let bed = Testbed::single().await.unwrap();
    let [node] = bed.swarm.nodes() else { panic!("one node") };
    // A new Swarm makes its networks after it answers.
    let before = until("the machine's own Swarm to have its networks", DOWN, async || {
        let (first, second) = (machine(node).await, machine(node).await);
        (first == second && first.contains("docker_gwbridge")).then_some(first)
    });
    let before = before.await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let output = state.path().join("output");
    let said = || std::fs::read_to_string(&output).unwrap();

    let paths = [
        Path::new(env!("CARGO_MANIFEST_DIR")),
        state.path(),
        Path::new(env!("CARGO_BIN_EXE_muster")),
        &output,
    ];
    // The command makes a token of its own if the caller has none.
    let mut start = vec!["env", "--unset=MUSTER_TOKEN", "sh", "-c", START, "start"];
    start.extend(paths.map(|path| path.to_str().unwrap()));
    let pid = node.run(&start).await.unwrap();
    let is_up = until("the command to be up", UP, async || {
        (said().contains("Ctrl-C stops") || said().contains("run: stopped")).then_some(())
    });
    assert!(is_up.await.is_ok() && said().contains("\npassed\n"), "{}", said());
    assert!(!said().contains("cannot run your images"), "{}", said());
    let file = state.path().join("token");
    let token = std::fs::read_to_string(&file).unwrap();
    let token = token.trim();
    assert!(token.len() >= 32 && said().contains(token) && said().contains("/organise"), "{}", said());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = format!("Authorization: Bearer {token}");
    let ask =
        ["curl", "--silent", "--noproxy", "*", "--header", &token, "http://127.0.0.1:8080/api/v1/sandbox"];
    let sandbox = node.run(&ask).await.unwrap();
    assert!(sandbox.contains(r#""grade":"writable""#), "{sandbox}");
    // The engine has the image from the gate alone.
    let engine = format!("unix://{}/docker.sock", state.path().display());
    let names =
        ["docker", "--host", &engine, "image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}"];
    let names = node.run(&names).await.unwrap();
    assert!(names.contains("10.0.2.2:5443/127.0.0.1_5000/ada/birthday-app@sha256:"), "{names}");
    unchanged(node, &before, 2).await;

    node.run(&["kill", "-TERM", pid.trim()]).await.unwrap();
    let is_down = until("the command to end", DOWN, async || said().contains("run: stopped").then_some(()));
    assert!(is_down.await.is_ok(), "{}", said());
    unchanged(node, &before, 1).await;
    bed.stop().await.unwrap();
}

/// Waits until the machine is as before, but for the number of engines. An engine that starts a child counts twice for a moment,
/// until the child's own program runs.
async fn unchanged(node: &Node, before: &str, engines: u32) {
    let (expected, mut now) = (before.replace("\n1\n", &format!("\n{engines}\n")), String::new());
    let settled = until("the machine to be as it was", SETTLED, async || {
        now = machine(node).await;
        (now == expected).then_some(())
    });
    let settled = settled.await;
    assert!(settled.is_ok(), "with {engines} engines:\n{now}\ninstead of:\n{expected}");
}

async fn machine(node: &Node) -> String {
    node.run(&["sh", "-c", MACHINE, "machine", &node.endpoint()]).await.unwrap()
}
