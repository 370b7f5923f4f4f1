//! A sparse index of the log by time, made by whoever reads the log. With it, a reader who asks for what happened
//! since a moment need not read the log from its start. Offsets cannot be searched instead: a server
//! refuses every offset at which no event begins.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Position, RecordedEvent};

/// The largest number of places. When there are more, about half of them are forgotten.
const PLACES_MAX: usize = 8192;

/// An event's place in the log by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPlace {
    /// The position of the event.
    pub position: Position,
    /// The time at which the log recorded it.
    pub recorded_at: Timestamp,
    /// The id of the event. Another event at the position means another log.
    pub id: Uuid,
}

/// The places of some events, by their positions.
#[derive(Default)]
pub(super) struct MomentIndex(Mutex<IndexedPlaces>);

#[derive(Default)]
struct IndexedPlaces {
    places: BTreeMap<Position, (Timestamp, Uuid)>,
    /// The number of events that were seen since the last place was added.
    unindexed: usize,
    /// The number of events between two places, less one.
    stride: usize,
}

impl MomentIndex {
    /// Learns the place of an event, if it is time for another place.
    pub(super) fn see(&self, event: &RecordedEvent) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index.unindexed < index.stride {
            index.unindexed += 1;
            return;
        }
        index.unindexed = 0;
        index.places.insert(event.position, (event.recorded_at, event.id));
        index.thin();
    }

    /// Learns places that an earlier process knew.
    pub(super) fn learn(&self, places: Vec<IndexedPlace>) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = places.into_iter().map(|place| (place.position, (place.recorded_at, place.id)));
        index.places.extend(places);
        index.thin();
    }

    /// Returns all places.
    pub(super) fn places(&self) -> Vec<IndexedPlace> {
        let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |(position, (recorded_at, id)): (&Position, &(Timestamp, Uuid))| IndexedPlace {
            position: *position,
            recorded_at: *recorded_at,
            id: *id,
        };
        index.places.iter().map(place).collect()
    }

    /// Returns the last place before the first that is not older than `moment`.
    pub(super) fn before(&self, moment: Timestamp) -> Option<(Position, Uuid)> {
        let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let older = index.places.iter().take_while(|(_, (recorded_at, _))| *recorded_at < moment).last();
        older.map(|(position, (_, id))| (*position, *id))
    }

    /// Forgets the place at `position`.
    pub(super) fn forget(&self, position: Position) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&position);
    }

    /// Forgets all places.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = IndexedPlaces::default();
    }
}

impl IndexedPlaces {
    /// Forgets places that are near others, if there are too many. Places of earlier processes are farther apart than those of
    /// this one, so they stay.
    fn thin(&mut self) {
        if self.places.len() <= PLACES_MAX {
            return;
        }
        let (Some(first), Some(last)) = (self.places.keys().next(), self.places.keys().next_back()) else {
            return;
        };
        let distance = (last.0 - first.0) / (PLACES_MAX as u64 / 2) + 1;
        let mut kept = *first;
        let first = kept;
        self.places.retain(|position, _| {
            let is_far = *position == first || position.0 - kept.0 >= distance;
            if is_far {
                kept = *position;
            }
            is_far
        });
        self.stride = self.stride * 2 + 1;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::StreamName;

    fn event(number: u64, second: i64) -> RecordedEvent {
        RecordedEvent {
            id: Uuid::from_u128(number.into()),
            stream: StreamName::new("test").unwrap(),
            revision: number,
            position: Position(number * 100),
            kind: "Tested".to_owned(),
            data: Bytes::new(),
            metadata: Bytes::new(),
            recorded_at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn a_million_events_have_a_bounded_index_that_finds_every_moment() {
        let index = MomentIndex::default();
        let last = 1_000_000;
        (1..=last).for_each(|number| index.see(&event(number, number.cast_signed())));
        assert!(index.0.lock().unwrap().places.len() <= PLACES_MAX);
        for second in [1, 2, 1000, 777_777, last.cast_signed()] {
            let found = index.before(Timestamp::from_second(second).unwrap()).map_or(0, |(at, _)| at.0 / 100);
            assert!(found < second.cast_unsigned(), "{found} stands before second {second}");
            assert!(second.cast_unsigned() - found <= 512, "{found} is far before second {second}");
        }
    }

    #[test]
    fn another_process_goes_on_with_the_places() {
        let index = MomentIndex::default();
        (1..=20_000).for_each(|number| index.see(&event(number, number.cast_signed())));
        let known: Vec<IndexedPlace> =
            serde_json::from_str(&serde_json::to_string(&index.places()).unwrap()).unwrap();
        let next = MomentIndex::default();
        next.learn(known);
        let moment = Timestamp::from_second(15_000).unwrap();
        assert!(next.before(moment).is_some_and(|(at, _)| at.0 > 1_499_000));
        assert_eq!(next.before(moment), index.before(moment));
        // Its own places come beside those.
        (20_001..=40_000).for_each(|number| next.see(&event(number, number.cast_signed())));
        assert!(next.places().len() <= PLACES_MAX);
        let moment = Timestamp::from_second(39_999).unwrap();
        assert!(next.before(moment).is_some_and(|(at, _)| at.0 > 3_990_000));
    }

    #[test]
    fn the_places_of_many_processes_stay_as_near_as_those_of_one() {
        let mut known = Vec::new();
        let mut last = 0;
        for _ in 0..40 {
            let index = MomentIndex::default();
            index.learn(known);
            (last + 1..=last + 10_000).for_each(|number| index.see(&event(number, number.cast_signed())));
            last += 10_000;
            known = index.places();
            assert!(known.len() <= PLACES_MAX);
        }
        let far = known.windows(2).map(|pair| (pair[1].position.0 - pair[0].position.0) / 100).max().unwrap();
        assert!(far <= 8 * last / PLACES_MAX as u64, "{far} events have no place");
    }

    #[test]
    fn a_place_after_a_moment_that_went_back_is_not_found() {
        let index = MomentIndex::default();
        for (number, second) in [(1, 10), (2, 500), (3, 20), (4, 30)] {
            index.see(&event(number, second));
        }
        let found = index.before(Timestamp::from_second(100).unwrap());
        assert_eq!(found, Some((Position(100), Uuid::from_u128(1))), "event 2 must follow");
    }
}
