//! The selection of events that `GET /api/v1/history` and `muster replay` share.

use domain::submission::Submitted;
use event_store::{EventFilter, RecordedEvent};
use jiff::Timestamp;

/// The events of the history that a reader asks for.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// The types and streams of the events.
    pub events: EventFilter,
    /// The registry namespace of the submissions; `None` for all events.
    pub owner: Option<String>,
    /// The short name of the submissions' venue; `None` for all events.
    pub venue: Option<String>,
    /// Events recorded at this moment or later.
    pub since: Option<Timestamp>,
    /// Events recorded before this moment.
    pub until: Option<Timestamp>,
}

impl HistoryFilter {
    /// Returns true if the filter takes events of submissions only, by their acceptance.
    pub fn selects_submissions(&self) -> bool {
        self.owner.is_some() || self.venue.is_some()
    }

    /// Returns whether the filter takes the submission that was accepted so.
    pub fn takes(&self, submitted: &Submitted) -> bool {
        self.owner.as_ref().is_none_or(|owner| *owner == submitted.owner)
            && self.venue.as_ref().is_none_or(|venue| Some(venue) == submitted.venue.as_ref())
    }

    /// Returns whether the event was recorded between `since` and `until`. A later position may have an earlier
    /// moment, because a clock can be set back.
    pub fn is_in_period(&self, event: &RecordedEvent) -> bool {
        self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until)
    }
}
