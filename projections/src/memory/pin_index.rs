//! The pins in memory, with an index for each way to find them.

use std::collections::{BTreeMap, BTreeSet};

use domain::text::unaccented;
use event_store::Position;

use crate::map::grid::{CellId, ZOOM_MAX};
use crate::map::mercator::MercatorPoint;
use crate::search_keys::SearchKeys;
use crate::view::Pin;

/// The pins of all owners, with an index for each way to find them.
#[derive(Debug, Default)]
pub(super) struct PinIndex {
    /// The pins that are or were on the map.
    pub(super) by_position: BTreeMap<Position, Pin>,
    by_cell: BTreeSet<(CellId, Position)>,
    pub(super) names: BTreeSet<(String, Position)>,
    pub(super) last_names: BTreeSet<(String, Position)>,
    pub(super) cities: BTreeSet<(String, Position)>,
}

impl PinIndex {
    pub(super) fn insert(&mut self, pin: Pin) {
        if pin.passes > 0 {
            self.by_cell.insert((pin_cell(&pin), pin.position));
            let SearchKeys { name, last_name, city } = SearchKeys::new(&pin);
            self.names.insert((name, pin.position));
            self.last_names.extend(last_name.map(|name| (name, pin.position)));
            self.cities.insert((city, pin.position));
        }
        self.by_position.insert(pin.position, pin);
    }

    pub(super) fn remove(&mut self, pin: &Pin) {
        self.by_position.remove(&pin.position);
        self.by_cell.remove(&(pin_cell(pin), pin.position));
        let SearchKeys { name, last_name, city } = SearchKeys::new(pin);
        self.names.remove(&(name, pin.position));
        if let Some(name) = last_name {
            self.last_names.remove(&(name, pin.position));
        }
        self.cities.remove(&(city, pin.position));
    }

    pub(super) fn in_cell(&self, cell: CellId) -> impl Iterator<Item = Position> {
        let all = (cell, Position::START)..=(cell, Position(u64::MAX));
        self.by_cell.range(all).map(|(_, position)| *position)
    }
}

fn pin_cell(pin: &Pin) -> CellId {
    CellId::containing(MercatorPoint::from_pin(pin), ZOOM_MAX)
}

/// Returns the positions of the entries that begin with `text`, sorted by entry.
pub(super) fn starting_with<'a>(
    index: &'a BTreeSet<(String, Position)>,
    text: &str,
) -> impl Iterator<Item = Position> + use<'a> {
    let text = unaccented(text);
    index
        .range((text.clone(), Position::START)..)
        .take_while(move |(key, _)| key.starts_with(&text))
        .map(|(_, position)| *position)
}
