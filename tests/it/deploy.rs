//! The files that a cluster is made of: the image of `Dockerfile`, built on a stand-in for its base and run as a cluster runs
//! it, and the stacks with their secrets.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testbed::{Node, Testbed, until};
use tokio::time::sleep;

use crate::support::docker::docker;

/// The image that the tests build.
const IMAGE: &str = "muster:test";

/// The pause between two questions to the engine: each is a process.
const PAUSE: Duration = Duration::from_millis(500);

/// The stand-in for the image's base.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.muster/cache/test-base.tar");

#[tokio::test(flavor = "multi_thread")]
async fn the_image_runs_muster_as_nobody_and_as_a_stack() {
    let bed = Testbed::single().await.unwrap();
    let node = &bed.swarm.nodes()[0];
    build(node).await;
    let look = async |object: &str, format: &str| {
        docker(node, &["inspect", "--format", format, object]).await.trim().to_owned()
    };
    assert_eq!(look(IMAGE, "{{.Config.User}}").await, "10001:10001");
    let revision = r#"{{index .Config.Labels "org.opencontainers.image.revision"}}"#;
    assert_eq!(look(IMAGE, revision).await, "tested");

    // Nothing but the data directory can be written to.
    let run =
        ["run", "--detach", "--name", "muster", "--read-only", "--network", "none", "--cap-drop", "ALL"];
    docker(node, &[&run[..], &["--volume", "data:/var/lib/muster", IMAGE]].concat()).await;
    let healthy = until("the container to be healthy", Duration::from_secs(60), async || {
        sleep(PAUSE).await;
        (look("muster", "{{.State.Health.Status}}").await == "healthy").then_some(())
    });
    if let Err(error) = healthy.await {
        panic!("{error}\n{}", docker(node, &["logs", "muster"]).await);
    }
    let owner =
        ["exec", "muster", "stat", "--format", "%u:%g %a", "/var/lib/muster", "/var/lib/muster/key-space"];
    assert_eq!(docker(node, &owner).await, "10001:10001 700\n10001:10001 600\n");
    // The check asks Muster itself: it fails where nothing listens.
    let check = look(IMAGE, "{{json .Config.Healthcheck.Test}}").await;
    let check: Vec<String> = serde_json::from_str(&check).unwrap();
    let elsewhere = format!("! {{ MUSTER_LISTEN=0.0.0.0:81; {}; }} 2>/dev/null", check.last().unwrap());
    docker(node, &["exec", "muster", "bash", "-c", &elsewhere]).await;
    docker(node, &["stop", "muster"]).await;
    assert_eq!(look("muster", "{{.State.ExitCode}}").await, "0");
    runs_as_a_stack(node).await;
    bed.stop().await.unwrap();
}

/// Without a label no node has a task of it, so no image is pulled: the engine only reads the stack.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_takes_each_stack_with_the_secrets_that_are_made_for_it() {
    let bed = Testbed::single().await.unwrap();
    let node = &bed.swarm.nodes()[0];
    let place = prepared();
    let secret =
        |name: &str| std::fs::read_to_string(place.path().join("deploy/secrets").join(name)).unwrap();
    assert_eq!(secret("gate.toml").trim(), format!("gate-secret = {:?}", secret("gate-secret").trim()));
    for files in [&["stack.yml"][..], &["stack.yml", "stack-small.yml"]] {
        deploy(node, &place, files);
    }
    let services = docker(node, &["stack", "services", "--format", "{{.Name}} {{.Mode}}", "muster"]).await;
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    let expected = [
        "commands replicated",
        "edge global",
        "eventstore1 replicated",
        "eventstore2 replicated",
        "eventstore3 replicated",
        "gate replicated",
        "log replicated",
        "mongo-set replicated",
        "mongo1 replicated",
        "mongo2 replicated",
        "mongo3 replicated",
        "projections replicated",
        "read-api replicated",
        "verifier replicated",
        "webhooks replicated",
    ];
    assert_eq!(services, expected.map(|service| format!("muster_{service}")));
    bed.stop().await.unwrap();
}

/// Deploys the small stack, and waits until each service of ours has all of its tasks, which is when they are healthy. The
/// images of others are missing.
async fn runs_as_a_stack(node: &Node) {
    let id = docker(node, &["node", "ls", "--quiet"]).await;
    let labels = ["--label-add", "muster.application=true", "--label-add", "muster.store=1"];
    docker(node, &[&["node", "update"], &labels[..], &[id.trim()]].concat()).await;
    deploy(node, &prepared(), &["stack.yml", "stack-small.yml"]);
    let ours = [
        "commands 2/2",
        "gate 1/1",
        "log 1/1",
        "projections 2/2",
        "read-api 2/2",
        "verifier 2/2",
        "webhooks 1/1",
    ];
    let mut last = String::new();
    let running = until("all tasks of ours to be healthy", Duration::from_secs(120), async || {
        sleep(PAUSE).await;
        last = docker(node, &["stack", "services", "--format", "{{.Name}} {{.Replicas}}", "muster"]).await;
        ours.iter().all(|service| last.contains(&format!("muster_{service}\n"))).then_some(())
    });
    if let Err(error) = running.await {
        let tasks = docker(node, &["stack", "ps", "--no-trunc", "muster"]).await;
        panic!("{error}\n{last}\n{tasks}");
    }
    // The log is reached by its name, with its login and over TLS.
    let ready = until("commands to be ready", Duration::from_secs(60), async || {
        let tasks = ["ps", "--quiet", "--filter", "name=muster_commands"];
        let tasks = docker(node, &tasks).await;
        let ask = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3; head -n 1 <&3";
        let said = docker(node, &["exec", tasks.lines().next()?, "bash", "-c", ask]).await;
        said.contains(" 200 ").then_some(())
    });
    ready.await.unwrap();
}

/// Copies `deploy/` with the secrets that its script makes, and the challenge beside it.
fn prepared() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("deploy");
    run(Command::new("cp").args(["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy")]).arg(&copy));
    let _ = std::fs::remove_dir_all(copy.join("secrets"));
    for _ in 0..2 {
        run(Command::new(copy.join("make-secrets")).args(["muster.example.org", "gate.example.org"]));
    }
    // Stand-ins for the certificates of the participants' Swarm.
    let engines = copy.join("secrets/engines");
    for (from, to) in [("authority.pem", "ca.pem"), ("log.pem", "cert.pem"), ("log-key.pem", "key.pem")] {
        std::fs::copy(copy.join("secrets").join(from), engines.join(to)).unwrap();
    }
    let challenges = place.path().join("domain/challenges");
    std::fs::create_dir_all(&challenges).unwrap();
    std::fs::write(challenges.join("birthday.toml"), include_str!("../../domain/challenges/birthday.toml"))
        .unwrap();
    place
}

fn deploy(node: &Node, place: &TempDir, files: &[&str]) {
    let mut command = Command::new("docker");
    command.args(["--host", &node.endpoint(), "stack", "deploy", "--resolve-image", "never"]).envs([
        ("MUSTER_IMAGE", IMAGE),
        ("MUSTER_SWARM", "tcp://127.0.0.1:9"),
        ("MUSTER_GATE_ADDRESS", "gate.example.org:5443"),
    ]);
    for file in files {
        command.arg("--compose-file").arg(place.path().join("deploy").join(file));
    }
    run(command.arg("muster"));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// Builds the image on this node, from a context that has the tested program instead of the optimised one.
async fn build(node: &Node) {
    assert!(Path::new(BASE).exists(), "{BASE} is missing: tests/images/base.sh");
    docker(node, &["import", BASE, "debian:bookworm-slim"]).await;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = tempfile::tempdir().unwrap();
    let program = context.path().join("target/release/muster");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    run(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_muster")));
    for file in ["Dockerfile", ".dockerignore"] {
        std::fs::copy(repository.join(file), context.path().join(file)).unwrap();
    }
    let context = context.path().to_str().unwrap();
    docker(node, &["build", "--tag", IMAGE, "--build-arg", "REVISION=tested", context]).await;
}
