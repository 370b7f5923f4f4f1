//! Two verifiers of one log on one Swarm: they compete through the log alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use domain::Event;
use testbed::{App, Testbed};
use verifier::Health;

use crate::stage::{Stage, answer, assert_nothing_left};

#[tokio::test(flavor = "multi_thread")]
async fn two_verifiers_share_the_work_and_leave_each_others_services_alone() -> Result<()> {
    let bed = Testbed::single().await?;
    let stage = Stage::start(&bed, "one", Some(2)).await?;
    let mut submitted = Vec::new();
    for number in 0..16 {
        let owner = format!("owner{number}");
        let image = format!("{}/{owner}/app:latest", bed.registry.address());
        let app = App::slow(&answer(&owner, &[&image]), Duration::from_secs(1));
        bed.registry.push(&format!("{owner}/app"), &app).await?;
        submitted.push(stage.submit(&owner, &[&image]).await?);
    }
    // The second verifier cleans up when it starts, while the first is at work.
    stage.event(submitted[0], |event| matches!(event, Event::ContainersStarted(_))).await?;
    let two = stage.rival("two")?;
    let mut claimed: BTreeMap<String, usize> = BTreeMap::new();
    for id in &submitted {
        let verdict = stage.verdict(*id).await?;
        assert!(verdict.reasons.is_empty(), "{:#?}", verdict.events);
        let mut claims = 0;
        for event in &verdict.events {
            match event {
                Event::VerificationStarted(started) => {
                    claims += 1;
                    *claimed.entry(started.verifier.clone()).or_default() += 1;
                }
                Event::VerificationInterrupted(_) => panic!("swept away: {:#?}", verdict.events),
                _ => {}
            }
        }
        assert_eq!(claims, 1, "claimed twice: {:#?}", verdict.events);
    }
    let both: BTreeSet<&str> = claimed.keys().map(String::as_str).collect();
    assert_eq!(both, BTreeSet::from(["one", "two"]), "{claimed:?}");

    // The second verifier stops and removes its slots. The first one's slots stay.
    two.stop().await?;
    let image = format!("{}/last/app:latest", bed.registry.address());
    bed.registry.push("last/app", &App::good(&answer("last", &[&image]))).await?;
    let last = stage.verdict(stage.submit("last", &[&image]).await?).await?;
    assert!(last.reasons.is_empty(), "{:#?}", last.events);
    let interrupted = |event: &Event| matches!(event, Event::VerificationInterrupted(_));
    assert!(!last.events.iter().any(interrupted), "{:#?}", last.events);
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_verifier_of_one_name_takes_nothing_from_the_first_and_then_its_place() -> Result<()> {
    let bed = Testbed::single().await?;
    let mut stage = Stage::start(&bed, "twin", Some(2)).await?;
    stage.health(|health| health.pause_reason.is_none()).await?;
    let mut submitted = Vec::new();
    for number in 0..6 {
        let owner = format!("owner{number}");
        let image = format!("{}/{owner}/app:latest", bed.registry.address());
        let app = App::slow(&answer(&owner, &[&image]), Duration::from_secs(2));
        bed.registry.push(&format!("{owner}/app"), &app).await?;
        submitted.push(stage.submit(&owner, &[&image]).await?);
    }
    // Services, networks and claims of the name are in use when the second verifier starts.
    stage.event(submitted[0], |event| matches!(event, Event::ContainersStarted(_))).await?;
    let clone = stage.rival("twin")?;
    let yields = |health: &Health| {
        let why = health.pause_reason.as_deref();
        why.is_some_and(|why| why.contains("another verifier with the name twin"))
    };
    clone.health(yields).await?;
    for id in &submitted {
        let verdict = stage.verdict(*id).await?;
        assert!(verdict.reasons.is_empty(), "{:#?}", verdict.events);
        let interrupted = |event: &Event| matches!(event, Event::VerificationInterrupted(_));
        assert!(!verdict.events.iter().any(interrupted), "taken away: {:#?}", verdict.events);
    }
    assert_eq!(stage.health(|_| true).await?.pause_reason, None, "the first goes on");
    clone.health(yields).await?;

    stage.pause().await?;
    clone.health(|health| health.pause_reason.is_none()).await?;
    let image = format!("{}/last/app:latest", bed.registry.address());
    bed.registry.push("last/app", &App::good(&answer("last", &[&image]))).await?;
    let last = stage.verdict(stage.submit("last", &[&image]).await?).await?;
    assert!(last.reasons.is_empty(), "{:#?}", last.events);
    clone.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}
