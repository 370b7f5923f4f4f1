//! Failures of nodes.

use anyhow::{Context, Result, ensure};
use domain::submission::InterruptionCode;
use testbed::{App, Layer, Node, Testbed};

use super::scene::{Scene, told};

/// Moves the engine's files to a disk of 200 MiB, which a power cut empties. The node's part in the Swarm stays on
/// the host's own disk: a manager that comes back without its raft log ends at once.
const SMALL_DISK: &str = r#"
mkdir /run/kept && mount --bind "$1" /run/kept && mount --make-private /run/kept && mount -t tmpfs -o size=200m tmpfs "$1" &&
cp -a /run/kept/. "$1" && mount --bind /run/kept/swarm "$1/swarm""#;
/// Fills that disk until about 3 MiB are free.
const FILL: &str = r#"
free=$(df --output=avail -k "$1" | tail -1); fallocate -l $((free - 3072))K "$1/filler"; df -k "$1" | tail -1"#;

pub(super) async fn put_on_a_small_disk(bed: &Testbed, node: &Node) -> Result<()> {
    node.kill().await?;
    node.run(&["sh", "-c", SMALL_DISK, "small", &data(node)?]).await?;
    node.restart().await?;
    bed.swarm.settle().await
}

/// The app's engine is killed and started again, which kills the app.
pub(super) async fn an_engine_that_starts_anew_blames_nobody(scene: &Scene) -> Result<()> {
    told("the engine under the app starts anew", async {
        let id = scene.submit("restarted", |answer| App::playing(&["late", "3"], answer)).await?;
        let (node, _) = scene.running(id).await?;
        node.kill().await?;
        node.restart().await?;
        let (interruptions, passed) = scene.passes(id).await?;
        println!("          from {} to {passed}, interrupted by {interruptions:?}", node.name());
        scene.bed.swarm.settle().await
    })
    .await
}

/// The engine of all relays is killed and started again.
pub(super) async fn a_relay_whose_engine_starts_anew_is_replaced(scene: &Scene) -> Result<()> {
    told("the engine under the relays starts anew", async {
        let id = scene.submit("unheard", |answer| App::playing(&["slow", "2"], answer)).await?;
        scene.running(id).await?;
        let first = &scene.bed.swarm.nodes()[0];
        first.kill().await?;
        first.restart().await?;
        let (interruptions, _) = scene.passes(id).await?;
        println!("          interrupted by {interruptions:?}");
        scene.bed.swarm.settle().await
    })
    .await
}

/// An image does not fit on one of the two nodes.
pub(super) async fn a_full_disk_sends_images_elsewhere(scene: &Scene) -> Result<()> {
    told("a node's disk is full", async {
        let full = &scene.bed.swarm.nodes()[2];
        full.run(&["sh", "-c", FILL, "fill", &data(full)?]).await?;
        let ballast = Layer::files(&[("ballast", 0o644, &vec![0; 8 << 20])])?;
        let mut submitted = Vec::new();
        for number in 0..4 {
            let big = |answer: &_| App::good(answer).with_layers([ballast.clone()]);
            submitted.push(scene.submit(&format!("big{number}"), big).await?);
        }
        let mut failed = 0;
        for id in submitted {
            let (interruptions, passed) = scene.passes(id).await?;
            let ours = [InterruptionCode::PullFailed, InterruptionCode::NodeIll];
            ensure!(interruptions.iter().all(|code| ours.contains(code)), "{interruptions:?}");
            ensure!(passed != full.name(), "it fits on {passed}");
            failed += interruptions.len();
        }
        ensure!(failed > 0, "none was sent to {}", full.name());
        full.run(&["rm", &format!("{}/filler", data(full)?)]).await?;
        Ok(())
    })
    .await
}

/// The power of a node is cut while the node runs an app.
pub(super) async fn a_node_that_vanishes_is_left_behind(scene: &Scene) -> Result<()> {
    told("a node vanishes", async {
        let id = scene.submit("vanished", |answer| App::playing(&["late", "3"], answer)).await?;
        let (node, _) = scene.running(id).await?;
        node.power_off();
        let (interruptions, passed) = scene.passes(id).await?;
        println!("          from {} to {passed}, interrupted by {interruptions:?}", node.name());
        ensure!(passed != node.name(), "it went on at {passed}");
        node.power_on().await?;
        scene.bed.swarm.settle().await
    })
    .await
}

/// Returns the directory of the engine's files.
fn data(node: &Node) -> Result<String> {
    let socket = node.endpoint();
    let directory = socket.trim_start_matches("unix://").strip_suffix("/docker.sock");
    Ok(format!("{}/data", directory.context("a testbed's socket")?))
}
