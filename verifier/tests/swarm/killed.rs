//! A verifier that is killed at any moment: the next verifier of the same name finishes the work, judges
//! nothing twice, and removes the slots that were left.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{App, Testbed};

use crate::stage::{Stage, answer, assert_nothing_left};

/// The environment variable that tells the killed process the places of the log, the engine and the
/// registry.
const VICTIM: &str = "VERIFIER_VICTIM";

/// The times after which the verifier is killed, from before the first claim until most submissions have a
/// verdict.
const MOMENTS_MS: [u64; 5] = [700, 3000, 1500, 4000, 2200];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_verifier_loses_nothing_and_judges_nothing_twice() -> Result<()> {
    let bed = Testbed::single().await?;
    let mut stage = Stage::prepared(&bed, "mortal", Some(3))?;
    let mut submitted = Vec::new();
    for number in 0..8 {
        let owner = format!("owner{number}");
        let image = format!("{}/{owner}/app:latest", bed.registry.address());
        let answer = answer(&owner, &[&image]);
        bed.registry.push(&format!("{owner}/app"), &App::good(&answer)).await?;
        submitted.push(stage.submit(&owner, &[&image]).await?);
    }
    for moment in MOMENTS_MS {
        // Only one process may have the log open.
        let place = stage.lend().await?;
        let endpoint = bed.swarm.endpoints().remove(0);
        let mut victim = Command::new(std::env::current_exe()?)
            .args(["killed::victim", "--exact", "--nocapture"])
            .env(VICTIM, format!("{place} {endpoint} {}", bed.registry.address()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        victim.kill()?;
        victim.wait()?;
        stage.take_back()?;
    }
    stage.run()?;
    for id in submitted {
        assert!(stage.verdict(id).await?.reasons.is_empty());
    }
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

/// Runs a verifier until the process is killed. Does nothing unless the test above started the process.
#[tokio::test(flavor = "multi_thread")]
async fn victim() -> Result<()> {
    let Ok(victim) = std::env::var(VICTIM) else { return Ok(()) };
    let mut words = victim.split(' ').map(str::to_owned);
    let mut next = || words.next().context("three words");
    let (place, endpoint, registry) = (next()?, next()?, next()?);
    let mut stage = Stage::at(place.into(), "mortal", vec![endpoint], registry, Some(3))?;
    stage.run()?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}
