//! A Swarm that fails in every known way: each participant gets a fair verdict, and nothing is left behind.
//!
//! All failures happen to one Swarm of three nodes, one after the other. Participants' containers run on
//! the second and the third node. The verifier reaches the first through proxies.

mod engine;
mod janitor;
mod network;
mod node;
mod proxy;
mod registry;
mod scene;

use anyhow::Result;

use self::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_misbehaves_costs_nobody_a_fair_verdict() -> Result<()> {
    let scene = Scene::start().await?;
    // All results are collected first, because one failure must not hide the others.
    let borne = [
        engine::an_answer_that_is_lost_is_not_asked_for_twice(&scene).await,
        engine::a_swarm_without_a_leader_is_waited_for(&scene).await,
        engine::a_manager_that_stalls_is_passed_over(&scene).await,
        registry::what_a_registry_does_wrong_is_not_the_images_fault(&scene).await,
        network::an_overlay_that_lost_its_way_is_left_for_another(&scene).await,
        network::a_network_without_addresses_is_left_for_another(&scene).await,
        node::an_engine_that_starts_anew_blames_nobody(&scene).await,
        node::a_relay_whose_engine_starts_anew_is_replaced(&scene).await,
        node::a_full_disk_sends_images_elsewhere(&scene).await,
        node::a_node_that_vanishes_is_left_behind(&scene).await,
        janitor::a_node_without_managers_is_kept_tidy(&scene).await,
    ];
    scene.stop().await?;
    borne.into_iter().collect()
}
