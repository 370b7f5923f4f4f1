//! Honest submissions, alone and beside attacks, and the time that each waits for its verdict.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::App;

use super::attack::{answer, submission};
use super::scene::{Scene, is_judged};

/// The number of honest submissions without attacks, after one that warms up the slots.
const ALONE: usize = 6;
const MOST: usize = 150;

/// Honest owners whose images are in the registry.
pub(crate) struct Bystanders {
    bodies: Vec<(String, Value)>,
}

/// The results of the honest submissions.
#[derive(Default)]
pub(crate) struct Met {
    /// The times from submission to verdict.
    pub(crate) waits: Vec<Duration>,
    /// The statuses with a wrong verdict.
    pub(crate) wronged: Vec<Value>,
}

impl Bystanders {
    pub(crate) async fn push(scene: &Scene<'_>) -> Self {
        let mut bodies = Vec::new();
        for n in 0..MOST {
            let owner = format!("honest{n}");
            let name = format!("{owner}/app:latest");
            let body = submission(&owner, &format!("{}/{name}", scene.bed.registry.address()));
            scene.bed.registry.push(&name, &App::good(&answer(&body))).await.unwrap();
            bodies.push((owner, body));
        }
        Self { bodies }
    }

    /// Submits one after the other, without attacks.
    pub(crate) async fn alone(&self, scene: &Scene<'_>) -> Met {
        let mut met = Met::default();
        for one in &self.bodies[..=ALONE] {
            submit(scene, one, &mut met).await;
        }
        met.waits.remove(0);
        met
    }

    /// Submits one after the other, until `attacking` has ended.
    pub(crate) async fn beside<T>(&self, scene: &Scene<'_>, attacking: impl Future<Output = T>) -> (T, Met) {
        let mut met = Met::default();
        let honest = async {
            for one in &self.bodies[ALONE + 1..] {
                submit(scene, one, &mut met).await;
            }
            // Waits for attacks that take longer than all honest submissions.
            std::future::pending().await
        };
        let attacked = tokio::select! {
            attacked = attacking => attacked,
            () = honest => unreachable!("it waits for the attacks"),
        };
        (attacked, met)
    }
}

impl Met {
    /// Returns the median of the waits.
    pub(crate) fn median(&self) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort();
        waits.get(waits.len() / 2).copied().unwrap_or_default()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.waits.iter().max().copied().unwrap_or_default()
    }
}

async fn submit(scene: &Scene<'_>, (owner, body): &(String, Value), met: &mut Met) {
    let began = Instant::now();
    let id = scene.system.submit(owner, body).await;
    let status = scene.status(&id, is_judged).await;
    met.waits.push(began.elapsed());
    if status["status"] != "passed" {
        met.wronged.push(status);
    }
}
