//! Histories for tests: told one event at a time, or at random from a seed.

use std::collections::BTreeMap;

use domain::submission::{
    ChallengeId, Event, Failed, FailureCode, ImagesPulled, InterruptionCode, Location, Participant, Passed,
    Place, Reason, RejudgeRequested, Submitted, VerificationInterrupted, VerificationStarted,
};
use domain::{ImageRef, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::EventEnvelope;

/// Cities: some near to each other, two of these on both sides of the date line.
pub const CITIES: [(&str, &str, f64, f64); 11] = [
    ("London", "GB", 51.50853, -0.12574),
    ("Croydon", "GB", 51.38333, -0.1),
    ("Paris", "FR", 48.85341, 2.3488),
    ("Versailles", "FR", 48.80359, 2.13424),
    ("San José", "CR", 9.93333, -84.08333),
    ("Santiago", "CL", -33.45694, -70.64827),
    ("Suva", "FJ", -18.14161, 178.44149),
    ("Apia", "WS", -13.83333, -171.76667),
    ("Zürich", "CH", 47.36667, 8.55),
    ("Waiyevo", "FJ", -16.79, 179.98),
    ("Naselesele", "FJ", -16.69, -179.88),
];

const VOTES: [&str; 4] = ["Rust", "C++", "Node.js", "Go"];

/// A history that is being told.
#[derive(Debug)]
pub struct EventHistory {
    /// What happened so far.
    pub events: Vec<EventEnvelope>,
    told: BTreeMap<SubmissionId, Told>,
    now: Timestamp,
    random: u64,
}

/// What the teller has to know of a submission.
#[derive(Debug, Clone, Default)]
struct Told {
    revision: u64,
    attempts: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Waiting,
    Verifying,
    Judged,
}

impl EventHistory {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// Something like what happens on a busy day, the same for the same seed.
    pub fn random(seed: u64, events: usize) -> Self {
        let mut history = Self::seeded(seed);
        let owners = (events as u64 / 12).max(3);
        while history.events.len() < events {
            let pause = history.draw(3000) as i64;
            history.wait(SignedDuration::from_millis(pause));
            let known: Vec<SubmissionId> = history.told.keys().copied().collect();
            let id = match known.len() as u64 {
                0 => None,
                // Sooner or later everything is told to its end, and now and then something new begins.
                count => Some(known[history.draw(count) as usize]).filter(|_| history.draw(4) > 0),
            };
            match id.map(|id| (id, history.told[&id].phase)) {
                None => {
                    let owner = format!("owner{}", history.draw(owners));
                    let city = history.draw(CITIES.len() as u64) as usize;
                    history.submit(&owner, city);
                }
                Some((id, Phase::Waiting)) => history.start(id),
                Some((id, Phase::Verifying)) => match history.draw(8) {
                    0 => history.interrupt(id, InterruptionCode::NoCapacity, true),
                    1 => history.interrupt(id, InterruptionCode::SwarmUnavailable, false),
                    2 => history.pull(id),
                    3 => history.fail(id, &[FailureCode::NothingOnPort, FailureCode::ImageNotFound]),
                    _ => history.pass(id),
                },
                Some((id, Phase::Judged)) if history.draw(4) == 0 => history.rejudge(id),
                Some(_) => {}
            }
        }
        history
    }

    /// A new submission from one of the [`CITIES`].
    pub fn submit(&mut self, owner: &str, city: usize) -> SubmissionId {
        let (name, country, lat, lon) = CITIES[city];
        let (high, low) = (self.next(), self.next());
        let id = SubmissionId(Uuid::from_u64_pair(high, low));
        let image = |app: &str| -> ImageRef { format!("{owner}/{app}").parse().expect("an image's name") };
        self.told.insert(id, Told::default());
        let vote = VOTES[self.draw(VOTES.len() as u64) as usize].to_owned();
        let submitted = Submitted {
            challenge: ChallengeId { id: "docker-birthday-3".to_owned(), rules: "sha256:r".to_owned() },
            participant: Participant { name: format!("{owner} of {name}"), twitter: None },
            location: Location {
                typed: name.to_lowercase(),
                place: Place { city: name.to_owned(), country: country.to_owned(), lat, lon },
            },
            images: vec![image("voting"), image("result")],
            answers: BTreeMap::from([("vote".to_owned(), vote)]),
            owner: format!("docker.io/{owner}"),
        };
        self.tell(id, Event::Submitted(submitted), Phase::Waiting);
        id
    }

    /// A verifier claims it.
    pub fn start(&mut self, id: SubmissionId) {
        let told = self.told.get_mut(&id).expect("submitted before");
        told.attempts += 1;
        let deadline = self.now + SignedDuration::from_mins(5);
        let started = VerificationStarted { attempt: told.attempts, verifier: "v1".to_owned(), deadline };
        self.tell(id, Event::VerificationStarted(started), Phase::Verifying);
    }

    /// Its images arrive.
    pub fn pull(&mut self, id: SubmissionId) {
        let attempt = self.told[&id].attempts;
        self.tell(id, Event::ImagesPulled(ImagesPulled { attempt, images: vec![] }), Phase::Verifying);
    }

    /// It passes.
    pub fn pass(&mut self, id: SubmissionId) {
        let attempt = self.told[&id].attempts;
        self.tell(id, Event::Passed(Passed { attempt }), Phase::Judged);
    }

    /// It fails.
    pub fn fail(&mut self, id: SubmissionId, codes: &[FailureCode]) {
        let attempt = self.told[&id].attempts;
        let reasons =
            codes.iter().map(|code| Reason { code: *code, image: None, message: "no".to_owned() }).collect();
        self.tell(id, Event::Failed(Failed { attempt, reasons }), Phase::Judged);
    }

    /// We fail it.
    pub fn interrupt(&mut self, id: SubmissionId, code: InterruptionCode, retries: bool) {
        let broken_off = VerificationInterrupted {
            attempt: self.told[&id].attempts,
            code,
            message: "full".to_owned(),
            retry_at: retries.then(|| self.now + SignedDuration::from_secs(2)),
        };
        self.tell(id, Event::VerificationInterrupted(broken_off), Phase::Waiting);
    }

    /// An organiser asks again.
    pub fn rejudge(&mut self, id: SubmissionId) {
        let asked = RejudgeRequested { by: "organiser".to_owned(), why: "new rules".to_owned() };
        self.tell(id, Event::RejudgeRequested(asked), Phase::Waiting);
    }

    /// A submission from its beginning to its pass.
    pub fn submit_and_pass(&mut self, owner: &str, city: usize) -> SubmissionId {
        let id = self.submit(owner, city);
        self.start(id);
        self.pass(id);
        id
    }

    /// Time goes by.
    pub fn wait(&mut self, duration: SignedDuration) {
        self.now += duration;
    }

    /// The position of the newest event.
    pub fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |event| event.position)
    }

    /// Everybody who is in the story.
    pub fn submissions(&self) -> impl Iterator<Item = SubmissionId> {
        self.told.keys().copied()
    }

    fn seeded(seed: u64) -> Self {
        let now = "2016-03-21T12:00:00Z".parse().expect("a moment");
        Self { events: vec![], told: BTreeMap::new(), now, random: seed }
    }

    fn tell(&mut self, id: SubmissionId, event: Event, phase: Phase) {
        // Logs have gaps between positions.
        let position = Position(self.head().0 + 1 + self.draw(2));
        let told = self.told.get_mut(&id).expect("submitted before");
        self.events.push(EventEnvelope {
            id,
            revision: told.revision,
            position,
            recorded_at: self.now,
            event,
        });
        told.revision += 1;
        told.phase = phase;
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Default for EventHistory {
    fn default() -> Self {
        Self::new()
    }
}
