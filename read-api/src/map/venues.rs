//! The map of one venue. A venue has few pins, so this process keeps them, and reads only the changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::challenge::Venues;
use event_store::Position;
use http_edge::Problem;
use projections::view::{Pin, StatsView};
use projections::{PinMap, QueryError, ViewQueries};
use tokio::sync::Mutex;

/// The time after which the pins of a venue are read anew, so that a mistake in them does not last.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The maps of the challenge's venues. No other venue has a map, so clients cannot make up venues.
pub(crate) struct VenueMaps(BTreeMap<String, Mutex<KeptMap>>);

/// A map, and the moment from which it is kept.
struct KeptMap {
    map: PinMap,
    since: Instant,
}

impl VenueMaps {
    pub(crate) fn new(venues: &Venues) -> Self {
        Self(venues.iter().map(|venue| (venue.name.clone(), Mutex::new(KeptMap::new()))).collect())
    }

    /// Parses the parameter `venue`. An empty text stands for all venues.
    pub(crate) fn find<'a>(&self, venue: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
        let venue = venue.filter(|venue| !venue.is_empty());
        match venue {
            Some(venue) if !self.0.contains_key(venue) => {
                Err(Problem::not_found("The challenge has no venue of this name."))
            }
            venue => Ok(venue),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Reads from the map of a venue at present.
    pub(crate) async fn read<T>(
        &self,
        queries: &dyn ViewQueries,
        venue: &str,
        read: impl FnOnce(&PinMap) -> T + Send,
    ) -> Result<T, QueryError> {
        let Some(kept) = self.0.get(venue) else { return Ok(read(&PinMap::default())) };
        let mut kept = kept.lock().await;
        if kept.since.elapsed() > KEPT_FOR {
            *kept = KeptMap::new();
        }
        kept.map.catch_up(queries, venue).await?;
        Ok(read(&kept.map))
    }

    /// Returns the present totals, of a venue or of all.
    pub(crate) async fn stats(
        &self,
        queries: &dyn ViewQueries,
        venue: Option<&str>,
    ) -> Result<StatsView, QueryError> {
        let Some(venue) = venue else { return queries.stats().await };
        let stats = queries.venue_stats(venue).await?;
        let places = self.read(queries, venue, PinMap::places).await?;
        Ok(StatsView { places, ..stats })
    }
}

impl KeptMap {
    fn new() -> Self {
        Self { map: PinMap::default(), since: Instant::now() }
    }
}

/// Returns the map of a venue at a moment of the past.
pub(crate) async fn past_map(queries: &dyn ViewQueries, venue: &str) -> Result<PinMap, QueryError> {
    let mut map = PinMap::default();
    map.catch_up(queries, venue).await?;
    Ok(map)
}

/// Returns the pins that changed after a position, of a venue or of all.
pub(crate) async fn pins_changed(
    queries: &dyn ViewQueries,
    venue: Option<&str>,
    after: Position,
    max: usize,
) -> Result<Vec<Pin>, QueryError> {
    match venue {
        None => queries.pins_changed(after, max).await,
        Some(venue) => queries.venue_pins_changed(venue, after, max).await,
    }
}
