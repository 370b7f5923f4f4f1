//! The state of a submission, folded from its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::event::{Event, Submitted};
use super::failure::InterruptionCode;
use crate::challenge::Verdict;
use crate::image::{Digest, ImageRef};

/// The state of a submission.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Submission {
    /// There is no event yet.
    #[default]
    Unknown,
    /// The submission waits to be verified, for the first time or again.
    Waiting { facts: SubmissionFacts, retry: RetryTime },
    /// A verifier has claimed the submission.
    Verifying { facts: SubmissionFacts, claim: Claim, step: AttemptStep },
    /// The submission has a verdict.
    Judged {
        facts: SubmissionFacts,
        /// The newest verdict.
        verdict: Verdict,
    },
    /// The participant withdrew the submission before it had a verdict. It stays so.
    Withdrawn { facts: SubmissionFacts },
    /// The platform could not run the submission, and does not try again by itself.
    GivenUp { facts: SubmissionFacts },
}

/// The facts about a submission that every state has.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmissionFacts {
    pub submitted: Arc<Submitted>,
    /// The digest of the rules by which the submission is judged: those that it was accepted under, or those that its newest
    /// rejudge names. `None` after a rejudge that names none: those in force.
    pub rules: Option<String>,
    /// The number of attempts that began, over the submission's whole life.
    pub attempts: u32,
    /// The number of interrupted attempts since the submission was last queued for a verdict, without those that an
    /// operator interrupted by a stop.
    pub interruptions: u32,
    /// True after the first verdict, also while another one is awaited.
    pub was_judged: bool,
    /// True while an organiser hides the submission.
    pub is_hidden: bool,
    /// The participant's name as it is shown: as submitted, or as an organiser corrected it.
    pub shown_name: String,
    /// The number of these attempts during which the platform ran images of other owners.
    pub tries: u32,
    /// The digest of each image when it was first pulled. Later attempts run the same digests.
    pub digests: BTreeMap<ImageRef, Digest>,
}

/// The time from which a waiting submission may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryTime {
    /// The submission may be claimed at once.
    Now,
    /// The last attempt was interrupted, and the next must not begin before this moment.
    At(Timestamp, InterruptionCode),
    /// Too many attempts were interrupted. The submission waits until the platform is well.
    WhenWell(InterruptionCode),
}

/// A verifier's right to one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    pub verifier: String,
    /// The moment after which the claim is void.
    pub deadline: Timestamp,
}

/// The last recorded step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptStep {
    /// The submission is claimed.
    Claimed,
    /// Nodes have pulled images.
    Pulled,
    /// Containers of the images run.
    Started,
    /// Containers of some images run a second time, because a failure is confirmed before it counts.
    StartedAgain,
}

impl Submission {
    /// Returns the state after one more event. History cannot be refused, so an event that makes no sense in a state leaves
    /// the state as it is.
    #[must_use]
    pub fn evolve(self, event: &Event) -> Self {
        match (self, event) {
            (Self::Unknown, Event::Submitted(submitted)) => Self::Waiting {
                facts: SubmissionFacts {
                    submitted: Arc::new(submitted.clone()),
                    rules: Some(submitted.challenge.rules.clone()),
                    attempts: 0,
                    interruptions: 0,
                    was_judged: false,
                    is_hidden: false,
                    shown_name: submitted.participant.name.clone(),
                    tries: 0,
                    digests: BTreeMap::new(),
                },
                retry: RetryTime::Now,
            },

            (Self::Waiting { facts, .. }, Event::VerificationStarted(started)) => Self::Verifying {
                facts: SubmissionFacts { attempts: started.attempt, ..facts },
                claim: Claim {
                    attempt: started.attempt,
                    verifier: started.verifier.clone(),
                    deadline: started.deadline,
                },
                step: AttemptStep::Claimed,
            },

            (Self::Verifying { mut facts, claim, .. }, Event::ImagesPulled(pulled)) => {
                for image in &pulled.images {
                    facts.digests.entry(image.image.clone()).or_insert_with(|| image.digest.clone());
                }
                Self::Verifying { facts, claim, step: AttemptStep::Pulled }
            }
            (Self::Verifying { facts, claim, step }, Event::ContainersStarted(_)) => {
                let step = if step < AttemptStep::Started {
                    AttemptStep::Started
                } else {
                    AttemptStep::StartedAgain
                };
                Self::Verifying { facts, claim, step }
            }
            (Self::Verifying { facts, .. }, Event::Passed(_)) => Self::judged(facts, Verdict::Passed),
            (Self::Verifying { facts, .. }, Event::Failed(failed)) => {
                Self::judged(facts, Verdict::Failed(failed.reasons.clone()))
            }
            (Self::Verifying { facts, .. }, Event::VerificationInterrupted(broken_off)) => Self::Waiting {
                facts: SubmissionFacts {
                    interruptions: facts.interruptions + u32::from(broken_off.code.is_try()),
                    tries: facts.tries + u32::from(broken_off.counts),
                    ..facts
                },
                retry: match broken_off.retry_at {
                    Some(moment) => RetryTime::At(moment, broken_off.code),
                    None => RetryTime::WhenWell(broken_off.code),
                },
            },

            (Self::Waiting { facts, .. }, Event::GivenUp(_)) => {
                Self::GivenUp { facts: SubmissionFacts { interruptions: 0, tries: 0, ..facts } }
            }

            (Self::Judged { facts, .. } | Self::GivenUp { facts }, Event::RejudgeRequested(asked)) => {
                let facts = SubmissionFacts { rules: asked.rules.clone(), ..facts };
                Self::Waiting { facts, retry: RetryTime::Now }
            }

            (Self::Waiting { facts, .. } | Self::Verifying { facts, .. }, Event::Withdrawn(_)) => {
                Self::Withdrawn { facts }
            }
            (state, Event::Hidden(_)) => state.marked_hidden(true),
            (state, Event::Shown(_)) => state.marked_hidden(false),
            (state, Event::NameCorrected(corrected)) => state.with_name(&corrected.name),

            (
                state,
                Event::Submitted(_)
                | Event::VerificationStarted(_)
                | Event::ImagesPulled(_)
                | Event::ContainersStarted(_)
                | Event::Probed(_)
                | Event::Passed(_)
                | Event::Failed(_)
                | Event::VerificationInterrupted(_)
                | Event::RejudgeRequested(_)
                | Event::Withdrawn(_)
                | Event::GivenUp(_),
            ) => state,
        }
    }

    /// Returns the facts, or `None` in the state [`Submission::Unknown`].
    pub fn facts(&self) -> Option<&SubmissionFacts> {
        match self {
            Self::Unknown => None,
            Self::Waiting { facts, .. }
            | Self::Verifying { facts, .. }
            | Self::Judged { facts, .. }
            | Self::Withdrawn { facts }
            | Self::GivenUp { facts } => Some(facts),
        }
    }

    fn marked_hidden(mut self, is_hidden: bool) -> Self {
        if let Some(facts) = self.facts_mut() {
            facts.is_hidden = is_hidden;
        }
        self
    }

    fn with_name(mut self, name: &str) -> Self {
        if let Some(facts) = self.facts_mut() {
            name.clone_into(&mut facts.shown_name);
        }
        self
    }

    fn facts_mut(&mut self) -> Option<&mut SubmissionFacts> {
        match self {
            Self::Unknown => None,
            Self::Waiting { facts, .. }
            | Self::Verifying { facts, .. }
            | Self::Judged { facts, .. }
            | Self::Withdrawn { facts }
            | Self::GivenUp { facts } => Some(facts),
        }
    }

    fn judged(facts: SubmissionFacts, verdict: Verdict) -> Self {
        Self::Judged {
            facts: SubmissionFacts { interruptions: 0, tries: 0, was_judged: true, ..facts },
            verdict,
        }
    }
}

impl<'a> FromIterator<&'a Event> for Submission {
    fn from_iter<I: IntoIterator<Item = &'a Event>>(events: I) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }
}
