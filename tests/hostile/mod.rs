//! Hostile images, registries and names, submitted through the public API to a real Swarm of three nodes,
//! beside honest submissions. Each attack has its expected end, the honest submissions get their verdicts,
//! and the attacks reach, keep and use up nothing.

mod answers;
mod attack;
mod bombs;
mod bystanders;
mod escapes;
mod gate;
mod images;
mod names;
mod nodes;
mod registries;
mod report;
mod scene;

use std::time::Duration;

use domain::sandbox::SandboxGrade;
use futures::StreamExt;
use serde_json::Value;
use testbed::{Guest, Testbed};

use self::attack::{Attack, Ended};
use self::bystanders::Bystanders;
use self::nodes::Nodes;
use self::report::Report;
use self::scene::Scene;
use crate::support::System;

/// The number of attacks at the same time, each by an owner of its own.
const AT_ONCE: usize = 6;

/// Where the nodes get images from.
#[derive(Clone, Copy)]
enum Pulls {
    FromRegistries,
    FromTheGate,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_fails_on_read_only_nodes_and_harms_no_other_submission() {
    every_attack_fails(Testbed::three().await.unwrap(), SandboxGrade::ReadOnly, Pulls::FromTheGate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_fails_on_writable_nodes_and_harms_no_other_submission() {
    let bed = Testbed::in_memory(3).await.unwrap();
    every_attack_fails(bed, SandboxGrade::Writable, Pulls::FromRegistries).await;
}

async fn every_attack_fails(bed: Testbed, grade: SandboxGrade, pulls: Pulls) {
    let rogue = bed.rogue().await.unwrap();
    let nodes = Nodes::new(&bed);
    nodes::the_world_counts(&bed).await;
    nodes.keep_engines_from_the_metadata().await;
    let at_rest = nodes.state().await;
    bed.world.forget();

    let guest: Guest = bed.guest().await.unwrap();
    let registries = [bed.registry.address(), &rogue.address()];
    let settings = match pulls {
        Pulls::FromRegistries => Vec::new(),
        Pulls::FromTheGate => {
            gate::be_the_only_registry(&bed, &registries).await;
            gate::settings(&bed, &guest).await
        }
    };
    let mut system = System::start_on(&guest, &bed, registries.join(","), settings).await;
    let attacks = all(&bed, &rogue.address(), grade);
    let scene = Scene { bed: &bed, rogue: &rogue, system: &system };
    scene.push(&attacks).await;

    let bystanders = Bystanders::push(&scene).await;
    let alone = bystanders.alone(&scene).await;
    let before = report::Usage::of(system.pid(), &nodes).await;
    let attacking = async {
        let ended =
            futures::stream::iter(&attacks).map(|attack| scene.attack(attack)).buffer_unordered(AT_ONCE);
        ended.collect::<Vec<Ended>>().await
    };
    let (mut ended, beside) = bystanders.beside(&scene, attacking).await;
    ended.extend(names::submit_all(&scene).await);
    let after = report::Usage::settled(system.pid(), &nodes, &before).await;
    let (log_kib, neighbours) = (nodes.largest_log_seen(), nodes.most_neighbours_seen());

    let report = Report { grade, ended, alone, beside, before, after, log_kib, neighbours };
    report.print();
    report.keep();
    let health: Value = system.get("/readyz").await;
    println!("{health}");
    assert!(system.terminate().await.success(), "{}", system.log_tail());
    nodes.are_as(&at_rest, Duration::from_secs(60)).await;
    assert_eq!(bed.world.arrived(), [], "something got out");
    report.assert_fine();
    drop((rogue, guest, nodes));
    bed.stop().await.unwrap();
}

/// Returns every attack, except those that are refused when they are submitted.
///
/// The gate judges a registry, and the relay an answer, without regard to a node's grade, and these attacks take half of the
/// time. Writable nodes meet them only if the table of all attacks is wanted.
fn all(bed: &Testbed, rogue: &str, grade: SandboxGrade) -> Vec<Attack> {
    let mut attacks = escapes::all(bed, rogue);
    attacks.extend(bombs::all(grade));
    attacks.extend(images::all());
    if grade == SandboxGrade::ReadOnly || report::is_kept() {
        attacks.extend(answers::all(bed));
        attacks.extend(registries::all(bed));
    }
    attacks
}
