//! The command line as its users see it: its output and its exit codes.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use domain::submission::{Event, Passed, VerdictBasis, VerificationStarted};
use serde_json::{Value, json};
use testbed::{Testbed, until};

use crate::support::log::Log;
use crate::support::ports::free_address;
use crate::support::system::TOKEN;
use crate::support::{self, Entry, Kind, Shape, System, in_both_shapes};

in_both_shapes! {
    a_refused_entry_is_explained_field_by_field
    the_status_of_a_waiting_submission_names_the_reason
    the_exit_code_is_the_verdict
}

const NOBODY: &str = "http://127.0.0.1:9";

struct Said {
    code: i32,
    out: String,
    errors: String,
}

/// Runs the program to its end, with `input` as its standard input.
fn muster<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    for setting in std::env::vars_os().map(|(name, _)| name) {
        if setting.to_string_lossy().starts_with("MUSTER_") {
            command.env_remove(setting);
        }
    }
    let mut child = command
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), errors: text(stderr) }
}

fn ada(changes: Value) -> Value {
    let mut entry = support::ada();
    for (field, value) in changes.as_object().unwrap() {
        entry[field] = value.clone();
    }
    entry
}

#[test]
fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    // An address may hold a password, so it is not printed.
    for (flag, value, named, code) in [
        ("--listen", "here", "here", 2),
        ("--eventstore", "papyrus://u:secret@h", "--eventstore", 2),
        ("--views", "papyrus://u:secret@h", "--views", 2),
        ("--challenge", "/nowhere/challenge.toml", "/nowhere/challenge.toml", 2),
        ("--slots", "none", "none", 2),
        ("--rate-by-owner", "seldom", "seldom", 2),
        ("--config", "/nowhere/muster.toml", "/nowhere/muster.toml", 2),
        ("--swarm", "whales", "whales", 1),
    ] {
        let mut arguments = vec!["up", "--data", data, flag, value];
        if flag != "--listen" {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        let said = muster(arguments, "");
        assert_eq!(said.code, code, "{flag}: {}", said.errors);
        let lines: Vec<_> = said.errors.lines().filter(|line| line.starts_with("muster: ")).collect();
        assert_eq!((lines.len(), said.out.as_str()), (1, ""), "{flag}: {}", said.errors);
        assert!(lines[0].contains(named) && !said.errors.contains("secret"), "{flag}: {}", said.errors);
    }
}

#[tokio::test]
async fn a_process_whose_log_nobody_reads_serves_and_hears_its_signals() {
    let (directory, listen) = (tempfile::tempdir().unwrap(), free_address());
    let data = directory.path().to_str().unwrap();
    let listen_text = listen.to_string();
    let swarm = "unix:///nonexistent/engine.sock";
    let arguments = ["up", "--data", data, "--listen", &listen_text, "--swarm", swarm, "--log", "debug"];
    let command = Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).stderr(Stdio::piped()).spawn();
    let mut process = command.unwrap();
    drop(process.stderr.take());
    let health = format!("http://{listen}/healthz");
    let serves = until("the process to serve", Duration::from_secs(20), async || {
        reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
    });
    serves.await.unwrap();
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
    let ended = until("the process to end", Duration::from_secs(20), async || process.try_wait().unwrap());
    assert!(ended.await.unwrap().success());
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    for (arguments, input) in [
        (vec!["submit", "-", "--server", NOBODY], "{}"),
        (vec!["status", "3f0e6c1e-6a43-4b55-9a4e-0d0c6c1f9b11", "--server", NOBODY], ""),
    ] {
        let said = muster(arguments, input);
        assert_eq!(said.code, 3, "{}", said.errors);
        assert!(said.errors.contains("nobody answers at http://127.0.0.1:9"), "{}", said.errors);
    }
    assert_eq!(muster(["submit", "/nowhere/entry.json"], "").code, 2);
    assert_eq!(muster(["submit", "-", "--server", "ftp://x"], "{}").code, 2);
}

async fn a_refused_entry_is_explained_field_by_field(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let server = system.url("");
    let entry = ada(json!({"name": "\u{2800}", "location": "Lodnon, UK"})).to_string();
    let said = muster(["submit", "-", "--server", &server], &entry);
    assert_eq!(said.code, 2);
    for line in
        ["muster: 2 fields are wrong.", "  name: A name has 1 to 50", "  location: ", "London, England, GB"]
    {
        assert!(said.errors.contains(line), "{}", said.errors);
    }
    assert!(muster(["submit", "-", "--server", &server], "{").errors.contains("line 1"));
}

async fn the_status_of_a_waiting_submission_names_the_reason(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let server = system.url("/");
    let id = system.submit("one", &ada(json!({}))).await;
    system.stats(|stats| stats["submissions"]["submitted"] == 1).await;
    let said = muster(["status", &id, "--server", &server], "");
    assert_eq!(said.code, 4, "{}", said.errors);
    assert!(
        said.out.starts_with("submitted registry.test:5000/ada/app by Ada Lovelace in London, GB\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("queued at position 1 of 1"), "{}", said.out);
    if shape == Shape::OneProcess {
        assert!(said.out.contains("queued at position 1 of 1: Our Swarm"), "{}", said.out);
    }

    let hidden = muster(["hide", &id, "--why", "a slur", "--server", &server, "--token", TOKEN], "");
    assert_eq!(hidden.code, 0, "{}{}", hidden.out, hidden.errors);
    let unexplained = muster(["hide", &id, "--server", &server, "--token", TOKEN], "");
    assert!(unexplained.code == 2 && unexplained.errors.contains("--why"), "{}", unexplained.errors);
    let nobody = ["hide", "--owner", "docker.io/eve", "--why", "x", "--server", &server, "--token", TOKEN];
    assert!(muster(nobody, "").errors.contains("no submission of docker.io/eve has passed"));
    for _ in 0..2 {
        assert_eq!(muster(["withdraw", &id, "--server", &server], "").code, 0);
    }
    system.stats(|stats| stats["submissions"]["withdrawn"] == 1).await;
    let said = muster(["status", &id, "--server", &server], "");
    assert_eq!(said.code, 1, "{}", said.errors);
    assert!(
        said.out.ends_with("hidden from the map by organiser: a slur\nwithdrawn by the participant\n"),
        "{}",
        said.out
    );

    let nobodys = uuid::Uuid::new_v4().to_string();
    assert_eq!(muster(["withdraw", &nobodys, "--server", &server], "").code, 2);
    assert_eq!(muster(["status", &nobodys, "--server", &server], "").code, 2);
    assert_eq!(muster(["status", "seven", "--server", &server], "").code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejudge_by_new_rules_comes_to_an_end() {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    let first = rules_in_force(&system).await;
    let ids = [system.submit("one", &ada(json!({}))).await, system.submit("two", &ada(json!({}))).await];
    // A verdict of an older version does not name its rules.
    for (id, rules) in ids.iter().zip([Some(first.clone()), None]) {
        record_pass(&system, id, 1, rules).await;
    }
    system.stats(|stats| stats["submissions"]["passed"] == 2).await;
    assert_eq!(rejudged_by_other_rules(&system), "0 queued for a rejudge, 0 refused");

    let file = system.files().join("challenge.toml");
    let change = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    };
    change("title = \"", "title = \"The second ");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    system.restart().await;
    assert_eq!(rules_in_force(&system).await, first, "a title decides no verdict");
    change("answering = \"any\"", "answering = \"all\"");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    system.restart().await;
    let second = rules_in_force(&system).await;
    for (digest, answering) in [(&first, "any"), (&second, "all")] {
        let published = system.get(&format!("/api/v1/challenge?digest={digest}")).await;
        let text: Value = serde_json::from_str(published["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["images"]["answering"], answering);
    }

    assert_eq!(rejudged_by_other_rules(&system), "2 queued for a rejudge, 0 refused");
    assert_eq!(rejudged_by_other_rules(&system), "0 queued for a rejudge, 0 refused");
    for id in &ids {
        record_pass(&system, id, 2, Some(second.clone())).await;
    }
    system.stats(|stats| stats["submissions"]["passed"] == 2).await;
    assert_eq!(rejudged_by_other_rules(&system), "0 queued for a rejudge, 0 refused");
    let timeline = &system.status(&ids[0]).await.unwrap()["timeline"];
    let named: Vec<&Value> =
        timeline.as_array().unwrap().iter().map(|entry| &entry["data"]["rules"]).collect();
    let (first, second) = (json!(first), json!(second));
    assert_eq!(named, [&Value::Null, &Value::Null, &first, &second, &Value::Null, &second]);
}

async fn rules_in_force(system: &System) -> String {
    system.get("/api/v1/challenge").await["rules"].as_str().unwrap().to_owned()
}

/// Records that a submission passed, as a verifier would.
async fn record_pass(system: &System, id: &str, attempt: u32, rules: Option<String>) {
    let deadline = jiff::Timestamp::now();
    let claimed = VerificationStarted { attempt, verifier: "v1".to_owned(), deadline };
    let passed = Passed { attempt, basis: VerdictBasis { rules, images: vec![] } };
    let events = [Event::VerificationStarted(claimed), Event::Passed(passed)];
    Log::of(system).await.record(id.parse().unwrap(), events).await;
}

/// Runs the command, and returns its last line.
fn rejudged_by_other_rules(system: &System) -> String {
    let server = system.url("");
    let said = muster(["rejudge", "--filter", "rules=other", "--server", &server, "--token", TOKEN], "");
    assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
    said.out.lines().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_a_missing_part_and_the_command_that_installs_it() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let address = system.url("").replace("http://", "");
    let data = system.files().join("data").display().to_string();
    let engine = "unix:///nonexistent/engine.sock";
    let said = muster(["doctor", "--listen", &address, "--data", &data, "--swarm", engine], "");
    assert_eq!(said.code, 1, "{}", said.out);
    let lines: Vec<_> = said.out.lines().collect();
    let cure =
        lines.iter().position(|line| line.starts_with("missing ") && line.contains(engine)).unwrap() + 1;
    assert!(lines[cure].trim_start().starts_with("-> sudo "), "{}", said.out);
    let answers = format!("ok      port {address}: Muster answers there");
    assert!(lines.contains(&answers.as_str()), "{}", said.out);
    assert!(lines.contains(&format!("ok      data directory {data}: writable").as_str()), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_data_directory_names_the_first_and_takes_over_when_it_has_stopped() {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    let data = system.files().join("data").display().to_string();
    let log = system.files().join("second.log");
    let output = std::fs::File::create(&log).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args([
            "up",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &data,
            "--swarm",
            "unix:///nonexistent/engine.sock",
        ])
        .env("MUSTER_LOG", "info")
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let says = async |word: &str| {
        let said = until(word, Duration::from_secs(30), async || {
            std::fs::read_to_string(&log).unwrap().contains(word).then_some(())
        });
        said.await.unwrap_or_else(|error| panic!("{error}\n{}", std::fs::read_to_string(&log).unwrap()));
    };
    says(&format!("process {} has", system.pid())).await;
    assert!(second.try_wait().unwrap().is_none(), "it waits");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    says("HTTP is served at").await;
    second.kill().unwrap();
    second.wait().unwrap();
}

async fn the_exit_code_is_the_verdict(shape: Shape) {
    let bed = Testbed::single().await.unwrap();
    let system = System::start_as(shape, &bed).await;
    let server = system.url("");
    for (owner, kind, code) in [("good", Kind::Good, 0), ("wrong", Kind::WrongInOneField, 1)] {
        let entry = Entry::prepare(&bed.registry, owner, kind).await;
        let file = system.files().join(format!("{owner}.json"));
        std::fs::write(&file, entry.body.to_string()).unwrap();
        let arguments = ["submit".into(), file.into_os_string(), "--server".into(), server.clone().into()];
        let submitting = tokio::task::spawn_blocking(move || muster(arguments, ""));
        let said = tokio::time::timeout(Duration::from_secs(120), submitting).await.unwrap().unwrap();
        assert_eq!(said.code, code, "{}{}\n{}", said.out, said.errors, system.log_tail());
        let image = format!("{}/{owner}/app", bed.registry.address());
        for step in ["submission ", "submitted ", "verifying, attempt 1 by ", "pulled ", "running ", "asked "]
        {
            let steps = said.out.lines().filter(|line| line.starts_with(step)).count();
            assert_eq!(steps, 1, "{step}: {}", said.out);
        }
        if code == 0 {
            assert!(said.out.ends_with("as submitted\npassed\n"), "{}", said.out);
        } else {
            assert!(said.out.contains("\nfailed\n"), "{}", said.out);
            assert!(
                said.out.contains(&format!("\n  {image}: ")) && said.out.contains("(mismatch)\n    "),
                "{}",
                said.out
            );
            assert!(said.out.contains("  vote must be \"Rust\", but is "), "{}", said.out);
        }
    }
    drop(system);
    bed.stop().await.unwrap();
}
