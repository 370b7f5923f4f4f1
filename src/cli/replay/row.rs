//! An event as one row of a table.

use domain::Event;
use jiff::Timestamp;
use serde::Serialize;

use super::line::EventLine;
use super::submitter::Submitter;

/// An event as a row. A column that the event does not have is empty.
#[derive(Debug, Serialize)]
pub(super) struct EventRow<'a> {
    pub(super) position: u64,
    pub(super) recorded_at: Timestamp,
    pub(super) stream: &'a str,
    pub(super) submission: Option<String>,
    /// The event's number in its stream, from 0.
    pub(super) revision: u64,
    pub(super) r#type: &'a str,
    /// The registry namespace of the images.
    pub(super) owner: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    /// ISO 3166 code of two letters.
    pub(super) country: Option<&'a str>,
    /// The latitude in degrees north.
    pub(super) lat: Option<f64>,
    /// The longitude in degrees east.
    pub(super) lon: Option<f64>,
    /// The number of the attempt, from 1.
    pub(super) attempt: Option<u32>,
    /// The end of an attempt: `passed`, `failed` or `interrupted`.
    pub(super) outcome: Option<&'static str>,
    /// The codes of the reasons, separated by commas.
    pub(super) reasons: Option<String>,
    /// The content of the event, as JSON.
    pub(super) data: Option<&'a str>,
}

impl<'a> EventRow<'a> {
    pub(super) fn new(line: &'a EventLine, event: Option<&Event>, submitter: Option<&'a Submitter>) -> Self {
        let (outcome, reasons) = event.map_or((None, None), ending);
        Self {
            position: line.position,
            recorded_at: line.recorded_at,
            stream: &line.stream,
            submission: line.submission().map(|id| id.to_string()),
            revision: line.revision,
            r#type: &line.kind,
            owner: submitter.map(|submitter| submitter.owner.as_str()),
            name: submitter.map(|submitter| submitter.name.as_str()),
            country: submitter.map(|submitter| submitter.country.as_str()),
            lat: submitter.map(|submitter| submitter.lat),
            lon: submitter.map(|submitter| submitter.lon),
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
        Event::GivenUp(given_up) => (Some("given_up"), Some(given_up.code.as_str().to_owned())),
        Event::Submitted(_)
        | Event::VerificationStarted(_)
        | Event::ImagesPulled(_)
        | Event::ContainersStarted(_)
        | Event::Probed(_)
        | Event::RejudgeRequested(_)
        | Event::Hidden(_)
        | Event::Shown(_)
        | Event::Withdrawn(_) => (None, None),
    }
}
