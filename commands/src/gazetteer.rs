//! The gazetteer: finds the place that a participant means by a name, offline and always with the same result.
//!
//! The tables in `data/` (GeoNames, see `data/LICENCE.md`) are part of the program. A look-up ignores case, accents,
//! punctuation and spaces, in any script. Three rules decide which place a text means:
//!
//! 1. The text of a [`PlaceSuggestion`] means the place that it was made for.
//! 2. Otherwise everything except the city must fit: region and country, by name or abbreviation, in any order. Where the
//!    tables name no regions, only the country must fit.
//! 3. Of the places left, the text means the one that has five times the people of the next. A place for which the name
//!    is only an alternative counts with a thirtieth of its people. If no place stands out, the name is ambiguous.

mod fold;
mod nearest;
mod places;
mod query;
mod table;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use places::{NAMES, PlaceCandidate, by_weight, places_named, places_of_row};
use query::{LocationReading, by_commas, by_words, parts};
use table::{columns, first_column};

/// The longest text that is looked up, in characters.
pub const PLACE_CHARS_MAX: usize = 100;

/// How many times the people of the next place a place must have, to stand out.
const DOMINANCE: u32 = 5;
/// The largest number of suggestions for an unknown or ambiguous name.
const SUGGESTIONS_MAX: usize = 8;
/// The largest number of names that a completion looks at, so that a single letter costs no more than a word.
const COMPLETION_NAMES_MAX: usize = 500;

/// A place of the gazetteer.
#[derive(Clone, Debug, PartialEq)]
pub struct GazetteerPlace {
    /// The usual name of the city.
    pub city: String,
    /// The state, province or similar, if the tables name it.
    pub region: Option<String>,
    /// The ISO 3166-1 alpha-2 code of the country.
    pub country: String,
    /// The English name of the country.
    pub country_name: String,
    /// Latitude in degrees, positive in the north.
    pub lat: f64,
    /// Longitude in degrees, positive in the east.
    pub lon: f64,
}

/// The full name of a place, such as "Springfield, Illinois, US". It resolves to that place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceSuggestion(String);

impl PlaceSuggestion {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlaceSuggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason why a text does not name a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The text has no letter and no digit.
    #[error("name a city, for example \"Paris, France\"")]
    Empty,
    /// The text has more than [`PLACE_CHARS_MAX`] characters.
    #[error("a place has at most {PLACE_CHARS_MAX} characters: write only the city and its country")]
    TooLong,
    /// No place of at least 5,000 people has this name.
    #[error("no such place is known: check the spelling, or name the next larger town and its country")]
    Unknown {
        /// The places with the most similar names, the most similar first; may be empty.
        nearest: Vec<PlaceSuggestion>,
    },
    /// Several places have this name, and none stands out.
    #[error("several places have this name: add the region or the country")]
    Ambiguous {
        /// The largest of these places, the largest first.
        candidates: Vec<PlaceSuggestion>,
    },
}

/// The places that are part of the program.
#[derive(Debug)]
pub struct Gazetteer(());

impl Gazetteer {
    /// Returns the gazetteer. Nothing is loaded, because the tables are searched in place.
    pub fn shipped() -> &'static Self {
        static SHIPPED: Gazetteer = Gazetteer(());
        &SHIPPED
    }

    /// Finds the place that `typed` means, by the rules of this module.
    pub fn resolve(&self, typed: &str) -> Result<GazetteerPlace, PlaceError> {
        if is_too_long(typed) {
            return Err(PlaceError::TooLong);
        }
        let parts = parts(typed);
        if parts.is_empty() {
            return Err(PlaceError::Empty);
        }
        let strict = by_commas(&parts).chain(by_words(&parts)).map(|reading| fitting(&reading, fits));
        let lenient = by_commas(&parts).map(|reading| fitting(&reading, fits_country));
        match strict.chain(lenient).find(|found| !found.is_empty()) {
            Some(found) => choose(&found, typed),
            None => Err(PlaceError::Unknown { nearest: suggest_for_unknown(&parts) }),
        }
    }

    /// Returns at most `max` places whose name begins with `prefix`, the largest first. After a comma, `prefix` may begin
    /// the region or the country too.
    pub fn suggest(&self, prefix: &str, max: usize) -> Vec<PlaceSuggestion> {
        let parts = parts(prefix);
        let Some((city, rest)) = parts.split_first().filter(|_| !is_too_long(prefix)) else {
            return Vec::new();
        };
        let (city, rest) = match rest {
            [] => (fold::key_prefix(city), String::new()),
            _ => (fold::key(city), fold::key_prefix(&rest.concat())),
        };
        let mut names: Vec<(Reverse<u32>, &'static str)> = NAMES
            .rows_from(&city)
            .take_while(|row| row.starts_with(&city))
            .map(|row| (Reverse(highest_population(row)), row))
            .collect();
        names.sort_unstable();
        let mut found: Vec<PlaceCandidate> = Vec::new();
        for (Reverse(highest), row) in names.into_iter().take(COMPLETION_NAMES_MAX) {
            // The names are sorted, so no later name has a place of a larger weight.
            if found.len() >= max
                && found.get(max.saturating_sub(1)).is_none_or(|last| last.weight >= highest)
            {
                break;
            }
            found.extend(places_of_row(row).into_iter().filter(|candidate| candidate.may_be_in(&rest)));
            found.sort_by_key(by_weight);
            let mut seen = BTreeSet::new();
            found.retain(|candidate| seen.insert(candidate.id));
            found.truncate(max);
        }
        found.iter().map(PlaceCandidate::suggestion).collect()
    }
}

fn is_too_long(typed: &str) -> bool {
    typed.chars().nth(PLACE_CHARS_MAX).is_some()
}

/// Returns the places of the reading's city that fit the rest of it.
fn fitting(
    reading: &LocationReading,
    fits: fn(&PlaceCandidate, &LocationReading) -> bool,
) -> Vec<PlaceCandidate> {
    let mut found = places_named(&reading.city);
    found.retain(|candidate| fits(candidate, reading));
    found
}

fn fits(candidate: &PlaceCandidate, reading: &LocationReading) -> bool {
    reading.narrowed_by.iter().all(|words| candidate.is_in(words))
}

/// Returns whether the country fits, for a place whose region the tables do not name. A neighbour, as in "near Bonn",
/// must fit too, because the tables name neighbours in these countries as well.
fn fits_country(candidate: &PlaceCandidate, reading: &LocationReading) -> bool {
    !candidate.has_region()
        && reading.narrowed_by.iter().any(|words| candidate.is_in_country(words))
        && reading.narrowed_by.iter().all(|words| words[0] != "near" || candidate.is_in(words))
}

/// Chooses the place that is meant. `found` is not empty, and the place of the largest weight is the first.
fn choose(found: &[PlaceCandidate], typed: &str) -> Result<GazetteerPlace, PlaceError> {
    let typed = fold::fold(typed);
    let is_typed = |place: &&PlaceCandidate| fold::fold(place.suggestion().as_str()) == typed;
    if let Some(suggested) = found.iter().find(is_typed) {
        return Ok(suggested.place());
    }
    match found {
        [first, second, ..] if first.weight < second.weight.max(1).saturating_mul(DOMINANCE) => {
            Err(PlaceError::Ambiguous { candidates: suggestions(found) })
        }
        _ => Ok(found[0].place()),
    }
}

/// Suggests places for a text that no reading fits: those of the same city name elsewhere, otherwise those with similar
/// names. Places that fit the rest of the text come first.
fn suggest_for_unknown(parts: &[Vec<String>]) -> Vec<PlaceSuggestion> {
    let elsewhere = places_named(&fold::key(&parts[0]));
    if !elsewhere.is_empty() {
        return suggestions(&elsewhere);
    }
    // The first part may name the region or the country too, without a comma.
    let readings = by_commas(parts).take(1).chain(by_words(&parts[..1]).take(1));
    let mut found: Vec<(bool, u8, PlaceCandidate)> = Vec::new();
    for reading in readings {
        for (distance, row) in nearest::nearest(&NAMES, &reading.city) {
            found.extend(
                places_of_row(row).into_iter().map(|place| (!fits(&place, &reading), distance, place)),
            );
        }
    }
    found.sort_by_key(|(misfits, distance, place)| (*misfits, *distance, by_weight(place)));
    let found: Vec<PlaceCandidate> = found.into_iter().map(|(.., place)| place).collect();
    suggestions(&found)
}

/// Returns suggestions for the first places, without duplicates.
fn suggestions(found: &[PlaceCandidate]) -> Vec<PlaceSuggestion> {
    let mut seen = BTreeSet::new();
    found
        .iter()
        .filter(|candidate| seen.insert(candidate.id))
        .take(SUGGESTIONS_MAX)
        .map(PlaceCandidate::suggestion)
        .collect()
}

/// Returns the population of the largest place in a row of the table of names, which is the second column.
fn highest_population(row: &str) -> u32 {
    let [population]: [&str; 1] = columns(first_column(row).1);
    population.parse().unwrap_or(0)
}
