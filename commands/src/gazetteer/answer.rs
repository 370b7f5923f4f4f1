//! Decides what one reading means: a place, several places, or an area in which a city must be named.

use std::cmp::Reverse;

use super::areas::{NamedArea, areas_named};
use super::fold::fold;
use super::places::{NameKind, PlaceCandidate, by_weight, places_named};
use super::query::{LocationReading, by_commas};

/// How many tenths of the people of the next place a place must have, to stand out.
const DOMINANCE_TENTHS: u64 = 32;
/// From this number of people on, a place is known by its own name, and nobody thinks of other names of other places.
pub(super) const OWN_NAME_FROM: u32 = 100_000;
/// From this number of people on, a place is thought of before a country or region of the same name.
const METROPOLIS_FROM: u32 = 500_000;
/// The part of an area's people that a place must have, to be thought of before the area around it.
const SHARE_OF_AREA: u64 = 20;
/// The part of an area's people that a place must have, to be asked for first when the area is named.
const SHARE_OF_NAMESAKES_AREA: u64 = 40;
/// The part of a region's people that a place must have, to be thought of by another name than its own, or as well if the
/// place is elsewhere.
const SHARE_OF_NAMESAKE: u64 = 4;

/// The meaning of a reading.
#[derive(Debug)]
pub(super) enum ReadingAnswer {
    Place(PlaceCandidate),
    /// Several places have the name, and none stands out. The largest is the first.
    Ambiguous(Vec<PlaceCandidate>),
    /// The name is that of areas, and of these cities, which are asked for first.
    Area(Vec<NamedArea>, Vec<PlaceCandidate>),
}

/// Returns the meaning of a reading of `typed`, or `None` if nothing fits it.
pub(super) fn answer(reading: &LocationReading, typed: &str) -> Option<ReadingAnswer> {
    let mut found = places_named(&reading.city);
    let mut areas = areas_named(&reading.city);
    if found.is_empty() && areas.is_empty() {
        return None;
    }
    found.retain(|place| reading.narrowed_by.iter().all(|words| words.fits(place)));
    areas.retain(|area| reading.narrowed_by.iter().all(|words| words.fits_area(area)));
    // Few people think of a county before a town of its country, so a county of the same name changes nothing.
    let is_town = |place: &PlaceCandidate| {
        areas.iter().any(|area| {
            area.contains(place) || (place.named == NameKind::Own && area.is_of_country(place.country))
        })
    };
    if areas.iter().all(NamedArea::is_county) && found.iter().any(is_town) {
        areas.clear();
    }
    if !areas.is_empty() && found.iter().all(|place| place.named != NameKind::Meant) {
        if let Some(city_state) = city_state(&areas) {
            return Some(ReadingAnswer::Place(city_state));
        }
        let is_name = is_short_name(typed);
        let namesakes: Vec<PlaceCandidate> =
            found.iter().copied().filter(|place| is_namesake(place, &areas)).collect();
        found.retain(|place| (is_name && place.named == NameKind::Own) || comes_before(place, &areas));
        if found.is_empty() {
            // "Panama, Panama" names the city and its country; "Panama" alone is the country.
            return Some(match namesakes[..] {
                [first, ..] if reading.names_twice() => ReadingAnswer::Place(first),
                _ => ReadingAnswer::Area(areas, namesakes),
            });
        }
        return choose(found).map(|answer| answer.with_namesakes(namesakes));
    }
    choose(found)
}

impl ReadingAnswer {
    /// Adds large cities that are meant by the name too, if a question is asked anyway.
    fn with_namesakes(self, namesakes: Vec<PlaceCandidate>) -> Self {
        let Self::Ambiguous(mut found) = self else { return self };
        found.extend(namesakes);
        found.sort_by_key(|place| Reverse(place.people));
        Self::Ambiguous(found)
    }
}

/// Chooses the place that is meant. `found` is sorted by weight.
pub(super) fn choose(mut found: Vec<PlaceCandidate>) -> Option<ReadingAnswer> {
    if let Some(meant) = found.iter().find(|place| place.named == NameKind::Meant) {
        return Some(ReadingAnswer::Place(*meant));
    }
    let is_known = |place: &PlaceCandidate| place.named == NameKind::Own && place.people >= OWN_NAME_FROM;
    let mut others = Vec::new();
    if found.iter().any(is_known) {
        (found, others) = found.into_iter().partition(|place| place.named == NameKind::Own);
    }
    found.sort_by_key(by_weight);
    let tenths = |place: &PlaceCandidate| u64::from(place.weight().max(1));
    match found[..] {
        [] => None,
        [first, second, ..] if tenths(&first) * 10 < tenths(&second) * DOMINANCE_TENTHS => {
            // A large city is known by its short name too, as is Newcastle upon Tyne.
            others.retain(|place| place.people >= OWN_NAME_FROM);
            found.extend(others);
            found.sort_by_key(|place| Reverse(place.people));
            Some(ReadingAnswer::Ambiguous(found))
        }
        [first, ..] => Some(ReadingAnswer::Place(first)),
    }
}

/// Returns the place of which `parts` are the full name, as in a suggestion.
pub(super) fn suggested(parts: &[Vec<String>], typed: &str) -> Option<PlaceCandidate> {
    let typed = fold(typed);
    let end = typed.get(typed.len().checked_sub(2)?..)?;
    by_commas(parts).find_map(|reading| {
        let found = places_named(&reading.city).into_iter();
        let mut there = found.filter(|place| place.country.eq_ignore_ascii_case(end));
        there.find(|place| fold(place.suggestion().as_str()) == typed)
    })
}

/// Returns the city that is the whole of a country, in whichever language the country was named: the city has the country's
/// own name and a good part of its people, or is its only place. There is none if a larger area has the name too.
fn city_state(areas: &[NamedArea]) -> Option<PlaceCandidate> {
    let country = areas.iter().filter(|area| area.is_country()).max_by_key(|area| area.people)?;
    if areas.iter().any(|area| area.people > country.people * SHARE_OF_AREA) {
        return None;
    }
    let is_state = |place: &PlaceCandidate| {
        u64::from(place.people) * SHARE_OF_AREA >= country.people && country.contains(place)
    };
    let mut places = country.largest();
    match (places.next(), places.next()) {
        (Some(only), None) => Some(only),
        _ => places_named(&fold(country.name()))
            .into_iter()
            .find(|place| place.named != NameKind::Alternative && is_state(place)),
    }
}

/// Returns whether a city that has the name of areas is so large that people may mean it: the capital of the country, for
/// example, or one elsewhere.
pub(super) fn is_namesake(place: &PlaceCandidate, areas: &[NamedArea]) -> bool {
    match areas.iter().find(|area| area.contains(place)) {
        Some(area) => {
            place.people >= OWN_NAME_FROM || u64::from(place.people) * SHARE_OF_NAMESAKES_AREA >= area.people
        }
        None => place.people >= METROPOLIS_FROM,
    }
}

/// Returns whether a place is thought of before the areas of the same name: a city-state, the city that gave a region its
/// name, or a metropolis elsewhere.
fn comes_before(place: &PlaceCandidate, areas: &[NamedArea]) -> bool {
    let people = u64::from(place.people);
    let most = areas.iter().map(|area| area.people).max().unwrap_or(0);
    if let Some(area) = areas.iter().find(|area| area.contains(place)) {
        let is_largest = || area.largest().next().is_some_and(|largest| largest.id == place.id);
        // Nobody thinks of a small area before a large one of the same name.
        let is_small = area.people * SHARE_OF_AREA < most;
        return match place.named {
            NameKind::Meant => true,
            NameKind::Own => {
                place.people >= OWN_NAME_FROM
                    || (!is_small && (people * SHARE_OF_AREA >= area.people || is_largest()))
            }
            NameKind::Alternative => {
                !is_small && !area.is_country() && people * SHARE_OF_NAMESAKE >= area.people && is_largest()
            }
        };
    }
    let are_regions = areas.iter().all(|area| !area.is_country());
    let is_rival = are_regions && people * SHARE_OF_NAMESAKE >= most;
    // A capital that is a region of its own, beside a smaller region of its name, as in "Toshkent".
    let is_capital =
        are_regions && people >= most && areas.iter().all(|area| area.is_of_country(place.country));
    is_capital || (place.named == NameKind::Own && (place.people >= METROPOLIS_FROM || is_rival))
}

/// Returns whether a text is a name of two letters, such as "Bo", and not a code, which is written in capitals.
fn is_short_name(typed: &str) -> bool {
    let mut chars = typed.trim().chars();
    let letters = (chars.next(), chars.next(), chars.next());
    matches!(letters, (Some(first), Some(second), None) if first.is_uppercase() && second.is_lowercase())
}
