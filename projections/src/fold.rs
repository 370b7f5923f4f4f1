//! The state that events fold into, the same for every store of views.
//!
//! [`MemoryViews`](crate::MemoryViews) keeps all of it. Another store loads the
//! part that a batch will touch, applies the batch and writes back the changes.
//! It need not load `cells` and `counters`: these are sums, so it starts from
//! zero and adds the differences to the stored sums.

pub(crate) mod owner;
pub(crate) mod project;
pub(crate) mod totals;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::submission::{Event, SubmissionId};

use self::owner::{OwnerPasses, PinChange};
use self::project::{EventEffects, PassChange};
use self::totals::{CounterKey, Counters, RecentActivity, VenueTotals};
use crate::EventEnvelope;
use crate::map::index::CellIndex;
use crate::map::mercator::MercatorPoint;
use crate::shared_map::SharedMap;
use crate::view::{DeletionView, Pin, StatusView};

/// The state of the views, or the part of it that a batch touches.
#[derive(Debug, Default)]
pub(crate) struct ViewState {
    pub(crate) statuses: SharedMap<SubmissionId, StatusView>,
    pub(crate) owners: SharedMap<String, OwnerPasses>,
    /// The number of pins at each place.
    pub(crate) places: HashMap<MercatorPoint, u64>,
    pub(crate) cells: CellIndex,
    pub(crate) counters: Counters,
    pub(crate) recent: RecentActivity,
    /// The totals of each venue, by its short name.
    pub(crate) venues: BTreeMap<String, VenueTotals>,
}

impl ViewState {
    /// Applies one event. Returns its effects, and the owner's pin before and after if it changed.
    pub(crate) fn apply(&mut self, envelope: &EventEnvelope) -> (EventEffects, Option<PinChange>) {
        let (view, effects) = match self.statuses.get_mut(&envelope.id) {
            Some(view) => {
                let effects = view.apply_next(envelope);
                (view, effects)
            }
            None => match StatusView::create(envelope) {
                Some((view, effects)) => (self.statuses.insert(envelope.id, view), effects),
                None => return (EventEffects::default(), None),
            },
        };
        let pin_change = effects.pass.as_ref().map(|pass| {
            let owner = self.owners.get_or_default(&view.owner);
            owner.apply(pass, envelope.position)
        });
        totals::count_effects(&mut self.counters, &effects);
        if let Some(venue) = &view.venue {
            let totals = self.venues.entry(venue.clone()).or_default();
            totals::count_effects(&mut totals.counters, &effects);
            totals.recent.apply(envelope, &effects);
        }
        if let Some(pin_change) = &pin_change {
            self.replace_pin(pin_change);
        }
        self.recent.apply(envelope, &effects);
        (effects, pin_change)
    }

    /// Takes a submission out of the totals and of its owner's pin, and returns its view and the owner's pin before and after
    /// if that changed; `None` if the submission is not known. The failures of entries that a long timeline has left out stay
    /// counted.
    pub(crate) fn delete(&mut self, deletion: &DeletionView) -> Option<(StatusView, Option<PinChange>)> {
        let view = Arc::unwrap_or_clone(self.statuses.remove(&deletion.id)?);
        let of_venue = view.venue.as_ref().map(|venue| self.venues.entry(venue.clone()).or_default());
        for counters in [Some(&mut self.counters), of_venue.map(|totals| &mut totals.counters)] {
            counters.into_iter().for_each(|counters| uncount(counters, &view));
        }
        let pass = view.counts_since().map(|pass| PassChange::Revoked(pass.position));
        let owner = self.owners.get_mut(&view.owner);
        let pin_change = owner.and_then(|owner| owner.delete(pass.as_ref(), deletion.position));
        if let Some(pin_change) = &pin_change {
            self.replace_pin(pin_change);
        }
        Some((view, pin_change))
    }

    fn replace_pin(&mut self, PinChange { before, after }: &PinChange) {
        before.iter().filter(|pin| pin.passes > 0).for_each(|pin| self.remove_pin(pin));
        after.iter().filter(|pin| pin.passes > 0).for_each(|pin| self.add_pin(pin));
    }

    pub(crate) fn add_pin(&mut self, pin: &Pin) {
        let pins_here = self.places.entry(MercatorPoint::from_pin(pin)).or_default();
        *pins_here += 1;
        let new_place = *pins_here == 1;
        self.cells.add(pin, new_place);
        self.count_pin(pin, 1);
        if new_place {
            totals::add(&mut self.counters, CounterKey::Places, 1);
        }
    }

    fn remove_pin(&mut self, pin: &Pin) {
        let pins_here = self.places.entry(MercatorPoint::from_pin(pin)).or_default();
        *pins_here = pins_here.saturating_sub(1);
        let last_of_place = *pins_here == 0;
        self.cells.remove(pin, last_of_place);
        self.count_pin(pin, -1);
        if last_of_place {
            totals::add(&mut self.counters, CounterKey::Places, -1);
        }
    }

    fn count_pin(&mut self, pin: &Pin, by: i64) {
        totals::count_pin(&mut self.counters, pin, by);
        if let Some(venue) = &pin.venue {
            totals::count_pin(&mut self.venues.entry(venue.clone()).or_default().counters, pin, by);
        }
    }
}

/// Takes a submission out of counters, but for its pin.
fn uncount(counters: &mut Counters, view: &StatusView) {
    totals::add(counters, CounterKey::Status(view.status), -1);
    for entry in &view.timeline {
        match &entry.event {
            Event::Failed(failed) => {
                for reason in &failed.reasons {
                    totals::add(counters, CounterKey::Failure(reason.code), -1);
                }
            }
            Event::VerificationInterrupted(interrupted) => {
                totals::add(counters, CounterKey::Interruption(interrupted.code), -1);
            }
            _ => {}
        }
    }
}
