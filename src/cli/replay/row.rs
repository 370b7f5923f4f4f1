//! An event in flat columns, for tables.

use domain::Event;
use jiff::Timestamp;
use serde::Serialize;

use super::line::EventLine;
use super::people::Submitter;

/// One row. What an event does not say is empty.
#[derive(Debug, Serialize)]
pub(super) struct EventRow<'a> {
    /// Its place in the log.
    pub(super) position: u64,
    /// When it was recorded.
    pub(super) recorded_at: Timestamp,
    pub(super) stream: &'a str,
    /// The submission's id.
    pub(super) submission: Option<String>,
    /// Its number in the stream.
    pub(super) revision: u64,
    /// The event's type.
    pub(super) r#type: &'a str,
    /// The registry namespace.
    pub(super) owner: Option<&'a str>,
    /// The participant's name.
    pub(super) name: Option<&'a str>,
    /// ISO 3166 code of two letters.
    pub(super) country: Option<&'a str>,
    /// Degrees north.
    pub(super) lat: Option<f64>,
    /// Degrees east.
    pub(super) lon: Option<f64>,
    /// The attempt that it belongs to, from 1.
    pub(super) attempt: Option<u32>,
    /// How an attempt ended: `passed`, `failed` or `interrupted`.
    pub(super) outcome: Option<&'static str>,
    /// Why it did not pass: codes, with commas.
    pub(super) reasons: Option<String>,
    /// What the event says, as JSON.
    pub(super) data: Option<&'a str>,
}

impl<'a> EventRow<'a> {
    pub(super) fn new(line: &'a EventLine, event: Option<&Event>, who: Option<&'a Submitter>) -> Self {
        let (outcome, reasons) = event.map_or((None, None), ending);
        Self {
            position: line.position,
            recorded_at: line.recorded_at,
            stream: &line.stream,
            submission: line.submission().map(|id| id.to_string()),
            revision: line.revision,
            r#type: &line.kind,
            owner: who.map(|who| who.owner.as_str()),
            name: who.map(|who| who.name.as_str()),
            country: who.map(|who| who.country.as_str()),
            lat: who.map(|who| who.lat),
            lon: who.map(|who| who.lon),
            attempt: event.and_then(Event::attempt),
            outcome,
            reasons,
            data: line.data.as_deref().map(|data| data.get()),
        }
    }
}

fn ending(event: &Event) -> (Option<&'static str>, Option<String>) {
    match event {
        Event::Passed(_) => (Some("passed"), None),
        Event::Failed(failed) => {
            let codes: Vec<&str> = failed.reasons.iter().map(|reason| reason.code.as_str()).collect();
            (Some("failed"), Some(codes.join(",")))
        }
        Event::VerificationInterrupted(interrupted) => {
            (Some("interrupted"), Some(interrupted.code.as_str().to_owned()))
        }
        Event::Submitted(_)
        | Event::VerificationStarted(_)
        | Event::ImagesPulled(_)
        | Event::ContainersStarted(_)
        | Event::Probed(_)
        | Event::RejudgeRequested(_) => (None, None),
    }
}
