//! What all stores of views have in common: the state that events fold into.
//!
//! The memory views keep all of it. A store elsewhere fills in what a batch
//! will touch ([`Fold::default`] for what was never seen), folds the batch, and
//! writes back what changed; `cells` and `counters` are sums, so those it need
//! not fill in, and adds the differences to what it has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::submission::SubmissionId;

use crate::EventEnvelope;
use crate::cells::Cells;
use crate::owner::{Moved, Owner};
use crate::project::EventEffects;
use crate::square::Point;
use crate::totals::{self, Counter, Counters, Recent};
use crate::view::{Pin, StatusView};

/// The state of the views, or the part of it that a batch touches.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub(crate) statuses: HashMap<SubmissionId, StatusView>,
    pub(crate) owners: HashMap<String, Owner>,
    /// How many pins a place has.
    pub(crate) places: HashMap<Point, u64>,
    pub(crate) cells: Cells,
    pub(crate) counters: Counters,
    pub(crate) recent: Recent,
}

impl Fold {
    /// Follows one event.
    pub(crate) fn apply(&mut self, envelope: &EventEnvelope) -> (EventEffects, Option<Moved>) {
        let (view, effects) = match self.statuses.entry(envelope.id) {
            Entry::Occupied(view) => {
                let view = view.into_mut();
                let effects = view.apply_next(envelope);
                (view, effects)
            }
            Entry::Vacant(nothing) => match StatusView::create(envelope) {
                Some((view, effects)) => (nothing.insert(view), effects),
                None => return (EventEffects::default(), None),
            },
        };
        let moved = effects.pass.as_ref().map(|pass| {
            let owner = self.owners.entry(view.owner.clone()).or_default();
            owner.apply(pass, envelope.position)
        });
        totals::count(&mut self.counters, &effects);
        if let Some(moved) = &moved {
            moved.before.iter().filter(|pin| pin.passes > 0).for_each(|pin| self.take_away(pin));
            moved.after.iter().filter(|pin| pin.passes > 0).for_each(|pin| self.put_down(pin));
        }
        self.recent.apply(envelope, &effects);
        (effects, moved)
    }

    fn put_down(&mut self, pin: &Pin) {
        let here = self.places.entry(Point::of(pin)).or_default();
        *here += 1;
        let alone = *here == 1;
        self.cells.add(pin, alone);
        totals::count_pin(&mut self.counters, pin, 1);
        if alone {
            totals::add(&mut self.counters, Counter::Places, 1);
        }
    }

    fn take_away(&mut self, pin: &Pin) {
        let here = self.places.entry(Point::of(pin)).or_default();
        *here = here.saturating_sub(1);
        let alone = *here == 0;
        self.cells.remove(pin, alone);
        totals::count_pin(&mut self.counters, pin, -1);
        if alone {
            totals::add(&mut self.counters, Counter::Places, -1);
        }
    }
}
