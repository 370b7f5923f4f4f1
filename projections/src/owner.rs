//! One pin per owner: where the newest pass that counts puts it.

use event_store::Position;

use crate::project::PassChange;
use crate::view::Pin;

/// An owner's passes, newest last. Each is the pin that it would be.
///
/// `passes` may be only the newest few of them, as long as one more are known
/// than are revoked.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Owner {
    /// How many submissions count.
    pub(crate) count: u64,
    /// The newest of them.
    pub(crate) passes: Vec<Pin>,
    /// What is on the map; after the last pass was revoked, what was, with no passes.
    pub(crate) pin: Option<Pin>,
}

/// A pin before and after an event. One without passes is not on the map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    pub(crate) before: Option<Pin>,
    pub(crate) after: Option<Pin>,
}

impl Owner {
    /// Follows a pass, or its end, at position `at`.
    pub(crate) fn apply(&mut self, pass: &PassChange, at: Position) -> Moved {
        let before = self.pin.take();
        match pass {
            PassChange::Counts(pin) => {
                self.count += 1;
                self.passes.push(Pin::clone(pin));
            }
            PassChange::Revoked(since) => {
                self.count = self.count.saturating_sub(1);
                self.passes.retain(|pass| pass.position != *since);
            }
        }
        let newest = self.passes.last().or(before.as_ref());
        self.pin = newest.map(|pin| Pin { passes: self.count, position: at, ..pin.clone() });
        Moved { before, after: self.pin.clone() }
    }
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
            passes: 0,
            passed_at: "2016-03-21T12:00:00Z".parse().unwrap(),
            position: Position(position),
        }))
    }

    /// City, passes and position of a pin.
    fn seen(pin: &Option<Pin>) -> Option<(&str, u64, u64)> {
        pin.as_ref().map(|pin| (pin.city.as_str(), pin.passes, pin.position.0))
    }

    #[test]
    fn a_later_pass_moves_the_pin_and_counts_up() {
        let mut owner = Owner::default();
        let first = owner.apply(&pass(1, "London"), Position(1));
        assert_eq!((first.before, seen(&first.after)), (None, Some(("London", 1, 1))));
        let second = owner.apply(&pass(5, "Paris"), Position(5));
        assert_eq!(seen(&second.before), Some(("London", 1, 1)));
        assert_eq!(seen(&second.after), Some(("Paris", 2, 5)));
    }

    #[test]
    fn when_a_pass_is_revoked_the_newest_that_is_left_is_shown() {
        let mut owner = Owner::default();
        for (at, city) in [(1, "London"), (2, "Paris"), (3, "Rome")] {
            owner.apply(&pass(at, city), Position(at));
        }
        let older = owner.apply(&PassChange::Revoked(Position(1)), Position(7));
        assert_eq!(seen(&older.after), Some(("Rome", 2, 7)));
        let newest = owner.apply(&PassChange::Revoked(Position(3)), Position(8));
        assert_eq!(seen(&newest.after), Some(("Paris", 1, 8)));
        let last = owner.apply(&PassChange::Revoked(Position(2)), Position(9));
        assert_eq!(seen(&last.after), Some(("Paris", 0, 9)), "that it is gone is news too");
        let again = owner.apply(&pass(12, "Oslo"), Position(12));
        assert_eq!(seen(&again.before), Some(("Paris", 0, 9)));
        assert_eq!(seen(&again.after), Some(("Oslo", 1, 12)));
    }
}
