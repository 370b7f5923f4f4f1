//! Decides what one reading means: a place, several places, or an area in which a city must be named.

use super::areas::{NamedArea, areas_named};
use super::fold::fold;
use super::places::{NameKind, PlaceCandidate, by_weight, places_named};
use super::query::LocationReading;

/// How many tenths of the people of the next place a place must have, to stand out.
const DOMINANCE_TENTHS: u64 = 32;
/// From this number of people on, a place is known by its own name, and nobody thinks of other names of other places.
const OWN_NAME_FROM: u32 = 100_000;
/// From this number of people on, a place is thought of before a country or region of the same name.
const METROPOLIS_FROM: u32 = 500_000;
/// The part of an area's people that a place must have, to be thought of before the area around it.
const SHARE_OF_AREA: u64 = 20;
/// The part of a region's people that a place must have, to be thought of by another name than its own, or as well if the
/// place is elsewhere.
const SHARE_OF_NAMESAKE: u64 = 4;

/// The meaning of a reading.
#[derive(Debug)]
pub(super) enum ReadingAnswer {
    Place(PlaceCandidate),
    /// Several places have the name, and none stands out. The largest is the first.
    Ambiguous(Vec<PlaceCandidate>),
    /// The name is that of areas.
    Area(Vec<NamedArea>),
}

/// Returns the meaning of a reading of `typed`, or `None` if nothing fits it.
pub(super) fn answer(reading: &LocationReading, typed: &str) -> Option<ReadingAnswer> {
    let mut found = places_named(&reading.city);
    found.retain(|place| reading.narrowed_by.iter().all(|words| words.fits(place)));
    let mut areas = areas_named(&reading.city);
    areas.retain(|area| reading.narrowed_by.iter().all(|words| words.fits_area(area)));
    if let Some(suggested) = suggested(&found, typed) {
        return Some(ReadingAnswer::Place(suggested));
    }
    if !areas.is_empty() && found.iter().all(|place| place.named != NameKind::Meant) {
        let is_name = is_short_name(typed);
        found.retain(|place| (is_name && place.named == NameKind::Own) || comes_before(place, &areas));
        if found.is_empty() {
            return Some(ReadingAnswer::Area(areas));
        }
    }
    choose(found, typed)
}

/// Chooses the place that is meant. `found` is sorted by weight.
pub(super) fn choose(mut found: Vec<PlaceCandidate>, typed: &str) -> Option<ReadingAnswer> {
    if let Some(suggested) = suggested(&found, typed) {
        return Some(ReadingAnswer::Place(suggested));
    }
    if let Some(meant) = found.iter().find(|place| place.named == NameKind::Meant) {
        return Some(ReadingAnswer::Place(*meant));
    }
    let is_known = |place: &PlaceCandidate| place.named == NameKind::Own && place.people >= OWN_NAME_FROM;
    if found.iter().any(is_known) {
        found.retain(|place| place.named == NameKind::Own);
    }
    found.sort_by_key(by_weight);
    let tenths = |place: &PlaceCandidate| u64::from(place.weight().max(1));
    match found[..] {
        [] => None,
        [first, second, ..] if tenths(&first) * 10 < tenths(&second) * DOMINANCE_TENTHS => {
            Some(ReadingAnswer::Ambiguous(found))
        }
        [first, ..] => Some(ReadingAnswer::Place(first)),
    }
}

/// Returns the place whose full name was typed.
fn suggested(found: &[PlaceCandidate], typed: &str) -> Option<PlaceCandidate> {
    let typed = fold(typed);
    found.iter().find(|place| fold(place.suggestion().as_str()) == typed).copied()
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
    let is_rival = people * SHARE_OF_NAMESAKE >= most && areas.iter().all(|area| !area.is_country());
    place.named == NameKind::Own && (place.people >= METROPOLIS_FROM || is_rival)
}

/// Returns whether a text is a name of two letters, such as "Bo", and not a code, which is written in capitals.
fn is_short_name(typed: &str) -> bool {
    let mut chars = typed.trim().chars();
    let letters = (chars.next(), chars.next(), chars.next());
    matches!(letters, (Some(first), Some(second), None) if first.is_uppercase() && second.is_lowercase())
}
