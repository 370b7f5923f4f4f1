//! Histories of events for tests, made one event at a time or at random from a seed.

use std::collections::BTreeMap;

use domain::submission::{
    Event, Failed, FailureCode, GivenUp, Hidden, ImagesPulled, InterruptionCode, NameCorrected, Participant,
    Passed, Reason, RejudgeRequested, Shown, Submitted, VerdictBasis, VerificationInterrupted,
    VerificationStarted, Withdrawn,
};
use domain::testing::{act, located_in, submitted_by};
use domain::{ImageRef, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::EventEnvelope;

/// Cities with country, latitude and longitude. Some are near to each other, two of them on both sides of
/// the antimeridian.
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

/// A history of submissions.
#[derive(Debug)]
pub struct EventHistory {
    /// The events so far, oldest first.
    pub events: Vec<EventEnvelope>,
    submissions: BTreeMap<SubmissionId, SubmissionProgress>,
    now: Timestamp,
    random: u64,
}

/// The state that the next event of a submission depends on.
#[derive(Debug, Clone, Default)]
struct SubmissionProgress {
    revision: u64,
    attempts: u32,
    phase: SubmissionPhase,
    is_hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum SubmissionPhase {
    #[default]
    Waiting,
    Verifying,
    Judged,
    Withdrawn,
}

impl EventHistory {
    /// Creates an empty history.
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// Creates a history like that of a busy day, the same for the same seed.
    pub fn random(seed: u64, events: usize) -> Self {
        let mut history = Self::seeded(seed);
        let owners = (events as u64 / 12).max(3);
        while history.events.len() < events {
            let pause = history.draw(3000) as i64;
            history.wait(SignedDuration::from_millis(pause));
            let known: Vec<SubmissionId> = history.submissions.keys().copied().collect();
            let id = match known.len() as u64 {
                0 => None,
                // Only every fourth step adds a new submission, so that the others reach their verdicts.
                count => Some(known[history.draw(count) as usize]).filter(|_| history.draw(4) > 0),
            };
            match id.map(|id| (id, history.submissions[&id].phase)) {
                None => {
                    let owner = format!("owner{}", history.draw(owners));
                    let city = history.draw(CITIES.len() as u64) as usize;
                    let venue = [None, Some("berlin"), Some("paris")][history.draw(3) as usize];
                    // Some owners without a venue share two lanes.
                    let lane = ["lane0", "lane1"].get(city).copied().filter(|_| venue.is_none());
                    history.submit_in_lane(venue, lane, &owner, city);
                }
                Some((id, phase)) if phase != SubmissionPhase::Withdrawn && history.draw(16) == 0 => {
                    if history.draw(3) == 0 {
                        let name = format!("Name {}", history.draw(4));
                        history.correct(id, &name);
                    } else if history.submissions[&id].is_hidden {
                        history.show(id)
                    } else {
                        history.hide(id)
                    }
                }
                Some((id, SubmissionPhase::Waiting | SubmissionPhase::Verifying))
                    if history.submissions[&id].attempts < 2 && history.draw(16) == 0 =>
                {
                    history.withdraw(id);
                }
                Some((id, SubmissionPhase::Waiting)) => history.start(id),
                Some((id, SubmissionPhase::Verifying)) => match history.draw(9) {
                    8 => history.give_up(id, InterruptionCode::NodeIll),
                    0 => history.interrupt(id, InterruptionCode::NoCapacity, true),
                    1 => history.interrupt(id, InterruptionCode::SwarmUnavailable, false),
                    2 => history.pull(id),
                    3 => history.fail(id, &[FailureCode::NothingOnPort, FailureCode::ImageNotFound]),
                    _ => history.pass(id),
                },
                Some((id, SubmissionPhase::Judged)) if history.draw(4) == 0 => history.rejudge(id),
                Some(_) => {}
            }
        }
        history
    }

    /// Adds a new submission from the city with this number in [`CITIES`].
    pub fn submit(&mut self, owner: &str, city: usize) -> SubmissionId {
        self.submit_at(None, owner, city)
    }

    /// Adds a new submission of a venue that passes at once.
    pub fn pass_at(&mut self, venue: Option<&str>, owner: &str, city: usize) -> SubmissionId {
        let id = self.submit_at(venue, owner, city);
        self.start(id);
        self.pass(id);
        id
    }

    /// Adds a new submission of a venue.
    pub fn submit_at(&mut self, venue: Option<&str>, owner: &str, city: usize) -> SubmissionId {
        self.submit_in_lane(venue, None, owner, city)
    }

    /// Adds a new submission of a venue that waits in a lane, or in its owner's line.
    pub fn submit_in_lane(
        &mut self,
        venue: Option<&str>,
        lane: Option<&str>,
        owner: &str,
        city: usize,
    ) -> SubmissionId {
        let (name, country, lat, lon) = CITIES[city];
        let (high, low) = (self.next(), self.next());
        let id = SubmissionId(Uuid::from_u64_pair(high, low));
        let image = |app: &str| -> ImageRef { format!("{owner}/{app}").parse().expect("an image's name") };
        self.submissions.insert(id, SubmissionProgress::default());
        let vote = VOTES[self.draw(VOTES.len() as u64) as usize].to_owned();
        let submitted = Submitted {
            lane: lane.map(Into::into),
            participant: Participant { name: format!("{owner} of {name}"), twitter: None },
            location: located_in(name, country, lat, lon),
            images: vec![image("voting"), image("result")],
            answers: BTreeMap::from([("vote".to_owned(), vote)]),
            venue: venue.map(str::to_owned),
            ..submitted_by(owner)
        };
        self.add(id, Event::Submitted(submitted), SubmissionPhase::Waiting);
        id
    }

    /// Adds the event that a verifier claimed the submission.
    pub fn start(&mut self, id: SubmissionId) {
        let submission = self.submissions.get_mut(&id).expect("submitted before");
        submission.attempts += 1;
        let deadline = self.now + SignedDuration::from_mins(5);
        let started =
            VerificationStarted { attempt: submission.attempts, verifier: "v1".to_owned(), deadline };
        self.add(id, Event::VerificationStarted(started), SubmissionPhase::Verifying);
    }

    /// Adds the event that the images are pulled.
    pub fn pull(&mut self, id: SubmissionId) {
        let attempt = self.submissions[&id].attempts;
        self.add(
            id,
            Event::ImagesPulled(ImagesPulled { attempt, images: vec![] }),
            SubmissionPhase::Verifying,
        );
    }

    /// Adds the verdict "passed".
    pub fn pass(&mut self, id: SubmissionId) {
        let attempt = self.submissions[&id].attempts;
        self.add(
            id,
            Event::Passed(Passed { attempt, basis: VerdictBasis::default() }),
            SubmissionPhase::Judged,
        );
    }

    /// Adds the verdict "failed" with these reasons.
    pub fn fail(&mut self, id: SubmissionId, codes: &[FailureCode]) {
        let attempt = self.submissions[&id].attempts;
        let reasons =
            codes.iter().map(|code| Reason { code: *code, image: None, message: "no".to_owned() }).collect();
        self.add(
            id,
            Event::Failed(Failed { attempt, reasons, basis: VerdictBasis::default() }),
            SubmissionPhase::Judged,
        );
    }

    /// Adds an interruption.
    pub fn interrupt(&mut self, id: SubmissionId, code: InterruptionCode, retries: bool) {
        let interrupted = VerificationInterrupted {
            attempt: self.submissions[&id].attempts,
            code,
            message: "full".to_owned(),
            retry_at: retries.then(|| self.now + SignedDuration::from_secs(2)),
            counts: false,
        };
        self.add(id, Event::VerificationInterrupted(interrupted), SubmissionPhase::Waiting);
    }

    /// Adds an interruption that is the last one.
    pub fn give_up(&mut self, id: SubmissionId, code: InterruptionCode) {
        self.interrupt(id, code, false);
        let attempt = self.submissions[&id].attempts;
        let given_up = GivenUp { attempt, interruptions: attempt, code, message: "full".to_owned() };
        self.add(id, Event::GivenUp(given_up), SubmissionPhase::Judged);
    }

    /// Adds an organiser's wish to rejudge the submission.
    pub fn rejudge(&mut self, id: SubmissionId) {
        let asked = RejudgeRequested { act: act("new rules"), rules: None };
        self.add(id, Event::RejudgeRequested(asked), SubmissionPhase::Waiting);
    }

    /// Adds the event that an organiser hid the submission.
    pub fn hide(&mut self, id: SubmissionId) {
        let hidden = Hidden { act: act("a slur"), held: false };
        self.mark(id, Event::Hidden(hidden), true);
    }

    /// Adds the event that holds the submission until an organiser looks at its name.
    pub fn hold(&mut self, id: SubmissionId) {
        self.mark(id, Event::Hidden(Hidden { act: act("a word"), held: true }), true);
    }

    /// Adds the event that an organiser shows the submission again.
    pub fn show(&mut self, id: SubmissionId) {
        let shown = Shown { act: act("a name") };
        self.mark(id, Event::Shown(shown), false);
    }

    /// Adds the event that an organiser corrected the participant's name.
    pub fn correct(&mut self, id: SubmissionId, name: &str) {
        let corrected = NameCorrected { act: act("a typo"), name: name.to_owned() };
        let phase = self.submissions[&id].phase;
        self.add(id, Event::NameCorrected(corrected), phase);
    }

    /// Adds the event that the participant withdrew the submission.
    pub fn withdraw(&mut self, id: SubmissionId) {
        self.add(id, Event::Withdrawn(Withdrawn {}), SubmissionPhase::Withdrawn);
    }

    /// Adds a submission from its acceptance to the verdict "passed".
    pub fn submit_and_pass(&mut self, owner: &str, city: usize) -> SubmissionId {
        let id = self.submit(owner, city);
        self.start(id);
        self.pass(id);
        id
    }

    /// Moves the clock forward, or back if the duration is negative.
    pub fn wait(&mut self, duration: SignedDuration) {
        self.now += duration;
    }

    /// Returns the position of the newest event.
    pub fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |event| event.position)
    }

    /// Returns all submissions.
    pub fn submissions(&self) -> impl Iterator<Item = SubmissionId> {
        self.submissions.keys().copied()
    }

    fn seeded(seed: u64) -> Self {
        let now = "2016-03-21T12:00:00Z".parse().expect("a moment");
        Self { events: vec![], submissions: BTreeMap::new(), now, random: seed }
    }

    fn add(&mut self, id: SubmissionId, event: Event, phase: SubmissionPhase) {
        // A log may have gaps between positions.
        let position = Position(self.head().0 + 1 + self.draw(2));
        let submission = self.submissions.get_mut(&id).expect("submitted before");
        self.events.push(EventEnvelope {
            id,
            revision: submission.revision,
            position,
            event_id: Uuid::from_u128(position.0.into()),
            recorded_at: self.now,
            event,
        });
        submission.revision += 1;
        submission.phase = phase;
    }

    fn mark(&mut self, id: SubmissionId, event: Event, is_hidden: bool) {
        let submission = self.submissions.get_mut(&id).expect("submitted before");
        submission.is_hidden = is_hidden;
        let phase = submission.phase;
        self.add(id, event, phase);
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// Returns the next number of SplitMix64.
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
