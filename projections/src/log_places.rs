//! Some places in the log, with the moments up to them. A reader who asks for what happened since a moment begins at such a
//! place instead of the start of the log.

use event_store::Position;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::EventEnvelope;

/// The number of events from one place to the next.
const EVENTS_BETWEEN: u32 = 256;

/// A place in the log: an event of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// The position of the event.
    pub position: Position,
    /// The id that the event has in the log. Another event at the position means another log.
    pub event_id: Uuid,
    /// The newest moment of all events up to there, milliseconds since 1970, rounded up. It never goes back, though a
    /// log's moments can.
    pub newest_ms: i64,
}

/// Chooses places while events are applied.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PlaceChooser {
    /// The position of the last event that was seen.
    upto: Position,
    newest_ms: i64,
    /// The number of events that were seen since the last place.
    unplaced: u32,
}

/// The places that were chosen so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KnownPlaces {
    choosing: PlaceChooser,
    places: Vec<LogPlace>,
}

impl KnownPlaces {
    /// Learns the place of the event, if it is time for another.
    pub(crate) fn see(&mut self, envelope: &EventEnvelope) {
        self.places.extend(self.choosing.see(envelope));
    }

    /// Returns the last place before which every event was recorded before `moment`.
    pub(crate) fn before(&self, moment: Timestamp) -> Option<LogPlace> {
        let before = self.places.partition_point(|place| place.newest_ms <= moment.as_millisecond());
        self.places[..before].last().copied()
    }
}

impl PlaceChooser {
    /// Returns the place of the event, if it is time for another place. An event before the last one is no place: its
    /// submission stood still, and goes on.
    pub(crate) fn see(&mut self, envelope: &EventEnvelope) -> Option<LogPlace> {
        if envelope.position <= self.upto {
            return None;
        }
        self.upto = envelope.position;
        self.newest_ms = self.newest_ms.max(envelope.recorded_at.as_millisecond().saturating_add(1));
        self.unplaced += 1;
        if self.unplaced < EVENTS_BETWEEN {
            return None;
        }
        self.unplaced = 0;
        let (position, event_id) = (envelope.position, envelope.event_id);
        Some(LogPlace { position, event_id, newest_ms: self.newest_ms })
    }
}
