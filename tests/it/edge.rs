//! The edge of `deploy/edge/haproxy.cfg`, a real HAProxy in front of two processes of each role: no client notices that
//! one of the two is gone.

mod names;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use futures::{StreamExt, stream};
use reqwest::{Client, StatusCode, Version, redirect};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::until;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::ada;
use crate::support::ports::free_address;
use names::Names;

/// The configuration under test. Only its addresses are replaced.
const CONFIGURATION: &str = include_str!("../../deploy/edge/haproxy.cfg");

/// The folder of HAProxy and its libraries.
const HAPROXY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.muster/cache/haproxy");

/// The services behind the edge, and the addresses of their tasks.
const COMMANDS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 77, 1), Ipv4Addr::new(127, 0, 77, 2)];
const READ_API: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 77, 3), Ipv4Addr::new(127, 0, 77, 4)];
/// The answerer of an authority's challenge.
const ACME: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 5);

/// The time for a process to be ready, and for the edge to find it.
const READY: Duration = Duration::from_secs(60);

/// A log, two processes of each role, and the edge in front of them.
struct Site {
    names: Names,
    files: TempDir,
    /// The port of every task.
    port: u16,
    log: String,
    running: Vec<(IpAddr, Child)>,
    /// The address and port for TLS, and those without.
    tls: u16,
    plain: u16,
    certificate: reqwest::Certificate,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_notices_that_one_of_two_processes_is_gone() {
    let mut site = Site::start().await;
    meets_people_at_the_door(&site).await;
    tells_clients_apart(&site).await;

    // One of each role is killed, while the names still lead to it.
    let mut load = Load::start(&site, [127, 0, 0, 21]);
    load.more(10).await;
    site.end(COMMANDS[0], "-KILL");
    load.more(20).await;
    site.end(READ_API[0], "-KILL");
    load.more(20).await;
    let killed = load.end().await;
    assert!(
        killed.repeated <= 1,
        "more was repeated than what was in the killed process's hands: {killed:?}"
    );

    // They come back, and the others are asked to stop. Then nobody repeats anything.
    let back = [(COMMANDS[0], "/api/v1/challenge"), (READ_API[0], "/api/v1/stats")];
    for (task, path) in back {
        site.launch(task);
        site.is_used(task, path).await;
    }
    let mut load = Load::start(&site, [127, 0, 0, 22]);
    load.more(10).await;
    for mut process in [COMMANDS[1], READ_API[1]].map(|task| site.signal(task, "-TERM")) {
        let ended = until("the process to end", READY, async || process.try_wait().unwrap());
        assert!(ended.await.unwrap().success());
    }
    load.more(10).await;
    let stopped = load.end().await;
    eprintln!("killed {killed:?}, stopped {stopped:?}");
    assert_eq!(stopped.repeated, 0, "{stopped:?}");

    // A repeated key meets the submission that another process accepted.
    let all = killed.accepted + stopped.accepted + 1;
    let total = until("every submission to be counted once", READY, async || {
        let stats: Value = site.get("/api/v1/stats").await.json().await.ok()?;
        (stats["submissions"]["submitted"] == json!(all)).then_some(())
    });
    total.await.unwrap_or_else(|error| panic!("{error}: {all}"));

    // The edge's own errors are problem documents: nothing serves webhooks here.
    let refused = site.get("/api/v1/webhooks").await;
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(refused.headers()["retry-after"], "2");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["status"], 503);

    // Without the log no process is ready, and those that live still answer for themselves.
    site.end(Ipv4Addr::LOCALHOST, "-KILL");
    let unready = until("nothing to be ready", READY, async || {
        (site.get("/readyz").await.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    });
    unready.await.unwrap();
    for path in ["/api/v1/stats", "/api/v1/challenge"] {
        let answered = until("a process that lives to answer", READY, async || {
            (site.get(path).await.status() == StatusCode::OK).then_some(())
        });
        answered.await.unwrap_or_else(|error| panic!("{error}: {path}"));
    }
}

/// TLS, HTTP/2, the way from HTTP to it, the authority's challenge, and a live stream that nothing holds back.
async fn meets_people_at_the_door(site: &Site) {
    let ada = site.client([127, 0, 0, 1]);
    let page = site.get("/").await;
    assert_eq!((page.status(), page.version()), (StatusCode::OK, Version::HTTP_2));
    let id = page.headers()["x-request-id"].to_str().unwrap();
    let logged = READ_API.map(|task| site.said(&task.to_string()).matches(id).count());
    assert_eq!(logged.iter().sum::<usize>(), 1, "a line about {id} in one process: {logged:?}");
    let plain = format!("http://localhost:{}", site.plain);
    let sent = ada.get(format!("{plain}/s/1?a=b")).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::PERMANENT_REDIRECT);
    let to = sent.headers()["location"].to_str().unwrap();
    assert!(to.starts_with("https://localhost") && to.ends_with("/s/1?a=b"), "{to}");
    let alive = ada.get(format!("{plain}/edge")).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    let proof = ada.get(format!("{plain}/.well-known/acme-challenge/x")).send().await.unwrap();
    assert_eq!(proof.text().await.unwrap(), "proof");

    let post = ada.post(site.url("/api/v1/submissions")).json(&self::ada()).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::ACCEPTED);
    let accepted: Value = post.json().await.unwrap();
    let stream = site.url(&format!("/api/v1/submissions/{}/events", accepted["id"].as_str().unwrap()));
    let began = Instant::now();
    let mut stream = ada.get(stream).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    while !heard.contains("data: ") {
        heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{heard}");
}

/// One client that uses up its rate, whatever it writes about itself, leaves another's as it is.
async fn tells_clients_apart(site: &Site) {
    let (loud, quiet) = (site.client([127, 0, 0, 9]), site.client([127, 0, 0, 10]));
    let post = async |client: &Client, name: u32| {
        let mut said = HeaderMap::new();
        said.insert("x-forwarded-for", format!("198.51.{}.{}", name / 100, name % 100).parse().unwrap());
        said.insert("forwarded", format!("for=198.51.{}.{}", name / 100, name % 100).parse().unwrap());
        let post = client.post(site.url("/api/v1/submissions")).headers(said).json(&json!({}));
        post.send().await.unwrap().status()
    };
    let statuses: Vec<StatusCode> =
        stream::iter(0..300).map(|name| post(&loud, name)).buffer_unordered(25).collect().await;
    let refused = statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert!(refused > 20, "300 requests, and two processes that take 130 at once: {refused} refused");
    assert_ne!(post(&quiet, 1).await, StatusCode::TOO_MANY_REQUESTS);
}

/// The answers to a client that submits and reads.
#[derive(Debug, Default)]
struct Answers {
    accepted: u32,
    /// The submissions that were sent again, with their key, because the edge said that their process was gone.
    repeated: u32,
    read: u32,
}

/// A client that submits and reads until it is told to end.
struct Load {
    answers: JoinHandle<Answers>,
    accepted: watch::Receiver<u32>,
    ended: CancellationToken,
}

impl Load {
    fn start(site: &Site, from: [u8; 4]) -> Self {
        let ((sender, accepted), ended) = (watch::channel(0), CancellationToken::new());
        let answers = tokio::spawn(submit_and_read(site.client(from), site.url(""), sender, ended.clone()));
        Self { answers, accepted, ended }
    }

    /// Waits until so many more submissions were accepted, and what belongs to them was read.
    async fn more(&mut self, count: u32) {
        let count = *self.accepted.borrow() + count;
        let accepted = self.accepted.wait_for(|accepted| *accepted >= count);
        timeout(READY, accepted).await.expect("submissions are accepted").expect("the client goes on");
    }

    async fn end(self) -> Answers {
        self.ended.cancel();
        timeout(READY, self.answers).await.expect("the client ends").unwrap()
    }
}

async fn submit_and_read(
    client: Client,
    site: String,
    accepted: watch::Sender<u32>,
    ended: CancellationToken,
) -> Answers {
    let mut answers = Answers::default();
    while !ended.is_cancelled() {
        let mut body = ada();
        let key = uuid::Uuid::new_v4().simple().to_string();
        // An owner of its own, because one owner may send a tenth of an address's rate.
        body["images"] = json!([format!("registry.test:5000/{key}/app")]);
        let status = loop {
            let post = client.post(format!("{site}/api/v1/submissions")).header("Idempotency-Key", &key);
            let answer = post.json(&body).send().await.unwrap();
            if answer.status() != StatusCode::BAD_GATEWAY {
                assert_eq!(answer.status(), StatusCode::ACCEPTED, "{:?} {answers:?}", answer.text().await);
                let accepted: Value = answer.json().await.unwrap();
                break format!("/api/v1/submissions/{}", accepted["id"].as_str().unwrap());
            }
            answers.repeated += 1;
        };
        answers.accepted += 1;
        for path in [&status, "/api/v1/stats", "/api/v1/challenge"] {
            let answer = client.get(format!("{site}{path}")).send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.expect("a whole answer");
            assert_eq!(status, StatusCode::OK, "{path}: {text} {answers:?}");
            answers.read += 1;
        }
        accepted.send_replace(answers.accepted);
        // A pace that leaves the client below its rate, also at one process alone.
        sleep(Duration::from_millis(50)).await;
    }
    answers
}

impl Site {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(files.path().join("edge.pem"), certificate.clone() + &key).unwrap();
        // The registry of the tests' entries is allowed.
        let challenge = include_str!("support/challenge.toml").replace("REGISTRY", "registry.test:5000");
        std::fs::write(files.path().join("challenge.toml"), challenge).unwrap();
        let [port, tls, plain] = [(); 3].map(|()| free_address().port());
        let mut site = Self {
            names: Names::start(),
            files,
            port,
            log: free_address().to_string(),
            running: Vec::new(),
            tls,
            plain,
            certificate: reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap(),
        };
        site.launch(Ipv4Addr::LOCALHOST);
        // Both processes have the secret from which ids of submissions follow, as the stack gives it to them.
        for task in COMMANDS {
            std::fs::create_dir(site.data(task)).unwrap();
            std::fs::write(site.data(task).join("key-space"), "0192e0c8-0000-4000-8000-00000000000a\n")
                .unwrap();
        }
        for task in [COMMANDS, READ_API].concat() {
            site.launch(task);
        }
        for task in [COMMANDS, READ_API].concat() {
            site.ready(task).await;
        }
        let challenges = tokio::net::TcpListener::bind((ACME, port)).await.unwrap();
        let proof = Router::new().route("/.well-known/acme-challenge/x", get(async || "proof"));
        tokio::spawn(async { axum::serve(challenges, proof).await.unwrap() });
        site.names.set("commands", &COMMANDS);
        site.names.set("read-api", &READ_API);
        site.names.set("acme", &[ACME]);
        site.open_the_edge();
        for path in ["/", "/api/v1/challenge"] {
            let found = until("the edge to find the processes", READY, async || {
                let asked = site.client([127, 0, 0, 1]).get(site.url(path)).send().await;
                asked.ok()?.status().is_success().then_some(())
            });
            found.await.unwrap_or_else(|error| panic!("{error}\n{}", site.said("edge")));
        }
        site
    }

    /// Starts HAProxy with the configuration of `deploy/`.
    fn open_the_edge(&mut self) {
        let pem = self.files.path().join("edge.pem").display().to_string();
        let (plain, tls) = (format!("127.0.0.1:{}", self.plain), format!("127.0.0.1:{}", self.tls));
        let (names, port) = (self.names.address().to_string(), format!(":{}", self.port));
        let mut configuration = CONFIGURATION.to_owned();
        for (there, here) in [
            ("bind :80", format!("bind {plain}")),
            ("bind :443", format!("bind {tls}")),
            ("/run/secrets/edge.pem", pem),
            ("127.0.0.11:53", names),
            (":8080", port),
        ] {
            assert!(configuration.contains(there), "{there}");
            configuration = configuration.replace(there, &here);
        }
        let file = self.files.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        let program = PathBuf::from(HAPROXY).join("haproxy");
        assert!(program.exists(), "HAProxy is missing: scripts/fetch-haproxy");
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", HAPROXY).args(["-db", "-f"]).arg(file);
        self.spawn(Ipv4Addr::new(127, 0, 77, 99), "edge", command);
    }

    /// Starts the process of a task, or the log at the loopback's first address.
    fn launch(&mut self, task: Ipv4Addr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        if task == Ipv4Addr::LOCALHOST {
            command.args(["eventstore", "--listen", &self.log]);
        } else {
            let role = if COMMANDS.contains(&task) { "commands" } else { "read-api" };
            let (listen, log) = (format!("{task}:{}", self.port), format!("esdb://{}?tls=false", self.log));
            command.args(["serve", role, "--listen", &listen, "--eventstore", &log]);
            command.env("MUSTER_LOG", "info,access=debug");
            // A process behind a proxy elsewhere leaves before it stops.
            command.args(["--rate-by-address", "1/s,130", "--trusted-proxies", "203.0.113.0/24"]);
        }
        command.arg("--data").arg(self.data(task));
        command.env("MUSTER_CHALLENGE", self.files.path().join("challenge.toml"));
        self.spawn(task, &task.to_string(), command);
    }

    fn spawn(&mut self, task: Ipv4Addr, name: &str, mut command: Command) {
        let log = self.files.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push((task.into(), command.spawn().unwrap()));
    }

    /// Ends a task with a signal, and waits until it has ended.
    fn end(&mut self, task: Ipv4Addr, signal: &str) {
        self.signal(task, signal).wait().unwrap();
    }

    /// Sends a task a signal that ends it.
    fn signal(&mut self, task: Ipv4Addr, signal: &str) -> Child {
        let at = self.running.iter().position(|(running, _)| *running == task).unwrap();
        let (_, process) = self.running.remove(at);
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.unwrap().success());
        process
    }

    async fn ready(&self, task: Ipv4Addr) {
        let url = format!("http://{task}:{}/readyz", self.port);
        let ready = until("a task to be ready", READY, async || {
            reqwest::get(&url).await.ok()?.status().is_success().then_some(())
        });
        ready.await.unwrap_or_else(|error| panic!("{error}\n{}", self.said(&task.to_string())));
    }

    /// Waits until the edge sends requests to a task that it did not know as ready.
    async fn is_used(&self, task: Ipv4Addr, path: &str) {
        let answers = || self.said(&task.to_string()).matches(&format!("path=\"{path}\"")).count();
        let before = answers();
        let used = until("the edge to use a task", READY, async || {
            self.get(path).await;
            (answers() > before).then_some(())
        });
        used.await.unwrap_or_else(|error| panic!("{error}\n{}", self.said(&task.to_string())));
    }

    fn data(&self, task: Ipv4Addr) -> PathBuf {
        self.files.path().join(format!("data-{task}"))
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.files.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls)
    }

    /// Returns a client at an address of the loopback.
    fn client(&self, from: [u8; 4]) -> Client {
        let client = Client::builder().local_address(IpAddr::from(from)).redirect(redirect::Policy::none());
        let client = client.tls_certs_only([self.certificate.clone()]).timeout(Duration::from_secs(30));
        client.no_proxy().build().unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client([127, 0, 0, 1]).get(self.url(path)).send().await.unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for (_, process) in &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
