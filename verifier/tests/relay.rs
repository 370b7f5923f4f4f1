//! Relays on a real engine, in a real slot's network.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, InspectContainerOptions, KillContainerOptions,
    ListContainersOptions, StartContainerOptions,
};
use futures::TryStreamExt;
use serde_json::json;
use testbed::{App, Node, Testbed, until};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use verifier::relay::{AppRequest, AwaitedPart, Relay, RelayError, RelaySpec, RequestFailure, RequestLimits};

const PATIENCE: Duration = Duration::from_secs(20);

async fn node() -> &'static Node {
    let bed = Testbed::shared().await.unwrap();
    &bed.swarm.nodes()[0]
}

/// Creates a network for a slot that only this test uses.
async fn slot(docker: &Docker, name: &str) -> RelaySpec {
    let network = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("overlay".to_owned()),
        internal: Some(true),
        attachable: Some(true),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(network).await.unwrap();
    spec(name)
}

fn spec(network: &str) -> RelaySpec {
    RelaySpec {
        network: network.to_owned(),
        labels: HashMap::from([("slot".to_owned(), network.to_owned())]),
    }
}

/// Runs a participant's image in the slot, and returns its address there.
async fn run(docker: &Docker, spec: &RelaySpec, name: &str, app: &App) -> IpAddr {
    let bed = Testbed::shared().await.unwrap();
    let image = bed.registry.push(name, app).await.unwrap();
    let pull = CreateImageOptions { from_image: Some(image.clone()), ..CreateImageOptions::default() };
    let pulled = docker.create_image(Some(pull), None, None);
    pulled.try_for_each(|_| async { Ok(()) }).await.unwrap();
    let body = ContainerCreateBody {
        image: Some(image),
        host_config: Some(HostConfig { network_mode: Some(spec.network.clone()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let created = docker.create_container(None::<CreateContainerOptions>, body);
    let id = created.await.unwrap().id;
    let started = docker.start_container(&id, None::<StartContainerOptions>);
    started.await.unwrap();
    let found = docker.inspect_container(&id, None::<InspectContainerOptions>);
    let settings = found.await.unwrap().network_settings.unwrap();
    let endpoint = settings.networks.unwrap().remove(&spec.network).unwrap();
    endpoint.ip_address.unwrap().parse().unwrap()
}

fn request(address: impl Into<IpAddr>, total: Duration) -> AppRequest {
    let limits = RequestLimits { total, ..RequestLimits::default() };
    AppRequest::new((address.into(), 80).into(), "/getconfig", "app", limits).unwrap()
}

/// Returns the number of a slot's containers, running or not.
async fn containers(docker: &Docker, spec: &RelaySpec) -> usize {
    let label = format!("slot={}", spec.network);
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
        ..ListContainersOptions::default()
    };
    docker.list_containers(Some(options)).await.unwrap().len()
}

#[tokio::test]
async fn it_asks_an_app_that_the_verifier_cannot_reach() {
    let docker = node().await.docker();
    let spec = slot(docker, "relay-good").await;
    let mut relay = Relay::open(docker, &spec).await.unwrap();
    let app = App::good(&json!({ "name": "Alice" }));
    let address = run(docker, &spec, "alice/good:1", &app).await;
    let asked = request(address, Duration::from_secs(5));
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        match relay.probe(asked.clone()).await.unwrap() {
            Ok(answer) => break answer,
            // The app may not listen yet.
            Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
        }
    };
    assert_eq!(answer.status, 200);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body, json!({ "name": "Alice" }));

    let began = Instant::now();
    for _ in 0..50 {
        let answer = relay.probe(asked.clone()).await.unwrap().unwrap();
        assert_eq!(answer.status, 200);
    }
    println!("a round trip takes {:?}", began.elapsed() / 50);
    relay.close().await.unwrap();
    assert_eq!(containers(docker, &spec).await, 0);
}

#[tokio::test]
async fn what_an_app_does_wrong_is_a_response_and_not_the_relays_end() {
    let docker = node().await.docker();
    let spec = slot(docker, "relay-bad").await;
    let mut relay = Relay::open(docker, &spec).await.unwrap();
    let app = App::slow(&json!({}), Duration::from_secs(30));
    let address = run(docker, &spec, "alice/slow:1", &app).await;
    let brief = Duration::from_millis(300);
    let deadline = Instant::now() + PATIENCE;
    // The app may not listen yet.
    while relay.probe(request(address, brief)).await.unwrap() == Err(RequestFailure::Refused) {
        assert!(Instant::now() < deadline);
    }
    let slow = relay.probe(request(address, brief)).await.unwrap();
    assert_eq!(slow, Err(RequestFailure::TimedOut(AwaitedPart::Head)));
    // A slot's network has no route to the outside.
    let outside = relay.probe(request([192, 0, 2, 1], brief)).await.unwrap();
    assert_eq!(outside, Err(RequestFailure::Unreachable));
    relay.close().await.unwrap();
}

#[tokio::test]
async fn it_is_given_as_little_as_a_process_can_be() {
    let node = node().await;
    let docker = node.docker();
    let spec = slot(docker, "relay-hardened").await;
    let relay = Relay::open(docker, &spec).await.unwrap();
    let found = docker.inspect_container(relay.container(), None::<InspectContainerOptions>);
    let found = found.await.unwrap();
    let host = found.host_config.unwrap();
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.pids_limit, Some(32));
    assert_eq!(host.memory, Some(32 << 20));
    assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
    let networks = found.network_settings.unwrap().networks.unwrap();
    assert!(networks.into_keys().eq([spec.network.clone()]));
    // The restrictions are read from the kernel, because the engine's configuration alone proves nothing.
    let pid = found.state.unwrap().pid.unwrap();
    let status = node.run(&["cat", &format!("/proc/{pid}/status")]).await;
    let status = status.unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("CapEff:"), "0000000000000000");
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    assert_eq!(line("Uid:"), "65534 65534 65534 65534");
    // Nothing in the slot can open a connection to the relay: the only listener is the engine's own
    // resolver, on the loopback.
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let sockets = node.run(&["cat", &format!("/proc/{pid}/net/{protocol}")]).await.unwrap();
        for socket in sockets.lines().skip(1) {
            assert!(socket.contains(": 0B00007F:"), "{protocol}: {socket}");
        }
    }
    relay.close().await.unwrap();
}

#[tokio::test]
async fn heartbeats_keep_an_idle_one_alive() {
    let docker = node().await.docker();
    let spec = slot(docker, "relay-idle").await;
    let mut relay = Relay::open(docker, &spec).await.unwrap();
    // The wait is longer than the silence after which a relay ends.
    sleep(relay::SILENCE + Duration::from_secs(2)).await;
    assert!(relay.is_alive());
    let refused = relay.probe(request([127, 0, 0, 1], Duration::from_secs(1)));
    assert_eq!(refused.await.unwrap(), Err(RequestFailure::Refused));
    relay.close().await.unwrap();
}

#[tokio::test]
async fn one_that_dies_is_noticed_and_replaced() {
    let docker = node().await.docker();
    let spec = slot(docker, "relay-dies").await;
    let mut relay = Relay::open(docker, &spec).await.unwrap();
    let killed = docker.kill_container(relay.container(), None::<KillContainerOptions>);
    killed.await.unwrap();
    let dead = async || (!relay.is_alive()).then_some(());
    until("the death to be noticed", PATIENCE, dead).await.unwrap();
    let nobody = request([127, 0, 0, 1], Duration::from_secs(1));
    let gone = relay.probe(nobody.clone()).await;
    assert!(matches!(gone, Err(RelayError::Gone)), "{gone:?}");
    relay.close().await.unwrap();
    assert_eq!(containers(docker, &spec).await, 0);

    let mut next = Relay::open(docker, &spec).await.unwrap();
    assert_eq!(next.probe(nobody).await.unwrap(), Err(RequestFailure::Refused));
    next.close().await.unwrap();
}

#[tokio::test]
async fn one_that_is_stuck_is_given_up_and_removed() {
    let node = node().await;
    let docker = node.docker();
    let spec = slot(docker, "relay-stuck").await;
    let mut relay = Relay::open(docker, &spec).await.unwrap();
    docker.pause_container(relay.container()).await.unwrap();
    let stuck = relay.probe(request([127, 0, 0, 1], Duration::from_secs(1)));
    let stuck = stuck.await;
    assert!(matches!(stuck, Err(RelayError::Session(_))), "{stuck:?}");
    assert!(!relay.is_alive());
    relay.close().await.unwrap();
    assert_eq!(containers(docker, &spec).await, 0);
}

#[tokio::test]
async fn dropping_it_or_giving_up_on_its_start_leaves_nothing() {
    let docker = node().await.docker();
    let spec = slot(docker, "relay-dropped").await;
    drop(Relay::open(docker, &spec).await.unwrap());
    // The image exists by now, so these calls are cancelled between the creation and the first ping.
    for patience in [5, 20, 60, 150].map(Duration::from_millis) {
        let _ = timeout(patience, Relay::open(docker, &spec)).await;
    }
    // A start that was cancelled continues to its end, and then removes its container.
    let idle = async || (Handle::current().metrics().num_alive_tasks() == 0).then_some(());
    until("all relays to be gone", PATIENCE, idle).await.unwrap();
    assert_eq!(containers(docker, &spec).await, 0);
}

#[tokio::test]
async fn a_slot_is_joined_again_and_again() {
    // The engine forgets an overlay network when its last container leaves, and may then fail to find the
    // network for the next container.
    let docker = node().await.docker();
    let spec = slot(docker, "relay-again").await;
    for round in 0..8 {
        let began = Instant::now();
        let relay = Relay::open(docker, &spec).await.unwrap();
        let opened = began.elapsed();
        relay.close().await.unwrap();
        let closed = began.elapsed();
        println!("round {round}: opened after {opened:?}, closed after {closed:?}");
    }
    assert_eq!(containers(docker, &spec).await, 0);
}

#[tokio::test]
async fn a_network_that_does_not_exist_is_the_engines_error() {
    let docker = node().await.docker();
    let spec = spec("relay-nowhere");
    let error = Relay::open(docker, &spec).await.unwrap_err().to_string();
    assert!(error.contains("network relay-nowhere not found"), "{error}");
    assert_eq!(containers(docker, &spec).await, 0);
}
