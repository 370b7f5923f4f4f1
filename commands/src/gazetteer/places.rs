//! The tables read as places: rows by id, the places behind a name, and how a place is called in full.

use std::cmp::Reverse;

use super::fold::{fold, key};
use super::table::{Table, columns, first_column};
use super::{Place, Suggestion};

/// A place that only *also* goes by a name counts with this part of its people against one which is so named.
const ALSO_CALLED: u32 = 30;

static PLACES: Table = Table::new(include_str!("../../data/places.tsv"));
pub(super) static NAMES: Table = Table::new(include_str!("../../data/names.tsv"));
static REGIONS: Table = Table::new(include_str!("../../data/regions.tsv"));
static COUNTRIES: Table = Table::new(include_str!("../../data/countries.tsv"));

/// The four tables by name, to be held against their checksums.
#[cfg(test)]
pub(super) const TABLES: [(&str, &Table); 4] =
    [("places", &PLACES), ("names", &NAMES), ("regions", &REGIONS), ("countries", &COUNTRIES)];

/// A place that a name may mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: u32,
    name: &'static str,
    country: &'static str,
    region: &'static str,
    near: &'static str,
    lat: f64,
    lon: f64,
    /// People, for a place so named; a part of them for one only also called so.
    pub(super) weight: u32,
}

/// The places whose name has this key, the weightiest first.
pub(super) fn called(key: &str) -> Vec<Candidate> {
    NAMES.get(key).map(candidates).unwrap_or_default()
}

/// The places behind one row of the table of names, the weightiest first.
pub(super) fn behind(row: &'static str) -> Vec<Candidate> {
    candidates(columns(first_column(row).1))
}

/// The order of candidates: the weightiest first, ties by id.
pub(super) fn order(candidate: &Candidate) -> (Reverse<u32>, u32) {
    (Reverse(candidate.weight), candidate.id)
}

impl Candidate {
    /// Whether these words name its country, its region or its neighbour, or its region and then its country.
    pub(super) fn is_in(&self, words: &[String]) -> bool {
        self.is_in_one(&key(words))
            || (1..words.len())
                .any(|cut| self.is_in_one(&key(&words[..cut])) && self.is_in_one(&key(&words[cut..])))
    }

    /// Whether these words name its country.
    pub(super) fn is_in_country(&self, words: &[String]) -> bool {
        has_key(self.country_row()[1], &key(words))
    }

    /// Whether the tables name its region at all; they do not for every country.
    pub(super) fn has_region(&self) -> bool {
        !self.region.is_empty()
    }

    /// Whether what was typed, folded, begins its region, its country, or both in that order.
    pub(super) fn may_be_in(&self, begun: &str) -> bool {
        let [country_name, country_keys] = self.country_row();
        let [region_name, region_keys] = self.region_row().unwrap_or_default();
        country_keys.split('|').chain(region_keys.split('|')).any(|key| key.starts_with(begun))
            || [country_name, self.country]
                .iter()
                .any(|country| fold(&format!("{region_name} {country}")).starts_with(begun))
    }

    /// How it is called so that nothing else is meant.
    pub(super) fn suggestion(&self) -> Suggestion {
        let mut label = self.name.to_owned();
        if let Some([region, _]) = self.region_row() {
            label = format!("{label}, {region}");
        }
        if !self.near.is_empty() {
            label = format!("{label}, near {}", self.near);
        }
        Suggestion(format!("{label}, {}", self.country))
    }

    pub(super) fn place(&self) -> Place {
        Place {
            city: self.name.to_owned(),
            region: self.region_row().map(|[name, _]| name.to_owned()),
            country: self.country.to_owned(),
            country_name: self.country_row()[0].to_owned(),
            lat: self.lat,
            lon: self.lon,
        }
    }

    fn is_in_one(&self, key: &str) -> bool {
        has_key(self.country_row()[1], key)
            || self.region_row().is_some_and(|[_, keys]| has_key(keys, key))
            || (!self.near.is_empty() && key == fold(&format!("near {}", self.near)))
    }

    /// Name and keys of its country.
    fn country_row(&self) -> [&'static str; 2] {
        COUNTRIES.get(self.country).unwrap_or([self.country; 2])
    }

    /// Name and keys of its region.
    fn region_row(&self) -> Option<[&'static str; 2]> {
        REGIONS.get(&format!("{}.{}", self.country, self.region))
    }
}

fn has_key(keys: &str, key: &str) -> bool {
    keys.split('|').any(|one| one == key)
}

fn candidates([_, named, also_called]: [&'static str; 3]) -> Vec<Candidate> {
    let ids = |list: &'static str| list.split(',').filter(|id| !id.is_empty());
    let mut found: Vec<Candidate> = ids(named)
        .filter_map(|id| candidate(id, 1))
        .chain(ids(also_called).filter_map(|id| candidate(id, ALSO_CALLED)))
        .collect();
    found.sort_by_key(order);
    found
}

fn candidate(id: &'static str, part: u32) -> Option<Candidate> {
    let [name, country, region, near, lat, lon, population] = PLACES.get(id)?;
    Some(Candidate {
        id: id.parse().ok()?,
        name,
        country,
        region,
        near,
        lat: lat.parse().ok()?,
        lon: lon.parse().ok()?,
        weight: population.parse::<u32>().ok()? / part,
    })
}
