//! The look at a submission's images: each is looked up in its registry, and its layers are looked into. It takes no slot, and happens
//! before the submission is claimed. So a slow registry or a large image keeps no slot from others.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use commands::CommandError;
use domain::challenge::Evidence;
use domain::submission::{InterruptionCode, JudgedImage, PlatformFault, SubmissionFacts};
use domain::{Challenge, Digest, ImageRef, Rejection};
use futures::FutureExt;
use tokio::time::{Instant, timeout};

use crate::gate::{AskedImage, LookPass, LookRequest, LookTerms, LookedImage, RunnableImage};
use crate::registry::LookupError;
use crate::swarm::NodeId;
use crate::work::attempt::{AttemptEnd, AttemptRunner, is_decided, not_claimed};
use crate::work::loaded_stream::LoadedStream;
use crate::work::pull_ahead::PulledAhead;
use crate::work::queue::Ticket;
use crate::work::run_ledger::ImageOnNode;
use crate::work::slot_run::{AppFinding, RunContext};

/// The time for which a look holds. A later one costs little, because layers are remembered.
const HOLDS: Duration = Duration::from_secs(60);

/// The images of a submission after their lookup.
pub(crate) struct LookedUpImages {
    /// The findings about those that cannot be run.
    pub(super) findings: Vec<(ImageRef, AppFinding)>,
    pub(super) runnable: Vec<(ImageRef, RunnableImage)>,
    /// The digests of all that were found.
    pub(super) found: Vec<JudgedImage>,
    /// The permission to pull the runnable ones from the gate.
    pub(super) pass: LookPass,
    /// True if the images have to run: the findings alone do not decide.
    needs_slot: bool,
    /// The images on the node where they will run, if they were pulled there.
    pub(super) ahead: Option<PulledAhead>,
    /// The rules and the earlier digests that the look was made by.
    rules: Option<String>,
    digests: BTreeMap<ImageRef, Digest>,
    at: Instant,
}

impl LookedUpImages {
    /// Makes the outcome of a look at these facts, before anything was looked at.
    fn nothing(facts: &SubmissionFacts) -> Self {
        Self {
            findings: Vec::new(),
            runnable: Vec::new(),
            found: Vec::new(),
            pass: LookPass::default(),
            needs_slot: false,
            ahead: None,
            rules: facts.rules.clone(),
            digests: facts.digests.clone(),
            at: Instant::now(),
        }
    }

    fn add_failed(&mut self, image: &ImageRef, error: LookupError) {
        let finding = match error {
            LookupError::Participant(code, message) => {
                AppFinding::Confirmed(Evidence::Failure { code, message })
            }
            LookupError::Platform(fault) => AppFinding::PlatformFault(fault),
        };
        self.findings.push((image.clone(), finding));
    }

    /// Returns the node that has the images, if they were pulled ahead.
    pub(super) fn home(&self) -> Option<&NodeId> {
        self.ahead.as_ref().map(|ahead| ahead.home.node())
    }

    /// Returns true if the attempt needs a slot.
    pub(super) fn needs_slot(&self) -> bool {
        self.needs_slot
    }

    /// Returns true if another look is due: much time has passed, or the gate does not keep the images any more.
    pub(super) fn is_old(&self) -> bool {
        self.at.elapsed() > HOLDS || self.pass.is_void()
    }

    /// Returns true if a look at these facts would look at the same.
    pub(super) fn is_of(&self, facts: &SubmissionFacts) -> bool {
        self.rules == facts.rules && self.digests == facts.digests
    }
}

impl AttemptRunner {
    /// Looks at the images of a submission that is about to be claimed, and pulls them to a node. A look that fails, or takes too long, is one too: the
    /// attempt tells its outcome. Returns the reason why there is nothing to look at, otherwise.
    pub(super) async fn look_ahead(&self, ticket: Ticket) -> Result<LookedUpImages, AttemptEnd> {
        let (facts, challenge) = self.about(ticket).await.map_err(|error| not_claimed(ticket.id, &error))?;
        let context = RunContext { challenge, ..self.context.clone() };
        let longest = self.commands.attempt_max();
        let look = async {
            let mut looked = self.look_up(ticket, &context, &facts).await;
            if looked.needs_slot {
                self.bring(ticket, &context, &facts, &mut looked).await;
            }
            looked
        };
        let look = AssertUnwindSafe(timeout(longest, look)).catch_unwind();
        let fault = match look.await {
            Ok(Ok(looked)) => return Ok(looked),
            Ok(Err(_)) => PlatformFault::new(
                InterruptionCode::RegistryUnavailable,
                format!("the look at the images took longer than {} s", longest.as_secs()),
            ),
            Err(_panic) => PlatformFault::new(
                InterruptionCode::LeaseExpired,
                "the look at the images failed by a bug; the verifier's log has the details",
            ),
        };
        let mut looked = LookedUpImages::nothing(&facts);
        let faults = facts.submitted.images.iter();
        looked.findings =
            faults.map(|image| (image.clone(), AppFinding::PlatformFault(fault.clone()))).collect();
        Ok(looked)
    }

    /// Pulls the images of a look to a node.
    async fn bring(
        &self,
        ticket: Ticket,
        context: &RunContext,
        facts: &SubmissionFacts,
        looked: &mut LookedUpImages,
    ) {
        let avoid = self.last_failed_on(ticket.id);
        let (ahead, faults) = self.pull_ahead(context, ticket.id, avoid.as_ref(), &looked.runnable).await;
        looked.ahead = ahead;
        for (image, resolved) in std::mem::take(&mut looked.runnable) {
            let Some(fault) = faults.get(&image) else {
                looked.runnable.push((image, resolved));
                continue;
            };
            let mut finding = AppFinding::PlatformFault(fault.clone());
            if let Some(node) = looked.home().cloned() {
                let (submission, owner) = (ticket.id, facts.submitted.owner.clone());
                let image = image.pinned(resolved.digest).to_string();
                let what = ImageOnNode { submission, owner, image, node };
                self.note_finding(&what, &looked.pass, &mut finding);
            }
            looked.findings.push((image, finding));
        }
        looked.needs_slot = !looked.runnable.is_empty() && !is_decided(context, facts, &looked.findings);
        looked.at = Instant::now();
    }

    /// Returns the facts of a submission, and the rules by which it is judged.
    async fn about(&self, ticket: Ticket) -> Result<(SubmissionFacts, Arc<Challenge>), CommandError> {
        let LoadedStream { state, .. } = LoadedStream::read(&*self.store, ticket.id).await?;
        let facts = state.facts().ok_or(Rejection::Unknown)?;
        Ok((facts.clone(), self.known_rules(facts).await?))
    }

    /// Lets the gate look each image up in its registry, and look into its layers.
    async fn look_up(&self, ticket: Ticket, context: &RunContext, facts: &SubmissionFacts) -> LookedUpImages {
        let mut looked = LookedUpImages::nothing(facts);
        let images = facts.submitted.images.iter();
        let images = images
            .map(|image| AskedImage { image: image.clone(), known: facts.digests.get(image).cloned() })
            .collect();
        let terms = LookTerms::of(&context.challenge);
        let request = LookRequest { submission: ticket.id, images, terms };
        let look = self.gate.look(&request, &self.fetches).await;
        for LookedImage { image, digest, outcome } in look.images {
            looked.found.extend(digest.map(|digest| JudgedImage { image: image.clone(), digest }));
            match outcome {
                Ok(runnable) => looked.runnable.push((image, runnable)),
                Err(error) => looked.add_failed(&image, error),
            }
        }
        looked.pass = look.pass;
        looked.needs_slot = !looked.runnable.is_empty() && !is_decided(context, facts, &looked.findings);
        looked
    }
}
