//! Reads a wording as a city and the parts that narrow it down. There may be several ways.

use super::areas::PlaceNarrowing;
use super::fold::key;

/// The longest part that is split into a city and more, in words. A longer part is prose, and each split costs a look-up.
const SPLIT_WORDS_MAX: usize = 12;

/// A way to read the text.
pub(super) struct LocationReading {
    /// The key of the city's name.
    pub(super) city: String,
    /// The parts that should name the region, the country or a neighbour.
    pub(super) narrowed_by: Vec<PlaceNarrowing>,
}

/// Returns the readings in which commas separate the city from the rest, the most natural first. The city is the
/// beginning, and may have commas in its name, or it is a later part ("Japan, Tokyo").
pub(super) fn by_commas(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading> {
    let first = (1..=parts.len()).map(|end| reading(&parts[..end].concat(), &parts[end..]));
    let later = (1..parts.len()).map(|at| reading(&parts[at], &without(parts, at)));
    first.chain(later)
}

/// Returns the readings in which one part has the city and more without a comma between them ("Washington DC",
/// "San Francisco CA, USA").
pub(super) fn by_words(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading> {
    let split = |at: usize, city: &[String], more: &[String]| {
        let mut narrowed_by = without(parts, at);
        narrowed_by.push(more.to_vec());
        reading(city, &narrowed_by)
    };
    let short = (0..parts.len()).filter(|at| parts[*at].len() <= SPLIT_WORDS_MAX);
    short.flat_map(move |at| {
        let part = &parts[at];
        let city_first = (1..part.len()).rev().map(move |cut| split(at, &part[..cut], &part[cut..]));
        let city_last = (1..part.len()).map(move |cut| split(at, &part[cut..], &part[..cut]));
        city_first.chain(city_last)
    })
}

fn reading(city: &[String], narrowed_by: &[Vec<String>]) -> LocationReading {
    LocationReading {
        city: key(city),
        narrowed_by: narrowed_by.iter().map(|words| PlaceNarrowing::new(words)).collect(),
    }
}

fn without(parts: &[Vec<String>], at: usize) -> Vec<Vec<String>> {
    [&parts[..at], &parts[at + 1..]].concat()
}
