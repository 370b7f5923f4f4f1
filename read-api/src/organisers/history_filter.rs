//! The selection of events that `GET /api/v1/history` and `muster replay` share.

use event_store::{EventFilter, RecordedEvent};
use jiff::Timestamp;

/// The events of the history that a reader asks for.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// The types and streams of the events.
    pub events: EventFilter,
    /// The registry namespace of the submissions; `None` for all events.
    pub owner: Option<String>,
    /// Events recorded at this moment or later.
    pub since: Option<Timestamp>,
    /// Events recorded before this moment.
    pub until: Option<Timestamp>,
}

impl HistoryFilter {
    /// Returns whether the event was recorded between `since` and `until`. A later position may have an earlier
    /// moment, because a clock can be set back.
    pub fn is_in_period(&self, event: &RecordedEvent) -> bool {
        self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until)
    }
}
