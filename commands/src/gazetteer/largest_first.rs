//! Chinese, Japanese and Korean addresses: they begin with what is largest, and need no spaces.

use super::affixes::AREA_ENDINGS;
use super::answer::{ReadingAnswer, choose};
use super::areas::{NamedArea, areas_named};
use super::fold::key;
use super::places::{PlaceCandidate, places_named};
use super::wording::{TypedWording, without_ending};

/// From this number of people on, a place is the city of an address. Of smaller ones too many have the name of a district.
const CITY_FROM: u32 = 100_000;
/// The largest number of names that are read. A longer address has its city among the first.
const NAMES_MAX: usize = 6;
/// The longest name that is divided where no ending divides it, in characters. Each division costs two look-ups.
const DIVIDED_MAX: usize = 12;

/// Short names of Korea's provinces, which are no names of cities.
const KOREAN_PROVINCES: &[&str] = &["경기", "강원", "충북", "충남", "전북", "전남", "경북", "경남"];
/// The endings of the districts of large cities.
const DISTRICT_ENDINGS: [char; 3] = ['区', '區', '구'];

/// Finds the city of an address in which it may stand after its region and before its districts. Returns `None` for a text
/// that begins in another script.
pub(super) fn city_of_address(wordings: &[TypedWording]) -> Option<ReadingAnswer> {
    // Of wordings that divide alike, the most literal one still has the endings, which tell a city from what is around it.
    let divided =
        wordings.iter().rev().filter(|wording| begins_with_largest(wording)).max_by_key(|wording| {
            let has_digits = wording.parts.iter().flatten().any(|name| name.contains(char::is_numeric));
            (!has_digits, wording.parts.iter().map(Vec::len).sum::<usize>())
        })?;
    let names: Vec<&str> = divided.parts.iter().flatten().map(String::as_str).collect();
    match names[..] {
        [name] => with_ending(name)
            .iter()
            .find_map(|name| city(name, &[]))
            .or_else(|| divisions(name).find_map(|(first, rest)| city_of_pair(first, rest))),
        _ => city_among(&names),
    }
    .map(ReadingAnswer::Place)
}

/// Finds the city of two names that were written as one. A town may begin with the name of a city elsewhere, so both must be
/// known, or the second one is a district.
fn city_of_pair(first: &str, rest: &str) -> Option<PlaceCandidate> {
    let city = city_among(&[first, rest])?;
    let is_first = || places_named(&key([&first.to_owned()])).iter().any(|place| place.id == city.id);
    let is_near = |place: &PlaceCandidate| place.id == city.id || place.is_near(&city);
    let is_known = [rest, without_ending(rest)]
        .iter()
        .any(|rest| places_named(&key([&(*rest).to_owned()])).iter().any(is_near));
    let is_district = rest.ends_with(DISTRICT_ENDINGS) && is_first();
    (is_known || is_district).then_some(city)
}

/// Finds the city among names that go from the largest to the smallest.
fn city_among(names: &[&str]) -> Option<PlaceCandidate> {
    let mut around: Vec<NamedArea> = Vec::new();
    for name in names.iter().copied().take(NAMES_MAX) {
        let stem = without_ending(name);
        let is_area = KOREAN_PROVINCES.contains(&name)
            || (name != stem && AREA_ENDINGS.iter().any(|ending| name.ends_with(ending)));
        if !is_area {
            let forms = [name, stem].map(str::to_owned).into_iter().chain(with_ending(stem));
            if let Some(city) = forms.into_iter().find_map(|name| city(&name, &around)) {
                return Some(city);
            }
        }
        let areas = [name, stem].map(|name| areas_named(&key([&name.to_owned()])));
        match areas.into_iter().find(|areas| !areas.is_empty()) {
            Some(areas) => around = areas,
            // What is in something unknown may be anywhere.
            None if around.is_empty() && !is_area => return None,
            None => {}
        }
    }
    None
}

/// Returns the city of this name in one of the areas, if it is large. Without areas it may be anywhere.
fn city(name: &str, around: &[NamedArea]) -> Option<PlaceCandidate> {
    let mut found = places_named(&key([&name.to_owned()]));
    found.retain(|place| {
        let is_there = around.is_empty() || around.iter().any(|area| area.contains(place));
        is_there && place.people >= CITY_FROM
    });
    match choose(found) {
        Some(ReadingAnswer::Place(place)) => Some(place),
        _ => None,
    }
}

/// Returns the name with the endings of cities. The tables have some names only with them.
fn with_ending(name: &str) -> [String; 2] {
    [format!("{name}시"), format!("{name}市")]
}

/// Returns the ways to divide a name in two, of two characters or more each.
fn divisions(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let cuts: Vec<usize> = name.char_indices().map(|(at, _)| at).collect();
    let cuts = if cuts.len() <= DIVIDED_MAX { cuts } else { Vec::new() };
    let inner = 2..(cuts.len().max(1) - 1).max(2);
    inner.map(move |at| name.split_at(cuts[at]))
}

fn begins_with_largest(wording: &TypedWording) -> bool {
    wording.parts.iter().flatten().next().is_some_and(|name| name.starts_with(is_ideograph_or_syllable))
}

/// Returns true for a character of a script in which addresses begin with what is largest.
pub(super) fn is_ideograph_or_syllable(char: char) -> bool {
    char >= '\u{2E80}'
}
