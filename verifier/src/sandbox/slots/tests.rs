//! Slots that seem faulty are retired and replaced, on a scripted Swarm: a real one does not fail on demand.

use std::sync::atomic::Ordering;

use domain::Challenge;

use super::*;
use crate::health::NodeState;
use crate::swarm::fake::FakeSwarm;
use crate::swarm::{Deployment, NetworkId, StuckContainer};

const SOON: Duration = Duration::from_secs(20);

fn slots(fake: &Arc<FakeSwarm>) -> Slots {
    slots_with(fake, 1)
}

fn terms(capacity: Capacity) -> SlotTerms {
    SlotTerms {
        inspection: InspectionTerms::from(&Challenge::birthday()),
        lowest: SandboxGrade::Bare,
        capacity,
        fault: None,
    }
}

fn slots_with(fake: &Arc<FakeSwarm>, per_node: usize) -> Slots {
    let capacity = Capacity { per_node: Some(per_node), memory_mib: 64 };
    let swarm: Arc<dyn Swarm> = Arc::<FakeSwarm>::clone(fake);
    Slots::start(
        swarm,
        "v1",
        terms(capacity),
        watch::Sender::new(Health::default()),
        VerifierMetrics::default(),
    )
}

async fn lease(slots: &Slots) -> SlotLease {
    slots.wait(None, SandboxGrade::Bare, Instant::now() + SOON).await.expect("a slot is ready")
}

#[tokio::test]
async fn no_attempt_begins_while_the_clock_is_wrong() {
    let (health, mut told) = watch::channel(Health::default());
    let swarm: Arc<dyn Swarm> = Arc::new(FakeSwarm::default());
    let capacity = Capacity { per_node: Some(1), memory_mib: 64 };
    let slots = Slots::start(swarm, "v1", terms(capacity), health, VerifierMetrics::default());
    let fault = watch::Sender::new(None);
    let heeding = tokio::spawn({
        let (slots, fault) = (slots.clone(), fault.subscribe());
        async move { slots.heed_fault(fault).await }
    });
    let mut changes = slots.changes();
    let ready = changes.wait_for(|()| slots.has_free());
    timeout(SOON, ready).await.expect("a slot is ready").unwrap();
    let why = "the clock of this machine is 42 s ahead of the log's";
    fault.send_replace(Some(VerifierFault::Clock(why.to_owned())));
    let said = told.wait_for(|health| health.pause_reason.as_deref() == Some(why));
    timeout(SOON, said).await.expect("the verifier says so").unwrap();
    assert!(!slots.has_free() && slots.take(None, None).is_none());
    fault.send_replace(None);
    let well = told.wait_for(|health| health.pause_reason.is_none());
    timeout(SOON, well).await.expect("the clock is right again").unwrap();
    assert!(slots.take(None, None).is_some());
    drop(fault);
    heeding.await.unwrap();
    slots.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_leaves_others_alone_and_a_shared_name_everything() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    drop(lease(&slots).await);
    let faults = watch::Sender::new(Some(VerifierFault::Clock("ahead".to_owned())));
    let heeding = tokio::spawn({
        let (slots, faults) = (slots.clone(), faults.subscribe());
        async move { slots.heed_fault(faults).await }
    });
    tokio::task::yield_now().await;
    let of = |verifier: &str, deadline: &str| {
        Labels::from([
            (label::VERIFIER.to_owned(), verifier.to_owned()),
            (label::SLOT.to_owned(), "of-an-earlier-run".to_owned()),
            (label::DEADLINE.to_owned(), deadline.to_owned()),
        ])
    };
    *fake.owned.lock().unwrap() = vec![("own", of("v1", "1")), ("overdue", of("v2", "1"))];
    let removed = || std::mem::take(&mut *fake.removed.lock().unwrap());
    let after = async |fault: Option<VerifierFault>| {
        faults.send_replace(fault);
        tokio::task::yield_now().await;
        removed();
        sleep(Duration::from_secs(45)).await;
        let mut removed = removed();
        removed.sort();
        removed.dedup();
        removed
    };
    // Deadlines are judged by the clock. The verifier's own leftovers are known by their names.
    assert_eq!(after(Some(VerifierFault::Clock("ahead".to_owned()))).await, ["own"]);
    assert_eq!(after(Some(VerifierFault::Name("twice".to_owned()))).await, [""; 0]);
    assert_eq!(after(None).await, ["overdue", "own"]);
    heeding.abort();
}

#[tokio::test]
async fn no_attempt_begins_while_the_gate_is_away() {
    let (health, mut told) = watch::channel(Health::default());
    let swarm: Arc<dyn Swarm> = Arc::new(FakeSwarm::default());
    let capacity = Capacity { per_node: Some(1), memory_mib: 64 };
    let slots = Slots::start(swarm, "v1", terms(capacity), health, VerifierMetrics::default());
    let trouble = watch::Sender::new(Some("the gate at http://gate does not answer".to_owned()));
    let heeding = tokio::spawn({
        let (slots, trouble) = (slots.clone(), trouble.subscribe());
        async move { slots.heed_gate(trouble).await }
    });
    // Slots are made meanwhile.
    let said = told.wait_for(|health| health.pause_reason == *trouble.borrow());
    timeout(SOON, said).await.expect("the verifier says so").unwrap();
    assert!(slots.take(None, None).is_none() && !slots.are_in_use());
    trouble.send_replace(None);
    let well = told.wait_for(|health| health.pause_reason.is_none());
    timeout(SOON, well).await.expect("the gate is back").unwrap();
    let mut changes = slots.changes();
    let ready = changes.wait_for(|()| slots.has_free());
    timeout(SOON, ready).await.expect("a slot is ready").unwrap();
    heeding.abort();
    slots.close().await;
}

/// Runs an app in a slot, as a submission does.
async fn used(slots: &Slots) -> (SlotLease, NetworkId) {
    let mut lease = lease(slots).await;
    let network = lease.network().clone();
    let deployment = Deployment {
        name: format!("in-{network}"),
        image: "ada/app".into(),
        labels: Labels::from([(label::SLOT.to_owned(), lease.name().to_owned())]),
        overridden: Vec::new(),
        node: lease.node().id.clone(),
        network: network.clone(),
        grade: lease.grade(),
        volumes: Vec::new(),
        writable: Vec::new(),
        limits: Challenge::birthday().limits,
    };
    lease.deploy(deployment).await.unwrap();
    (lease, network)
}

fn has(fake: &FakeSwarm, network: &NetworkId) -> bool {
    fake.networks.lock().unwrap().iter().any(|id| id == network)
}

/// Waits until the slot's network is removed.
async fn retired(fake: &FakeSwarm, network: &NetworkId, within: Duration) {
    let gone = timeout(within, async {
        while has(fake, network) {
            sleep(Duration::from_millis(10)).await;
        }
    });
    gone.await.expect("the slot is retired");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_well_is_used_again() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    let (first, network) = used(&slots).await;
    drop(first);
    let again = timeout(SOON, async {
        loop {
            let next = lease(&slots).await;
            if *next.network() == network {
                return;
            }
        }
    });
    again.await.expect("the slot becomes ready again");
    slots.close().await;
    assert_eq!(*fake.networks.lock().unwrap(), Vec::<NetworkId>::new());
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_network_seems_faulty_is_retired() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    let (mut first, network) = used(&slots).await;
    first.set_aside("no connection in time");
    drop(first);
    retired(&fake, &network, SOON).await;
    assert_ne!(*lease(&slots).await.network(), network);
    slots.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_in_which_a_task_does_not_end_is_retired() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    let (first, network) = used(&slots).await;
    fake.tasks_stay.store(true, Ordering::Relaxed);
    drop(first);
    sleep(COOLING - Duration::from_secs(1)).await;
    assert!(has(&fake, &network), "the slot is retired before its time to cool is over");
    retired(&fake, &network, SOON).await;
    // Other slots replace it.
    let others = [lease(&slots).await, lease(&slots).await];
    assert!(others.iter().all(|lease| *lease.network() != network));
}

#[tokio::test(start_paused = true)]
async fn slots_whose_relays_died_are_retired_and_replaced() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    let network = lease(&slots).await.network().clone();
    fake.relays_die.store(true, Ordering::Relaxed);
    assert!(slots.take(None, None).is_none(), "a slot with a dead relay is taken");
    retired(&fake, &network, SOON).await;
    fake.relays_die.store(false, Ordering::Relaxed);
    assert_ne!(*lease(&slots).await.network(), network);
    slots.close().await;
}

/// Without this, new attempts would take every slot, and no failing app would come to its verdict.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_for_its_second_slot_comes_before_new_ones() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    let mut held = vec![lease(&slots).await];
    while let Some(lease) = slots.take(None, None) {
        held.push(lease);
    }
    // The main loop is told of a free slot first, and takes what it may.
    let mut changes = slots.changes();
    let main_loop = async {
        loop {
            changes.changed().await.expect("the slots are kept");
            if slots.has_free() {
                return slots.take(None, None).expect("a slot is free");
            }
        }
    };
    let second = slots.wait(None, SandboxGrade::Bare, Instant::now() + SOON);
    tokio::pin!(main_loop, second);
    assert!(timeout(Duration::from_secs(1), &mut second).await.is_err(), "all slots are in use");
    drop(held.pop());
    tokio::select! {
        biased;
        _ = &mut main_loop => panic!("a new attempt took the slot"),
        lease = &mut second => assert!(lease.is_some()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_for_a_higher_grade_leaves_the_other_slots_to_new_ones() {
    let fake = Arc::new(FakeSwarm::default());
    let slots = slots(&fake);
    drop(lease(&slots).await);
    let second = slots.wait(None, SandboxGrade::Writable, Instant::now() + SOON);
    tokio::pin!(second);
    assert!(timeout(Duration::from_secs(8), &mut second).await.is_err(), "no node has the grade");
    assert!(slots.has_free(), "new attempts wait for a slot that is not theirs");
    assert_eq!(slots.take(None, None).expect("a slot is free").grade(), SandboxGrade::Bare);
}

#[tokio::test(start_paused = true)]
async fn closing_prepares_no_more_slots() {
    let fake = Arc::new(FakeSwarm::whose_relays_take(Duration::from_secs(1)));
    let slots = slots_with(&fake, 8);
    drop(lease(&slots).await);
    let made = fake.networks_made.load(Ordering::Relaxed);
    let since = Instant::now();
    slots.close().await;
    assert_eq!(fake.networks_made.load(Ordering::Relaxed), made, "slots were made to be removed");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(*fake.networks.lock().unwrap(), Vec::<NetworkId>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_sweep_that_an_engine_hangs() {
    // As long as the adapter lets a sweep take at most.
    let fake = Arc::new(FakeSwarm { sweeps_take: Duration::from_secs(22), ..FakeSwarm::default() });
    let slots = slots(&fake);
    let since = Instant::now();
    let held = lease(&slots).await;
    assert!(since.elapsed() < Duration::from_secs(5), "the first slot took {:?}", since.elapsed());
    drop(held);
    let looks = fake.looks.load(Ordering::Relaxed);
    sleep(Duration::from_secs(21)).await;
    assert!(fake.sweeps.load(Ordering::Relaxed) <= 1);
    assert!(fake.looks.load(Ordering::Relaxed) >= looks + 10, "the nodes were not looked at");
    slots.close().await;
    assert_eq!(*fake.networks.lock().unwrap(), Vec::<NetworkId>::new());
}

#[tokio::test(start_paused = true)]
async fn slots_are_made_on_other_nodes_while_one_engine_hangs() {
    let fake = Arc::new(FakeSwarm { hung: vec![NodeId::new("n1")], ..FakeSwarm::default() });
    let slots = slots_with(&fake, 4);
    let held = [lease(&slots).await, lease(&slots).await, lease(&slots).await, lease(&slots).await];
    assert!(held.iter().all(|lease| lease.node().name == "n2"));
}

#[tokio::test(start_paused = true)]
async fn a_node_with_stuck_containers_is_refused_until_they_are_gone() {
    let fake = Arc::new(FakeSwarm::default());
    let stuck = |id: &str| StuckContainer { node: NodeId::new("n1"), id: id.to_owned() };
    let (health, mut seen) = watch::channel(Health::default());
    let swarm: Arc<dyn Swarm> = Arc::<FakeSwarm>::clone(&fake);
    let capacity = Capacity { per_node: Some(1), memory_mib: 64 };
    let slots = Slots::start(swarm, "v1", terms(capacity), health, VerifierMetrics::default());
    let mut until_refused = async |refused: bool| {
        let is_refused = |health: &Health| {
            health
                .nodes
                .iter()
                .any(|node| matches!(&node.state, NodeState::Refused { why } if why.contains("restart")))
        };
        let changed = seen.wait_for(|health| !health.nodes.is_empty() && is_refused(health) == refused);
        let health =
            timeout(Duration::from_secs(300), changed).await.expect("the node is judged").unwrap().clone();
        assert_eq!(health.ready().count(), if refused { 1 } else { 2 });
    };
    drop(lease(&slots).await);
    // A removal that is only slow is no reason: another container each time.
    for id in ["a", "b", "c"] {
        *fake.stuck.lock().unwrap() = vec![stuck(id)];
        sleep(Duration::from_secs(30)).await;
    }
    until_refused(false).await;
    *fake.stuck.lock().unwrap() = vec![stuck("hung")];
    until_refused(true).await;
    assert_eq!(lease(&slots).await.node().name, "n2");
    // An engine that does not answer at all is no better.
    *fake.silent.lock().unwrap() = vec![NodeId::new("n1")];
    fake.stuck.lock().unwrap().clear();
    sleep(Duration::from_secs(120)).await;
    until_refused(true).await;
    // The operator restarts the engine, and the sweep removes the container. Another engine that is silent delays nothing.
    *fake.silent.lock().unwrap() = vec![NodeId::new("n2")];
    until_refused(false).await;
}
