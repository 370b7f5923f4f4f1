//! Reads the tables as places: finds the places that have a name, and gives a place its full name.

use std::cmp::Reverse;

use super::fold::{fold, key};
use super::table::{SortedTable, columns, first_column};
use super::{GazetteerPlace, PlaceSuggestion};

/// A place for which a name is only an alternative counts with one part in so many of its people.
const ALTERNATIVE_NAME_DIVISOR: u32 = 30;

static PLACES: SortedTable = SortedTable::new(include_str!("../../data/places.tsv"));
pub(super) static NAMES: SortedTable = SortedTable::new(include_str!("../../data/names.tsv"));
static REGIONS: SortedTable = SortedTable::new(include_str!("../../data/regions.tsv"));
static COUNTRIES: SortedTable = SortedTable::new(include_str!("../../data/countries.tsv"));

/// The four tables by name, for the test of their checksums.
#[cfg(test)]
pub(super) const TABLES: [(&str, &SortedTable); 4] =
    [("places", &PLACES), ("names", &NAMES), ("regions", &REGIONS), ("countries", &COUNTRIES)];

/// A place that a name may mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceCandidate {
    pub(super) id: u32,
    name: &'static str,
    country: &'static str,
    region: &'static str,
    near: &'static str,
    lat: f64,
    lon: f64,
    /// The number of people; a part of them if the name is only an alternative.
    pub(super) weight: u32,
}

/// Returns the places whose name has this key, by weight.
pub(super) fn places_named(key: &str) -> Vec<PlaceCandidate> {
    NAMES.get(key).map(candidates).unwrap_or_default()
}

/// Returns the places of one row of the table of names, by weight.
pub(super) fn places_of_row(row: &'static str) -> Vec<PlaceCandidate> {
    candidates(columns(first_column(row).1))
}

/// Sorts candidates by weight, the largest first, and then by id.
pub(super) fn by_weight(candidate: &PlaceCandidate) -> (Reverse<u32>, u32) {
    (Reverse(candidate.weight), candidate.id)
}

impl PlaceCandidate {
    /// Returns whether these words name the country, the region or a neighbour, or the region and then the country.
    pub(super) fn is_in(&self, words: &[String]) -> bool {
        self.is_named_by(&key(words))
            || (1..words.len())
                .any(|cut| self.is_named_by(&key(&words[..cut])) && self.is_named_by(&key(&words[cut..])))
    }

    /// Returns whether these words name the country.
    pub(super) fn is_in_country(&self, words: &[String]) -> bool {
        has_key(self.country_row()[1], &key(words))
    }

    /// Returns whether the tables name the region. They do not for every country.
    pub(super) fn has_region(&self) -> bool {
        !self.region.is_empty()
    }

    /// Returns whether the folded `prefix` begins the region, the country, or both in that order.
    pub(super) fn may_be_in(&self, prefix: &str) -> bool {
        let [country_name, country_keys] = self.country_row();
        let [region_name, region_keys] = self.region_row().unwrap_or_default();
        country_keys.split('|').chain(region_keys.split('|')).any(|key| key.starts_with(prefix))
            || [country_name, self.country]
                .iter()
                .any(|country| fold(&format!("{region_name} {country}")).starts_with(prefix))
    }

    /// Returns the full name, which no other place has.
    pub(super) fn suggestion(&self) -> PlaceSuggestion {
        let mut label = self.name.to_owned();
        if let Some([region, _]) = self.region_row() {
            label = format!("{label}, {region}");
        }
        if !self.near.is_empty() {
            label = format!("{label}, near {}", self.near);
        }
        PlaceSuggestion(format!("{label}, {}", self.country))
    }

    pub(super) fn place(&self) -> GazetteerPlace {
        GazetteerPlace {
            city: self.name.to_owned(),
            region: self.region_row().map(|[name, _]| name.to_owned()),
            country: self.country.to_owned(),
            country_name: self.country_row()[0].to_owned(),
            lat: self.lat,
            lon: self.lon,
        }
    }

    fn is_named_by(&self, key: &str) -> bool {
        has_key(self.country_row()[1], key)
            || self.region_row().is_some_and(|[_, keys]| has_key(keys, key))
            || (!self.near.is_empty() && key == fold(&format!("near {}", self.near)))
    }

    /// Returns the name and the keys of the country.
    fn country_row(&self) -> [&'static str; 2] {
        COUNTRIES.get(self.country).unwrap_or([self.country; 2])
    }

    /// Returns the name and the keys of the region.
    fn region_row(&self) -> Option<[&'static str; 2]> {
        REGIONS.get(&format!("{}.{}", self.country, self.region))
    }
}

fn has_key(keys: &str, key: &str) -> bool {
    keys.split('|').any(|listed| listed == key)
}

fn candidates([_, named, alternative]: [&'static str; 3]) -> Vec<PlaceCandidate> {
    let ids = |list: &'static str| list.split(',').filter(|id| !id.is_empty());
    let mut found: Vec<PlaceCandidate> = ids(named)
        .filter_map(|id| candidate(id, 1))
        .chain(ids(alternative).filter_map(|id| candidate(id, ALTERNATIVE_NAME_DIVISOR)))
        .collect();
    found.sort_by_key(by_weight);
    found
}

fn candidate(id: &'static str, divisor: u32) -> Option<PlaceCandidate> {
    let [name, country, region, near, lat, lon, population] = PLACES.get(id)?;
    Some(PlaceCandidate {
        id: id.parse().ok()?,
        name,
        country,
        region,
        near,
        lat: lat.parse().ok()?,
        lon: lon.parse().ok()?,
        weight: population.parse::<u32>().ok()? / divisor,
    })
}
