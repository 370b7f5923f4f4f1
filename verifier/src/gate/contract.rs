//! The contract of a gate. The one in this process and the one elsewhere keep it alike, down to the words.

use std::io::{Read, Write};
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::submission::{FailureCode, InterruptionCode};
use domain::{Challenge, Digest, SubmissionId};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::blob_store::BlobStore;
use super::image_gate::{AskedImage, ImageGate, Look, LookRequest, LookTerms, LookedImage};
use super::local_gate::LocalGate;
use super::look_lines::GateSecret;
use super::look_server::LookServer;
use super::remote_gate::{RemoteGate, RemoteGateSettings};
use super::samples::ArchiveDraft;
use super::served_images::ServedImages;
use crate::fetching::FetchBoard;
use crate::metrics::VerifierMetrics;
use crate::registry::tests::{ScriptedRegistry, reply, scripted};
use crate::registry::{LookupError, RegistryClient, RegistryLogins, digest_of};

const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "0c8a41e7d29b5f63";

#[derive(Debug, Clone, Copy, PartialEq)]
enum GatePlace {
    Here,
    Elsewhere,
}

const PLACES: [GatePlace; 2] = [GatePlace::Here, GatePlace::Elsewhere];

struct GateScene {
    gate: Arc<dyn ImageGate>,
    served: ServedImages,
    tasks: Vec<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Drop for GateScene {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn scene(place: GatePlace) -> GateScene {
    let directory = tempfile::tempdir().unwrap();
    let served = ServedImages::new("gate.lan:5000", BlobStore::open(directory.path(), 64 << 20).unwrap());
    let metrics = VerifierMetrics::default();
    let registry = RegistryClient::new([], RegistryLogins::default(), Default::default(), metrics.clone());
    let local: Arc<dyn ImageGate> = Arc::new(LocalGate::new(registry, Some(served.clone()), metrics));
    let (gate, tasks) = match place {
        GatePlace::Here => (local, Vec::new()),
        GatePlace::Elsewhere => {
            let socket = StdListener::bind("127.0.0.1:0").unwrap();
            let remote = remote(&socket.local_addr().unwrap().to_string(), SECRET);
            (Arc::clone(&remote) as Arc<dyn ImageGate>, vec![serve(local, socket), follow(remote)])
        }
    };
    GateScene { gate, served, tasks, _directory: directory }
}

fn serve(gate: Arc<dyn ImageGate>, socket: StdListener) -> JoinHandle<()> {
    socket.set_nonblocking(true).unwrap();
    let server = LookServer::new(gate, "gate.lan:5000".to_owned(), GateSecret::new(SECRET));
    tokio::spawn(server.serve(TcpListener::from_std(socket).unwrap(), None))
}

fn remote(address: &str, secret: &str) -> Arc<RemoteGate> {
    let (url, secret) = (format!("http://{address}"), GateSecret::new(secret));
    Arc::new(RemoteGate::new(&RemoteGateSettings { url, secret, authority: None }).unwrap())
}

fn follow(gate: Arc<RemoteGate>) -> JoinHandle<()> {
    tokio::spawn(async move { match gate.follow().await {} })
}

fn sha(bytes: &[u8]) -> Digest {
    digest_of(&Sha256::digest(bytes))
}

/// Returns the manifest and the configuration of an image with this layer.
fn documents(layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "config": { "Cmd": ["/app"], "Volumes": { "/data": {} }, "ExposedPorts": { "8080/tcp": {} } },
        "rootfs": { "type": "layers", "diff_ids": [sha(layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(&config), "size": config.len() },
        "layers": [{ "mediaType": "l", "digest": sha(layer), "size": layer.len() }],
    });
    (manifest.to_string().into_bytes(), config)
}

fn sent(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Answers a request for a part of an image with this layer.
fn part(request: &str, layer: &[u8]) -> Vec<u8> {
    let (manifest, config) = documents(layer);
    match request {
        request if request.contains("/manifests/") => sent(&manifest),
        request if request.contains(&sha(layer).to_string()) => sent(layer),
        _ => sent(&config),
    }
}

fn good() -> Vec<u8> {
    ArchiveDraft::new().file("app", b"x").end()
}

/// Starts a registry with one image of each kind.
fn registry() -> ScriptedRegistry {
    let (good, fifo) = (good(), ArchiveDraft::new().fifo("etc/passwd").end());
    let large = ArchiveDraft::new().file("zeros", &vec![0; 5 << 20]).end();
    scripted(move |request, _| match request {
        request if request.contains("/ada/good/") => part(request, &good),
        request if request.contains("/ada/fifo/") => part(request, &fifo),
        request if request.contains("/ada/broken/") => part(request, &b"no archive ".repeat(100)),
        request if request.contains("/ada/large/") => part(request, &large),
        request if request.contains("/ada/secret/") => reply("403 Forbidden", "", "").into_bytes(),
        _ => {
            let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            reply("404 Not Found", "", unknown).into_bytes()
        }
    })
}

/// Starts a registry that sends a byte of each layer now and then. Also returns the number of layers that it sends now.
fn dripping() -> (String, Arc<AtomicUsize>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counted) = (stream.unwrap(), Arc::clone(&counted));
            std::thread::spawn(move || {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    request.extend_from_slice(&byte);
                }
                let request = String::from_utf8(request).unwrap();
                let layer = good();
                let answer = part(&request, &layer);
                if !request.contains(&sha(&layer).to_string()) {
                    let _ = stream.write_all(&answer);
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let head = answer.len() - layer.len();
                let _ = stream.write_all(&answer[..head]);
                for byte in &answer[head..] {
                    std::thread::sleep(Duration::from_millis(50));
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                }
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

fn request(registry: &str, names: &[&str]) -> LookRequest {
    let images = names
        .iter()
        .map(|name| AskedImage { image: format!("{registry}/ada/{name}:v1").parse().unwrap(), known: None });
    let mut terms = LookTerms::of(&Challenge::birthday());
    terms.limits.image_mib = 1;
    LookRequest { submission: SubmissionId(uuid::Uuid::nil()), images: images.collect(), terms }
}

async fn look(scene: &GateScene, request: &LookRequest) -> Look {
    timeout(SOON, scene.gate.look(request, &FetchBoard::default())).await.expect("the look ends")
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

fn fault(looked: &LookedImage) -> (InterruptionCode, String) {
    match &looked.outcome {
        Err(LookupError::Platform(fault)) => (fault.code, fault.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_image_gets_the_same_outcome_in_the_same_words() {
    let registry = registry();
    let names = ["good", "fifo", "broken", "large", "secret", "absent"];
    let mut outcomes = Vec::new();
    for place in PLACES {
        let images = look(&scene(place), &request(&registry.address, &names)).await.images;
        let failures = images.iter().map(|looked| match &looked.outcome {
            Ok(runnable) => {
                assert!(runnable.pull_name.starts_with("gate.lan:5000/127.0.0.1_"), "{runnable:?}");
                assert_eq!(
                    (&runnable.volumes[..], &runnable.exposed_ports[..]),
                    (&["/data".to_owned()][..], &[8080][..])
                );
                None
            }
            Err(LookupError::Participant(code, _)) => Some(*code),
            Err(fault) => panic!("{fault:?}"),
        });
        let expected = [
            None,
            Some(FailureCode::ImageRefused),
            Some(FailureCode::ImageRefused),
            Some(FailureCode::ImageTooLarge),
            Some(FailureCode::ImageForbidden),
            Some(FailureCode::ImageNotFound),
        ];
        assert_eq!(failures.collect::<Vec<_>>(), expected, "{place:?}");
        outcomes.push(images);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    let known = outcomes[0].iter().map(|looked| looked.digest.is_some());
    assert_eq!(known.collect::<Vec<_>>(), [true, true, true, false, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_an_image_until_its_pass_is_dropped() {
    let registry = registry();
    for place in PLACES {
        let scene = scene(place);
        let Look { images, pass } = look(&scene, &request(&registry.address, &["good", "fifo"])).await;
        let runnable = images[0].outcome.as_ref().unwrap();
        let repository = format!("{}/ada/good", registry.address.replace(':', "_"));
        let is_served = || scene.served.manifest(&repository, &runnable.digest).is_some();
        assert!(is_served() && !pass.is_void(), "{place:?}");
        // Longer than the gate takes to notice a connection that ends.
        sleep(Duration::from_millis(300)).await;
        assert!(is_served() && !pass.is_void(), "{place:?}");
        drop(pass);
        eventually("the image is gone", || !is_served()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_drips_is_at_fault_after_the_deadline_and_its_progress_is_told() {
    let (registry, open) = dripping();
    let looks = PLACES.map(async |place| {
        let scene = scene(place);
        let mut request = request(&registry, &["good"]);
        request.terms.limits.pull_s = 3;
        let board = FetchBoard::default();
        let told = eventually("the progress is told", || {
            board.fetching().iter().any(|fetching| fetching.layers.iter().any(|(_, arrived)| *arrived > 0))
        });
        let (look, ()) = tokio::join!(scene.gate.look(&request, &board), told);
        let (code, message) = fault(&look.images[0]);
        assert_eq!(code, InterruptionCode::RegistryUnavailable, "{place:?}");
        assert!(
            message.contains("did not send layer") && message.contains("within 3 s"),
            "{place:?}: {message}"
        );
        assert!(board.fetching().is_empty(), "{place:?}");
    });
    futures::future::join_all(looks).await;
    eventually("the layers are not fetched any more", || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_nobody_waits_for_ends() {
    for place in PLACES {
        let (registry, open) = dripping();
        let scene = scene(place);
        let (request, board) = (request(&registry, &["good"]), FetchBoard::default());
        {
            let begun = eventually("the layer is fetched", || open.load(Ordering::SeqCst) == 1);
            tokio::select! {
                _ = scene.gate.look(&request, &board) => panic!("the registry drips"),
                () = begun => {}
            }
        }
        eventually("the layer is not fetched any more", || open.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_limits_requests_is_told() {
    for place in PLACES {
        let limits = scripted(|_, _| reply("429 Too Many Requests", "Retry-After: 600\r\n", ""));
        let scene = scene(place);
        let mut limited = scene.gate.limited();
        let looked = look(&scene, &request(&limits.address, &["good"])).await;
        assert_eq!(fault(&looked.images[0]).0, InterruptionCode::RateLimited, "{place:?}");
        let Err(LookupError::Platform(fault)) = &looked.images[0].outcome else { panic!("a fault") };
        assert!(fault.pause.is_some_and(|pause| pause > Duration::from_secs(590)), "{place:?}: {fault:?}");
        let told = limited.wait_for(|limited| limited.iter().any(|registry| registry.name == limits.address));
        timeout(SOON, told).await.expect("it is told").unwrap();
        let mut trouble = scene.gate.trouble();
        timeout(SOON, trouble.wait_for(Option::is_none)).await.expect("the gate is well").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_elsewhere_that_is_away_is_our_fault_until_it_is_back() {
    let registry = registry();
    let good = request(&registry.address, &["good", "fifo"]);
    let mut scene = scene(GatePlace::Elsewhere);
    let mut trouble = scene.gate.trouble();
    timeout(SOON, trouble.wait_for(Option::is_none)).await.expect("the gate is well").unwrap();
    let Look { pass, .. } = look(&scene, &good).await;
    assert!(!pass.is_void());

    scene.tasks.remove(0).abort();
    eventually("the pass is void", || pass.is_void()).await;
    let away = look(&scene, &good).await;
    for looked in &away.images {
        let (code, message) = fault(looked);
        assert_eq!(code, InterruptionCode::RegistryUnavailable);
        assert!(
            message.starts_with("the gate at http://127.0.0.1:") && message.contains("does not answer"),
            "{message}"
        );
    }
    let told = timeout(SOON, trouble.wait_for(Option::is_some)).await.expect("it is told").unwrap().clone();
    let address =
        told.as_deref().and_then(|told| told.split("http://").nth(1)?.split(' ').next()).unwrap().to_owned();

    let (metrics, served) = (VerifierMetrics::default(), scene.served.clone());
    let client = RegistryClient::new([], RegistryLogins::default(), Default::default(), metrics.clone());
    let back =
        serve(Arc::new(LocalGate::new(client, Some(served), metrics)), StdListener::bind(&address).unwrap());
    scene.tasks.push(back);
    timeout(SOON, trouble.wait_for(Option::is_none)).await.expect("the gate is back").unwrap();
    assert!(look(&scene, &good).await.images[0].outcome.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lacks_the_secret_gets_nothing() {
    let registry = registry();
    let socket = StdListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let scene = scene(GatePlace::Here);
    let serving = serve(Arc::clone(&scene.gate), socket);
    let stranger = remote(&address, "another-secret-of-16");
    let look = stranger.look(&request(&registry.address, &["good"]), &FetchBoard::default()).await;
    assert!(fault(&look.images[0]).1.contains("same --gate-secret"), "{:?}", look.images);
    assert!(stranger.state().await.is_err_and(|why| why.contains("same --gate-secret")));
    let plain = reqwest::get(format!("http://{address}/gate/v1/state")).await.unwrap();
    assert_eq!(plain.status(), 401);
    assert!(registry.asked.lock().unwrap().is_empty());
    assert_eq!(remote(&address, SECRET).state().await.unwrap().address, "gate.lan:5000");
    serving.abort();
}
