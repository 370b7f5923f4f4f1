//! Splits a typed location into a city and the parts that narrow it down. There may be several ways.

use super::fold::{key, words};

/// The longest part that is split into a city and more, in words. A longer part is prose, and each split costs a look-up.
const SPLIT_WORDS_MAX: usize = 12;

/// A way to read the text.
pub(super) struct LocationReading {
    /// The key of the city's name.
    pub(super) city: String,
    /// The words of each part that should name the region, the country or a neighbour.
    pub(super) narrowed_by: Vec<Vec<String>>,
}

/// Splits a text at its commas into parts, and each part into folded words. No part is empty.
pub(super) fn parts(typed: &str) -> Vec<Vec<String>> {
    typed.split([',', ';', '،', '、', '，']).map(words).filter(|words| !words.is_empty()).collect()
}

/// Returns the readings in which commas separate the city from the rest, the most natural first. The city is the
/// beginning, and may have commas in its name, or it is a later part ("Japan, Tokyo").
pub(super) fn by_commas(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading> {
    let first = (1..=parts.len())
        .map(|end| LocationReading { city: key(&parts[..end].concat()), narrowed_by: parts[end..].to_vec() });
    let later =
        (1..parts.len()).map(|at| LocationReading { city: key(&parts[at]), narrowed_by: without(parts, at) });
    first.chain(later)
}

/// Returns the readings in which one part has the city and more without a comma between them ("Washington DC",
/// "San Francisco CA, USA").
pub(super) fn by_words(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading> {
    let reading = |at: usize, city: &[String], more: &[String]| {
        let mut narrowed_by = without(parts, at);
        narrowed_by.push(more.to_vec());
        LocationReading { city: key(city), narrowed_by }
    };
    let short = (0..parts.len()).filter(|at| parts[*at].len() <= SPLIT_WORDS_MAX);
    short.flat_map(move |at| {
        let part = &parts[at];
        let city_first = (1..part.len()).rev().map(move |cut| reading(at, &part[..cut], &part[cut..]));
        let city_last = (1..part.len()).map(move |cut| reading(at, &part[cut..], &part[..cut]));
        city_first.chain(city_last)
    })
}

fn without(parts: &[Vec<String>], at: usize) -> Vec<Vec<String>> {
    [&parts[..at], &parts[at + 1..]].concat()
}
