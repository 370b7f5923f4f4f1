//! The system that the attacks run against, and the way to make an attack.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;
use testbed::{Misdeed, Rogue, Testbed};

use super::attack::{Attack, Deserves, Ended, answer, entries, submission, wrong};
use crate::support::System;

/// The longest time from the submission of an attack to its verdict: a turn in the queue, an attempt that
/// uses all of its time, and sometimes a second attempt.
const VERDICT: Duration = Duration::from_secs(150);

/// The parts of the system that the attacks meet.
pub(crate) struct Scene<'a> {
    pub(crate) bed: &'a Testbed,
    pub(crate) rogue: &'a Rogue,
    pub(crate) system: &'a System,
}

impl Scene<'_> {
    /// Pushes the attackers' images to the registry.
    pub(crate) async fn push(&self, attacks: &[Attack]) {
        let pushed = futures::stream::iter(attacks).for_each_concurrent(4, async |attack| {
            let mut app = attack.app.clone();
            app.answer = answer(&submission(attack.name, &self.image(attack)));
            let name = format!("{}/app:latest", attack.name);
            self.bed.registry.push(&name, &app).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        });
        pushed.await;
    }

    /// Submits an attack and waits for its end.
    pub(crate) async fn attack(&self, attack: &Attack) -> Ended {
        if let Some(misdeed) = &attack.misdeed {
            self.rogue.spoil(attack.name, misdeed.clone());
        }
        let began = Instant::now();
        let id = self.system.submit(attack.name, &submission(attack.name, &self.image(attack))).await;
        let is_interrupted = |status: &Value| !entries(status, "VerificationInterrupted").is_empty();
        // The participant reads how far a slow registry is.
        let tells_fetch = match attack.misdeed {
            Some(Misdeed::TricklesLayers) => {
                let told = self.status(&id, |status| status["fetch"].is_object() || is_interrupted(status));
                told.await["fetch"]["message"].as_str().is_some_and(|message| message.contains("We fetch"))
            }
            _ => true,
        };
        if let Deserves::Wait(_) = attack.deserves {
            self.status(&id, is_interrupted).await;
            self.rogue.mend(attack.name);
        }
        let status = self.status(&id, is_judged).await;
        let wrong = wrong(attack.deserves, &status);
        let wrong = wrong.or_else(|| (!tells_fetch).then(|| "its fetch was not told".to_owned()));
        let took = began.elapsed();
        println!("{:<24} {:>5.1} s  {}", attack.name, took.as_secs_f64(), status["status"]);
        Ended { name: attack.name.to_owned(), deserved: attack.deserves, status, took, wrong }
    }

    /// Waits for a status. Returns the last status if the expected one does not come in time.
    pub(crate) async fn status(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = testbed::until("a status", VERDICT, async || {
            last = self.system.status(id).await?;
            wanted(&last).then_some(())
        });
        // The caller checks the status.
        let _ = seen.await;
        last
    }

    fn image(&self, attack: &Attack) -> String {
        let registry = match attack.misdeed {
            Some(_) => self.rogue.address(),
            None => self.bed.registry.address().to_owned(),
        };
        format!("{registry}/{}/app:latest", attack.name)
    }
}

/// Returns true if the status has a verdict.
pub(crate) fn is_judged(status: &Value) -> bool {
    matches!(status["status"].as_str(), Some("passed" | "failed"))
}
