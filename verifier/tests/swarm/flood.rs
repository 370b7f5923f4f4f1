//! An owner submits hundreds of times: the other owners still get their turns.

use anyhow::Result;
use domain::{Event, SubmissionId};
use testbed::{App, Testbed};

use crate::stage::{Stage, answer, assert_nothing_left};

const FLOOD: usize = 300;
const OTHERS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn others_have_their_turn_before_the_flood_has_its_next_but_one() -> Result<()> {
    let bed = Testbed::single().await?;
    let mut stage = Stage::prepared(&bed, "flooded", Some(2))?;
    let image = pushed(&bed, "flood").await?;
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(stage.submit("flood", &[&image]).await?);
    }
    stage.run()?;
    // No other owner waits yet, so the flood is served first. Its owner has one place in the queue.
    stage.verdict(flood[0]).await?;
    let mut others = Vec::new();
    for number in 0..OTHERS {
        let owner = format!("owner{number}");
        let image = pushed(&bed, &owner).await?;
        others.push(stage.submit(&owner, &[&image]).await?);
    }
    for other in &others {
        assert!(stage.verdict(*other).await?.reasons.is_empty());
    }

    let history = stage.history().await?;
    let asked = position(&history, others[OTHERS - 1], |event| matches!(event, Event::Submitted(_)));
    let claims: Vec<SubmissionId> = history[asked..]
        .iter()
        .filter(|(_, event)| matches!(event, Event::VerificationStarted(_)))
        .map(|(id, _)| *id)
        .collect();
    let last = claims.iter().rposition(|id| others.contains(id)).unwrap_or_default();
    let turns = claims[..last].iter().filter(|id| flood.contains(id)).count();
    // The flood's turn may have been next when the last of the others submitted.
    assert!(turns <= 1, "the flood had {turns} turns before the others had one each");

    let mut under_way = 0;
    for (id, event) in history.iter().filter(|(id, _)| flood.contains(id)) {
        match event {
            Event::VerificationStarted(_) => under_way += 1,
            Event::Passed(_) | Event::Failed(_) | Event::VerificationInterrupted(_) => under_way -= 1,
            _ => {}
        }
        assert!(under_way <= 1, "two of the flood under way at {id}");
    }
    stage.stop().await?;
    assert_nothing_left(&bed).await?;
    bed.stop().await
}

async fn pushed(bed: &Testbed, owner: &str) -> Result<String> {
    let image = format!("{}/{owner}/app:latest", bed.registry.address());
    bed.registry.push(&format!("{owner}/app"), &App::good(&answer(owner, &[&image]))).await
}

fn position(history: &[(SubmissionId, Event)], of: SubmissionId, wanted: impl Fn(&Event) -> bool) -> usize {
    history.iter().position(|(id, event)| *id == of && wanted(event)).unwrap_or_default()
}
