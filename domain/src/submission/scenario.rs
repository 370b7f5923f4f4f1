//! Given, when, then: how the tests of the domain speak.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::challenge::{Challenge, Evidence, Observation};

pub(crate) struct Given(Vec<Event>);

pub(crate) struct When(Result<Vec<Event>, Rejection>);

pub(crate) fn given(history: impl IntoIterator<Item = Event>) -> Given {
    Given(history.into_iter().collect())
}

impl Given {
    pub(crate) fn when(self, command: Command) -> When {
        When(decide(&Challenge::birthday(), &self.0.iter().collect(), command))
    }
}

impl When {
    #[track_caller]
    pub(crate) fn then(self, events: impl IntoIterator<Item = Event>) {
        assert_eq!(self.0, Ok(events.into_iter().collect()));
    }

    #[track_caller]
    pub(crate) fn then_ends_with(self, event: Event) {
        assert_eq!(self.0.map(|events| events.last().cloned()), Ok(Some(event)));
    }

    #[track_caller]
    pub(crate) fn then_rejected(self, rejection: Rejection) {
        assert_eq!(self.0, Err(rejection));
    }

    #[track_caller]
    pub(crate) fn events(self) -> Vec<Event> {
        self.0.unwrap()
    }
}

pub(crate) fn now() -> Timestamp {
    "2016-03-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn deadline() -> Timestamp {
    "2016-03-21T12:05:00Z".parse().unwrap()
}

/// When a submission is tried again that was interrupted once, [`now`].
pub(crate) fn retry_moment() -> Timestamp {
    "2016-03-21T12:00:02Z".parse().unwrap()
}

/// Ada's entry: two images, of which one must answer.
pub(crate) fn ada() -> Submitted {
    Submitted {
        challenge: ChallengeId { id: "docker-birthday-3".into(), rules: "sha256:r".into() },
        participant: Participant { name: "Ada Lovelace".into(), twitter: Some("@ada".into()) },
        location: Location {
            typed: "London, UK".into(),
            place: Place { city: "London".into(), country: "GB".into(), lat: 51.50853, lon: -0.12574 },
        },
        images: vec!["ada/voting".parse().unwrap(), "ada/result".parse().unwrap()],
        answers: BTreeMap::from([("vote".into(), "Python".into())]),
        owner: "docker.io/ada".into(),
    }
}

/// What an app answers that says what was submitted.
pub(crate) fn config_of(submitted: &Submitted) -> Value {
    json!({
        "name": submitted.participant.name,
        "twitter": submitted.participant.twitter,
        "location": submitted.location.typed,
        "repo": submitted.images.iter().map(crate::ImageRef::familiar).collect::<Vec<_>>(),
        "vote": submitted.answers["vote"],
    })
}

pub(crate) fn answered(submitted: &Submitted, image: usize) -> Observation {
    let body = config_of(submitted).to_string().into_bytes();
    Observation {
        image: submitted.images[image].clone(),
        evidence: Evidence::Http { status: 200, latency_ms: 2, redirect: None, body },
    }
}

pub(crate) fn fault(image: usize, code: FailureCode) -> Observation {
    Observation {
        image: ada().images[image].clone(),
        evidence: Evidence::Failure { code, message: "no".into() },
    }
}

pub(crate) fn submit() -> Command {
    Command::Submit(Box::new(ada()))
}

pub(crate) fn submit_other() -> Command {
    let participant = Participant { name: "Bob".into(), twitter: None };
    Command::Submit(Box::new(Submitted { participant, ..ada() }))
}

pub(crate) fn claim_by(verifier: &str) -> Command {
    Command::Claim { verifier: verifier.into(), at: now(), deadline: deadline() }
}

pub(crate) fn record_pulled(attempt: u32) -> Command {
    Command::RecordPulled { attempt, images: pulled_images() }
}

pub(crate) fn record_started(attempt: u32) -> Command {
    Command::RecordStarted { attempt, images: started_images() }
}

pub(crate) fn conclude(attempt: u32, observations: impl IntoIterator<Item = Observation>) -> Command {
    Command::Conclude { attempt, observations: observations.into_iter().collect() }
}

pub(crate) fn interrupt(attempt: u32) -> Command {
    let fault = PlatformFault { code: InterruptionCode::NoCapacity, message: "full".into() };
    Command::Interrupt { attempt, fault, at: now() }
}

pub(crate) fn expire(attempt: u32, at: Timestamp) -> Command {
    Command::Expire { attempt, at }
}

pub(crate) fn rejudge() -> Command {
    Command::RequestRejudge { by: "organiser".into(), why: "new rules".into() }
}

pub(crate) fn submitted() -> Event {
    Event::Submitted(ada())
}

pub(crate) fn started(attempt: u32) -> Event {
    Event::VerificationStarted(VerificationStarted { attempt, verifier: "v1".into(), deadline: deadline() })
}

pub(crate) fn pulled(attempt: u32) -> Event {
    Event::ImagesPulled(ImagesPulled { attempt, images: pulled_images() })
}

pub(crate) fn running(attempt: u32) -> Event {
    Event::ContainersStarted(ContainersStarted { attempt, images: started_images() })
}

pub(crate) fn probed_right(attempt: u32) -> Event {
    let image = ImageProbe {
        image: ada().images[0].clone(),
        outcome: ProbeOutcome::Matched,
        status: Some(200),
        latency_ms: Some(2),
        message: None,
        differing: vec![],
    };
    Event::Probed(Probed { attempt, images: vec![image] })
}

pub(crate) fn passed(attempt: u32) -> Event {
    Event::Passed(Passed { attempt })
}

pub(crate) fn failed(attempt: u32, reasons: impl IntoIterator<Item = (usize, FailureCode)>) -> Event {
    let reasons = reasons
        .into_iter()
        .map(|(image, code)| Reason { code, image: Some(ada().images[image].clone()), message: "no".into() })
        .collect();
    Event::Failed(Failed { attempt, reasons })
}

pub(crate) fn interrupted_once(attempt: u32) -> Event {
    Event::VerificationInterrupted(VerificationInterrupted {
        attempt,
        code: InterruptionCode::NoCapacity,
        message: "full".into(),
        retry_at: Some(retry_moment()),
    })
}

pub(crate) fn rejudge_requested() -> Event {
    Event::RejudgeRequested(RejudgeRequested { by: "organiser".into(), why: "new rules".into() })
}

/// One event of each type, with each field filled.
pub(crate) fn one_of_each() -> Vec<Event> {
    let Event::Probed(Probed { mut images, .. }) = probed_right(1) else { unreachable!("it is one") };
    let expected = "Ada Lovelace".to_owned();
    images.push(ImageProbe {
        image: ada().images[1].clone(),
        outcome: ProbeOutcome::Failed(FailureCode::Mismatch),
        message: Some("no".into()),
        differing: vec![FieldDifference { field: "name".into(), expected, returned: None }],
        ..images[0].clone()
    });
    let Event::VerificationInterrupted(interrupted) = interrupted_once(1) else { unreachable!("it is one") };
    let retry_at = Some("2016-03-21T12:00:05Z".parse().unwrap());
    vec![
        submitted(),
        started(1),
        pulled(1),
        running(1),
        Event::Probed(Probed { attempt: 1, images }),
        passed(1),
        failed(1, [(0, FailureCode::NothingOnPort)]),
        Event::VerificationInterrupted(VerificationInterrupted { retry_at, ..interrupted }),
        rejudge_requested(),
    ]
}

fn pulled_images() -> Vec<PulledImage> {
    let digest = format!("sha256:{}", "a1".repeat(32)).parse().unwrap();
    vec![PulledImage {
        image: ada().images[0].clone(),
        digest,
        size_bytes: 1000,
        node: "n1".into(),
        took_ms: 20,
    }]
}

fn started_images() -> Vec<StartedImage> {
    vec![StartedImage { image: ada().images[0].clone(), node: "n1".into(), took_ms: 30 }]
}
