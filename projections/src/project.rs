//! What an event means to the views: pure, and the same whoever stores them.
//!
//! [`StatusView::apply`] brings one submission's view up to date and answers
//! [`EventEffects`]: what that changes in the views that many submissions share.
//! Nothing is looked up: the view before and the event say all.

use domain::sandbox::SandboxReported;
use domain::submission::{Event, FailureCode, InterruptionCode, Submitted};
use event_store::{Position, ReadError, RecordedEvent};
use jiff::Timestamp;

use crate::EventEnvelope;
use crate::view::{
    LocationView, Pin, ReasonView, SandboxView, StatusView, SubmissionStatus, TimelineEntry, WaitReason,
};

/// What an event changes beside its submission's own view.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventEffects {
    /// The status it had, if any, and the one it has now.
    pub status: Option<(Option<SubmissionStatus>, SubmissionStatus)>,
    /// The place in the queue that it gives up.
    pub leaves: Option<Position>,
    /// The place in the queue that it takes: the position of what put it there.
    pub enters: Option<Position>,
    /// A verdict was reached on what was put into the queue at this moment.
    pub judged: Option<Timestamp>,
    /// What becomes of the owner's pin.
    pub pass: Option<PassChange>,
    /// A verdict's reasons.
    pub failures: Vec<FailureCode>,
    /// A fault of ours.
    pub interruption: Option<InterruptionCode>,
}

/// A submission counts on the map from its first pass on, and until a rejudge
/// fails it. A rejudge that passes it again changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum PassChange {
    /// It passed, and did not count before. Its `passes` are not counted yet.
    Counts(Box<Pin>),
    /// It failed, and had counted since the event at this position.
    Revoked(Position),
}

impl EventEnvelope {
    /// Reads an event of a submission.
    ///
    /// # Errors
    /// When it is not one, or cannot be understood; the error names the event.
    pub fn decode(recorded: &RecordedEvent) -> Result<Self, ReadError> {
        let undecodable = |why: &str| ReadError::Undecodable {
            kind: recorded.kind.clone(),
            stream: recorded.stream.clone(),
            revision: recorded.revision,
            why: why.to_owned(),
        };
        let id = domain::SubmissionId::from_stream(recorded.stream.as_str())
            .ok_or_else(|| undecodable("its stream is not a submission's"))?;
        let event = recorded.decode(Event::from_stored)?;
        if (recorded.revision == 0) != matches!(event, Event::Submitted(_)) {
            return Err(undecodable("a submission begins with Submitted, once"));
        }
        Ok(Self {
            id,
            revision: recorded.revision,
            position: recorded.position,
            recorded_at: recorded.recorded_at,
            event,
        })
    }
}

impl SandboxView {
    /// Reads a report on a sandbox; `None` when the event is about something else.
    ///
    /// # Errors
    /// When it is one but cannot be understood; the error names the event.
    pub fn decode(recorded: &RecordedEvent) -> Result<Option<Self>, ReadError> {
        let Some(verifier) = SandboxReported::verifier(recorded.stream.as_str()) else { return Ok(None) };
        Ok(Some(Self {
            verifier: verifier.to_owned(),
            position: recorded.position,
            since: recorded.recorded_at,
            sandbox: recorded.decode(SandboxReported::from_stored)?,
        }))
    }
}

impl StatusView {
    /// Brings a submission's view up to date with its next event. An event that
    /// the view has seen changes nothing, and so does any before the first.
    pub fn apply(view: &mut Option<Self>, envelope: &EventEnvelope) -> EventEffects {
        if let Some(view) = view {
            return view.apply_next(envelope);
        }
        let begun = Self::create(envelope);
        begun.map_or_else(EventEffects::default, |(begun, effects)| {
            *view = Some(begun);
            effects
        })
    }

    /// The view that a first event makes; `None` for any other.
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
            | Event::RejudgeRequested(_) => None,
        }
    }

    /// What a further event does; nothing, when the view has seen it.
    pub(crate) fn apply_next(&mut self, envelope: &EventEnvelope) -> EventEffects {
        if envelope.revision > self.revision { self.update(envelope) } else { EventEffects::default() }
    }

    /// The view that a submission's events make, oldest first; `None` without any.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a EventEnvelope>) -> Option<Self> {
        let mut view = None;
        for envelope in events {
            Self::apply(&mut view, envelope);
        }
        view
    }

    /// The position of its first event.
    pub fn accepted(&self) -> Position {
        self.timeline.first().map_or(self.position, |entry| entry.position)
    }

    /// What put it into the queue last: the event of its place there.
    /// Being interrupted by a fault of ours does not cost the place.
    pub fn queued(&self) -> &TimelineEntry {
        self.timeline
            .iter()
            .rfind(|entry| matches!(entry.event, Event::Submitted(_) | Event::RejudgeRequested(_)))
            .expect("a view begins with Submitted")
    }

    /// The pass since which it counts on the map.
    pub fn counts_since(&self) -> Option<&TimelineEntry> {
        self.timeline.iter().fold(None, |since, entry| match entry.event {
            Event::Passed(_) => since.or(Some(entry)),
            Event::Failed(_) => None,
            Event::Submitted(_)
            | Event::VerificationStarted(_)
            | Event::ImagesPulled(_)
            | Event::ContainersStarted(_)
            | Event::Probed(_)
            | Event::VerificationInterrupted(_)
            | Event::RejudgeRequested(_) => since,
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
            challenge: submitted.challenge.id.clone(),
            attempts: 0,
            reasons: vec![],
            timeline: vec![entry(envelope)],
            submitted_at: envelope.recorded_at,
            judged_at: None,
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
                effects.pass =
                    self.counts_since().is_none().then(|| PassChange::Counts(Box::new(self.pin(envelope))));
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
            Event::VerificationInterrupted(broken_off) => {
                self.status = SubmissionStatus::Submitted;
                self.waiting = Some(WaitReason {
                    code: Some(broken_off.code),
                    message: apology(broken_off.code, broken_off.retry_at),
                    retry_at: broken_off.retry_at,
                });
                effects.interruption = Some(broken_off.code);
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
        }
        self.timeline.push(entry(envelope));
        self.revision = envelope.revision;
        self.position = envelope.position;

        let waited = (before == SubmissionStatus::Submitted).then_some(place);
        let waits = (self.status == SubmissionStatus::Submitted).then_some(place_after);
        if waited != waits {
            (effects.leaves, effects.enters) = (waited, waits);
        }
        if before != self.status {
            effects.status = Some((Some(before), self.status));
        }
        effects
    }

    fn judge(&mut self, verdict: SubmissionStatus, envelope: &EventEnvelope, reasons: Vec<ReasonView>) {
        self.status = verdict;
        self.waiting = None;
        self.reasons = reasons;
        self.judged_at = Some(envelope.recorded_at);
    }

    fn pin(&self, passed: &EventEnvelope) -> Pin {
        Pin {
            owner: self.owner.clone(),
            name: self.name.clone(),
            twitter: self.twitter.clone(),
            city: self.location.city.clone(),
            country: self.location.country.clone(),
            lat: self.location.lat,
            lon: self.location.lon,
            answers: self.answers.clone(),
            passes: 0,
            passed_at: passed.recorded_at,
            position: passed.position,
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
