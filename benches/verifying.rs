//! Verified submissions a second, on one node and on three. The comparisons are a bare engine, which runs,
//! requests and removes the same image with as many containers at a time, and a bare Swarm, which does the
//! same with services. Then the time of each step of a verification, from the log. Then the same with images that the node does
//! not have.

#[path = "support/cold.rs"]
mod cold;
#[path = "support/muster.rs"]
mod muster;
#[path = "support/swarm.rs"]
mod swarm;

use std::time::Duration;

use futures::future::try_join_all;
use serde_json::json;
use testbed::{App, Testbed, bare};

use crate::muster::{Muster, Story, median};

/// The time of a bare measurement. It is shorter than the deadline of a command on a testbed's host.
const LASTING: Duration = Duration::from_secs(12);
/// The time until a Swarm removes services at the rate at which they are created.
const FULL: Duration = Duration::from_secs(6);
/// The time until every slot exists.
const WARM: Duration = Duration::from_secs(15);
const AT_ONCE: [usize; 4] = [1, 4, 8, 16];
/// The number of submissions that find an empty queue.
const ALONE: usize = 12;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // Only the network namespace of an engine reaches its bare containers. Therefore this program calls
    // itself there for that part of the measurement.
    if let [_, mode, socket, image, at_once, ..] = &arguments[..]
        && mode == "bare"
    {
        println!("{}", bare::run_request_remove(socket, image, at_once.parse()?, LASTING).await?);
        return Ok(());
    }
    if let [_, mode, socket, at_once, images @ ..] = &arguments[..]
        && mode == cold::BARE
    {
        println!("{}", bare::pull_run_request_remove(socket, images, at_once.parse()?).await?);
        return Ok(());
    }
    // `cargo bench --bench verifying -- one`, `three` or `cold` measures one part only. Numbers after it replace
    // the numbers of containers at a time.
    let named = |half: &str| arguments.iter().any(|argument| argument == half);
    let levels: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let levels = if levels.is_empty() { AT_ONCE.to_vec() } else { levels };
    let all = !["one", "three", "cold"].into_iter().any(named);
    if all || named("one") {
        on(Testbed::single().await?, &levels).await?;
    }
    if all || named("three") {
        on(Testbed::three().await?, &levels).await?;
    }
    if all || named("cold") {
        cold::measure().await?;
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
        // The steady part begins when all slots are warm and ends when the queue is nearly empty.
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

/// Pushes one image for each owner, because an owner has only one submission under way. Pulls each image on
/// every node.
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

/// Runs bare engines with `at_once` containers on all nodes together. Returns the number of runs in a
/// second.
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

/// Formats the median time of each step, in milliseconds.
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
