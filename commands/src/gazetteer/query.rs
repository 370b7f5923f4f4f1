//! The ways to read what somebody typed as a city and what narrows it down.

use super::fold::{key, words};

/// A part of more words is not cut into a city and more: it is prose, and every cut costs a look-up.
const MOST_WORDS: usize = 12;

/// One way to read the text.
pub(super) struct Reading {
    /// The key of the city's name.
    pub(super) city: String,
    /// The words of each part that should name its region, its country or a neighbour.
    pub(super) narrowed_by: Vec<Vec<String>>,
}

/// What was typed, cut at its commas into parts, each cut into folded words. No part is empty.
pub(super) fn parts(typed: &str) -> Vec<Vec<String>> {
    typed.split([',', ';', '،', '、', '，']).map(words).filter(|words| !words.is_empty()).collect()
}

/// The readings in which commas separate the city from the rest, most natural first: the city comes first (and may have commas in its
/// own name), or else it is a later part ("Japan, Tokyo").
pub(super) fn by_commas(parts: &[Vec<String>]) -> impl Iterator<Item = Reading> {
    let first = (1..=parts.len())
        .map(|end| Reading { city: key(&parts[..end].concat()), narrowed_by: parts[end..].to_vec() });
    let later = (1..parts.len()).map(|at| Reading { city: key(&parts[at]), narrowed_by: without(parts, at) });
    first.chain(later)
}

/// The readings in which a part holds the city and more, without a comma between ("Washington DC", "San Francisco CA, USA").
pub(super) fn by_words(parts: &[Vec<String>]) -> impl Iterator<Item = Reading> {
    let reading = |at: usize, city: &[String], more: &[String]| {
        let mut narrowed_by = without(parts, at);
        narrowed_by.push(more.to_vec());
        Reading { city: key(city), narrowed_by }
    };
    let short = (0..parts.len()).filter(|at| parts[*at].len() <= MOST_WORDS);
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
