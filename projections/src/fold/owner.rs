//! The pin of each owner, at the place of the owner's newest pass that counts.

use std::collections::{BTreeMap, BTreeSet};

use event_store::Position;

use super::project::PassChange;
use crate::view::Pin;

/// The passes of an owner.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OwnerPasses {
    /// The number of submissions that count.
    pub(crate) count: u64,
    /// The passes, newest last, each as the pin that it would be. May hold only the newest passes, if it
    /// holds at least one more than the batch revokes and shows again.
    pub(crate) passes: Vec<Pin>,
    /// The pin on the map. After the last pass is revoked, the former pin with 0 `passes`.
    pub(crate) pin: Option<Pin>,
}

/// A pin before and after an event. A pin with 0 `passes` is not on the map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PinChange {
    pub(crate) before: Option<Pin>,
    pub(crate) after: Option<Pin>,
}

impl OwnerPasses {
    /// Applies a change at position `at`.
    pub(crate) fn apply(&mut self, pass: &PassChange, at: Position) -> PinChange {
        let before = self.pin.take();
        match pass {
            PassChange::Counts(pin) => {
                self.count += 1;
                // A submission that is shown again has its old place among the passes.
                let place = self.passes.partition_point(|pass| pass.position < pin.position);
                self.passes.insert(place, Pin::clone(pin));
            }
            PassChange::Corrected(pin) => {
                let same = self.passes.iter_mut().find(|pass| pass.position == pin.position);
                same.into_iter().for_each(|pass| *pass = Pin::clone(pin));
            }
            PassChange::Revoked(since) => {
                self.count = self.count.saturating_sub(1);
                self.passes.retain(|pass| pass.position != *since);
            }
        }
        let newest = self.passes.last().or(before.as_ref());
        self.pin = newest.map(|pin| Pin {
            passes: self.count,
            position: at,
            former_venues: former_venues(before.as_ref(), pin.venue.as_ref()),
            ..pin.clone()
        });
        PinChange { before, after: self.pin.clone() }
    }

    /// Applies the deletion of a submission at position `at`; `pass` revokes it if it counted. A pin that is not on the map
    /// keeps its place, which tells listeners where it was. The participant's own words go with the submission, also
    /// if it was hidden or had failed since.
    pub(crate) fn delete(&mut self, pass: Option<&PassChange>, at: Position) -> Option<PinChange> {
        let before = self.pin.clone();
        let change = pass.map(|pass| self.apply(pass, at));
        let Some(gone) = self.pin.as_mut().filter(|pin| pin.passes == 0) else { return change };
        (gone.name, gone.twitter, gone.answers) = (String::new(), None, BTreeMap::new());
        gone.position = at;
        Some(PinChange { before, after: Some(gone.clone()) })
    }
}

/// Returns the venues that must hear that the pin is gone, if it is at `venue` now.
fn former_venues(before: Option<&Pin>, venue: Option<&String>) -> Vec<String> {
    let venues = before.into_iter().flat_map(Pin::all_venues).filter(|former| Some(*former) != venue);
    let venues: BTreeSet<String> = venues.cloned().collect();
    venues.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(position: u64, city: &str) -> PassChange {
        PassChange::Counts(Box::new(Pin {
            owner: "docker.io/ada".into(),
            name: "Ada".into(),
            twitter: None,
            city: city.into(),
            country: "GB".into(),
            lat: 0.0,
            lon: 0.0,
            answers: Default::default(),
            venue: None,
            former_venues: vec![],
            passes: 0,
            passed_at: "2016-03-21T12:00:00Z".parse().unwrap(),
            position: Position(position),
        }))
    }

    /// Returns the city, the passes and the position of a pin.
    fn summary(pin: &Option<Pin>) -> Option<(&str, u64, u64)> {
        pin.as_ref().map(|pin| (pin.city.as_str(), pin.passes, pin.position.0))
    }

    #[test]
    fn a_later_pass_moves_the_pin_and_counts_up() {
        let mut owner = OwnerPasses::default();
        let first = owner.apply(&pass(1, "London"), Position(1));
        assert_eq!((first.before, summary(&first.after)), (None, Some(("London", 1, 1))));
        let second = owner.apply(&pass(5, "Paris"), Position(5));
        assert_eq!(summary(&second.before), Some(("London", 1, 1)));
        assert_eq!(summary(&second.after), Some(("Paris", 2, 5)));
    }

    #[test]
    fn when_a_pass_is_revoked_the_newest_that_is_left_is_shown() {
        let mut owner = OwnerPasses::default();
        for (at, city) in [(1, "London"), (2, "Paris"), (3, "Rome")] {
            owner.apply(&pass(at, city), Position(at));
        }
        let older = owner.apply(&PassChange::Revoked(Position(1)), Position(7));
        assert_eq!(summary(&older.after), Some(("Rome", 2, 7)));
        let newest = owner.apply(&PassChange::Revoked(Position(3)), Position(8));
        assert_eq!(summary(&newest.after), Some(("Paris", 1, 8)));
        let last = owner.apply(&PassChange::Revoked(Position(2)), Position(9));
        assert_eq!(summary(&last.after), Some(("Paris", 0, 9)), "the removal is a change too");
        let again = owner.apply(&pass(12, "Oslo"), Position(12));
        assert_eq!(summary(&again.before), Some(("Paris", 0, 9)));
        assert_eq!(summary(&again.after), Some(("Oslo", 1, 12)));
    }

    #[test]
    fn a_pass_that_is_shown_again_returns_to_its_old_place() {
        let mut owner = OwnerPasses::default();
        for (at, city) in [(1, "London"), (2, "Paris")] {
            owner.apply(&pass(at, city), Position(at));
        }
        owner.apply(&PassChange::Revoked(Position(1)), Position(7));
        let older = owner.apply(&pass(1, "London"), Position(8));
        assert_eq!(summary(&older.after), Some(("Paris", 2, 8)));
        owner.apply(&PassChange::Revoked(Position(2)), Position(9));
        let newest = owner.apply(&pass(2, "Paris"), Position(10));
        assert_eq!(summary(&newest.after), Some(("Paris", 2, 10)));
    }
}
