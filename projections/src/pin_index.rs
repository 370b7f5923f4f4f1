//! Pins in memory, with an index for each way to find them.

use std::collections::{BTreeMap, BTreeSet};

use domain::text::unaccented;
use event_store::Position;

use crate::map::cluster::{CellCluster, clusters, expansion_zoom, nearest};
use crate::map::grid::{CellId, ZOOM_MAX};
use crate::map::index::CellIndex;
use crate::map::mercator::MercatorPoint;
use crate::map::viewport::Viewport;
use crate::search_keys::SearchKeys;
use crate::view::{BoundingBox, MapFeature, MapView, Pin};

/// Pins, with an index for each way to find them.
#[derive(Debug, Default)]
pub(crate) struct PinIndex {
    /// The pins that are or were on the map.
    pub(crate) by_position: BTreeMap<Position, Pin>,
    by_cell: BTreeSet<(CellId, Position)>,
    names: BTreeSet<(String, Position)>,
    last_names: BTreeSet<(String, Position)>,
    cities: BTreeSet<(String, Position)>,
    /// The pins that are or were at each venue.
    by_venue: BTreeSet<(String, Position)>,
}

impl PinIndex {
    pub(crate) fn insert(&mut self, pin: Pin) {
        if pin.passes > 0 {
            self.by_cell.insert((pin_cell(&pin), pin.position));
            let SearchKeys { name, last_name, city } = SearchKeys::new(&pin);
            self.names.insert((name, pin.position));
            self.last_names.extend(last_name.map(|name| (name, pin.position)));
            self.cities.insert((city, pin.position));
        }
        self.by_venue.extend(pin.all_venues().map(|venue| (venue.clone(), pin.position)));
        self.by_position.insert(pin.position, pin);
    }

    pub(crate) fn remove(&mut self, pin: &Pin) {
        self.by_position.remove(&pin.position);
        for venue in pin.all_venues() {
            self.by_venue.remove(&(venue.clone(), pin.position));
        }
        self.by_cell.remove(&(pin_cell(pin), pin.position));
        let SearchKeys { name, last_name, city } = SearchKeys::new(pin);
        self.names.remove(&(name, pin.position));
        if let Some(name) = last_name {
            self.last_names.remove(&(name, pin.position));
        }
        self.cities.remove(&(city, pin.position));
    }

    /// Returns the pins that are or were at a venue and changed after a position.
    pub(crate) fn at_venue(&self, venue: &str, after: Position) -> impl Iterator<Item = &Pin> {
        let changed = (venue.to_owned(), Position(after.0.saturating_add(1)));
        let changed = self.by_venue.range(changed..=(venue.to_owned(), Position(u64::MAX)));
        changed.filter_map(|(_, position)| self.by_position.get(position))
    }

    /// Returns the pins and clusters in a box at a zoom. `cells` has the same pins.
    pub(crate) fn viewport(&self, cells: &CellIndex, bounds: BoundingBox, zoom: u8) -> MapView {
        let viewport = Viewport::new(bounds, zoom);
        let clusters = clusters(&viewport, cells);
        let features = clusters.iter().map(|cluster| self.feature(cells, cluster)).collect();
        MapView { zoom: viewport.zoom(), features }
    }

    /// Returns the pins of the cluster whose centre is nearest to a place, newest first.
    pub(crate) fn at_place(&self, cells: &CellIndex, lat: f64, lon: f64, max: usize) -> Vec<Pin> {
        let cluster = nearest(cells, MercatorPoint::project(lat, lon));
        let cells = cluster.into_iter().flat_map(|cluster| cluster.cells);
        let mut positions: Vec<Position> = cells.flat_map(|cell| self.in_cell(cell.wrapped())).collect();
        positions.sort_unstable();
        let newest = positions.iter().rev().take(max);
        newest.filter_map(|position| self.by_position.get(position).cloned()).collect()
    }

    /// Returns the pins whose name, last name or city begins with a text, in this order.
    pub(crate) fn find(&self, text: &str, max: usize) -> Vec<Pin> {
        let indexes = [&self.names, &self.last_names, &self.cities];
        let mut seen = BTreeSet::new();
        let found = indexes.into_iter().flat_map(|index| starting_with(index, text));
        let found = found.filter(|position| seen.insert(*position));
        found.filter_map(|position| self.by_position.get(&position)).take(max).cloned().collect()
    }

    fn feature(&self, cells: &CellIndex, cluster: &CellCluster) -> MapFeature {
        let pin = self.by_position.get(&Position(cluster.sums.pin));
        if let Some(pin) = pin.filter(|_| cluster.sums.count == 1) {
            return MapFeature::Pin(pin.clone());
        }
        let expansion_zoom = match cluster.sums.places {
            1 => None,
            _ => expansion_zoom(cells, &cluster.cells, ZOOM_MAX).ok(),
        };
        cluster.feature(expansion_zoom)
    }

    fn in_cell(&self, cell: CellId) -> impl Iterator<Item = Position> {
        let all = (cell, Position::START)..=(cell, Position(u64::MAX));
        self.by_cell.range(all).map(|(_, position)| *position)
    }
}

fn pin_cell(pin: &Pin) -> CellId {
    CellId::containing(MercatorPoint::from_pin(pin), ZOOM_MAX)
}

/// Returns the positions of the entries that begin with `text`, sorted by entry.
fn starting_with<'a>(
    index: &'a BTreeSet<(String, Position)>,
    text: &str,
) -> impl Iterator<Item = Position> + use<'a> {
    let text = unaccented(text);
    index
        .range((text.clone(), Position::START)..)
        .take_while(move |(key, _)| key.starts_with(&text))
        .map(|(_, position)| *position)
}
