//! Attempts on a scripted Swarm, because a real one does not fail on demand. The log, the commands and the
//! registry's client are real.

use std::sync::Mutex;

use domain::challenge::{ChallengePublished, ProbeRules};
use domain::sandbox::SandboxGrade;
use domain::submission::{FailureCode, Participant, SCHEMA, Submitted};
use domain::testing::{ada, located_in};
use domain::{Challenge, Event, SubmissionId};
use event_store::testing::{append_foreign, event_about, tombstone};
use event_store::{
    Append, ExpectedRevision, Position, ReadDirection, RecordedEvent, SqliteStore, StreamName,
};
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::gate::{LocalGate, LookPass};
use crate::health::Health;
use crate::registry::tests::{ScriptedRegistry, generous, reply, scripted, sending};
use crate::registry::{RegistryClient, RegistryLogins};
use crate::relay::{AppResponse, AwaitedPart, RelayError, RequestFailure, RequestResult};
use crate::sandbox::admission::InspectionTerms;
use crate::sandbox::slots::{Capacity, SlotTerms, Slots};
use crate::swarm::fake::FakeSwarm;
use crate::swarm::{NodeId, Swarm, SwarmError, TaskEnding, TaskPhase};
use crate::work::run::WorkLoop;

/// Returns a gate for a Swarm whose nodes pull from the registries.
fn gate() -> Arc<dyn ImageGate> {
    let metrics = VerifierMetrics::default();
    let registry = RegistryClient::new([], RegistryLogins::default(), BTreeMap::new(), metrics.clone());
    Arc::new(LocalGate::new(registry, None, metrics))
}

struct AttemptScene {
    fake: Arc<FakeSwarm>,
    attempts: AttemptRunner,
    store: SqliteStore,
    id: domain::SubmissionId,
    _registry: ScriptedRegistry,
    _directory: tempfile::TempDir,
}

/// Submits one image with a `start_s` of 1 s, on a Swarm that follows this script.
async fn given(
    phases: impl IntoIterator<Item = Result<TaskPhase, SwarmError>>,
    responses: impl IntoIterator<Item = Result<RequestResult, RelayError>>,
) -> AttemptScene {
    given_from(generous(), 1, phases, responses).await
}

/// The same with an image of this registry, and with this `start_s`.
async fn given_from(
    registry: ScriptedRegistry,
    start_s: u64,
    phases: impl IntoIterator<Item = Result<TaskPhase, SwarmError>>,
    responses: impl IntoIterator<Item = Result<RequestResult, RelayError>>,
) -> AttemptScene {
    let image: ImageRef = format!("{}/ada/app", registry.address).parse().unwrap();
    let body = serde_json::json!({
        "name": "Ada", "location": "London", "repo": [image.to_string()], "vote": "Python",
    });
    let fake = Arc::new(FakeSwarm {
        phases: Mutex::new(phases.into_iter().collect()),
        responses: Arc::new(Mutex::new(responses.into_iter().collect())),
        body: body.to_string().into_bytes(),
        ..FakeSwarm::default()
    });
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("log.db")).unwrap();
    let mut challenge = Challenge::birthday();
    challenge.limits.start_s = start_s;
    let challenge = Arc::new(challenge);
    let commands = Commands::new(Arc::new(store.clone()), Arc::clone(&challenge));
    let capacity = Capacity { per_node: Some(1), memory_mib: 64 };
    let (health, _) = watch::channel(Health::default());
    let swarm: Arc<dyn Swarm> = Arc::<FakeSwarm>::clone(&fake);
    let terms = SlotTerms {
        inspection: InspectionTerms::from(&*challenge),
        lowest: SandboxGrade::Bare,
        capacity,
        fault: None,
    };
    let slots = Slots::start(Arc::clone(&swarm), "v1", terms, health, VerifierMetrics::default());
    let id = domain::SubmissionId(Uuid::now_v7());
    let submitted = Submitted {
        participant: Participant { name: "Ada".into(), twitter: None },
        location: located_in("London", "GB", 51.5, -0.1),
        images: vec![image.clone()],
        owner: image.owner().unwrap(),
        ..ada()
    };
    let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
    commands.handle(id, Command::Submit(Box::new(submitted)), cause).await.unwrap();
    let attempts = AttemptRunner {
        verifier: "v1".into(),
        store: Arc::new(store.clone()),
        commands,
        gate: gate(),
        pulls: NodePulls::default(),
        fetches: FetchBoard::default(),
        runs: Arc::default(),
        ledger: Mutex::default(),
        context: RunContext { challenge, swarm, slots },
        unknown_rules: watch::Sender::default(),
        metrics: VerifierMetrics::default(),
    };
    AttemptScene { fake, attempts, store, id, _registry: registry, _directory: directory }
}

impl AttemptScene {
    async fn lease(&self) -> SlotLease {
        let deadline = Instant::now() + Duration::from_secs(20);
        self.attempts.context.slots.wait(None, SandboxGrade::Bare, deadline).await.unwrap()
    }

    /// Looks at the images, and makes an attempt in this slot.
    async fn run(&self, ticket: Ticket, lease: SlotLease) -> AttemptEnd {
        run(&self.attempts, ticket, lease, &CancellationToken::new()).await
    }

    /// Makes one attempt, and returns the submission's events.
    async fn attempted(&self) -> Vec<Event> {
        let ticket = Ticket { id: self.id, cause: Uuid::now_v7(), since: Position::START };
        let end = self.run(ticket, self.lease().await).await;
        assert_eq!(end, AttemptEnd::Reported);
        self.attempts.context.slots.close().await;
        let deployed = self.fake.deployed.lock().unwrap().len();
        assert_eq!(self.fake.removed.lock().unwrap().len(), deployed, "a service was not removed");
        self.events().await
    }

    /// Makes one attempt whose script of responses ends as soon as the second slot is in use.
    async fn attempted_with_a_good_second_slot(&self) -> Vec<Event> {
        let (responses, fake) = (Arc::clone(&self.fake.responses), Arc::clone(&self.fake));
        let relenting = async move {
            while fake.deployed.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            responses.lock().unwrap().clear();
        };
        let relenting = timeout(Duration::from_secs(60), relenting);
        let (events, relented) = tokio::join!(self.attempted(), relenting);
        relented.expect("the attempt takes a second slot");
        events
    }

    async fn events(&self) -> Vec<Event> {
        let stream = StreamName::of("submission", self.id.0);
        let recorded = self.store.read_stream(&stream, 0, ReadDirection::Forwards, 100).await.unwrap();
        recorded.iter().map(|one| one.decode(Event::from_stored).unwrap()).collect()
    }
}

async fn run(
    attempts: &AttemptRunner,
    ticket: Ticket,
    lease: SlotLease,
    stop: &CancellationToken,
) -> AttemptEnd {
    match attempts.look_ahead(ticket).await {
        Ok(looked) => {
            let lease = Some(lease).filter(|_| looked.needs_slot());
            attempts.run(ticket, looked, lease, stop).await
        }
        Err(end) => end,
    }
}

fn interruption(events: &[Event]) -> InterruptionCode {
    match events.last() {
        Some(Event::VerificationInterrupted(interrupted)) => interrupted.code,
        _ => panic!("{events:#?}"),
    }
}

fn failure(events: &[Event]) -> FailureCode {
    match events.last() {
        Some(Event::Failed(failed)) => failed.reasons[0].code,
        _ => panic!("{events:#?}"),
    }
}

fn no_way() -> Vec<Result<RequestResult, RelayError>> {
    // More than the number of probes in the second that an app has.
    (0..200).map(|_| Ok(Err(RequestFailure::ConnectTimedOut))).collect()
}

#[tokio::test]
async fn no_image_is_deployed_whose_layers_no_engine_can_unpack() {
    let scene = given_from(sending("no archive ".repeat(100)), 1, [], []).await;
    assert_eq!(failure(&scene.attempted().await), FailureCode::ImageRefused);
    assert_eq!(scene.fake.deployed.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_look_that_fails_decides_without_a_slot() {
    let failing = scripted(|_, _| reply("500 Internal Server Error", "", ""));
    let scene = given_from(failing, 1, [], []).await;
    let ticket = Ticket { id: scene.id, cause: Uuid::now_v7(), since: Position::START };
    let looked = scene.attempts.look_ahead(ticket).await.unwrap();
    assert!(!looked.needs_slot());
    let end = scene.attempts.run(ticket, looked, None, &CancellationToken::new()).await;
    assert_eq!(end, AttemptEnd::Reported);
    assert_eq!(interruption(&scene.events().await), InterruptionCode::RegistryUnavailable);
    assert_eq!(scene.fake.deployed.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn images_are_pulled_to_a_node_before_a_slot_of_it_is_taken() {
    let scene = given([], []).await;
    let slots = &scene.attempts.context.slots;
    // Once a slot is ready, its node may be chosen. Its engine is out of reach.
    drop(scene.lease().await);
    let ticket = Ticket { id: scene.id, cause: Uuid::now_v7(), since: Position::START };
    let looked = scene.attempts.look_ahead(ticket).await.unwrap();
    assert!(looked.needs_slot() && looked.home().is_none());

    *scene.fake.pulling.lock().unwrap() = ["n1", "n2"].map(NodeId::new).to_vec();
    let looked = scene.attempts.look_ahead(ticket).await.unwrap();
    let home = looked.home().unwrap().clone();
    {
        let pulled = scene.fake.pulled.lock().unwrap();
        assert_eq!(pulled.len(), 1);
        assert!(pulled[0].0 == home && pulled[0].1.contains("/ada/app@sha256:"), "{pulled:?}");
    }
    // Its only place is promised, so the next goes elsewhere, although this node has the layers.
    let next = scene.attempts.look_ahead(ticket).await.unwrap();
    assert_ne!(next.home(), Some(&home));
    drop((looked, next));
    let looked = scene.attempts.look_ahead(ticket).await.unwrap();
    assert!(looked.home().is_some());

    let mut changes = slots.changes();
    let home = looked.home().unwrap().clone();
    let there = async {
        loop {
            match slots.take(None, Some(&home)) {
                Some(lease) if lease.node().id == home => return lease,
                _ => changes.changed().await.unwrap(),
            }
        }
    };
    let lease = timeout(Duration::from_secs(20), there).await.expect("its home has a slot");
    let end = scene.attempts.run(ticket, looked, Some(lease), &CancellationToken::new()).await;
    assert_eq!(end, AttemptEnd::Reported);
    assert!(matches!(scene.events().await.last(), Some(Event::Passed(_))));
    assert_eq!(*scene.fake.deployed.lock().unwrap(), [home]);
}

#[tokio::test]
async fn each_step_is_recorded() {
    let events = given([], []).await.attempted().await;
    let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
    assert_eq!(
        kinds,
        ["Submitted", "VerificationStarted", "ImagesPulled", "ContainersStarted", "Probed", "Passed"]
    );
}

#[tokio::test]
async fn an_app_is_probed_as_soon_as_its_engine_reports_its_start() {
    let stage = given([Ok(TaskPhase::Pulling)], []).await;
    let fake = Arc::clone(&stage.fake);
    let reporting = tokio::spawn(async move {
        loop {
            let task = fake.tasks.lock().unwrap().values().next().map(|task| task.id.clone());
            if let Some(task) = task {
                fake.starts.send_replace(task);
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let events = stage.attempted().await;
    reporting.await.unwrap();
    let kinds: Vec<&str> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds[2..], ["ImagesPulled", "ContainersStarted", "Probed", "Passed"]);
}

#[tokio::test]
async fn an_app_that_was_not_reached_is_tried_on_another_node() {
    let stage = given([], no_way()).await;
    // The network of the first slot fails for all of the app's second.
    let events = stage.attempted_with_a_good_second_slot().await;
    assert!(matches!(events.last(), Some(Event::Passed(_))), "{events:#?}");
    let deployed = stage.fake.deployed.lock().unwrap().clone();
    assert_eq!(deployed.len(), 2);
    assert_ne!(deployed[0], deployed[1], "another node");
    let started: Vec<_> =
        events.iter().filter(|event| matches!(event, Event::ContainersStarted(_))).collect();
    assert_eq!(started.len(), 2, "the second start is told too: {events:#?}");
}

#[tokio::test]
async fn an_app_that_is_not_reached_from_two_networks_fails_with_nothing_on_port() {
    let events = given([], no_way()).await.attempted().await;
    assert_eq!(failure(&events), FailureCode::NothingOnPort);
}

#[tokio::test]
async fn a_relay_that_fails_is_never_held_against_the_app() {
    let failing = (0..2).map(|_| Ok(Err(RequestFailure::Local(24))));
    let stage = given([], failing).await;
    assert_eq!(interruption(&stage.attempted().await), InterruptionCode::SlotFailed);
    let once = given([], [Err(RelayError::Gone)]).await;
    assert!(matches!(once.attempted().await.last(), Some(Event::Passed(_))));
}

#[tokio::test]
async fn an_app_that_is_right_only_once_fails() {
    let stage = given([], []).await;
    let answer = |body: Vec<u8>| {
        let latency = Duration::from_millis(1);
        Ok(Ok(AppResponse { status: 200, content_type: None, location: None, latency, body }))
    };
    let right_once = [answer(stage.fake.body.clone()), answer(b"{}".to_vec())];
    stage.fake.responses.lock().unwrap().extend(right_once);
    assert_eq!(failure(&stage.attempted().await), FailureCode::Mismatch);
}

fn respond(status: u16, location: Option<&str>, body: &[u8]) -> Result<RequestResult, RelayError> {
    let latency = Duration::from_millis(1);
    let location = location.map(Into::into);
    Ok(Ok(AppResponse { status, content_type: None, location, latency, body: body.to_vec() }))
}

#[tokio::test]
async fn an_app_has_its_time_to_start() {
    let not_yet = [
        [Ok(Err(RequestFailure::Refused)), Ok(Err(RequestFailure::ClosedEarly(AwaitedPart::Head)))],
        [Ok(Err(RequestFailure::TimedOut(AwaitedPart::Head))), respond(502, None, b"Bad Gateway")],
        [respond(404, None, b"not yet"), respond(200, None, b"")],
    ];
    for starting in not_yet {
        let stage = given([], starting).await;
        let events = stage.attempted().await;
        assert!(matches!(events.last(), Some(Event::Passed(_))), "{events:#?}");
        assert_eq!(stage.fake.deployed.lock().unwrap().len(), 1, "one slot is enough");
    }
}

/// Fails each probe in the first slot with `failure`, and none in the second.
async fn with_a_bad_first_slot(failure: RequestFailure) -> Vec<Event> {
    let stage = given([], (0..200).map(|_| Ok(Err(failure)))).await;
    stage.attempted_with_a_good_second_slot().await
}

#[tokio::test]
async fn an_app_that_a_slow_node_may_have_failed_is_tried_in_a_second_slot() {
    for failure in
        [RequestFailure::TimedOut(AwaitedPart::Head), RequestFailure::ClosedEarly(AwaitedPart::Body)]
    {
        let events = with_a_bad_first_slot(failure).await;
        assert!(matches!(events.last(), Some(Event::Passed(_))), "{failure:?}: {events:#?}");
    }
}

#[tokio::test]
async fn an_app_that_fails_in_two_slots_in_two_ways_has_its_verdict() {
    let ended = Ok(TaskPhase::Ended(TaskEnding::Exited(1)));
    let silent = (0..200).map(|_| Ok(Err(RequestFailure::TimedOut(AwaitedPart::Head))));
    let events = given([ended], silent).await.attempted().await;
    assert_eq!(failure(&events), FailureCode::TimedOut);
}

#[tokio::test]
async fn an_app_that_stops_to_listen_is_not_told_that_nothing_ever_listened() {
    let once = [respond(502, None, b"Bad Gateway")];
    let refused = || (0..200).map(|_| Ok(Err(RequestFailure::Refused)));
    let events = given([], once.into_iter().chain(refused())).await.attempted().await;
    // The first slot's suspicion is confirmed in the second, where nothing ever listens.
    assert_eq!(failure(&events), FailureCode::NothingOnPort);
}

#[tokio::test]
async fn after_its_time_the_last_answer_of_an_app_counts() {
    let refusing = (0..3).map(|_| Ok(Err(RequestFailure::Refused)));
    let failing = (0..200).map(|_| respond(502, None, b"Bad Gateway"));
    let events = given([], refusing.chain(failing)).await.attempted().await;
    assert_eq!(failure(&events), FailureCode::BadStatus);
    let Some(Event::Failed(failed)) = events.last() else { panic!("{events:#?}") };
    assert!(failed.reasons[0].message.contains("status 502 for 1 s"), "{:?}", failed.reasons);
}

#[tokio::test]
async fn one_redirect_to_the_same_place_is_followed() {
    let stage = given([], []).await;
    let body = stage.fake.body.clone();
    // A right app is probed twice, so the redirect is followed twice.
    let way = || [respond(301, Some("/getconfig/"), b""), respond(200, None, &body)];
    stage.fake.responses.lock().unwrap().extend(way().into_iter().chain(way()));
    let events = stage.attempted().await;
    assert!(matches!(events.last(), Some(Event::Passed(_))), "{events:#?}");
    let twice = (0..2).map(|_| respond(301, Some("/getconfig/"), b""));
    assert_eq!(failure(&given([], twice).await.attempted().await), FailureCode::Redirected);
}

#[tokio::test]
async fn an_app_that_ends_during_the_probe_exited_early() {
    let ended = || Ok(TaskPhase::Ended(TaskEnding::Exited(3)));
    let once = given([ended()], []).await;
    assert!(matches!(once.attempted().await.last(), Some(Event::Passed(_))), "a busy node may be the reason");
    let events = given([ended(), ended()], []).await.attempted().await;
    assert_eq!(failure(&events), FailureCode::ExitedEarly);
    let Some(Event::Failed(failed)) = events.last() else { panic!("{events:#?}") };
    assert!(failed.reasons[0].message.contains("exit code 3"), "{:?}", failed.reasons);
    assert!(failed.reasons[0].message.contains("no database"), "{:?}", failed.reasons);
}

#[tokio::test]
async fn lack_of_memory_and_a_missing_program_have_their_own_codes() {
    let killed = || Ok(TaskPhase::Ended(TaskEnding::Exited(137)));
    assert_eq!(failure(&given([killed(), killed()], []).await.attempted().await), FailureCode::OutOfMemory);
    let not_started = TaskEnding::NotStarted("exec: \"/nope\": no such file or directory".into());
    let stage = given([Ok(TaskPhase::Ended(not_started))], []).await;
    assert_eq!(failure(&stage.attempted().await), FailureCode::DidNotStart);
}

#[tokio::test]
async fn an_app_that_was_killed_once_may_have_been_killed_by_its_engine() {
    for code in [137, 255] {
        let stage = given([Ok(TaskPhase::Ended(TaskEnding::Exited(code)))], []).await;
        let events = stage.attempted().await;
        assert!(matches!(events.last(), Some(Event::Passed(_))), "{events:#?}");
        let deployed = stage.fake.deployed.lock().unwrap().clone();
        assert_ne!(deployed[0], deployed[1], "another node");
    }
    // Two suspicions with different codes prove nothing.
    let killed = Ok(TaskPhase::Ended(TaskEnding::Exited(137)));
    let crashed = Ok(TaskPhase::Ended(TaskEnding::Exited(139)));
    assert_eq!(
        interruption(&given([killed, crashed], []).await.attempted().await),
        InterruptionCode::SlotFailed
    );
    // An app that exits by itself in one slot and is killed in the other is to blame.
    let exited = || Ok(TaskPhase::Ended(TaskEnding::Exited(1)));
    let killed = || Ok(TaskPhase::Ended(TaskEnding::Exited(137)));
    assert_eq!(failure(&given([exited(), killed()], []).await.attempted().await), FailureCode::OutOfMemory);
    assert_eq!(failure(&given([killed(), exited()], []).await.attempted().await), FailureCode::ExitedEarly);
}

#[tokio::test]
async fn a_node_that_is_out_of_touch_proves_nothing_against_its_app() {
    let refused = || (0..200).map(|_| Ok(Err(RequestFailure::Refused)));
    assert_eq!(failure(&given([], refused()).await.attempted().await), FailureCode::NothingOnPort);
    // The first node may have killed the app. The second node shows that the app is right.
    let stage = given([], refused()).await;
    *stage.fake.is_out_of_touch.lock().unwrap() = true;
    let events = stage.attempted_with_a_good_second_slot().await;
    assert!(matches!(events.last(), Some(Event::Passed(_))), "{events:#?}");
}

fn hangs() -> Result<TaskPhase, SwarmError> {
    let why = "the node did not start the container within 30 s".to_owned();
    Ok(TaskPhase::Ended(TaskEnding::PlatformFault(InterruptionCode::NodeIll, why)))
}

#[tokio::test]
async fn an_image_that_two_nodes_cannot_start_gets_its_verdict() {
    let stage = given([hangs(), hangs(), hangs()], []).await;
    let others_run = || {
        for node in ["n1", "n2"] {
            let what = ImageOnNode {
                submission: domain::SubmissionId(Uuid::now_v7()),
                owner: "docker.io/bob".into(),
                image: "bob/app@sha256:00".into(),
                node: NodeId::new(node),
            };
            stage.attempts.ledger().record_run(&what);
        }
    };
    let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
    let first = stage.lease().await;
    let failed_on = first.node().id.clone();
    let end = stage.run(ticket, first).await;
    assert_eq!(end, AttemptEnd::Reported);
    assert_eq!(interruption(&stage.events().await), InterruptionCode::NodeIll);
    assert_eq!(stage.attempts.last_failed_on(stage.id), Some(failed_on.clone()), "another node comes first");

    // It is tried again on the other node, as soon as its pause is over.
    let slots = &stage.attempts.context.slots;
    let another = async |avoid: &NodeId| {
        let deadline = Instant::now() + Duration::from_secs(20);
        // While no other node has a slot, a slot of this one is lent.
        loop {
            let lease = slots.wait(Some(avoid), SandboxGrade::Bare, deadline).await.expect("a slot is free");
            if lease.node().id != *avoid {
                return lease;
            }
            assert!(Instant::now() < deadline, "no other node has a slot");
            drop(lease);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    while stage.run(ticket, another(&failed_on).await).await != AttemptEnd::Reported {}
    assert_eq!(interruption(&stage.events().await), InterruptionCode::NodeIll, "the nodes may both be ill");

    others_run();
    while stage.run(ticket, another(&failed_on).await).await != AttemptEnd::Reported {}
    let events = stage.events().await;
    assert_eq!(failure(&events), FailureCode::DidNotStart);
    let Some(Event::Failed(failed)) = events.last() else { unreachable!("it failed") };
    assert!(failed.reasons[0].message.contains("did not start the container within 30 s"), "{failed:?}");
    // Both nodes still get work: one owner's image says nothing about them.
    let lease = another(&failed_on).await;
    assert_eq!(another(&lease.node().id).await.node().id, failed_on);
}

#[tokio::test]
async fn a_node_on_which_images_of_two_owners_fail_gets_no_work_for_a_while() {
    let stage = given([], []).await;
    let slots = &stage.attempts.context.slots;
    let first = stage.lease().await;
    let (ill, well) = match first.node().id.as_str() {
        "n1" => (NodeId::new("n1"), NodeId::new("n2")),
        _ => (NodeId::new("n2"), NodeId::new("n1")),
    };
    drop(first);
    for owner in ["bob", "eve"] {
        let on = |node: &NodeId| ImageOnNode {
            submission: stage.id,
            owner: owner.into(),
            image: format!("{owner}/app"),
            node: node.clone(),
        };
        let fault = PlatformFault::new(InterruptionCode::NodeIll, "no");
        stage.attempts.note_finding(&on(&ill), &LookPass::default(), &mut AppFinding::PlatformFault(fault));
        let code = FailureCode::Mismatch;
        let evidence = Evidence::Failure { code, message: "no".into() };
        stage.attempts.note_finding(&on(&well), &LookPass::default(), &mut AppFinding::Confirmed(evidence));
    }
    let deadline = || Instant::now() + Duration::from_secs(20);
    let lease = slots.wait(Some(&well), SandboxGrade::Bare, deadline()).await.expect("a slot is free");
    assert_eq!(lease.node().id, well, "the other node is ill");
    // If all nodes seem ill, they are used nevertheless.
    slots.doubt(&well);
    assert!(slots.wait(None, SandboxGrade::Bare, deadline()).await.is_some());
}

#[tokio::test]
async fn faults_of_the_platform_interrupt_the_attempt() {
    let lost = TaskEnding::PlatformFault(InterruptionCode::NodeLost, "orphaned".into());
    let unprotected = || Err(SwarmError::Unprotected(vec!["CapabilityDrop".into()]));
    for (phase, code) in [
        (Ok(TaskPhase::Ended(lost)), InterruptionCode::NodeLost),
        (unprotected(), InterruptionCode::NodeIll),
        (Err(SwarmError::Refused("no".into())), InterruptionCode::SwarmUnavailable),
    ] {
        let stage = given([phase], []).await;
        assert_eq!(interruption(&stage.attempted().await), code);
    }
}

#[tokio::test]
async fn a_verifier_that_was_overtaken_drops_its_verdict() {
    let stage = given([], (0..20).map(|_| Ok(Err(RequestFailure::Refused)))).await;
    let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
    let lease = stage.lease().await;
    let overtaking = async {
        let started =
            async || stage.events().await.iter().any(|event| matches!(event, Event::ContainersStarted(_)));
        while !started().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let fault = PlatformFault::new(InterruptionCode::LeaseExpired, "late");
        let command = Command::Interrupt { attempt: 1, fault, at: Timestamp::now(), others_run: false };
        let cause = Cause { actor: Actor::Verifier("v2".into()), id: Uuid::now_v7() };
        stage.attempts.commands.handle(stage.id, command, cause).await.unwrap();
    };
    let (made, ()) = tokio::join!(stage.run(ticket, lease), overtaking);
    assert_eq!(made, AttemptEnd::Reported);
    assert_eq!(interruption(&stage.events().await), InterruptionCode::LeaseExpired);
}

#[tokio::test]
async fn a_stop_puts_the_submission_back() {
    let stage = given([], (0..200).map(|_| Ok(Err(RequestFailure::Refused)))).await;
    let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
    let lease = stage.lease().await;
    let stop = CancellationToken::new();
    let stopping = async {
        while stage.fake.deployed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    tokio::join!(run(&stage.attempts, ticket, lease, &stop), stopping);
    assert_eq!(interruption(&stage.events().await), InterruptionCode::VerifierStopped);
    stage.attempts.context.slots.close().await;
    assert_eq!(stage.fake.removed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_submission_that_is_withdrawn_while_it_is_verified_is_let_go() {
    // The app could be asked for ten minutes.
    let stage = given_from(generous(), 600, [], (0..100_000).map(|_| Ok(Err(RequestFailure::Refused)))).await;
    let AttemptScene { fake, attempts, store, id, _registry, _directory } = stage;
    let (commands, slots) = (attempts.commands.clone(), attempts.context.slots.clone());
    let work = WorkLoop {
        store: Arc::new(store.clone()),
        commands: commands.clone(),
        verifier: "v1".into(),
        attempts: Arc::new(attempts),
        slots,
        grace: Duration::ZERO,
    };
    let shutdown = CancellationToken::new();
    let withdrawing = async {
        while fake.deployed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
        commands.handle(id, Command::Withdraw, cause).await.unwrap();
        while fake.removed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.cancel();
    };
    let withdrawing = timeout(Duration::from_secs(60), withdrawing);
    let (worked, withdrawn) = tokio::join!(work.until(shutdown.clone()), withdrawing);
    assert!(worked.is_ok() && withdrawn.is_ok());
    let stream = StreamName::of("submission", id.0);
    let recorded = store.read_stream(&stream, 0, ReadDirection::Forwards, 100).await.unwrap();
    assert_eq!(recorded.last().map(|event| event.kind.as_str()), Some("Withdrawn"));
    assert_eq!(fake.deployed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn only_one_of_two_verifiers_claims() {
    let stage = given([], []).await;
    let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
    let (one, other) = (stage.lease().await, stage.lease().await);
    let rival = AttemptRunner {
        verifier: "v2".into(),
        store: Arc::clone(&stage.attempts.store),
        commands: stage.attempts.commands.clone(),
        gate: gate(),
        pulls: NodePulls::default(),
        fetches: FetchBoard::default(),
        runs: Arc::default(),
        ledger: Mutex::default(),
        context: RunContext {
            challenge: Arc::clone(&stage.attempts.context.challenge),
            swarm: Arc::clone(&stage.attempts.context.swarm),
            slots: stage.attempts.context.slots.clone(),
        },
        unknown_rules: watch::Sender::default(),
        metrics: VerifierMetrics::default(),
    };
    let never = CancellationToken::new();
    let (a, b) = tokio::join!(stage.run(ticket, one), run(&rival, ticket, other, &never));
    assert!(a != b, "one of them");
    let verdicts = stage.events().await.iter().filter(|event| matches!(event, Event::Passed(_))).count();
    assert_eq!(verdicts, 1);
}

#[tokio::test]
async fn what_was_deleted_or_cannot_be_read_is_not_claimed() {
    let stage = given([], []).await;
    let stream = StreamName::of("submission", stage.id.0);
    let newer = event_about(stage.id.0, SCHEMA, "Exploded", "{}");
    stage.store.append(&stream, ExpectedRevision::Any, vec![newer]).await.unwrap();
    for is_deleted in [false, true] {
        if is_deleted {
            tombstone(&stage.store, &stream).await;
        }
        let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
        let end = stage.run(ticket, stage.lease().await).await;
        assert_eq!(end, AttemptEnd::NothingToClaim);
    }
}

/// The main loop, on a log with strangers' events in all streams, a rejudge in a stream that was deleted since, and a
/// submission of a newer version.
#[tokio::test]
async fn the_main_loop_goes_on_over_strangers_and_deleted_streams() {
    let stage = given([], []).await;
    let (commands, log) = (stage.attempts.commands.clone(), stage.store.clone());
    let append = async |id: SubmissionId, kind: &str, data: &str| {
        let event = event_about(id.0, SCHEMA, kind, data.to_owned());
        log.append(&StreamName::of("submission", id.0), ExpectedRevision::Any, vec![event]).await.unwrap();
    };
    let (gone, newer) = (SubmissionId(Uuid::now_v7()), SubmissionId(Uuid::now_v7()));
    append(gone, "RejudgeRequested", r#"{"by":"Grace","why":"rules"}"#).await;
    tombstone(&log, &StreamName::of("submission", gone.0)).await;
    append(newer, "Exploded", "{}").await;
    for name in ["submission-stats".to_owned(), format!("submission-{}", stage.id)] {
        for data in ["no JSON", "{}"] {
            append_foreign(&log, &StreamName::new(name.as_str()).unwrap(), "Passed", data, "").await;
        }
    }

    let (shutdown, slots) = (CancellationToken::new(), stage.attempts.context.slots.clone());
    let work = WorkLoop {
        store: Arc::new(log.clone()),
        commands,
        verifier: "v1".to_owned(),
        attempts: Arc::new(stage.attempts),
        slots,
        grace: Duration::from_secs(5),
    };
    let working = tokio::spawn(work.until(shutdown.clone()));
    let stream = StreamName::of("submission", stage.id.0);
    let passed = async {
        let is_verdict = |event: &RecordedEvent| event.kind == "Passed" && !event.metadata.is_empty();
        while !log.read_stream(&stream, 0, ReadDirection::Forwards, 50).await.unwrap().iter().any(is_verdict)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), passed).await.expect("the submission passes");
    shutdown.cancel();
    working.await.unwrap().unwrap();
}

/// A scene has two slots, and three submissions wait for a registry that never answers.
#[tokio::test]
async fn a_registry_that_does_not_answer_keeps_no_slot_from_others() {
    let AttemptScene { attempts, store, id, _registry, _directory, .. } = given([], []).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = StreamName::of("submission", id.0);
    let first = store.read_stream(&stream, 0, ReadDirection::Forwards, 1).await.unwrap();
    let Event::Submitted(like) = first[0].decode(Event::from_stored).unwrap() else { panic!("submitted") };
    let submit = async |owner: &str, registry: &str| {
        let (id, image) = (SubmissionId(Uuid::now_v7()), format!("{registry}/{owner}/app"));
        let image: ImageRef = image.parse().unwrap();
        let submitted = Submitted { owner: image.owner().unwrap(), images: vec![image], ..like.clone() };
        let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
        attempts.commands.handle(id, Command::Submit(Box::new(submitted)), cause).await.unwrap();
        id
    };
    let mut waiting = Vec::new();
    for owner in ["eve", "mallory", "trudy"] {
        waiting.push(submit(owner, &silent.local_addr().unwrap().to_string()).await);
    }
    let last = submit("zoe", &_registry.address).await;
    let (shutdown, slots) = (CancellationToken::new(), attempts.context.slots.clone());
    let work = WorkLoop {
        store: Arc::new(store.clone()),
        commands: attempts.commands.clone(),
        verifier: "v1".into(),
        attempts: Arc::new(attempts),
        slots,
        grace: Duration::ZERO,
    };
    let kinds = async |id: SubmissionId| -> Vec<String> {
        let stream = StreamName::of("submission", id.0);
        let events = store.read_stream(&stream, 0, ReadDirection::Forwards, 50).await.unwrap();
        events.into_iter().map(|event| event.kind.to_string()).collect()
    };
    let judged = async {
        for id in [id, last] {
            while !kinds(id).await.iter().any(|kind| matches!(kind.as_str(), "Passed" | "Failed")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let judged = async {
        let judged = timeout(Duration::from_secs(40), judged).await;
        shutdown.cancel();
        judged
    };
    let (worked, judged) = tokio::join!(work.until(shutdown.clone()), judged);
    assert!(worked.is_ok() && judged.is_ok());
    for id in waiting {
        assert_eq!(kinds(id).await, ["Submitted"], "it has no claim");
    }
}

/// Makes the scene's submission one that names these rules.
async fn submitted_under(stage: &mut AttemptScene, rules: String) {
    let Some(Event::Submitted(mut submitted)) = stage.events().await.into_iter().next() else {
        panic!("it was submitted")
    };
    submitted.challenge.rules = rules;
    stage.id = SubmissionId(Uuid::now_v7());
    let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
    let submit = Command::Submit(Box::new(submitted));
    stage.attempts.commands.handle(stage.id, submit, cause).await.unwrap();
}

#[tokio::test]
async fn a_submission_is_judged_by_the_rules_that_it_names_and_the_verdict_tells_what_was_looked_at() {
    let mut others = Challenge::birthday();
    let ProbeRules::Http(probe) = &mut others.probe;
    probe.compare = vec!["name".to_owned()];
    // Right by the other rules alone: the vote is missing.
    let only_the_name = || respond(200, None, br#"{"name":"Ada"}"#);
    let mut stage = given([], [only_the_name(), only_the_name()]).await;
    Commands::new(Arc::new(stage.store.clone()), Arc::new(others.clone())).publish_rules().await.unwrap();
    submitted_under(&mut stage, others.digest()).await;
    let events = stage.attempted().await;
    let Some(Event::Passed(passed)) = events.last() else { panic!("{events:#?}") };
    assert_eq!(passed.basis.rules, Some(others.digest()));
    let pulled = events.iter().find_map(|event| match event {
        Event::ImagesPulled(pulled) => Some(pulled.images[0].digest.clone()),
        _ => None,
    });
    let looked_at: Vec<_> = passed.basis.images.iter().map(|image| Some(image.digest.clone())).collect();
    assert_eq!(looked_at, [pulled]);
}

#[tokio::test]
async fn a_submission_whose_rules_are_of_a_newer_version_is_left_to_others() {
    let mut stage = given([], []).await;
    let rules = format!("sha256:{}", "0".repeat(64));
    let stream = StreamName::new(ChallengePublished::stream(&rules).unwrap()).unwrap();
    let newer = event_about(Uuid::nil(), 9, ChallengePublished::KIND, "{}");
    stage.store.append(&stream, ExpectedRevision::NoStream, vec![newer]).await.unwrap();
    submitted_under(&mut stage, rules.clone()).await;
    let ticket = Ticket { id: stage.id, cause: Uuid::now_v7(), since: Position::START };
    let end = stage.run(ticket, stage.lease().await).await;
    assert_eq!(end, AttemptEnd::LeftToOthers);
    assert_eq!(*stage.attempts.unknown_rules.borrow(), BTreeSet::from([rules]));
    assert_eq!(stage.events().await.len(), 1, "it was claimed");
}
