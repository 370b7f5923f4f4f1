//! The effects of one event on the views, computed without input or output.
//!
//! [`StatusView::apply_next`] changes one submission's view and returns
//! [`EventEffects`]: the changes to the views that many submissions share. The
//! view before and the event are all it needs.

use domain::submission::{Event, FailureCode, GivenUp, InterruptionCode, OrganiserAct, Submitted};
use event_store::Position;
use jiff::Timestamp;

use crate::EventEnvelope;
use crate::view::{
    HiddenReason, LocationView, Pin, ReasonView, StandstillView, StatusView, SubmissionStatus, TimelineEntry,
    WaitReason,
};

/// The numbers of entries at the beginning and at the end of a timeline that are always kept.
const TIMELINE_FIRST: usize = 50;
const TIMELINE_LAST: usize = 50;

/// The changes that an event makes outside its submission's own view.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct EventEffects {
    /// The status before, `None` for a new submission, and the status after.
    pub(crate) status: Option<(Option<SubmissionStatus>, SubmissionStatus)>,
    /// The queue place that the submission gives up.
    pub(crate) leaves: Option<Position>,
    /// The queue place that the submission takes: the position of the event that queued it.
    pub(crate) enters: Option<Position>,
    /// After a verdict, the time at which the submission was queued.
    pub(crate) judged: Option<Timestamp>,
    /// The change to the owner's pin.
    pub(crate) pass: Option<PassChange>,
    /// True if the submission passed and did not count before.
    pub(crate) is_first_pass: bool,
    /// The codes of a failed verdict's reasons.
    pub(crate) failures: Vec<FailureCode>,
    pub(crate) interruption: Option<InterruptionCode>,
    /// True if the submission stood still at this event, and goes on.
    pub(crate) resumed: bool,
}

/// A submission that begins or ceases to count on the map. It counts from its
/// first pass until a rejudge fails it; a rejudge that passes it again changes nothing.
/// It does not count while it is hidden.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PassChange {
    /// The submission passed or is shown again, and did not count before. The pin's `passes` is 0, to be
    /// counted, and its position is that of the pass.
    Counts(Box<Pin>),
    /// The submission failed or was hidden. It had counted since the pass at this position.
    Revoked(Position),
    /// The submission's name was corrected, and it counts since the pass at the pin's position.
    Corrected(Box<Pin>),
}

impl StatusView {
    /// Applies an event to a submission's view, which is `None` before the first event. An event that is
    /// already applied changes nothing.
    pub fn apply(view: &mut Option<Self>, envelope: &EventEnvelope) {
        match view {
            Some(view) => {
                view.apply_next(envelope);
            }
            None => *view = Self::create(envelope).map(|(view, _)| view),
        }
    }

    /// Creates the view from a submission's first event. Returns `None` for any other event.
    pub(crate) fn create(envelope: &EventEnvelope) -> Option<(Self, EventEffects)> {
        match &envelope.event {
            Event::Submitted(submitted) => {
                let effects = EventEffects {
                    status: Some((None, SubmissionStatus::Submitted)),
                    enters: Some(envelope.position),
                    ..EventEffects::default()
                };
                Some((Self::submitted(envelope, submitted), effects))
            }
            Event::VerificationStarted(_)
            | Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::Passed(_)
            | Event::Failed(_)
            | Event::VerificationInterrupted(_)
            | Event::RejudgeRequested(_)
            | Event::Hidden(_)
            | Event::Shown(_)
            | Event::NameCorrected(_)
            | Event::Withdrawn(_)
            | Event::GivenUp(_) => None,
        }
    }

    /// Applies a further event, unless it is already applied or the submission stands still before it. A second
    /// `Submitted` changes nothing, as in [`domain::Submission::evolve`].
    pub(crate) fn apply_next(&mut self, envelope: &EventEnvelope) -> EventEffects {
        let stands_still =
            self.standstill.as_ref().is_some_and(|standstill| envelope.revision > standstill.revision);
        if stands_still || envelope.revision <= self.revision || matches!(envelope.event, Event::Submitted(_))
        {
            return EventEffects::default();
        }
        let resumed =
            self.standstill.take_if(|standstill| standstill.revision == envelope.revision).is_some();
        EventEffects { resumed, ..self.update(envelope) }
    }

    /// Lets the submission stand still, unless it is further than that or stands still already. Returns false if nothing
    /// changed.
    pub fn stand_still(&mut self, standstill: &StandstillView) -> bool {
        let new = self.standstill.is_none() && self.revision < standstill.revision;
        if new {
            self.standstill = Some(standstill.clone());
        }
        new
    }

    /// Folds a submission's events, oldest first. Returns `None` if there are none.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a EventEnvelope>) -> Option<Self> {
        let mut view = None;
        for envelope in events {
            Self::apply(&mut view, envelope);
        }
        view
    }

    /// Returns the moment that was set for the next attempt.
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.waiting.as_ref()?.retry_at
    }

    /// Returns true if the submission waits for an organiser's look at its name.
    pub(crate) fn is_held(&self) -> bool {
        let ended = matches!(self.status, SubmissionStatus::Failed | SubmissionStatus::Withdrawn);
        !ended && self.hidden.as_ref().is_some_and(|hidden| hidden.held)
    }

    /// Returns the position of the submission's first event.
    pub(crate) fn accepted(&self) -> Position {
        self.timeline.first().map_or(self.position, |entry| entry.position)
    }

    /// Returns the line of the queue in which the submission waits.
    pub(crate) fn line(&self) -> &str {
        match self.timeline.first().map(|entry| &entry.event) {
            Some(Event::Submitted(submitted)) => submitted.line(),
            _ => &self.owner,
        }
    }

    /// Returns the event that queued the submission last; its position is the queue place. An
    /// interruption does not change the place.
    pub fn queued(&self) -> &TimelineEntry {
        self.timeline
            .iter()
            .rfind(|entry| matches!(entry.event, Event::Submitted(_) | Event::RejudgeRequested(_)))
            .expect("a view begins with Submitted")
    }

    /// Returns the digest of the rules by which the submission is judged next, or `None` if an older version asked for a
    /// rejudge by those in force.
    pub fn named_rules(&self) -> Option<&str> {
        match &self.queued().event {
            Event::Submitted(submitted) => Some(&submitted.challenge.rules),
            Event::RejudgeRequested(asked) => asked.rules.as_deref(),
            _ => None,
        }
    }

    /// Returns the position of the newest claim.
    pub(crate) fn claimed(&self) -> Option<Position> {
        let claim = self.timeline.iter().rfind(|entry| matches!(entry.event, Event::VerificationStarted(_)));
        claim.map(|entry| entry.position)
    }

    /// Returns the pass since which the submission counts on the map, or `None` if it has none or is hidden.
    pub(crate) fn counts_since(&self) -> Option<&TimelineEntry> {
        self.passed_since().filter(|_| self.hidden.is_none())
    }

    /// Returns the first pass after the newest failed verdict.
    fn passed_since(&self) -> Option<&TimelineEntry> {
        self.timeline.iter().fold(None, |since, entry| match entry.event {
            Event::Passed(_) => since.or(Some(entry)),
            Event::Failed(_) => None,
            Event::Submitted(_)
            | Event::VerificationStarted(_)
            | Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::VerificationInterrupted(_)
            | Event::RejudgeRequested(_)
            | Event::Hidden(_)
            | Event::Shown(_)
            | Event::NameCorrected(_)
            | Event::Withdrawn(_)
            | Event::GivenUp(_) => since,
        })
    }

    fn submitted(envelope: &EventEnvelope, submitted: &Submitted) -> Self {
        let place = &submitted.location.place;
        Self {
            id: envelope.id,
            status: SubmissionStatus::Submitted,
            waiting: Some(WaitReason {
                code: None,
                message: "It waits for its turn.".to_owned(),
                retry_at: None,
            }),
            name: submitted.participant.name.clone(),
            twitter: submitted.participant.twitter.clone(),
            location: LocationView {
                typed: submitted.location.typed.clone(),
                city: place.city.clone(),
                country: place.country.clone(),
                lat: place.lat,
                lon: place.lon,
            },
            images: submitted.images.clone(),
            answers: submitted.answers.clone(),
            owner: submitted.owner.clone(),
            venue: submitted.venue.clone(),
            challenge: submitted.challenge.id.clone(),
            attempts: 0,
            reasons: vec![],
            hidden: None,
            timeline: vec![entry(envelope)],
            timeline_omitted: 0,
            submitted_at: envelope.recorded_at,
            judged_at: None,
            standstill: None,
            revision: envelope.revision,
            position: envelope.position,
        }
    }

    fn update(&mut self, envelope: &EventEnvelope) -> EventEffects {
        let before = self.status;
        let mut effects = EventEffects::default();
        let queued = self.queued();
        let (place, queued_at) = (queued.position, queued.at);
        let mut place_after = place;
        match &envelope.event {
            Event::Submitted(_) | Event::ImagesPulled(_) | Event::ContainersStarted(_) | Event::Probed(_) => {
            }
            Event::VerificationStarted(started) => {
                self.status = SubmissionStatus::Verifying;
                self.waiting = None;
                self.attempts = started.attempt;
            }
            Event::Passed(_) => {
                self.judge(SubmissionStatus::Passed, envelope, vec![]);
                effects.judged = Some(queued_at);
                if self.hidden.is_none() && self.passed_since().is_none() {
                    effects.pass = Some(self.counts(envelope.recorded_at, envelope.position));
                    effects.is_first_pass = true;
                }
            }
            Event::Failed(failed) => {
                let reasons = failed.reasons.iter().map(|reason| ReasonView {
                    code: reason.code,
                    image: reason.image.clone(),
                    message: reason.message.clone(),
                    fault: "participant".to_owned(),
                    advice: reason.code.advice().to_owned(),
                });
                self.judge(SubmissionStatus::Failed, envelope, reasons.collect());
                effects.judged = Some(queued_at);
                effects.pass = self.counts_since().map(|entry| PassChange::Revoked(entry.position));
                effects.failures = failed.reasons.iter().map(|reason| reason.code).collect();
            }
            Event::VerificationInterrupted(interrupted) => {
                self.status = SubmissionStatus::Submitted;
                self.waiting = Some(WaitReason {
                    code: Some(interrupted.code),
                    message: apology(interrupted.code, interrupted.retry_at),
                    retry_at: interrupted.retry_at,
                });
                effects.interruption = Some(interrupted.code);
            }
            Event::RejudgeRequested(_) => {
                self.status = SubmissionStatus::Submitted;
                self.waiting = Some(WaitReason {
                    code: None,
                    message: "An organiser asked for another verdict. It waits for its turn.".to_owned(),
                    retry_at: None,
                });
                self.reasons = vec![];
                place_after = envelope.position;
            }
            Event::Hidden(hidden) => {
                effects.pass = self.counts_since().map(|entry| PassChange::Revoked(entry.position));
                let OrganiserAct { by, why, .. } = hidden.act.clone();
                self.hidden = Some(HiddenReason { by, why, since: envelope.recorded_at, held: hidden.held });
            }
            Event::Shown(_) => {
                if self.hidden.take().is_some() {
                    effects.pass = self.counts_since().map(|pass| self.counts(pass.at, pass.position));
                }
            }
            Event::NameCorrected(corrected) => {
                self.name.clone_from(&corrected.name);
                effects.pass = self
                    .counts_since()
                    .map(|pass| PassChange::Corrected(Box::new(self.pin_since(pass.at, pass.position))));
            }
            Event::Withdrawn(_) => {
                self.status = SubmissionStatus::Withdrawn;
                self.waiting = None;
            }
            Event::GivenUp(given_up) => {
                self.status = SubmissionStatus::GivenUp;
                self.waiting = Some(WaitReason {
                    code: Some(given_up.code),
                    message: last_word(given_up),
                    retry_at: None,
                });
            }
        }
        self.timeline.push(entry(envelope));
        self.bound_timeline();
        self.revision = envelope.revision;
        self.position = envelope.position;

        let place_given_up = (before == SubmissionStatus::Submitted).then_some(place);
        let place_taken = (self.status == SubmissionStatus::Submitted).then_some(place_after);
        if place_given_up != place_taken {
            (effects.leaves, effects.enters) = (place_given_up, place_taken);
        }
        if before != self.status {
            effects.status = Some((Some(before), self.status));
        }
        effects
    }

    /// Leaves out the oldest entries after the first ones, if the timeline is too long. What the next event's effects
    /// depend on stays: the newest entries that queued, claimed and failed the submission, and the pass that counts.
    fn bound_timeline(&mut self) {
        if self.timeline.len() <= TIMELINE_FIRST + TIMELINE_LAST {
            return;
        }
        let newest = |is: fn(&Event) -> bool| {
            self.timeline.iter().rfind(|entry| is(&entry.event)).map(|entry| entry.position)
        };
        let needed = [
            Some(self.queued().position),
            self.claimed(),
            newest(|event| matches!(event, Event::Failed(_))),
            self.passed_since().map(|entry| entry.position),
        ];
        let last = self.timeline.len() - TIMELINE_LAST;
        let mut index = 0;
        let before = self.timeline.len();
        self.timeline.retain(|entry| {
            index += 1;
            let is_between = index > TIMELINE_FIRST && index <= last;
            !is_between || needed.contains(&Some(entry.position))
        });
        self.timeline_omitted += (before - self.timeline.len()) as u64;
    }

    fn judge(&mut self, verdict: SubmissionStatus, envelope: &EventEnvelope, reasons: Vec<ReasonView>) {
        self.status = verdict;
        self.waiting = None;
        self.reasons = reasons;
        self.judged_at = Some(envelope.recorded_at);
    }

    /// Returns the change that lets the submission count since its pass at this time and position.
    fn counts(&self, passed_at: Timestamp, position: Position) -> PassChange {
        PassChange::Counts(Box::new(self.pin_since(passed_at, position)))
    }

    /// Returns the pin that the submission would be by its pass at this time and position.
    fn pin_since(&self, passed_at: Timestamp, position: Position) -> Pin {
        Pin {
            owner: self.owner.clone(),
            name: self.name.clone(),
            twitter: self.twitter.clone(),
            city: self.location.city.clone(),
            country: self.location.country.clone(),
            lat: self.location.lat,
            lon: self.location.lon,
            answers: self.answers.clone(),
            venue: self.venue.clone(),
            former_venues: vec![],
            passes: 0,
            passed_at,
            position,
        }
    }
}

fn entry(envelope: &EventEnvelope) -> TimelineEntry {
    TimelineEntry { at: envelope.recorded_at, position: envelope.position, event: envelope.event.clone() }
}

fn apology(code: InterruptionCode, retry_at: Option<Timestamp>) -> String {
    let then = match retry_at {
        Some(_) => "It is tried again soon, by itself.",
        None => "It is tried again, by itself, as soon as the platform is well.",
    };
    format!("{} That is our fault, not yours. {then}", code.explanation())
}

fn last_word(given_up: &GivenUp) -> String {
    let GivenUp { interruptions, code, .. } = given_up;
    format!(
        "We could not run it: {} {interruptions} attempts ended without a verdict. That is our fault, not yours. You may submit \
         again, and the organisers can ask for another attempt.",
        code.explanation()
    )
}
