//! The gazetteer: finds the place that a participant means by a name, offline and always with the same result.
//!
//! The tables in `data/` (GeoNames and CLDR, see `data/LICENCE.md`) are part of the program. A look-up ignores case, accents,
//! punctuation and spaces, in any script. These rules decide which place a text means:
//!
//! 1. The text of a [`PlaceSuggestion`] means the place that it was made for.
//! 2. Otherwise everything except the city must fit: region and country, by name, abbreviation or flag, in any order. Where
//!    the tables print no regions, only the country must fit. A text that does not fit as typed is read again without
//!    postcodes, and then without filler words ("City of").
//! 3. A country or region alone means no place, and its cities are asked for: first those of the same name, then the largest. A
//!    city-state is its city, in whichever language it is named, and so is a region that has its name from its city. A country
//!    that is named twice ("Panama, Panama") is its city of that name.
//! 4. Of the places left, the text means the one that everybody means by it (`scripts/gazetteer/names.txt`), or else the one
//!    that has three times the people of the next. A name of its own counts more than one that a place has too. If no place
//!    stands out, the name is ambiguous.
//! 5. A street or neighbourhood beside a place that is clear is ignored. In a Chinese, Japanese or Korean address the city is the
//!    first large one, and its districts are ignored. Of two neighbouring cities whose names are joined, the first one counts.

mod affixes;
mod answer;
mod areas;
mod fold;
mod largest_first;
mod nearest;
mod places;
mod query;
mod rest;
mod table;
#[cfg(test)]
mod tests;
mod wording;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use answer::{ReadingAnswer, answer, choose, is_namesake, suggested};
use areas::{NamedArea, areas_named, codes_beginning_with};
use places::{NAMES, PlaceCandidate, by_weight, places_named, places_of_row};
use query::{by_commas, by_words};
use table::{columns, first_column};
use wording::{TypedWording, WordingHint, wordings};

/// The longest text that is looked up, in characters.
pub const PLACE_CHARS_MAX: usize = 100;

/// The largest number of suggestions for an unknown or ambiguous name.
const SUGGESTIONS_MAX: usize = 8;
/// The shortest ASCII text that a completion reads as an area. A shorter one is the beginning of many names.
const AREA_BYTES_MIN: usize = 4;
/// The largest number of parts of a text that a completion reads. Each more costs more than the one before.
const COMPLETION_PARTS_MAX: usize = 8;
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
    /// The text names a country, a region or the like.
    #[error("this is more than a city: name your city, or the nearest one")]
    Area {
        /// The largest places there, the largest first.
        largest: Vec<PlaceSuggestion>,
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
    ///
    /// # Errors
    /// The reason why the text does not mean one place, with suggestions.
    pub fn resolve(&self, typed: &str) -> Result<GazetteerPlace, PlaceError> {
        if is_too_long(typed) {
            return Err(PlaceError::TooLong);
        }
        let wordings = wordings(typed);
        let Some(literal) = wordings.first() else { return Err(PlaceError::Empty) };
        if let Some(suggested) = suggested(&literal.parts, typed) {
            return Ok(suggested.place());
        }
        let answer = match strict(&wordings, typed) {
            Some(clear @ (ReadingAnswer::Place(_) | ReadingAnswer::Area(..))) => Some(clear),
            doubtful => largest_first::city_of_address(&wordings)
                .or(doubtful)
                .or_else(|| lenient(&wordings))
                .or_else(|| rest::twin_cities(typed))
                .or_else(|| rest::without_neighbourhood(&wordings, typed)),
        };
        match answer {
            Some(ReadingAnswer::Place(place)) => Ok(place.place()),
            Some(ReadingAnswer::Ambiguous(found)) => {
                Err(PlaceError::Ambiguous { candidates: suggestions(&found) })
            }
            Some(ReadingAnswer::Area(areas, namesakes)) => {
                Err(PlaceError::Area { largest: suggestions(&[namesakes, largest(&areas)].concat()) })
            }
            None => Err(PlaceError::Unknown { nearest: suggestions(&rest::similar(&literal.parts)) }),
        }
    }

    /// Returns at most `max` places whose name begins with `prefix`, the largest first. After a comma, `prefix` may begin
    /// the region or the country too. The largest cities of an area follow its name. If no name begins so, these are the
    /// places that [`Self::resolve`] takes the text for.
    pub fn suggest(&self, prefix: &str, max: usize) -> Vec<PlaceSuggestion> {
        if is_too_long(prefix) {
            return Vec::new();
        }
        let parts: Vec<Vec<String>> = prefix
            .split([',', ';', '،', '、', '，'])
            .map(fold::words)
            .filter(|words| !words.is_empty())
            .collect();
        let mut found = match &parts[..] {
            [] => return Vec::new(),
            many if many.len() > COMPLETION_PARTS_MAX => return Vec::new(),
            [words] => {
                let key = fold::key_prefix(words);
                let areas = if key.len() < AREA_BYTES_MIN { Vec::new() } else { areas_named(&key) };
                let mut found = places_named(&key);
                found.retain(|place| {
                    areas.iter().any(|area| area.contains(place)) && is_namesake(place, &areas)
                });
                found.extend(largest(&areas));
                found.truncate(max);
                found.extend(beginning_with(&key, None, max));
                found
            }
            [city, rest @ ..] => {
                beginning_with(&fold::key(city), Some(&fold::key_prefix(&rest.concat())), max)
            }
        };
        let mut seen = BTreeSet::new();
        found.retain(|candidate| seen.insert(candidate.id));
        found.truncate(max);
        if found.is_empty() {
            found = match strict(&wordings(prefix), prefix) {
                Some(ReadingAnswer::Place(place)) => vec![place],
                Some(ReadingAnswer::Ambiguous(found)) => found,
                Some(ReadingAnswer::Area(areas, namesakes)) => [namesakes, largest(&areas)].concat(),
                None => Vec::new(),
            };
            found.truncate(max);
        }
        found.iter().map(PlaceCandidate::suggestion).collect()
    }
}

/// Finds the places whose name begins with `key` and whose region or country begins with `rest`, by weight.
fn beginning_with(key: &str, rest: Option<&str>, max: usize) -> Vec<PlaceCandidate> {
    let areas = rest.map(|rest| (rest, codes_beginning_with(rest)));
    let is_there = |candidate: &PlaceCandidate| {
        areas.as_ref().is_none_or(|(rest, areas)| candidate.may_be_in(rest, areas))
    };
    let mut names: Vec<(Reverse<u32>, &'static str)> = NAMES
        .rows_from(key)
        .take_while(|row| row.starts_with(key))
        .map(|row| (Reverse(highest_population(row)), row))
        .collect();
    names.sort_unstable();
    let mut found: Vec<PlaceCandidate> = Vec::new();
    for (Reverse(highest), row) in names.into_iter().take(COMPLETION_NAMES_MAX) {
        // The names are sorted, so no later name has a place of a larger weight.
        if found.len() >= max && found.get(max.saturating_sub(1)).is_none_or(|last| last.weight() >= highest)
        {
            break;
        }
        found.extend(places_of_row(row).into_iter().filter(is_there));
        found.sort_by_key(by_weight);
        let mut seen = BTreeSet::new();
        found.retain(|candidate| seen.insert(candidate.id));
        found.truncate(max);
    }
    found
}

/// Finds the meaning of a text of which everything fits. The first wording that has a meaning decides; a later one may only
/// name the city of the area that the first one names, as "大阪" does in "大阪府".
fn strict(wordings: &[TypedWording], typed: &str) -> Option<ReadingAnswer> {
    let mut named: Option<(Vec<NamedArea>, Vec<PlaceCandidate>)> = None;
    for wording in wordings {
        let parts = &wording.parts;
        let meaning = by_commas(parts).chain(by_words(parts)).find_map(|reading| answer(&reading, typed));
        match (meaning, &named) {
            (None, _) => {}
            (Some(ReadingAnswer::Place(place)), Some((areas, _))) => {
                if wording.hint == WordingHint::Nothing && areas.iter().any(|area| area.contains(&place)) {
                    return Some(ReadingAnswer::Place(place));
                }
            }
            (Some(_), Some(_)) => {}
            (Some(ReadingAnswer::Area(areas, namesakes)), None) => named = Some((areas, namesakes)),
            (Some(meaning), None) => return Some(hinted(meaning, wording)),
        }
    }
    named.map(|(areas, namesakes)| ReadingAnswer::Area(areas, namesakes))
}

/// Returns what a meaning becomes by the words that were left out.
fn hinted(meaning: ReadingAnswer, wording: &TypedWording) -> ReadingAnswer {
    match (wording.hint, meaning) {
        (WordingHint::Vague, ReadingAnswer::Place(place)) => ReadingAnswer::Ambiguous(vec![place]),
        (WordingHint::Area, meaning) => match areas_named(&fold::key(&wording.parts[0])) {
            areas if areas.is_empty() => meaning,
            areas => ReadingAnswer::Area(areas, Vec::new()),
        },
        (_, meaning) => meaning,
    }
}

/// Finds the place of a text in which the country fits, where the tables print no region. A neighbour, as in "near Bonn",
/// must fit too, because the tables name neighbours in these countries as well.
fn lenient(wordings: &[TypedWording]) -> Option<ReadingAnswer> {
    wordings.iter().flat_map(|wording| by_commas(&wording.parts)).find_map(|reading| {
        let mut found = places_named(&reading.city);
        found.retain(|place| {
            let narrowings = &reading.narrowed_by;
            !place.has_region()
                && narrowings.iter().any(|words| words.fits_country(place))
                && narrowings.iter().all(|words| !words.names_neighbour() || words.fits(place))
        });
        choose(found)
    })
}

/// Returns the largest places of all the areas, the largest first.
fn largest(areas: &[NamedArea]) -> Vec<PlaceCandidate> {
    let mut found: Vec<PlaceCandidate> = areas.iter().flat_map(NamedArea::largest).collect();
    found.sort_by_key(by_weight);
    found
}

fn is_too_long(typed: &str) -> bool {
    typed.chars().nth(PLACE_CHARS_MAX).is_some()
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
