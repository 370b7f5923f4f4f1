//! Verified submissions a second, beside the bare engine that runs, asks and
//! removes the same image, as many at a time, and beside a bare Swarm that does
//! so with a service for each; on one node and on three. And where the time of
//! one verification goes, by what the log says of it.

#[path = "support/muster.rs"]
mod muster;
#[path = "support/swarm.rs"]
mod swarm;

use std::time::Duration;

use futures::future::try_join_all;
use serde_json::json;
use testbed::{App, Testbed, bare};

use crate::muster::{Muster, Story, median};

/// Shorter than a command on a host of the testbed may take.
const LASTING: Duration = Duration::from_secs(12);
/// Until as much is removed in a Swarm as is made.
const FULL: Duration = Duration::from_secs(6);
/// Until every slot is there that will be.
const WARM: Duration = Duration::from_secs(15);
const AT_ONCE: [usize; 4] = [1, 4, 8, 16];
/// Submissions that meet an empty queue.
const ALONE: usize = 12;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // The bare engine's containers are reached from its own network only, so
    // that half of the measurement runs there: as this program, called again.
    if let [_, mode, socket, image, at_once, ..] = &arguments[..]
        && mode == "bare"
    {
        println!("{}", bare::run_request_remove(socket, image, at_once.parse()?, LASTING).await?);
        return Ok(());
    }
    // `cargo bench --bench verifying -- one` or `three` measures one half, and
    // numbers beside it, how many at once.
    let named = |half: &str| arguments.iter().any(|argument| argument == half);
    let levels: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let levels = if levels.is_empty() { AT_ONCE.to_vec() } else { levels };
    if named("one") || !named("three") {
        on(Testbed::single().await?, &levels).await?;
    }
    if named("three") || !named("one") {
        on(Testbed::three().await?, &levels).await?;
    }
    Ok(())
}

async fn on(bed: Testbed, levels: &[usize]) -> anyhow::Result<()> {
    let cpus = std::thread::available_parallelism()?;
    println!("{} node(s) on {cpus} processors, which all of this shares", bed.swarm.nodes().len());
    println!("a second, image on the nodes:");
    let answer = json!({ "name": "Ada Lovelace", "vote": "Rust" });
    let app = App::good(&answer);
    let mut alone = None;
    for &at_once in levels {
        let images = owners(&bed, &app, at_once).await?;
        let bare = bare_engines(&bed, &images[0], at_once).await?;
        let swarm = swarm::run_request_remove(&bed, &images[0], at_once, FULL, LASTING).await?;
        let slots = at_once.div_ceil(bed.swarm.nodes().len());
        let muster = Muster::start(&bed, &["name", "vote"], &["--slots", &slots.to_string()]).await?;
        let warm = (bare * WARM.as_secs_f64()) as usize + at_once;
        let count = (bare * LASTING.as_secs_f64()) as usize + at_once;
        for n in 0..warm + count {
            muster.submit(&images[n % images.len()], &answer).await?;
        }
        muster.judged(warm + count, Duration::from_secs(240)).await?;
        let stories = muster.stories().await?;
        // From when all slots are warm until the queue runs dry.
        let steady = &stories[warm..stories.len() - at_once];
        let took = steady[steady.len() - 1].judged - stories[warm - 1].judged;
        let rate = steady.len() as f64 / took.as_secs_f64();
        println!(
            "{at_once:>3} at once   bare engine {bare:>5.2}   bare Swarm {swarm:>5.2}   muster {rate:>5.2}   ratio {:.2}   {}",
            rate / bare,
            spans(steady)
        );
        if at_once == 1 {
            for n in 0..ALONE {
                muster.submit(&images[0], &answer).await?;
                muster.judged(warm + count + n + 1, Duration::from_secs(60)).await?;
            }
            let stories = muster.stories().await?;
            let last = &stories[stories.len() - ALONE..];
            alone = Some(
                median(last.iter().map(|story| story.judged - story.submitted)).as_secs_f64() - 1.0 / bare,
            );
        }
        muster.stop().await?;
    }
    if let Some(longer) = alone {
        println!("alone, from submitted to verdict: {longer:.2} s longer than the bare engine takes");
    }
    bed.stop().await
}

/// One image for each owner, on every node: an owner has one submission under
/// way at a time.
async fn owners(bed: &Testbed, app: &App, count: usize) -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for number in 0..count {
        let image = bed.registry.push(&format!("owner{number}/app:latest"), app).await?;
        for node in bed.swarm.nodes() {
            node.run(&["docker", "--host", &node.endpoint(), "pull", "--quiet", &image]).await?;
        }
        images.push(image);
    }
    Ok(images)
}

/// So many at once on all nodes together; how many a second.
async fn bare_engines(bed: &Testbed, image: &str, at_once: usize) -> anyhow::Result<f64> {
    let program = std::env::current_exe()?.display().to_string();
    let nodes = bed.swarm.nodes();
    let rates = try_join_all(nodes.iter().enumerate().map(async |(index, node)| {
        let share = (at_once + nodes.len() - 1 - index) / nodes.len();
        if share == 0 {
            return anyhow::Ok(0.0);
        }
        let socket = node.endpoint().replace("unix://", "");
        let said = node.run(&[&program, "bare", &socket, image, &share.to_string()]).await?;
        Ok(said.trim().parse::<f64>()?)
    }));
    Ok(rates.await?.into_iter().sum())
}

/// What the steps took, half of the time, in milliseconds.
fn spans(stories: &[Story]) -> String {
    let of = |name: &str, step: &dyn Fn(&Story) -> Option<Duration>| {
        format!("{name} {}", median(stories.iter().filter_map(step)).as_millis())
    };
    [
        of("claimed to image there", &|story| story.pulled.checked_sub(story.claimed)),
        of("to running", &|story| story.started.checked_sub(story.pulled)),
        of("to verdict", &|story| story.judged.checked_sub(story.started)),
        of("all", &|story| story.judged.checked_sub(story.claimed)),
    ]
    .join(", ")
        + " ms"
}
