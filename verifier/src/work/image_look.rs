//! The look at a submission's images: each is looked up in its registry, and its layers are looked into. It takes no slot, and happens
//! before the submission is claimed. So a slow registry or a large image keeps no slot from others.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use domain::challenge::Evidence;
use domain::submission::{JudgedImage, SubmissionFacts};
use domain::{Digest, ImageRef};
use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::gate::ServedPass;
use crate::metrics::AttemptStep;
use crate::registry::{LookupError, ResolvedImage};
use crate::work::attempt::AttemptRunner;
use crate::work::loaded_stream::LoadedStream;
use crate::work::queue::Ticket;
use crate::work::slot_run::{AppFinding, RunContext};

/// The time for which a look holds. A later one costs little, because layers are remembered.
const HOLDS: Duration = Duration::from_secs(60);

/// The images of a submission after their lookup.
pub(crate) struct LookedUpImages {
    /// The findings about those that cannot be run.
    pub(super) findings: Vec<(ImageRef, AppFinding)>,
    pub(super) runnable: Vec<(ImageRef, ResolvedImage)>,
    /// The digests of all that were found.
    pub(super) found: Vec<JudgedImage>,
    /// The permissions to pull the runnable ones from the gate.
    pub(super) passes: Vec<ServedPass>,
    /// The rules and the earlier digests that the look was made by.
    rules: Option<String>,
    digests: BTreeMap<ImageRef, Digest>,
    at: Instant,
}

impl LookedUpImages {
    /// Returns true if so much time has passed that another look is due.
    pub(super) fn is_old(&self) -> bool {
        self.at.elapsed() > HOLDS
    }

    /// Returns true if a look at these facts would look at the same.
    pub(super) fn is_of(&self, facts: &SubmissionFacts) -> bool {
        self.rules == facts.rules && self.digests == facts.digests
    }
}

impl AttemptRunner {
    /// Looks at the images of a submission that is about to be claimed. Returns `None` if that is not possible: the attempt then says
    /// why.
    pub(super) async fn look_ahead(&self, ticket: Ticket) -> Option<LookedUpImages> {
        let look = async {
            let LoadedStream { state, .. } = LoadedStream::read(&*self.store, ticket.id).await.ok()?;
            let facts = state.facts()?;
            let challenge = self.commands.rules_of(facts).await.ok()?;
            self.registry.also_allow(&challenge.images.registry_hosts);
            let context = RunContext { challenge, ..self.context.clone() };
            Some(self.look_up(&context, facts).await)
        };
        let look = AssertUnwindSafe(timeout(self.commands.attempt_max(), look)).catch_unwind();
        look.await.ok()?.ok()?
    }

    /// Looks each image up in its registry, and looks into its layers.
    pub(super) async fn look_up(&self, context: &RunContext, facts: &SubmissionFacts) -> LookedUpImages {
        let lookups = facts.submitted.images.iter().map(|image| async move {
            let (digest, looked_up) = self.look_into(context, image, facts.digests.get(image)).await;
            (image.clone(), digest, looked_up)
        });
        let (mut findings, mut runnable, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut passes = Vec::new();
        for (image, digest, looked_up) in join_all(lookups).await {
            found.extend(digest.map(|digest| JudgedImage { image: image.clone(), digest }));
            match looked_up {
                Ok((resolved, pass)) => {
                    runnable.push((image, resolved));
                    passes.extend(pass);
                }
                Err(LookupError::Participant(code, message)) => {
                    findings.push((image, AppFinding::Confirmed(Evidence::Failure { code, message })));
                }
                Err(LookupError::Platform(fault)) => findings.push((image, AppFinding::PlatformFault(fault))),
            }
        }
        let (rules, digests) = (facts.rules.clone(), facts.digests.clone());
        LookedUpImages { findings, runnable, found, passes, rules, digests, at: Instant::now() }
    }

    /// Returns the digest that the name led to, and the image if it can be run, with the permission to pull it from the gate.
    async fn look_into(
        &self,
        context: &RunContext,
        image: &ImageRef,
        known: Option<&Digest>,
    ) -> (Option<Digest>, Result<(ResolvedImage, Option<ServedPass>), LookupError>) {
        let challenge = &context.challenge;
        let found = self.registry.look_up(image, known, &challenge.limits);
        let found = match self.metrics.time(AttemptStep::Lookup, found).await {
            Ok(found) => found,
            Err(error) => return (known.cloned(), Err(error)),
        };
        let looked = self.gate.look_into(&self.registry, image, &found, challenge);
        let looked = self.metrics.time(AttemptStep::Gate, looked).await;
        (Some(found.digest.clone()), looked.map(|pass| (found, pass)))
    }
}
