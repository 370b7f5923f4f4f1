//! Reads a wording as a city and the parts that narrow it down. There may be several ways.

use super::areas::PlaceNarrowing;
use super::fold::key;

/// The longest part that is split into a city and more, in words. A longer part is prose, and each split costs a look-up.
const SPLIT_WORDS_MAX: usize = 12;

/// A way to read the text. Nothing is looked up before it is asked for.
pub(super) struct LocationReading<'a> {
    /// The key of the city's name.
    pub(super) city: String,
    /// The parts that should name the region, the country or a neighbour.
    pub(super) narrowed_by: Vec<PlaceNarrowing<'a>>,
}

impl LocationReading<'_> {
    /// Returns whether the city is followed by the full name of a country or region, which the city's name may be as well.
    pub(super) fn names_twice(&self) -> bool {
        self.narrowed_by.iter().any(|words| words.key() == self.city)
    }
}

/// Returns the readings in which commas separate the city from the rest, the most natural first. The city is the
/// beginning, and may have commas in its name, or it is a later part ("Japan, Tokyo").
pub(super) fn by_commas(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading<'_>> {
    let first = (1..=parts.len()).map(|end| LocationReading {
        city: key(parts[..end].iter().flatten()),
        narrowed_by: parts[end..].iter().map(|words| PlaceNarrowing::new(words)).collect(),
    });
    let later = (1..parts.len()).map(|at| reading(parts, at, &parts[at], None));
    first.chain(later)
}

/// Returns the readings in which one part has the city and more without a comma between them ("Washington DC",
/// "San Francisco CA, USA").
pub(super) fn by_words(parts: &[Vec<String>]) -> impl Iterator<Item = LocationReading<'_>> {
    let short = (0..parts.len()).filter(|at| parts[*at].len() <= SPLIT_WORDS_MAX);
    short.flat_map(move |at| {
        let part = &parts[at];
        let city_first = (1..part.len()).rev().map(move |cut| (&part[..cut], &part[cut..]));
        let city_last = (1..part.len()).map(move |cut| (&part[cut..], &part[..cut]));
        city_first.chain(city_last).map(move |(city, more)| reading(parts, at, city, Some(more)))
    })
}

/// Returns the reading in which `city`, of the part `at`, is narrowed by the other parts, and by `more` of that part.
fn reading<'a>(
    parts: &'a [Vec<String>],
    at: usize,
    city: &[String],
    more: Option<&'a [String]>,
) -> LocationReading<'a> {
    let others = parts[..at].iter().chain(&parts[at + 1..]).map(Vec::as_slice);
    LocationReading { city: key(city), narrowed_by: others.chain(more).map(PlaceNarrowing::new).collect() }
}
