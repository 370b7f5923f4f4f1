//! `muster janitor`, the program that an operator starts on each sandbox node.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testbed::{App, Node, Testbed, until};
use tokio::process::Command;

/// The deadline for the clean-up. The janitor looks twice a minute, and removes an image one look after its
/// container.
const TIDIED: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_removes_abandoned_containers_and_stops_at_a_signal() {
    let bed = Testbed::single().await.unwrap();
    let [node] = bed.swarm.nodes() else { panic!("one node") };
    let image = async |owner: &str| {
        let app = App::playing(&["silent"], &Value::String(owner.into()));
        let name = bed.registry.push(&format!("{owner}/app"), &app).await.unwrap();
        // A verifier names an image by its digest. An image with a tag counts as foreign.
        let found = node.docker().inspect_registry_image(&name, None).await.unwrap();
        format!("{}@{}", name.trim_end_matches(":latest"), found.descriptor.digest.unwrap())
    };
    let (ours, foreign) = (image("ours").await, image("foreign").await);
    let forgotten =
        ["muster.verifier=gone", "muster.submission=s", "muster.ttl=1"].map(|label| ["--label", label]);
    let forgotten = container(node, forgotten.as_flattened(), &ours).await;
    let kept = container(node, &["--label", "muster.ttl=1"], &foreign).await;

    let log = tempfile::NamedTempFile::new().unwrap();
    let mut janitor = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["janitor", "--keep", "0", "--engine", &node.endpoint()])
        .env("MUSTER_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log.reopen().unwrap())
        .stderr(log.reopen().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let tidied = until("the container and its image to go", TIDIED, async || {
        let goes = !has(node, "container", &forgotten).await && !has(node, "image", &ours).await;
        goes.then_some(())
    })
    .await;
    let said = || std::fs::read_to_string(log.path()).unwrap();
    assert!(tidied.is_ok(), "{}", said());
    assert!(has(node, "container", &kept).await && has(node, "image", &foreign).await, "{}", said());

    let pid = janitor.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = until("the janitor to end", LIMIT, async || janitor.try_wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}: {}", said());
    bed.stop().await.unwrap();
}

/// Starts a container that does nothing. Returns its id.
async fn container(node: &Node, labels: &[&str], image: &str) -> String {
    let run = ["docker", "--host", &node.endpoint(), "run", "--detach", "--network", "none"];
    node.run(&[&run, labels, &[image]].concat()).await.unwrap().trim().to_owned()
}

async fn has(node: &Node, kind: &str, name: &str) -> bool {
    node.run(&["docker", "--host", &node.endpoint(), kind, "inspect", name]).await.is_ok()
}
