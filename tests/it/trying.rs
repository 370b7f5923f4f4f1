//! `muster try`: a participant's own Docker gives the same verdict in the same words as Muster does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use testbed::{App, Layer, Node, Testbed, until};
use tokio::process::Command;

use crate::support::{Entry, Kind, System};

const JUDGED: Duration = Duration::from_secs(120);
const STOPPED: Duration = Duration::from_secs(20);

/// The kinds whose verdict depends on the run of one image.
const KINDS: [Kind; 9] = [
    Kind::Good,
    Kind::WrongInOneField,
    Kind::NeverListens,
    Kind::ExitsAtOnce,
    Kind::HangsAfterAccept,
    Kind::NotJson,
    Kind::ServerError,
    Kind::Redirects,
    Kind::NeedsACapability,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_gives_the_same_verdict_in_the_same_words_and_leaves_nothing() {
    let bed = Testbed::single().await.unwrap();
    let [node] = bed.swarm.nodes() else { panic!("one node") };
    let system = System::start(&bed).await;
    let mut entries = Vec::new();
    for (n, kind) in KINDS.into_iter().enumerate() {
        let entry = Entry::prepare(&bed.registry, &format!("owner{n}"), kind).await;
        entries.push((system.submit(&format!("key-{n}"), &entry.body).await, entry));
    }
    for (id, entry) in &entries {
        let (code, tried) = tried_as_judged(&system, node, id, entry).await;
        assert_eq!(code, i32::from(entry.kind != Kind::Good), "{:?}: {tried}", entry.kind);
    }

    // An engine has no trouble to pull it, and would hang at its start.
    let hanging = Entry::prepare(&bed.registry, "hanging", Kind::Good).await;
    let app = App::playing(&["good"], &hanging.body).with_layers([Layer::fifo("etc/passwd").unwrap()]);
    bed.registry.push("hanging/app:latest", &app).await.unwrap();
    let id = system.submit("hanging", &hanging.body).await;
    let (code, tried) = tried_as_judged(&system, node, &id, &hanging).await;
    assert!(code == 1 && tried.contains("/etc/passwd is a FIFO"), "{tried}");

    let missing = trial(&system, node, &["nobody/has-this"]).output().await.unwrap();
    let said = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(2), "{said}");
    assert!(said.contains("no image nobody/has-this; build it or pull it first"), "{said}");

    // Ctrl-C during a trial removes everything, too.
    let silent = entries[2].1.body["images"][0].as_str().unwrap();
    let mut stopped = trial(&system, node, &[silent]).spawn().unwrap();
    let is_up = async || docker(node, &["ps", "--quiet", "--filter", "name=muster-try"]).await;
    until("the trial's container to run", STOPPED, async || (!is_up().await.is_empty()).then_some(()))
        .await
        .unwrap();
    let pid = stopped.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    until("the trial to end", STOPPED, async || stopped.try_wait().unwrap()).await.unwrap();
    for left in [
        &["ps", "--all", "--quiet", "--filter", "label=muster.slot", "--filter", "name=muster-try"],
        &["network", "ls", "--quiet", "--filter", "label=muster.slot", "--filter", "name=muster-try"],
    ] {
        assert_eq!(docker(node, left).await, "");
    }
    drop(system);
    bed.stop().await.unwrap();
}

/// Tries the image of a submission. Returns the exit code and the output, whose verdict is Muster's.
async fn tried_as_judged(system: &System, node: &Node, id: &str, entry: &Entry) -> (i32, String) {
    system.verdict(id, JUDGED).await;
    let image = entry.body["images"][0].as_str().unwrap().trim_end_matches(":latest");
    docker(node, &["pull", "--quiet", image]).await;
    let file = system.files().join("entry.json");
    std::fs::write(&file, entry.body.to_string()).unwrap();
    let tried = trial(system, node, &[image, "--entry", file.to_str().unwrap()]).output().await.unwrap();
    let (code, tried) = (tried.status.code().unwrap(), String::from_utf8(tried.stdout).unwrap());
    let judged = muster(&["status", id, "--server", &system.url("")]).output().await.unwrap();
    let judged = String::from_utf8(judged.stdout).unwrap();
    assert_eq!(verdict(&tried), verdict(&judged), "{:?}", entry.kind);
    (code, tried)
}

/// Returns the lines of the output from the verdict on.
fn verdict(output: &str) -> Vec<&str> {
    let lines = output.lines().skip_while(|line| *line != "passed" && *line != "failed");
    lines.map(str::trim_end).collect()
}

fn trial(system: &System, node: &Node, arguments: &[&str]) -> Command {
    let challenge = system.files().join("challenge.toml");
    let engine = node.endpoint();
    let rest = ["--engine", &engine, "--challenge", path(&challenge)];
    muster(&[&["try"], arguments, &rest].concat())
}

fn muster(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn docker(node: &Node, arguments: &[&str]) -> String {
    let endpoint = node.endpoint();
    node.run(&[&["docker", "--host", &endpoint], arguments].concat()).await.unwrap().trim().to_owned()
}
