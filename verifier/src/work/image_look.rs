//! The look at a submission's images: each is looked up in its registry, and its layers are looked into.

use domain::challenge::Evidence;
use domain::submission::{JudgedImage, SubmissionFacts};
use domain::{Digest, ImageRef};
use futures::future::join_all;

use crate::gate::ServedPass;
use crate::metrics::AttemptStep;
use crate::registry::{LookupError, ResolvedImage};
use crate::work::attempt::AttemptRunner;
use crate::work::slot_run::{AppFinding, RunContext};

/// The images of a submission after their lookup.
pub(super) struct LookedUpImages {
    /// What was found about those that cannot be run.
    pub(super) findings: Vec<(ImageRef, AppFinding)>,
    pub(super) runnable: Vec<(ImageRef, ResolvedImage)>,
    /// The digests of all that were found.
    pub(super) found: Vec<JudgedImage>,
    /// The permissions to pull the runnable ones from the gate.
    pub(super) passes: Vec<ServedPass>,
}

impl AttemptRunner {
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
        LookedUpImages { findings, runnable, found, passes }
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
