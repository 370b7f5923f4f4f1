//! History for analysts: every example of `docs/analysts.md` runs as it is written, against a system with
//! submissions.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Testbed, until};

use crate::support::entry::{Entry, Kind};
use crate::support::system::TOKEN;
use crate::support::{PYTHON, Shape, System, in_both_shapes};

in_both_shapes! {
    every_example_of_the_analysts_guide_works
    the_log_and_a_server_give_the_same_history_and_an_export_continues
    events_of_other_programs_are_exported_one_a_line
    a_follower_misses_no_event_while_the_server_or_the_log_is_away
    equal_moments_in_different_notation_give_the_same_answer
    a_wrong_parameter_is_refused_and_named
    a_submission_to_a_venue_is_in_its_export
}

const GUIDE: &str = include_str!("../../docs/analysts.md");

const JUDGED: Duration = Duration::from_secs(120);

async fn every_example_of_the_analysts_guide_works(shape: Shape) {
    assert!(
        Path::new(PYTHON).join("../packages").exists(),
        "Python's packages are missing: scripts/fetch-python"
    );
    let bed = Testbed::single().await.unwrap();
    let good = Entry::prepare(&bed.registry, "ada", Kind::Good).await;
    let wrong = Entry::prepare(&bed.registry, "bob", Kind::WrongInOneField).await;
    let mut system = System::start_as(shape, &bed).await;
    let ids = [system.submit("good", &good.body).await, system.submit("wrong", &wrong.body).await];
    for id in &ids {
        system.verdict(id, JUDGED).await;
    }

    let desk = Desk::new(&system);
    let said: Vec<String> = examples().iter().map(|example| desk.run(example)).collect();
    // The width of a table depends on its values, so only the words are compared.
    let said: Vec<&str> = said.iter().flat_map(|said| said.split([' ', '\n'])).collect();
    let said = said.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    for expected in [
        "How many events of each type?",
        "│ Failed │ 1 │",
        "│ CH │ Rust │ 2 │",
        "│ 2 │",
        "│ mismatch │ 1 │",
        "Participant ada was first",
        "Submitted from: {'Zürich': 2}",
        "0 Submitted",
        "1 VerificationStarted",
        "stays failed",
        "0 would change, 1 would stay, 0 unknown; nothing was changed",
        "position: 0",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in what was said:\n{said}");
    }
    let lines = |file: &str| std::fs::read_to_string(desk.path(file)).unwrap().lines().count();
    assert_eq!((lines("verdicts.csv"), lines("submitted.ndjson")), (3, 2));
    let csv = std::fs::read_to_string(desk.path("verdicts.csv")).unwrap();
    assert!(csv.contains("mismatch") && csv.contains("Participant bob"), "{csv}");

    // A rejudge changes the status, but `--at` still shows the status at the earlier moment.
    let before = jiff::Timestamp::now().to_string();
    let asked = desk.muster(&["rejudge", &ids[1], "--server", &system.url("")]);
    assert!(asked.status.success(), "{asked:?}");
    let at = desk.muster(&["status", &ids[1], "--at", &before, "--server", &system.url("")]);
    let said = String::from_utf8_lossy(&at.stdout).into_owned();
    assert_eq!((at.status.code(), said.matches("verifying").count()), (Some(1), 1), "{at:?}");
    assert!(!said.contains("rejudge") && !said.contains("another verdict"), "{at:?}");

    assert!(system.terminate().await.success(), "{}", system.log_tail());
    bed.stop().await.unwrap();
}

async fn the_log_and_a_server_give_the_same_history_and_an_export_continues(shape: Shape) {
    let mut system = System::without_a_swarm(shape).await;
    for name in ["ada", "bob", "eve"] {
        system.submit(name, &entry(name)).await;
    }
    let desk = Desk::new(&system);
    let server = ["--server", &system.url("")];
    let wire = ["--eventstore", &format!("esdb://{}?tls=false", system.node())];

    let all = desk.replay(&server);
    assert_eq!(all.lines().count(), 3);
    assert_eq!(desk.replay(&wire), all, "over the wire");
    let of_bob = desk.replay(&[&server[..], &["--owner", "registry.test:5000/bob"]].concat());
    assert_eq!(of_bob, format!("{}\n", all.lines().nth(1).unwrap()));
    assert_eq!(desk.replay(&[&wire[..], &["--owner", "registry.test:5000/bob"]].concat()), of_bob);
    assert_eq!(
        desk.replay(&[&server[..], &["--after", "1", "--until", "2016-01-01T00:00:00Z"]].concat()),
        ""
    );
    let table = desk.replay(&[&wire[..], &["--format", "csv"]].concat());
    assert_eq!(desk.replay(&[&server[..], &["--format", "csv"]].concat()), table);
    assert!(
        table.starts_with("position,recorded_at,stream,submission,revision,type,owner,name,country,lat,lon,")
    );

    // Where there is a data directory, places of the log by time are kept for the next run. They change no answer.
    std::fs::create_dir(desk.path("kept")).unwrap();
    let places = desk.path("kept/log-places.json");
    let kept = [&wire[..], &["--data", "kept"]].concat();
    assert_eq!(desk.replay(&kept), all);
    let known: Vec<Value> = serde_json::from_slice(&std::fs::read(&places).unwrap()).unwrap();
    assert!(known.len() >= 3, "{known:?}");
    let second: Value = serde_json::from_str(all.lines().nth(1).unwrap()).unwrap();
    let since = [&kept[..], &["--since", second["recorded_at"].as_str().unwrap()]].concat();
    let later: String = all.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let another = json!([{ "position": 1, "recorded_at": "2016-01-01T00:00:00Z", "id": uuid::Uuid::nil() }]);
    for content in [known.clone().into(), another, json!("nothing of ours")] {
        std::fs::write(&places, content.to_string()).unwrap();
        assert_eq!(desk.replay(&since), later, "{content}");
    }

    // The file is cut as if an earlier run had been killed while it wrote.
    let file = desk.path("events.ndjson");
    let first = all.lines().next().unwrap();
    std::fs::write(&file, format!("{first}\n{}", &first[..30])).unwrap();
    desk.replay(&[&server[..], &["--output", file.to_str().unwrap()]].concat());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), all);

    // The log is in use, so the error names the other way to read it. After the system has ended, the file
    // can be read.
    let data = ["--data", system.files().join("data").to_str().unwrap()].map(str::to_owned);
    let data = [data[0].as_str(), &data[1]];
    let in_use = desk.muster(&[&["replay"][..], &data].concat());
    assert_eq!(in_use.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&in_use.stderr).contains("--server"), "{in_use:?}");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    assert_eq!(desk.replay(&data), all, "from the file");
}

async fn events_of_other_programs_are_exported_one_a_line(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    system.submit("ada", &entry("ada")).await;
    let desk = Desk::new(&system);
    let write = format!(
        r#"
from esdbclient import EventStoreDBClient, NewEvent, StreamState
client = EventStoreDBClient(uri="esdb://{}?tls=false")
client.append_to_stream("study-1", current_version=StreamState.NO_STREAM, events=[
    NewEvent(type="Lines", data=b'{{"b": 1.50,\r\n  "a": "x\\ny"\n}}', metadata=b'[1,\n2]'),
    NewEvent(type="Octets", data=b"\x00\xff\n", metadata=b"{{", content_type="application/octet-stream"),
    NewEvent(type="Empty", data=b"", content_type="application/octet-stream"),
])
client.close()
"#,
        system.node()
    );
    desk.run(&("python".to_owned(), write));

    let url = system.url("/api/v1/history?stream=study-");
    let plain = system.http().get(url).bearer_auth(TOKEN).send().await.unwrap().text().await.unwrap();
    let wire = format!("esdb://{}?tls=false", system.node());
    let replay = |arguments: &[&str]| {
        succeeded("replay", desk.muster(&[&["replay", "--stream", "study-"], arguments].concat()))
    };
    for (how, said) in [
        ("curl", plain.clone()),
        ("server", replay(&["--server", &system.url("")])),
        ("wire", replay(&["--eventstore", &wire])),
    ] {
        assert_eq!(said, plain, "{how}");
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [broken, octets, empty] = &lines[..] else { panic!("{how}: {said}") };
        assert_eq!((&broken["data"], &broken["metadata"]), (&json!({"b": 1.5, "a": "x\ny"}), &json!([1, 2])));
        assert!(said.contains(r#""data":{"b": 1.50,  "a": "x\ny"}"#), "as it was written: {said}");
        assert_eq!((&octets["data"], &octets["data_base64"]), (&Value::Null, &json!("AP8K")));
        assert_eq!((&octets["metadata"], &octets["metadata_base64"]), (&Value::Null, &json!("ew==")));
        assert_eq!((&empty["data"], empty.get("data_base64")), (&Value::Null, None));
    }
    let table = replay(&["--server", &system.url(""), "--format", "csv"]);
    assert_eq!(table.lines().count(), 4, "{table}");
}

async fn a_follower_misses_no_event_while_the_server_or_the_log_is_away(shape: Shape) {
    let mut system = System::without_a_swarm(shape).await;
    system.submit("ada", &entry("ada")).await;
    let desk = Desk::new(&system);
    let wire = format!("esdb://{}?tls=false", system.node());
    let followers = [["--server", &system.url("")], ["--eventstore", &wire]].map(|from| {
        let mut replay = desk.command("muster");
        Follower::start(replay.args(["replay", "--follow", "--stream", "submission-"]).args(from))
    });
    let mut names = vec!["Participant ada"];
    for (file, name) in [("bob", "Participant bob"), ("eve", "Participant eve")] {
        for follower in &followers {
            follower.has_read(&names).await;
        }
        // Every follower has read everything. Now the system is killed and restarted.
        if file == "eve" {
            system.kill();
            system.restart().await;
        }
        system.submit(file, &entry(file)).await;
        names.push(name);
    }
    for follower in &followers {
        follower.has_read(&names).await;
    }
}

async fn equal_moments_in_different_notation_give_the_same_answer(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let id = system.submit("ada", &entry("ada")).await;
    let between = jiff::Timestamp::now();
    // The next submission must be recorded at a later moment than `between`.
    until("time to pass", Duration::from_secs(5), async || {
        (jiff::Timestamp::now() > between + jiff::SignedDuration::from_millis(5)).then_some(())
    })
    .await
    .unwrap();
    system.submit("bob", &entry("bob")).await;
    system.stats(|stats| stats["submissions"]["submitted"] == 2).await;
    let desk = Desk::new(&system);
    let zurich = jiff::fmt::temporal::DateTimePrinter::new();
    let zurich = zurich.timestamp_with_offset_to_string(&between, jiff::tz::Offset::constant(2));
    for at in [between.to_string(), zurich.clone(), zurich.replace('T', " ")] {
        let run = |arguments: &[&str]| {
            let output = desk.muster(&[arguments, &["--at", &at, "--server", &system.url("")]].concat());
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, said) = run(&["stats"]);
        assert!(
            code == Some(0) && said.contains("\nsubmitted: 1\n") || said.starts_with("submitted: 1\n"),
            "{at}: {said}"
        );
        let (code, said) = run(&["status", &id]);
        assert!(code == Some(4) && said.contains("Participant ada"), "{at}: {said}");
        let since = ["--since", &at, "--server", &system.url("")];
        let later = desk.replay(&since);
        assert!(later.lines().count() == 1 && later.contains("Participant bob"), "{at}: {later}");
        let until = ["--until", &at, "--server", &system.url("")];
        let before = desk.replay(&until);
        assert!(before.lines().count() == 1 && before.contains("Participant ada"), "{at}: {before}");
    }
    for at in ["noon", "2016-03-21", "21.3.2016 12:00", ""] {
        let said = desk.muster(&["stats", "--at", at, "--server", &system.url("")]);
        assert_eq!(said.status.code(), Some(2), "{at}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("--at"), "{said:?}");
    }
}

async fn a_wrong_parameter_is_refused_and_named(shape: Shape) {
    let system = System::without_a_swarm(shape).await;
    let desk = Desk::new(&system);
    let server = ["--server", &system.url("")];
    std::fs::write(desk.path("diary"), "dear diary\n").unwrap();
    for (arguments, named) in [
        (vec!["replay", "--excel"], "--format csv"),
        (vec!["replay", "--since", "noon"], "noon"),
        (vec!["replay", "--token", "guessed"], "token"),
        (vec!["replay", "--output", "diary"], "diary"),
        (vec!["replay", "--format", "parquet", "--follow"], "--follow"),
        (vec!["replay", "--after", "1000000"], "after"),
        (vec!["rejudge", "--filter", "verdict=maybe"], "passed, failed or given_up"),
        (vec!["rejudge"], "--filter"),
        (vec!["stats", "--at", "2100-01-01T00:00:00Z"], "in the future"),
    ] {
        let output = desk.muster(&[&arguments[..], &server].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(desk.path("diary")).unwrap(), "dear diary\n");
}

async fn a_submission_to_a_venue_is_in_its_export(shape: Shape) {
    let mut system = System::without_a_swarm(shape).await;
    let room =
        "[[venues]]\nname = \"berlin\"\ntitle = \"c-base\"\nlocation = \"Berlin, DE\"\ncode = \"K7QF\"\n";
    system.restart_with(&format!("\n{room}")).await;
    system.submit("eve", &entry("eve")).await;
    let desk = Desk::new(&system);
    std::fs::write(desk.path("ada.json"), entry("ada").to_string()).unwrap();
    let (url, wire) = (system.url(""), format!("esdb://{}?tls=false", system.node()));
    let submit = ["submit", "ada.json", "--server", &url, "--venue", "berlin", "--venue-code"];
    for (code, named) in
        [("wrong", "venue_code: This is not the code of c-base"), ("", "Write the code of c-base")]
    {
        let refused = desk.muster(&[&submit[..], &[code]].concat());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(named), "{said}");
    }
    // Nothing is verified, so the program waits for a verdict until it is stopped.
    let mut submitting = desk.command("muster");
    let submitting = Follower::start(submitting.args(submit).arg("k7 qf"));
    system.stats(|stats| stats["submissions"]["submitted"] == 2).await;
    drop(submitting);

    for from in [["--server", &url], ["--eventstore", &wire]] {
        let export = |venue| desk.replay(&[&from[..], &["--format", "csv", "--venue", venue]].concat());
        let table = export("berlin");
        let rows: Vec<&str> = table.lines().skip(1).collect();
        assert!(rows.len() == 1 && rows[0].contains("Participant ada"), "{table}");
        assert_eq!(export("lisbon").lines().count(), 1, "the names of the columns");
        assert_eq!(desk.replay(&[&from[..], &["--format", "csv"]].concat()).lines().count(), 3);
    }
}

/// The place of an analyst: a directory, the program, and the addresses of a system.
struct Desk {
    directory: tempfile::TempDir,
    server: String,
    node: String,
}

impl Desk {
    fn new(system: &System) -> Self {
        let server = system.url("").trim_start_matches("http://").to_owned();
        Self { directory: tempfile::tempdir().unwrap(), server, node: system.node().to_owned() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Runs an example against this system instead of the usual addresses.
    fn run(&self, (language, text): &(String, String)) -> String {
        let text = text.replace("127.0.0.1:8080", &self.server).replace("127.0.0.1:2113", &self.node);
        let output = match language.as_str() {
            "sh" => self.command("sh").args(["-euc", &text]).output(),
            "python" => self.command(&format!("{PYTHON}/python")).args(["-c", &text]).output(),
            other => panic!("the guide has an example in {other}, which nobody runs"),
        };
        succeeded(text.as_str(), output.unwrap())
    }

    /// Replays the events of submissions only, because the time of a sandbox report is not the test's to
    /// choose.
    fn replay(&self, arguments: &[&str]) -> String {
        succeeded("replay", self.muster(&[&["replay", "--stream", "submission-"], arguments].concat()))
    }

    fn muster(&self, arguments: &[&str]) -> Output {
        self.command("muster").args(arguments).output().unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let ours = Path::new(env!("CARGO_BIN_EXE_muster")).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(std::iter::once(ours.clone()).chain(std::env::split_paths(&path)));
        let program = if program == "muster" { ours.join(program) } else { program.into() };
        let mut command = Command::new(program);
        command.current_dir(&self.directory).env("PATH", path.unwrap()).env("MUSTER_TOKEN", TOKEN);
        command.env("PYTHONIOENCODING", "utf-8");
        command
    }
}

/// A replay that follows the log, and its output.
struct Follower {
    child: Child,
    written: Arc<Mutex<String>>,
}

impl Follower {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let written = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let writing = Arc::clone(&written);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writing.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, written }
    }

    /// Waits until the replay has written exactly one event of each name, in this order.
    async fn has_read(&self, names: &[&str]) {
        let written = || self.written.lock().unwrap().clone();
        let read = until("a line of each", Duration::from_secs(30), async || {
            (written().lines().count() >= names.len()).then_some(())
        });
        read.await.unwrap_or_else(|error| panic!("{error}: {}", written()));
        let lines = written();
        assert_eq!(lines.lines().count(), names.len(), "{lines}");
        assert!(lines.lines().zip(names).all(|(line, name)| line.contains(name)), "{lines}");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[track_caller]
fn succeeded(what: &str, output: Output) -> String {
    assert!(output.status.success(), "{what}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the language and the text of each example of the guide.
fn examples() -> Vec<(String, String)> {
    let mut blocks = GUIDE.split("```");
    let mut examples = Vec::new();
    while let (Some(_), Some(block)) = (blocks.next(), blocks.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        examples.push((language.to_owned(), text.to_owned()));
    }
    assert!(examples.len() >= 7, "the guide has examples");
    examples
}

fn entry(name: &str) -> Value {
    json!({
        "name": format!("Participant {name}"),
        "twitter": format!("@{name}"),
        "location": "London, UK",
        "images": [format!("registry.test:5000/{name}/app")],
        "vote": "Rust",
    })
}
