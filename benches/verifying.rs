//! Verified submissions a second, beside the bare engine that runs, asks and
//! removes the same image, as many at a time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{App, Testbed, bare, until};

/// Shorter than a command on a host of the testbed may take.
const LASTING: Duration = Duration::from_secs(12);
const AT_ONCE: [usize; 4] = [1, 4, 8, 16];
const CHALLENGE: &str = include_str!("../tests/it/support/challenge.toml");

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The bare engine's containers are reached from its own network only, so
    // that half of the measurement runs there: as this program, called again.
    if let [_, mode, socket, image, at_once, ..] = &std::env::args().collect::<Vec<_>>()[..]
        && mode == "bare"
    {
        println!("{}", bare::run_request_remove(socket, image, at_once.parse()?, LASTING).await?);
        return Ok(());
    }
    let bed = Testbed::single().await?;
    let answer = json!({ "name": "Ada Lovelace", "vote": "Rust" });
    let program = std::env::current_exe()?;
    println!("verified submissions a second, one node, image on the node, {LASTING:?} each");
    for at_once in AT_ONCE {
        let image = bed.registry.push("bare/app:latest", &App::good(&answer)).await?;
        let node = &bed.swarm.nodes()[0];
        let socket = node.endpoint().replace("unix://", "");
        node.run(&["docker", "--host", &node.endpoint(), "pull", "--quiet", &image]).await?;
        let program = program.display().to_string();
        let bare: f64 =
            node.run(&[&program, "bare", &socket, &image, &at_once.to_string()]).await?.trim().parse()?;
        let muster =
            muster(&bed, &answer, at_once, (bare * LASTING.as_secs_f64()) as usize + at_once).await?;
        println!(
            "{at_once:>3} at once   bare engine {bare:>5.2}   muster {muster:>5.2}   ratio {:.2}",
            muster / bare
        );
    }
    bed.stop().await
}

/// Submits `count` entries of as many owners and waits for all verdicts.
async fn muster(bed: &Testbed, answer: &Value, at_once: usize, count: usize) -> anyhow::Result<f64> {
    let files = tempfile::tempdir()?;
    let rules = CHALLENGE
        .replace("REGISTRY", bed.registry.address())
        .replace(r#""name", "twitter", "location", "repo", "vote""#, r#""name", "vote""#);
    std::fs::write(files.path().join("challenge.toml"), rules)?;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut program = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["up", "--listen", &listen, "--swarm", &bed.swarm.endpoints().join(",")])
        .args(["--insecure-registries", bed.registry.address(), "--slots", &at_once.to_string()])
        .arg("--data")
        .arg(files.path().join("data"))
        .arg("--challenge")
        .arg(files.path().join("challenge.toml"))
        .env("MUSTER_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()?;
    let measured = measure(bed, answer, &listen, count).await;
    program.kill()?;
    program.wait()?;
    measured
}

async fn measure(bed: &Testbed, answer: &Value, listen: &str, count: usize) -> anyhow::Result<f64> {
    let http = reqwest::Client::new();
    let url = |path: &str| format!("http://{listen}{path}");
    let judged = async || -> Option<u64> {
        let stats: Value = http.get(url("/api/v1/stats")).send().await.ok()?.json().await.ok()?;
        let count = |status: &str| stats["submissions"][status].as_u64().unwrap_or(0);
        assert_eq!(count("failed"), 0, "{stats}");
        Some(count("passed"))
    };
    until("muster to be ready", Duration::from_secs(30), async || judged().await).await?;
    let submit = async |owner: String| -> anyhow::Result<()> {
        let image = bed.registry.push(&format!("{owner}/app:latest"), &App::good(answer)).await?;
        let mut body = json!({ "location": "Zürich", "images": [image] });
        for (field, value) in answer.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        http.post(url("/api/v1/submissions")).json(&body).send().await?.error_for_status()?;
        Ok(())
    };
    // The first one makes the slots and brings the image.
    submit("warm".into()).await?;
    until("the first verdict", Duration::from_secs(120), async || (judged().await? >= 1).then_some(()))
        .await?;
    let began = Instant::now();
    for n in 0..count {
        submit(format!("owner{n}")).await?;
    }
    let all = count as u64 + 1;
    until("all verdicts", Duration::from_secs(600), async || (judged().await? >= all).then_some(())).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
