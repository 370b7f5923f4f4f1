//! Areas: countries, regions of countries, counties, and whatever else is larger than a city.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::fold::{fold, key};
use super::places::{PlaceCandidate, candidate_of_id};
use super::table::{SortedTable, columns, first_column};

pub(super) static AREAS: SortedTable = SortedTable::new(include_str!("../../data/areas.tsv"));
pub(super) static AREA_NAMES: SortedTable = SortedTable::new(include_str!("../../data/area_names.tsv"));

/// The longest words that are read as a region and its country without a comma between them.
const SPLIT_WORDS_MAX: usize = 6;

/// A code of the table of areas: `DE`, `DE.02`, `GB.ENG.kent` or `+bay-area`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AreaCode(&'static str);

/// An area that a name may mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedArea {
    code: AreaCode,
    /// The number of people in its towns.
    pub(super) people: u64,
    largest: &'static str,
}

/// Words that should name the area or the neighbour of a place.
#[derive(Debug)]
pub(super) struct PlaceNarrowing<'a> {
    words: &'a [String],
    /// Sets of codes of which a place must be in one each. There is one list for each way to split the words. They are looked
    /// up when they are first needed, because most readings name no city.
    splits: OnceCell<Vec<Vec<Vec<AreaCode>>>>,
}

/// Returns the areas of this key.
pub(super) fn areas_named(key: &str) -> Vec<NamedArea> {
    codes_named(key).into_iter().filter_map(area).collect()
}

/// Returns the codes of the areas whose names begin with a folded text.
pub(super) fn codes_beginning_with(prefix: &str) -> BTreeSet<AreaCode> {
    let rows = AREA_NAMES.rows_from(prefix).take_while(|row| row.starts_with(prefix));
    rows.flat_map(|row| codes(columns::<1>(first_column(row).1)[0])).collect()
}

/// Returns the name of a country or a region, which is empty if it is not printed.
pub(super) fn area_name(code: &str) -> &'static str {
    AREAS.get::<1>(code).unwrap_or_default()[0]
}

impl AreaCode {
    /// Returns whether the area contains a place. A county contains all places of its region, because the tables do not
    /// know the counties of places. The areas that are no countries' are taken at their word.
    pub(super) fn contains(self, place: &PlaceCandidate) -> bool {
        let mut levels = self.0.split('.');
        self.is_loose()
            || (levels.next() == Some(place.country)
                && levels.next().is_none_or(|region| region == place.region))
    }

    fn is_loose(self) -> bool {
        self.0.starts_with('+')
    }
}

impl NamedArea {
    pub(super) fn is_country(&self) -> bool {
        self.code.0.len() == 2
    }

    pub(super) fn contains(&self, place: &PlaceCandidate) -> bool {
        !self.code.is_loose() && self.code.contains(place)
    }

    /// Returns whether this is a part of a region.
    pub(super) fn is_county(&self) -> bool {
        self.code.0.split('.').count() == 3
    }

    /// Returns the name that is printed, which is empty for most regions.
    pub(super) fn name(&self) -> &'static str {
        area_name(self.code.0)
    }

    /// Returns whether the area is in a country, or is the country.
    pub(super) fn is_of_country(&self, country: &str) -> bool {
        self.code.0.split('.').next() == Some(country)
    }

    /// Returns the largest places, the largest first.
    pub(super) fn largest(&self) -> impl Iterator<Item = PlaceCandidate> + use<> {
        self.largest.split(',').filter_map(candidate_of_id)
    }

    fn is_in(&self, outer: AreaCode) -> bool {
        outer.is_loose()
            || self.code == outer
            || self.code.0.strip_prefix(outer.0).is_some_and(|rest| rest.starts_with('.'))
            || (self.code.is_loose() && self.largest().next().is_some_and(|place| outer.contains(&place)))
    }
}

impl<'a> PlaceNarrowing<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self { words, splits: OnceCell::new() }
    }

    /// Returns whether the words name an area at all.
    pub(super) fn names_area(&self) -> bool {
        !self.splits().is_empty()
    }

    /// Returns the key of the words.
    pub(super) fn key(&self) -> String {
        key(self.words)
    }

    fn splits(&self) -> &[Vec<Vec<AreaCode>>] {
        self.splits.get_or_init(|| {
            let mut splits = Vec::new();
            let mut add = |pieces: &[&[String]]| {
                let sets: Vec<Vec<AreaCode>> = pieces.iter().map(|words| codes_named(&key(*words))).collect();
                if sets.iter().all(|codes| !codes.is_empty()) {
                    splits.push(sets);
                }
            };
            add(&[self.words]);
            if self.words.len() <= SPLIT_WORDS_MAX {
                (1..self.words.len()).for_each(|cut| add(&[&self.words[..cut], &self.words[cut..]]));
            }
            splits
        })
    }

    pub(super) fn fits(&self, place: &PlaceCandidate) -> bool {
        self.fits_by(|code| code.contains(place)) || self.names_neighbour_of(place)
    }

    /// Returns whether the words name the country of a place.
    pub(super) fn fits_country(&self, place: &PlaceCandidate) -> bool {
        self.fits_by(|code| code.0 == place.country)
    }

    /// Returns whether the words have the form of a neighbour, as in "near Bonn".
    pub(super) fn names_neighbour(&self) -> bool {
        self.words.first().is_some_and(|word| word.starts_with("near"))
    }

    /// Returns whether the words name an area around `area`, or `area` itself.
    pub(super) fn fits_area(&self, area: &NamedArea) -> bool {
        self.fits_by(|code| area.is_in(code))
    }

    fn fits_by(&self, fits: impl Fn(AreaCode) -> bool) -> bool {
        self.splits().iter().any(|sets| sets.iter().all(|codes| codes.iter().any(|code| fits(*code))))
    }

    fn names_neighbour_of(&self, place: &PlaceCandidate) -> bool {
        !place.near.is_empty()
            && self.names_neighbour()
            && self.key() == fold(&format!("near {}", place.near))
    }
}

fn codes_named(key: &str) -> Vec<AreaCode> {
    AREA_NAMES.get::<1>(key).map(|[list]| codes(list).collect()).unwrap_or_default()
}

fn codes(list: &'static str) -> impl Iterator<Item = AreaCode> {
    list.split(',').map(AreaCode)
}

fn area(code: AreaCode) -> Option<NamedArea> {
    let [_, people, largest] = AREAS.get(code.0)?;
    Some(NamedArea { code, people: people.parse().ok()?, largest })
}
