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
        case: Case,
        /// From when on it may be claimed.
        retry: Retry,
    },
    /// A verifier is at it.
    Verifying {
        /// What is known in every state.
        case: Case,
        /// Whose it is.
        claim: Claim,
        /// How far it came.
        step: Step,
    },
    /// There is a verdict.
    Judged {
        /// What is known in every state.
        case: Case,
        /// The newest one.
        verdict: Verdict,
    },
}

/// What is known of a submission in every state.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
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
pub enum Retry {
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
pub enum Step {
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
                case: Case {
                    submitted: Arc::new(submitted.clone()),
                    attempts: 0,
                    interruptions: 0,
                    digests: BTreeMap::new(),
                },
                retry: Retry::Now,
            },

            (Self::Waiting { case, .. }, Event::VerificationStarted(started)) => Self::Verifying {
                case: Case { attempts: started.attempt, ..case },
                claim: Claim {
                    attempt: started.attempt,
                    verifier: started.verifier.clone(),
                    deadline: started.deadline,
                },
                step: Step::Claimed,
            },

            (Self::Verifying { mut case, claim, .. }, Event::ImagesPulled(pulled)) => {
                for image in &pulled.images {
                    case.digests.entry(image.image.clone()).or_insert_with(|| image.digest.clone());
                }
                Self::Verifying { case, claim, step: Step::Pulled }
            }
            (Self::Verifying { case, claim, .. }, Event::ContainersStarted(_)) => {
                Self::Verifying { case, claim, step: Step::Started }
            }
            (Self::Verifying { case, .. }, Event::Passed(_)) => Self::judged(case, Verdict::Passed),
            (Self::Verifying { case, .. }, Event::Failed(failed)) => {
                Self::judged(case, Verdict::Failed(failed.reasons.clone()))
            }
            (Self::Verifying { case, .. }, Event::VerificationInterrupted(broken_off)) => Self::Waiting {
                case: Case { interruptions: case.interruptions + 1, ..case },
                retry: match broken_off.retry_at {
                    Some(moment) => Retry::At(moment, broken_off.code),
                    None => Retry::WhenWell(broken_off.code),
                },
            },

            (Self::Judged { case, .. }, Event::RejudgeRequested(_)) => {
                Self::Waiting { case, retry: Retry::Now }
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
    pub fn case(&self) -> Option<&Case> {
        match self {
            Self::Unknown => None,
            Self::Waiting { case, .. } | Self::Verifying { case, .. } | Self::Judged { case, .. } => {
                Some(case)
            }
        }
    }

    fn judged(case: Case, verdict: Verdict) -> Self {
        Self::Judged { case: Case { interruptions: 0, ..case }, verdict }
    }
}

impl<'a> FromIterator<&'a Event> for Submission {
    fn from_iter<I: IntoIterator<Item = &'a Event>>(events: I) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }
}
