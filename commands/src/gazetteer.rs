//! Where on Earth a submission comes from: names typed by people, resolved offline and always to the same place.
//!
//! The tables in `data/` (GeoNames, see `data/LICENCE.md`) are part of the program. A name is looked up without regard to case, accents,
//! punctuation and spaces, in any script. Three rules decide what it means:
//!
//! 1. What [`Suggestion`] prints means the place for which it was printed.
//! 2. Otherwise everything beside the city must fit: the region, the country, by name or abbreviation, in any order. Where the tables name
//!    no regions, the country alone must fit.
//! 3. Of the places left, one that has five times the people of the next is meant; a place which only also goes by the name counts with a
//!    thirtieth of its people. If none stands out, the name is ambiguous.

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

use places::{Candidate, NAMES, behind, called, order};
use query::{Reading, by_commas, by_words, parts};
use table::{columns, first_column};

/// The longest text that is looked at, in characters.
pub const MAX_TYPED: usize = 100;

/// How many times the people of the next place one must have to be meant by a bare name.
const STANDS_OUT: u32 = 5;
/// Names offered for an unknown or an ambiguous one.
const OFFERED: usize = 8;
/// Names looked at for one completion, so that a single letter costs no more than a word.
const COMPLETED: usize = 500;

/// A place on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its usual name.
    pub city: String,
    /// Its state, province or the like, where the tables name it.
    pub region: Option<String>,
    /// Its country, by ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Its country, by its English name.
    pub country_name: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// A place's name in full, "Springfield, Illinois, US": typed back, it resolves to that place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Suggestion(String);

impl Suggestion {
    /// The text to type.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Nothing that could be a name.
    #[error("name a city, for example \"Paris, France\"")]
    Empty,
    /// More than [`MAX_TYPED`] characters.
    #[error("a place has at most {MAX_TYPED} characters: name the city and its country")]
    TooLong,
    /// No place with 5,000 people or more is called so; these come nearest, the nearest first. There may be none.
    #[error("no such place is known: look at its spelling, or name the next larger town and its country")]
    Unknown {
        /// What may have been meant.
        nearest: Vec<Suggestion>,
    },
    /// Several places are called so and none stands out.
    #[error("several places are called so: add the region or the country")]
    Ambiguous {
        /// The largest of them, the largest first.
        candidates: Vec<Suggestion>,
    },
}

/// The places the program ships with.
#[derive(Debug)]
pub struct Gazetteer(());

impl Gazetteer {
    /// The gazetteer. There is nothing to load: its tables are searched where they lie.
    pub fn shipped() -> &'static Self {
        static SHIPPED: Gazetteer = Gazetteer(());
        &SHIPPED
    }

    /// The place that `typed` means, by the rules above.
    pub fn resolve(&self, typed: &str) -> Result<Place, PlaceError> {
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
            None => Err(PlaceError::Unknown { nearest: unknown(&parts) }),
        }
    }

    /// At most `max` places whose name begins with `prefix`, the largest first. After a comma the region or the country may have begun too.
    pub fn suggest(&self, prefix: &str, max: usize) -> Vec<Suggestion> {
        let parts = parts(prefix);
        let Some((city, rest)) = parts.split_first().filter(|_| !is_too_long(prefix)) else {
            return Vec::new();
        };
        let (city, rest) = match rest {
            [] => (fold::key_begun(city), String::new()),
            _ => (fold::key(city), fold::key_begun(&rest.concat())),
        };
        let mut names: Vec<(Reverse<u32>, &'static str)> = NAMES
            .rows_from(&city)
            .take_while(|row| row.starts_with(&city))
            .map(|row| (Reverse(highest_population(row)), row))
            .collect();
        names.sort_unstable();
        let mut found: Vec<Candidate> = Vec::new();
        for (Reverse(highest), row) in names.into_iter().take(COMPLETED) {
            // No later name can bring a weightier place.
            if found.len() >= max
                && found.get(max.saturating_sub(1)).is_none_or(|last| last.weight >= highest)
            {
                break;
            }
            found.extend(behind(row).into_iter().filter(|candidate| candidate.may_be_in(&rest)));
            found.sort_by_key(order);
            let mut seen = BTreeSet::new();
            found.retain(|candidate| seen.insert(candidate.id));
            found.truncate(max);
        }
        found.iter().map(Candidate::suggestion).collect()
    }
}

fn is_too_long(typed: &str) -> bool {
    typed.chars().nth(MAX_TYPED).is_some()
}

/// The places of a reading's city for which the rest of it is right.
fn fitting(reading: &Reading, fits: fn(&Candidate, &Reading) -> bool) -> Vec<Candidate> {
    let mut found = called(&reading.city);
    found.retain(|candidate| fits(candidate, reading));
    found
}

fn fits(candidate: &Candidate, reading: &Reading) -> bool {
    reading.narrowed_by.iter().all(|words| candidate.is_in(words))
}

/// Whether the country is right, where nothing else can be judged.
fn fits_country(candidate: &Candidate, reading: &Reading) -> bool {
    !candidate.has_region()
        && reading.narrowed_by.iter().any(|words| candidate.is_in_country(words))
        && reading.narrowed_by.iter().all(|words| words[0] != "near" || candidate.is_in(words))
}

/// The one that is meant; `found` is not empty, and the weightiest first.
fn choose(found: &[Candidate], typed: &str) -> Result<Place, PlaceError> {
    let typed = fold::fold(typed);
    if let Some(printed) = found.iter().find(|one| fold::fold(one.suggestion().as_str()) == typed) {
        return Ok(printed.place());
    }
    match found {
        [first, second, ..] if first.weight < second.weight.max(1).saturating_mul(STANDS_OUT) => {
            Err(PlaceError::Ambiguous { candidates: suggestions(found) })
        }
        _ => Ok(found[0].place()),
    }
}

/// What may have been meant by a text that no reading fits: the places of its city elsewhere, or else those with similar names, first
/// those for which the rest of the text is right.
fn unknown(parts: &[Vec<String>]) -> Vec<Suggestion> {
    let elsewhere = called(&fold::key(&parts[0]));
    if !elsewhere.is_empty() {
        return suggestions(&elsewhere);
    }
    // The first part may hold the region or the country too, without a comma.
    let readings = by_commas(parts).take(1).chain(by_words(&parts[..1]).take(1));
    let mut found: Vec<(bool, u8, Candidate)> = Vec::new();
    for reading in readings {
        for (distance, row) in nearest::nearest(&NAMES, &reading.city) {
            found.extend(behind(row).into_iter().map(|one| (!fits(&one, &reading), distance, one)));
        }
    }
    found.sort_by_key(|(misfits, distance, one)| (*misfits, *distance, order(one)));
    let found: Vec<Candidate> = found.into_iter().map(|(.., one)| one).collect();
    suggestions(&found)
}

/// The first few, each once.
fn suggestions(found: &[Candidate]) -> Vec<Suggestion> {
    let mut seen = BTreeSet::new();
    found
        .iter()
        .filter(|candidate| seen.insert(candidate.id))
        .take(OFFERED)
        .map(Candidate::suggestion)
        .collect()
}

/// The second column of a row of the table of names.
fn highest_population(row: &str) -> u32 {
    let [population]: [&str; 1] = columns(first_column(row).1);
    population.parse().unwrap_or(0)
}
