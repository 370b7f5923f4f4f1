//! The map of one venue's pins, which a reader of the views keeps for itself. A venue has some hundred pins, so the stores have
//! an index of them, and no cells.

use std::cmp::Reverse;
use std::collections::HashMap;

use event_store::Position;

use crate::map::index::CellIndex;
use crate::map::mercator::MercatorPoint;
use crate::pin_index::PinIndex;
use crate::view::{BoundingBox, MapView, Pin};
use crate::{QueryError, ViewQueries};

/// The number of pins that are read at once.
const PAGE_PINS: usize = 1_000;

/// The pins of a venue, and the cells that they are in.
#[derive(Debug, Default)]
pub struct PinMap {
    pins: PinIndex,
    cells: CellIndex,
    /// The number of pins at each place.
    places: HashMap<MercatorPoint, u64>,
    /// The pins that are on the map, by owner.
    owners: HashMap<String, Pin>,
    /// The position of the newest change.
    upto: Position,
}

impl PinMap {
    /// Applies the venue's changes since the last call.
    ///
    /// # Errors
    /// If the views cannot be read. The changes read by then are applied.
    pub async fn catch_up(&mut self, queries: &dyn ViewQueries, venue: &str) -> Result<(), QueryError> {
        loop {
            let changed = queries.venue_pins_changed(venue, self.upto, PAGE_PINS).await?;
            let is_last = changed.len() < PAGE_PINS;
            changed.into_iter().for_each(|pin| self.replace(pin));
            if is_last {
                return Ok(());
            }
        }
    }

    /// Returns the pins and clusters in `bounds` at `zoom`, as [`ViewQueries::pins`] does.
    pub fn viewport(&self, bounds: BoundingBox, zoom: u8) -> MapView {
        self.pins.viewport(&self.cells, bounds, zoom)
    }

    /// Returns the pins of the cluster nearest to a place, as [`ViewQueries::pins_at`] does.
    pub fn at_place(&self, lat: f64, lon: f64, max: usize) -> Vec<Pin> {
        self.pins.at_place(&self.cells, lat, lon, max)
    }

    /// Returns the pins whose name, last name or city begins with a text, as [`ViewQueries::find_pins`] does.
    pub fn find(&self, text: &str, max: usize) -> Vec<Pin> {
        self.pins.find(text, max)
    }

    /// Returns the `max` pins whose newest passes are the newest, in this order.
    pub fn newest(&self, max: usize) -> Vec<Pin> {
        let mut pins: Vec<&Pin> = self.owners.values().collect();
        pins.sort_unstable_by_key(|pin| Reverse((pin.passed_at, pin.position)));
        pins.into_iter().take(max).cloned().collect()
    }

    /// Returns the number of pins.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Returns true if the venue has no pin.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Returns the number of distinct places of pins.
    pub fn places(&self) -> u64 {
        self.places.len() as u64
    }

    fn replace(&mut self, pin: Pin) {
        self.upto = self.upto.max(pin.position);
        if let Some(before) = self.owners.remove(&pin.owner) {
            let point = MercatorPoint::from_pin(&before);
            let pins_here = self.places.entry(point).or_default();
            *pins_here = pins_here.saturating_sub(1);
            let last_of_place = *pins_here == 0;
            if last_of_place {
                self.places.remove(&point);
            }
            self.cells.remove(&before, last_of_place);
            self.pins.remove(&before);
        }
        if pin.passes > 0 {
            let pins_here = self.places.entry(MercatorPoint::from_pin(&pin)).or_default();
            *pins_here += 1;
            self.cells.add(&pin, *pins_here == 1);
            self.pins.insert(pin.clone());
            self.owners.insert(pin.owner.clone(), pin);
        }
    }
}
