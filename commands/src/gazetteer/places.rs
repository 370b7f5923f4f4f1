//! Reads the tables as places: finds the places that have a name, and gives a place its full name.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::areas::{AreaCode, area_name};
use super::fold::fold;
use super::table::{SortedTable, columns, first_column};
use super::{GazetteerPlace, PlaceSuggestion};

/// A place for which a name is only an alternative counts with one part in so many of its people.
const ALTERNATIVE_NAME_DIVISOR: u32 = 20;

/// The distance up to which two places may be parts of one city, in degrees of latitude: some 60 km.
const NEAR_DEGREES: f64 = 0.55;

pub(super) static PLACES: SortedTable = SortedTable::new(include_str!("../../data/places.tsv"));
pub(super) static NAMES: SortedTable = SortedTable::new(include_str!("../../data/names.tsv"));

/// What a name is to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// Everybody means this place by the name.
    Meant,
    /// The place's own name.
    Own,
    /// A name that the place has too, in another language for example.
    Alternative,
}

/// A place that a name may mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceCandidate {
    pub(super) id: u32,
    name: &'static str,
    pub(super) country: &'static str,
    pub(super) region: &'static str,
    pub(super) near: &'static str,
    lat: f64,
    lon: f64,
    /// The number of people.
    pub(super) people: u32,
    pub(super) named: NameKind,
}

/// Returns the places whose name has this key, by weight.
pub(super) fn places_named(key: &str) -> Vec<PlaceCandidate> {
    NAMES.get(key).map(candidates).unwrap_or_default()
}

/// Returns the places of one row of the table of names, by weight.
pub(super) fn places_of_row(row: &'static str) -> Vec<PlaceCandidate> {
    candidates(columns(first_column(row).1))
}

/// Returns the place of an id.
pub(super) fn candidate_of_id(id: &'static str) -> Option<PlaceCandidate> {
    candidate(id, NameKind::Own)
}

/// Sorts candidates by weight, the largest first, and then by id.
pub(super) fn by_weight(candidate: &PlaceCandidate) -> (Reverse<u32>, u32) {
    (Reverse(candidate.weight()), candidate.id)
}

impl PlaceCandidate {
    /// Returns the number of people, or a part of them if the name is only an alternative.
    pub(super) fn weight(&self) -> u32 {
        match self.named {
            NameKind::Meant | NameKind::Own => self.people,
            NameKind::Alternative => self.people / ALTERNATIVE_NAME_DIVISOR,
        }
    }

    /// Returns whether the tables print the region. They do not for every country.
    pub(super) fn has_region(&self) -> bool {
        !self.region_name().is_empty()
    }

    /// Returns whether the folded `prefix`, which begins the names of `areas`, begins the region, the country, or both in that
    /// order.
    pub(super) fn may_be_in(&self, prefix: &str, areas: &BTreeSet<AreaCode>) -> bool {
        areas.iter().any(|code| code.contains(self))
            || [area_name(self.country), self.country]
                .iter()
                .any(|country| fold(&format!("{} {country}", self.region_name())).starts_with(prefix))
    }

    /// Returns whether another place is so near that both may be parts of one city.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let east = (self.lon - other.lon) * self.lat.to_radians().cos();
        (self.lat - other.lat).hypot(east) <= NEAR_DEGREES
    }

    /// Returns the full name, which no other place has.
    pub(super) fn suggestion(&self) -> PlaceSuggestion {
        let mut label = self.name.to_owned();
        if self.has_region() {
            label = format!("{label}, {}", self.region_name());
        }
        if !self.near.is_empty() {
            label = format!("{label}, near {}", self.near);
        }
        PlaceSuggestion(format!("{label}, {}", self.country))
    }

    pub(super) fn place(&self) -> GazetteerPlace {
        GazetteerPlace {
            city: self.name.to_owned(),
            region: self.has_region().then(|| self.region_name().to_owned()),
            country: self.country.to_owned(),
            country_name: area_name(self.country).to_owned(),
            lat: self.lat,
            lon: self.lon,
        }
    }

    fn region_name(&self) -> &'static str {
        area_name(&format!("{}.{}", self.country, self.region))
    }
}

fn candidates([_, own, alternative, meant]: [&'static str; 4]) -> Vec<PlaceCandidate> {
    let ids = |list: &'static str| list.split(',').filter(|id| !id.is_empty());
    let kind = |id| if id == meant { NameKind::Meant } else { NameKind::Own };
    let mut found: Vec<PlaceCandidate> = ids(own)
        .filter_map(|id| candidate(id, kind(id)))
        .chain(ids(alternative).filter_map(|id| candidate(id, NameKind::Alternative)))
        .collect();
    found.sort_by_key(by_weight);
    found
}

fn candidate(id: &'static str, named: NameKind) -> Option<PlaceCandidate> {
    let [name, country, region, near, lat, lon, people] = PLACES.get(id)?;
    Some(PlaceCandidate {
        id: id.parse().ok()?,
        name,
        country,
        region,
        near,
        lat: lat.parse().ok()?,
        lon: lon.parse().ok()?,
        people: people.parse().ok()?,
        named,
    })
}
