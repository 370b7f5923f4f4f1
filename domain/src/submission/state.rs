//! What a submission is, folded from what happened to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::event::{Event, Submitted};
use super::failure::InterruptionCode;
use crate::challenge::Verdict;
use crate::image::{Digest, ImageRef};

/// A submission, as its events make it.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Submission {
    /// Nobody submitted it.
    #[default]
    Unknown,
    /// It waits to be verified, for the first time or again.
    Waiting {
        /// What is known in every state.
        facts: SubmissionFacts,
        /// From when on it may be claimed.
        retry: RetryTime,
    },
    /// A verifier is at it.
    Verifying {
        /// What is known in every state.
        facts: SubmissionFacts,
        /// Whose it is.
        claim: Claim,
        /// How far it came.
        step: AttemptStep,
    },
    /// There is a verdict.
    Judged {
        /// What is known in every state.
        facts: SubmissionFacts,
        /// The newest one.
        verdict: Verdict,
    },
}

/// What is known of a submission in every state.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmissionFacts {
    /// What was submitted.
    pub submitted: Arc<Submitted>,
    /// How many attempts began, over its whole life.
    pub attempts: u32,
    /// How many of them we broke off, since the last verdict was asked for.
    pub interruptions: u32,
    /// What each name meant when it was first pulled: later attempts run the same.
    pub digests: BTreeMap<ImageRef, Digest>,
}

/// From when on a waiting submission may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryTime {
    /// At once.
    Now,
    /// Not before this moment: we broke off the last attempt.
    At(Timestamp, InterruptionCode),
    /// When the platform is well again: we broke off too many.
    WhenWell(InterruptionCode),
}

/// A verifier's hold on a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The attempt, from 1.
    pub attempt: u32,
    /// Who holds it.
    pub verifier: String,
    /// After this moment the hold is void.
    pub deadline: Timestamp,
}

/// How far a verification came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptStep {
    /// Claimed.
    Claimed,
    /// Images are on nodes.
    Pulled,
    /// Containers run.
    Started,
}

impl Submission {
    /// The submission after one more event. Total: history cannot be refused,
    /// and what makes no sense in a state leaves it as it is.
    #[must_use]
    pub fn evolve(self, event: &Event) -> Self {
        match (self, event) {
            (Self::Unknown, Event::Submitted(submitted)) => Self::Waiting {
                facts: SubmissionFacts {
                    submitted: Arc::new(submitted.clone()),
                    attempts: 0,
                    interruptions: 0,
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
            (Self::Verifying { facts, claim, .. }, Event::ContainersStarted(_)) => {
                Self::Verifying { facts, claim, step: AttemptStep::Started }
            }
            (Self::Verifying { facts, .. }, Event::Passed(_)) => Self::judged(facts, Verdict::Passed),
            (Self::Verifying { facts, .. }, Event::Failed(failed)) => {
                Self::judged(facts, Verdict::Failed(failed.reasons.clone()))
            }
            (Self::Verifying { facts, .. }, Event::VerificationInterrupted(broken_off)) => Self::Waiting {
                facts: SubmissionFacts { interruptions: facts.interruptions + 1, ..facts },
                retry: match broken_off.retry_at {
                    Some(moment) => RetryTime::At(moment, broken_off.code),
                    None => RetryTime::WhenWell(broken_off.code),
                },
            },

            (Self::Judged { facts, .. }, Event::RejudgeRequested(_)) => {
                Self::Waiting { facts, retry: RetryTime::Now }
            }

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
                | Event::RejudgeRequested(_),
            ) => state,
        }
    }

    /// What every state but [`Submission::Unknown`] knows.
    pub fn facts(&self) -> Option<&SubmissionFacts> {
        match self {
            Self::Unknown => None,
            Self::Waiting { facts, .. } | Self::Verifying { facts, .. } | Self::Judged { facts, .. } => {
                Some(facts)
            }
        }
    }

    fn judged(facts: SubmissionFacts, verdict: Verdict) -> Self {
        Self::Judged { facts: SubmissionFacts { interruptions: 0, ..facts }, verdict }
    }
}

impl<'a> FromIterator<&'a Event> for Submission {
    fn from_iter<I: IntoIterator<Item = &'a Event>>(events: I) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }
}
