//! Builders of submissions, commands and events, and the words "given, when, then", for the tests of this crate and of
//! others. Ada Lovelace submits two images, of which one must answer; `v1` is the verifier.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::challenge::{Challenge, Evidence, Observation};
use crate::submission::*;

pub struct Given(Vec<Event>);

pub struct When(Result<Vec<Event>, Rejection>);

pub fn given(history: impl IntoIterator<Item = Event>) -> Given {
    Given(history.into_iter().collect())
}

impl Given {
    pub fn when(self, command: Command) -> When {
        When(decide(&Challenge::birthday(), &self.0.iter().collect(), command))
    }
}

impl When {
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = Event>) {
        assert_eq!(self.0, Ok(events.into_iter().collect()));
    }

    #[track_caller]
    pub fn then_ends_with(self, event: Event) {
        assert_eq!(self.0.map(|events| events.last().cloned()), Ok(Some(event)));
    }

    #[track_caller]
    pub fn then_rejected(self, rejection: Rejection) {
        assert_eq!(self.0, Err(rejection));
    }

    #[track_caller]
    pub fn events(self) -> Vec<Event> {
        self.0.unwrap()
    }
}

pub fn now() -> Timestamp {
    "2016-03-21T12:00:00Z".parse().unwrap()
}

pub fn deadline() -> Timestamp {
    "2016-03-21T12:05:00Z".parse().unwrap()
}

/// Returns the moment of the next attempt after a first interruption [`now`].
pub fn retry_moment() -> Timestamp {
    "2016-03-21T12:00:02Z".parse().unwrap()
}

/// Returns Ada's submission: two images, of which one must answer.
pub fn ada() -> Submitted {
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
        venue: None,
        lane: None,
    }
}

/// Returns a submission like [`ada`]'s, with one image of the Docker Hub account `owner`: `owner/app`.
pub fn submitted_by(owner: &str) -> Submitted {
    Submitted {
        participant: Participant { name: owner.into(), twitter: None },
        images: vec![format!("{owner}/app").parse().unwrap()],
        owner: format!("docker.io/{owner}"),
        ..ada()
    }
}

/// Returns the location of a participant who typed the name of a city.
pub fn located_in(city: &str, country: &str, lat: f64, lon: f64) -> Location {
    Location { typed: city.into(), place: Place { city: city.into(), country: country.into(), lat, lon } }
}

/// Returns the answer of an app that repeats the submission.
pub fn config_of(submitted: &Submitted) -> Value {
    json!({
        "name": submitted.participant.name,
        "twitter": submitted.participant.twitter,
        "location": submitted.location.typed,
        "repo": submitted.images.iter().map(crate::ImageRef::familiar).collect::<Vec<_>>(),
        "vote": submitted.answers["vote"],
    })
}

pub fn answered(submitted: &Submitted, image: usize) -> Observation {
    let body = config_of(submitted).to_string().into_bytes();
    Observation {
        image: submitted.images[image].clone(),
        evidence: Evidence::Http {
            status: 200,
            latency_ms: 2,
            redirect: None,
            body,
            probed_for_s: 0,
            explanation: String::new(),
        },
    }
}

pub fn fault(image: usize, code: FailureCode) -> Observation {
    Observation {
        image: ada().images[image].clone(),
        evidence: Evidence::Failure { code, message: "no".into() },
    }
}

pub fn submit() -> Command {
    Command::Submit(Box::new(ada()))
}

pub fn submit_other() -> Command {
    let participant = Participant { name: "Bob".into(), twitter: None };
    Command::Submit(Box::new(Submitted { participant, ..ada() }))
}

pub fn claim_by(verifier: &str) -> Command {
    Command::Claim { verifier: verifier.into(), at: now(), deadline: deadline() }
}

pub fn record_pulled(attempt: u32) -> Command {
    Command::RecordPulled { attempt, images: pulled_images() }
}

pub fn record_started(attempt: u32) -> Command {
    Command::RecordStarted { attempt, images: started_images(), again: false }
}

/// Records the start of the second run, which confirms failures.
pub fn record_started_again(attempt: u32) -> Command {
    Command::RecordStarted { attempt, images: started_images(), again: true }
}

pub fn conclude(attempt: u32, observations: impl IntoIterator<Item = Observation>) -> Command {
    Command::Conclude { attempt, observations: observations.into_iter().collect(), images: vec![] }
}

pub fn interrupt(attempt: u32) -> Command {
    interrupt_while(attempt, false)
}

/// Interrupts an attempt while the platform runs images of others, or does not.
pub fn interrupt_while(attempt: u32, others_run: bool) -> Command {
    let fault = PlatformFault::new(InterruptionCode::NoCapacity, "full");
    Command::Interrupt { attempt, fault, at: now(), others_run }
}

pub fn expire(attempt: u32, at: Timestamp) -> Command {
    Command::Expire { attempt, at, others_run: false }
}

pub fn rejudge() -> Command {
    Command::RequestRejudge(act("new rules"))
}

pub fn hide() -> Command {
    Command::Hide(act("a slur"))
}

pub fn show() -> Command {
    Command::Show(act("a name"))
}

pub fn correct(name: &str) -> Command {
    Command::CorrectName { act: act("a typo"), name: name.into() }
}

/// Returns an act of an organiser who has the token that all share.
pub fn act(why: &str) -> OrganiserAct {
    OrganiserAct { by: "organiser".into(), why: why.into(), person: None }
}

pub fn submitted() -> Event {
    Event::Submitted(ada())
}

pub fn started(attempt: u32) -> Event {
    Event::VerificationStarted(VerificationStarted { attempt, verifier: "v1".into(), deadline: deadline() })
}

pub fn pulled(attempt: u32) -> Event {
    Event::ImagesPulled(ImagesPulled { attempt, images: pulled_images() })
}

pub fn running(attempt: u32) -> Event {
    Event::ContainersStarted(ContainersStarted { attempt, images: started_images() })
}

pub fn probed_right(attempt: u32) -> Event {
    let image = ImageProbe {
        image: ada().images[0].clone(),
        outcome: ProbeOutcome::Matched,
        answers: vec![ProbeAnswer::Http { status: 200, latency_ms: 2 }],
        message: None,
        differing: vec![],
    };
    Event::Probed(Probed { attempt, images: vec![image] })
}

pub fn passed(attempt: u32) -> Event {
    Event::Passed(Passed { attempt, basis: VerdictBasis::default() })
}

pub fn failed(attempt: u32, reasons: impl IntoIterator<Item = (usize, FailureCode)>) -> Event {
    let reasons = reasons
        .into_iter()
        .map(|(image, code)| Reason { code, image: Some(ada().images[image].clone()), message: "no".into() })
        .collect();
    Event::Failed(Failed { attempt, reasons, basis: VerdictBasis::default() })
}

/// Returns a verdict or a rejudge that names the rules of [`Challenge::birthday`].
pub fn by_the_rules(mut event: Event) -> Event {
    let rules = Some(Challenge::birthday().digest());
    match &mut event {
        Event::Passed(passed) => passed.basis.rules = rules,
        Event::Failed(failed) => failed.basis.rules = rules,
        Event::RejudgeRequested(asked) => asked.rules = rules,
        other => unreachable!("{other:?} names no rules"),
    }
    event
}

/// Returns one event of each type that has optional fields, with all of them.
pub fn with_optional_fields() -> Vec<Event> {
    let rules = Some("sha256:r".to_owned());
    let PulledImage { image, digest, .. } = pulled_images().remove(0);
    let basis = VerdictBasis { rules: rules.clone(), images: vec![JudgedImage { image, digest }] };
    vec![
        Event::Passed(Passed { attempt: 1, basis: basis.clone() }),
        Event::Failed(Failed { attempt: 1, reasons: vec![], basis }),
        Event::RejudgeRequested(RejudgeRequested { act: act("new rules"), rules }),
        Event::Hidden(Hidden { act: OrganiserAct { by: "Muster".into(), ..act("a word") }, held: true }),
        Event::Shown(Shown { act: OrganiserAct { person: Some("Grace".into()), ..act("a name") } }),
        Event::Submitted(Submitted { venue: Some("berlin".into()), ..ada() }),
        Event::Submitted(Submitted { lane: Some("l1".into()), ..ada() }),
    ]
}

pub fn interrupted_once(attempt: u32) -> Event {
    Event::VerificationInterrupted(VerificationInterrupted {
        attempt,
        code: InterruptionCode::NoCapacity,
        message: "full".into(),
        retry_at: Some(retry_moment()),
        counts: false,
    })
}

pub fn given_up(attempt: u32) -> Event {
    let code = InterruptionCode::NoCapacity;
    Event::GivenUp(GivenUp { attempt, interruptions: 13, code, message: "full".into() })
}

pub fn rejudge_requested() -> Event {
    Event::RejudgeRequested(RejudgeRequested { act: act("new rules"), rules: None })
}

pub fn hidden() -> Event {
    Event::Hidden(Hidden { act: act("a slur"), held: false })
}

pub fn shown() -> Event {
    Event::Shown(Shown { act: act("a name") })
}

pub fn corrected(name: &str) -> Event {
    Event::NameCorrected(NameCorrected { act: act("a typo"), name: name.into() })
}

pub fn withdrawn() -> Event {
    Event::Withdrawn(Withdrawn {})
}

/// Returns one event of each type, with each field filled.
pub fn one_of_each() -> Vec<Event> {
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
        hidden(),
        shown(),
        withdrawn(),
        given_up(1),
        corrected("Ada King"),
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
