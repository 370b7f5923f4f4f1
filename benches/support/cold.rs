//! Verified submissions a second if no node has their images: each has a layer of 16 MiB that no other has. The comparison is
//! a bare engine that pulls the image, runs, requests and removes the container, with as many at a time.

use std::time::Duration;

use serde_json::json;
use testbed::{App, Layer, Testbed};

use crate::muster::Muster;

const AT_ONCE: [usize; 3] = [1, 4, 8];
/// The images of each measurement.
const IMAGES: usize = 16;
/// The size of each image's own layer, MiB.
const LAYER_MIB: usize = 16;
/// The first argument with which the benchmark calls itself for the bare engine.
pub(crate) const BARE: &str = "bare-cold";

/// The deadline of a measurement.
const JUDGED: Duration = Duration::from_secs(300);

/// Measures and prints the rates.
pub(crate) async fn measure() -> anyhow::Result<()> {
    let cpus = std::thread::available_parallelism()?;
    println!("a second, one node on {cpus} processors, {LAYER_MIB} MiB of each image not on the node:");
    for at_once in AT_ONCE {
        // Each side has a testbed of its own, so that neither finds the other's images.
        let bed = Testbed::single().await?;
        let bare = bare_engine(&bed, at_once).await?;
        bed.stop().await?;
        let bed = Testbed::single().await?;
        let muster = with_muster(&bed, at_once).await?;
        bed.stop().await?;
        println!(
            "{at_once:>3} at once   bare engine {bare:>5.2}   muster {muster:>5.2}   ratio {:.2}",
            muster / bare
        );
    }
    Ok(())
}

async fn bare_engine(bed: &Testbed, at_once: usize) -> anyhow::Result<f64> {
    let images = push(bed, IMAGES, LAYER_MIB).await?;
    let program = std::env::current_exe()?.display().to_string();
    let [node] = bed.swarm.nodes() else { anyhow::bail!("one node") };
    let socket = node.endpoint().replace("unix://", "");
    let at_once = at_once.to_string();
    let arguments = [&program, BARE, &socket, &at_once].into_iter().chain(images.iter().map(String::as_str));
    let said = node.run(&arguments.collect::<Vec<_>>()).await?;
    Ok(said.trim().parse()?)
}

async fn with_muster(bed: &Testbed, at_once: usize) -> anyhow::Result<f64> {
    let muster = Muster::start(bed, &["name", "vote"], &["--slots", &at_once.to_string()]).await?;
    // These make the slots.
    let first = push(bed, at_once, 0).await?;
    for image in &first {
        muster.submit(image, &answer()).await?;
    }
    muster.judged(at_once, JUDGED).await?;
    let images = push(bed, IMAGES, LAYER_MIB).await?;
    for image in &images {
        muster.submit(image, &answer()).await?;
    }
    muster.judged(at_once + IMAGES, JUDGED).await?;
    let stories = muster.stories().await?;
    anyhow::ensure!(stories.len() == at_once + IMAGES, "an attempt was interrupted");
    let cold = &stories[at_once..];
    let submitted = cold.iter().map(|story| story.submitted).min().unwrap_or_default();
    let judged = cold.iter().map(|story| story.judged).max().unwrap_or_default();
    muster.stop().await?;
    Ok(IMAGES as f64 / (judged - submitted).as_secs_f64())
}

/// Pushes images of so many owners, each with a layer of this size that no other has.
async fn push(bed: &Testbed, count: usize, layer_mib: usize) -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for _ in 0..count {
        let owner = uuid::Uuid::new_v4();
        let noise = noise(owner.as_u64_pair().0, layer_mib << 20);
        let app = App::good(&answer()).with_layers([Layer::files(&[("noise", 0o644, &noise)])?]);
        images.push(bed.registry.push(&format!("{}/app:latest", owner.simple()), &app).await?);
    }
    Ok(images)
}

/// Returns bytes that cannot be compressed: Marsaglia's xorshift.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(next).collect()
}

fn answer() -> serde_json::Value {
    json!({ "name": "Ada Lovelace", "vote": "Rust" })
}
