//! `muster eventstore` as a process. It serves a client of another language, with a password and TLS.
//! Readers that stop reading cost it no memory. Also `muster verify`, which checks its file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use event_store::testing::{append_foreign, event_about, new_event};
use event_store::{
    Append, EsdbStore, EventFilter, ExpectedRevision, NewEvent, Position, Read, ReadDirection, SqliteStore,
    StreamName, Subscribe,
};
use futures::StreamExt;
use futures::future::join_all;
use testbed::until;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::PYTHON;
use crate::support::ports::free_address;
use crate::support::system::TOKEN;

const DEADLINE: Duration = Duration::from_secs(60);

/// A process of the program, and its address.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts the program. `listen` is the flag that takes the address.
    async fn start(arguments: &[&str], listen: &str) -> Self {
        let address = free_address();
        let child = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(arguments)
            .args([listen, &address.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let reached = until("it to listen", DEADLINE, async || TcpStream::connect(address).ok());
        reached.await.unwrap();
        Self { child, address: address.to_string() }
    }

    /// Returns the resident memory of the process in megabytes.
    fn resident_mb(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / 1_000_000
    }

    /// Returns the highest resident memory within four seconds, in which an unbounded send would show.
    async fn most_resident_mb(&self) -> usize {
        let end = Instant::now() + Duration::from_secs(4);
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(self.resident_mb());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        most
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_language_is_served_behind_a_password_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("node.crt"), made.cert.pem()).unwrap();
    fs::write(path("node.key"), made.signing_key.serialize_pem()).unwrap();
    let tls = format!("{},{}", path("node.crt"), path("node.key"));
    let login = ["--login", "admin:changeit", "--tls", &tls, "--advertise", "localhost"];
    let node =
        Process::start(&[&["eventstore", "--data", &path("data")], &login[..]].concat(), "--listen").await;

    let port = node.address.rsplit_once(':').unwrap().1;
    let known = |scheme: &str| format!("{scheme}://admin:changeit@localhost:{port}");
    let stranger = format!("esdb://localhost:{port}");
    for scheme in ["esdb", "esdb+discover"] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/eventstore/conversation.py");
        let output = Command::new(format!("{PYTHON}/python"))
            .args([script, &known(scheme), &stranger, &path("node.crt")])
            .output()
            .expect("Python's packages are missing: scripts/fetch-python");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, "well served\n");
    }

    // Our own adapter must read the events that the other client wrote, with the same flags.
    let replay = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["replay", "--eventstore", &format!("{}?tlsCaFile={}", known("esdb"), path("node.crt"))])
        .output()
        .unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let lines = String::from_utf8(replay.stdout).unwrap();
    assert!(lines.lines().count() > 30 && lines.contains("\"Ünïcode ✓\""), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_in_a_million_events_costs_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    drop(Process::start(&["eventstore", "--data", &data], "--listen").await);
    let log = Path::new(&data).join("events.sqlite");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/eventstore/million.py");
    let filled = Command::new("python3").args([Path::new(script), &log]).output().unwrap();
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));

    {
        let node = Process::start(&["eventstore", "--data", &data], "--listen").await;
        let address = format!("esdb://{}?tls=false", node.address);
        let store = EsdbStore::connect(&address).await.unwrap();
        store.read_all(Position(500_000), &EventFilter::default(), 1).await.unwrap();
        let before = node.resident_mb();
        // Each reader would receive 300 MB if it read.
        let stalled = join_all((0..20).map(async |_| {
            let stalled = EsdbStore::connect(&address).await.unwrap();
            let mut follower = stalled.subscribe(Position::START, EventFilter::default());
            timeout(DEADLINE, follower.next()).await.expect("in time").unwrap().unwrap();
            follower
        }))
        .await;
        let most = node.most_resident_mb().await;
        assert!(most < before + 250, "{before} MB before, {most} MB with {} stalled", stalled.len());

        // Other clients can still write and read.
        let stream = StreamName::of("other", Uuid::new_v4());
        timeout(DEADLINE, store.append(&stream, ExpectedRevision::NoStream, vec![event()]))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(store.read_stream(&stream, 0, ReadDirection::Forwards, 10).await.unwrap().len(), 1);
        println!("the node: {before} MB before, {most} MB with 20 stalled readers");
    }

    a_terminal_shows_a_progress_bar(&data, folder.path());

    let up = ["up", "--data", &data, "--token", TOKEN, "--swarm", "unix:///nonexistent/engine.sock"];
    let muster = Process::start(&up, "--listen").await;
    let ready = until("it to be ready", DEADLINE, async || {
        let asked = reqwest::get(format!("http://{}/readyz", muster.address)).await.ok()?;
        asked.status().is_success().then_some(())
    });
    ready.await.unwrap();
    let before = muster.resident_mb();
    let stalled: Vec<TcpStream> = (0..10).map(|_| ask_for_history(&muster.address)).collect();
    let most = muster.most_resident_mb().await;
    assert!(most < before + 100, "{before} MB before, {most} MB with {} stalled", stalled.len());
    println!("muster up: {before} MB before, {most} MB with 10 stalled readers");
}

/// Requests the whole history and reads only its beginning.
fn ask_for_history(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /api/v1/history HTTP/1.1\r\nHost: muster\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
        .unwrap();
    let mut beginning = [0; 4096];
    stream.read_exact(&mut beginning).unwrap();
    let beginning = String::from_utf8_lossy(&beginning);
    assert!(beginning.starts_with("HTTP/1.1 200 ") && beginning.contains("load-1"), "{beginning}");
    stream
}

/// Checks that a long replay shows a progress bar in a terminal, and none in a pipe.
fn a_terminal_shows_a_progress_bar(data: &str, folder: &Path) {
    let to = |name: &str| -> PathBuf { folder.join(name) };
    let replay = |output: &Path| {
        format!("{} replay --data {data} --output {}", env!("CARGO_BIN_EXE_muster"), output.display())
    };
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("TERM", "xterm").output();
        let output = output.expect("needs script: apt-get install bsdutils");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let seen = run("script", &["-qec", &replay(&to("seen.ndjson")), "/dev/null"]);
    assert!(seen.contains("% of 1000001 events"), "{seen}");
    // The replay must continue after the last complete line of the file.
    let whole = fs::read(to("seen.ndjson")).unwrap();
    let cut = whole.len() - 1000;
    fs::write(to("seen.ndjson"), &whole[..cut]).unwrap();
    assert_eq!(run("sh", &["-c", &replay(&to("seen.ndjson"))]), "");
    assert!(fs::read(to("seen.ndjson")).unwrap() == whole, "it is whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_the_damages_of_a_log_at_rest_and_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().display().to_string(), folder.path().join("events.sqlite"));
    let verify = |expected: i32| {
        let verify =
            Command::new(env!("CARGO_BIN_EXE_muster")).args(["verify", "--data", &data]).output().unwrap();
        let said = [verify.stdout, verify.stderr].concat();
        assert_eq!(verify.status.code(), Some(expected), "{}", String::from_utf8_lossy(&said));
        String::from_utf8(said).unwrap()
    };
    assert!(verify(2).contains("cannot read"), "there is no log yet");

    let store = SqliteStore::open(&file).unwrap();
    let (id, other) = (Uuid::new_v4(), StreamName::of("other", Uuid::new_v4()));
    let ours = StreamName::of("submission", id);
    store.append(&other, ExpectedRevision::NoStream, vec![new_event("Tested", "\"marked\"")]).await.unwrap();
    append_foreign(&store, &ours, "Note", "text", "none").await;
    let said = verify(0);
    assert!(said.contains("1 events of strangers") && said.contains("read 2 events of 2 streams"), "{said}");
    store.append(&ours, ExpectedRevision::Any, vec![event_about(id, 1, "Passed", "7")]).await.unwrap();
    let said = verify(1);
    assert!(said.contains(&format!("damaged: position 3, revision 1, stream {ours}: ")), "{said}");
    store.close().await;

    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|bytes| bytes == b"\"marked\"").unwrap();
    bytes[at + 3] ^= 1;
    fs::write(&file, bytes).unwrap();
    let said = verify(1);
    let damage = format!("damaged: position 1, revision 0, stream {other}: the checksum is wrong");
    assert!(said.contains(&damage) && said.contains("damaged at 2 places"), "{said}");

    let server = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["verify", "--eventstore", "esdb://u:secret@127.0.0.1:9"])
        .output()
        .unwrap();
    let said = String::from_utf8(server.stderr).unwrap();
    assert_eq!(server.status.code(), Some(2), "{said}");
    assert!(said.contains("checks the file of an embedded log") && !said.contains("secret"), "{said}");
}

fn event() -> NewEvent {
    new_event("Tested", "{}")
}
