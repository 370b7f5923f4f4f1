//! Ordinary images, built as people build them from one base and submitted through the public API: each gets the verdict
//! that `stacks.toml` expects, on a node of each grade.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::sandbox::SandboxGrade;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{Availability, Node, Testbed};

use crate::support::System;
use crate::support::docker::docker;

/// The variable with the path of the table's file. If it is not set, the table is only printed.
const KEEP: &str = "MUSTER_IMAGE_TABLE";

/// The variable with parts of names, separated by commas. If it is set, the other images are left out.
const ONLY: &str = "MUSTER_IMAGES";

/// The deadline for the verdict on all images.
const JUDGED: Duration = Duration::from_secs(600);
/// The images that are built and pushed at the same time.
const AT_ONCE: usize = 3;

/// The bases of the examples, each with the folder of its stand-in: no test pulls an image from the internet.
const STAND_INS: [(&str, &str); 3] =
    [("python:3.13-slim", "python"), ("node:22-slim", "node"), ("nginx:1", "nginx")];

/// The folders in `examples/` that are built as they are.
const EXAMPLES: [&str; 3] = ["express", "flask", "nginx"];

/// An image, as in `stacks.toml`.
#[derive(Deserialize)]
struct Stack {
    about: String,
    /// `passed` or the code of the failure, on a writable node.
    writable: String,
    /// The same on a read-only node.
    read_only: String,
}

/// The verdict on an image.
struct Judged {
    verdict: String,
    message: String,
    seconds: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_images_get_the_verdict_that_they_deserve_on_nodes_of_each_grade() {
    let mut stacks: BTreeMap<String, Stack> = toml::from_str(include_str!("stacks.toml")).unwrap();
    for name in EXAMPLES {
        let about = format!("`examples/{name}/`");
        let (writable, read_only) = ("passed".to_owned(), "passed".to_owned());
        stacks.insert(format!("example-{name}"), Stack { about, writable, read_only });
    }
    if let Ok(only) = std::env::var(ONLY) {
        stacks.retain(|name, _| only.split(',').any(|part| name.contains(part)));
    }
    let bed = Testbed::of_each_storage().await.unwrap();
    let [in_memory, on_disk] = bed.swarm.nodes() else { panic!("two nodes") };
    let began = std::time::Instant::now();
    let entries = push_all(&bed, on_disk, &stacks).await;
    eprintln!("built {:?}", began.elapsed());

    // The verifier looks at the nodes when it starts, so each grade has a start of its own.
    bed.swarm.set_availability(on_disk, Availability::DRAIN).await.unwrap();
    let mut system = System::start_for_people(&bed).await;
    let writable = judge(&system, &entries, SandboxGrade::Writable).await;
    eprintln!("writable {:?}", began.elapsed());
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    bed.swarm.set_availability(on_disk, Availability::ACTIVE).await.unwrap();
    bed.swarm.set_availability(in_memory, Availability::DRAIN).await.unwrap();
    system.restart().await;
    let read_only = judge(&system, &entries, SandboxGrade::ReadOnly).await;
    eprintln!("read-only {:?}", began.elapsed());
    drop(system);
    bed.stop().await.unwrap();

    let mut table = String::from("| image | | writable | s | read-only | s |\n|---|---|---|---|---|---|\n");
    let mut wrong = String::new();
    for (name, stack) in &stacks {
        let (first, second) = (&writable[name], &read_only[name]);
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {:.1} | {} | {:.1} |",
            stack.about, first.verdict, first.seconds, second.verdict, second.seconds
        );
        for (grade, expected, judged) in [
            (SandboxGrade::Writable, &stack.writable, first),
            (SandboxGrade::ReadOnly, &stack.read_only, second),
        ] {
            if judged.verdict != *expected {
                let _ = writeln!(
                    wrong,
                    "{name} on a {} node: {}, expected {expected}: {}",
                    grade.as_str(),
                    judged.verdict,
                    judged.message
                );
            }
        }
    }
    println!("{table}");
    if let Some(path) = std::env::var_os(KEEP) {
        let head = "# Ordinary images, and whether they pass\n\nWritten by `tests/images/`, which builds each of these from \
                    its folder there and submits it through the public API\nto a Swarm with one node of each grade: \
                    `MUSTER_IMAGE_TABLE=docs/images.md make test`. The challenge is the birthday's. The seconds are\nfrom \
                    the submission to the verdict, with the others in the same queue.\n\n";
        std::fs::write(path, format!("{head}{table}")).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Builds all images on a node and pushes them. Returns the submission of each.
async fn push_all<'a>(
    bed: &Testbed,
    node: &Node,
    stacks: &'a BTreeMap<String, Stack>,
) -> Vec<(&'a String, Value)> {
    let base = repository().join(".muster/cache/test-images.tar");
    assert!(base.exists(), "{0} is missing: tests/images/base.sh {0} SLIM", base.display());
    docker(node, &["import", base.to_str().unwrap(), "muster-test/base"]).await;

    for (tag, folder) in STAND_INS {
        let folder = repository().join("tests/images/stand-ins").join(folder);
        docker(node, &["build", "--quiet", "--tag", tag, folder.to_str().unwrap()]).await;
    }

    let entries: Vec<(&String, Value)> =
        stacks.keys().map(|name| (name, entry(bed.registry.address(), name))).collect();
    stream::iter(&entries).for_each_concurrent(AT_ONCE, |(name, entry)| build(node, name, entry)).await;
    entries
}

/// Submits all images and returns their verdicts. The grade makes the submissions of one call different from those of another.
async fn judge(
    system: &System,
    entries: &[(&String, Value)],
    grade: SandboxGrade,
) -> BTreeMap<String, Judged> {
    let mut submitted = Vec::new();
    for (name, entry) in entries {
        let key = format!("{}-{name}", grade.as_str());
        submitted.push((*name, system.submit(&key, entry).await));
    }
    let mut judged = BTreeMap::new();
    for (name, id) in submitted {
        let status = system.verdict(&id, JUDGED).await;
        judged.insert(name.clone(), Judged::of(&status));
    }
    judged
}

/// Builds an image from its folder and pushes it.
async fn build(node: &Node, name: &str, entry: &Value) {
    let folder = repository().join("tests/images");
    let context = tempfile::tempdir().unwrap();
    let stack = match name.strip_prefix("example-") {
        Some(example) => repository().join("examples").join(example),
        None => folder.join("stacks").join(name),
    };
    for from in [stack, folder.join("common")] {
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), context.path().join(file.file_name())).unwrap();
        }
    }
    let mut config = entry.clone();
    config["repo"] = config["images"].take();
    config.as_object_mut().unwrap().remove("images");
    std::fs::write(context.path().join("config.json"), config.to_string()).unwrap();
    let image = entry["images"][0].as_str().unwrap();
    docker(node, &["build", "--quiet", "--tag", image, context.path().to_str().unwrap()]).await;
    docker(node, &["push", "--quiet", image]).await;
}

fn entry(registry: &str, name: &str) -> Value {
    json!({
        "name": "José Ångström",
        "twitter": "@jose",
        "location": "Zürich",
        "images": [format!("{registry}/{name}/app:latest")],
        "vote": "Python",
    })
}

impl Judged {
    fn of(status: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verdict = match status["status"].as_str() {
            Some("failed") => text(&status["reasons"][0]["code"]),
            other => other.unwrap_or_default().to_owned(),
        };
        let timeline = status["timeline"].as_array().unwrap();
        let moment = |entry: Option<&Value>| text(&entry.unwrap()["at"]).parse::<jiff::Timestamp>().unwrap();
        let seconds = (moment(timeline.last()) - moment(timeline.first())).total(jiff::Unit::Second).unwrap();
        Self { verdict, message: text(&status["reasons"][0]["message"]), seconds }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
