//! What can be said of a text that nothing fits as a whole: a street beside a place, or similar names.

use super::answer::{OWN_NAME_FROM, ReadingAnswer, answer, choose};
use super::areas::{AREA_NAMES, PlaceNarrowing, areas_named};
use super::fold::{fold, key, words};
use super::largest_first::is_ideograph_or_syllable;
use super::places::{NAMES, NameKind, PlaceCandidate, by_weight, places_named, places_of_row};
use super::query::{LocationReading, by_commas, by_words};
use super::wording::{TypedWording, WordingHint};
use super::{largest, nearest};

/// From this number of people on, a place is known well enough to be taken out of a longer text.
const WELL_KNOWN_FROM: u32 = 500_000;
/// The longest text without commas in which a well-known place is looked for, in words.
const WORDS_MAX: usize = 5;
/// The shortest text that is compared with the names of areas, in characters.
const LETTERS_MIN: usize = 4;
/// Words that make another place of the place after them ("New Paris").
const COMPOUNDING: &[&str] = &[
    "new", "nova", "nueva", "nuevo", "nouvelle", "neu", "little", "east", "west", "north", "south", "old",
    "san", "santa", "saint", "fort", "port", "porto", "mount", "lake", "la", "el", "los", "las", "not", "or",
    "and",
];
/// Words after which a name goes on ("Puebla de Sanabria").
const LINKING: &[&str] =
    &["de", "del", "do", "da", "dos", "di", "du", "des", "sur", "am", "an", "im", "ob", "upon", "by", "y"];

/// What people write between the names of two cities that are one.
const TWIN_SEPARATORS: &[&str] = &["-", "–", "&", "+", " and ", " und ", " et ", " y ", " e ", " i "];

/// Finds the place of a text that names something smaller beside it, such as a street or a neighbourhood.
pub(super) fn without_neighbourhood(wordings: &[TypedWording], typed: &str) -> Option<ReadingAnswer> {
    let wording = wordings.last().filter(|wording| wording.hint != WordingHint::Vague)?;
    let parts = &wording.parts;
    if let Some(found) = by_commas(parts).find_map(|reading| without_unknown(&reading)) {
        return Some(found);
    }
    for start in 1..parts.len() {
        let rest = &parts[start..];
        match by_commas(rest).chain(by_words(rest)).find_map(|reading| answer(&reading, typed)) {
            Some(ReadingAnswer::Place(place)) => return beside(&parts[..start], rest, place),
            // A country alone says nothing of the city before it, which may be misspelt.
            None | Some(ReadingAnswer::Area(..)) => {}
            Some(ambiguous) => return Some(ambiguous),
        }
    }
    match &parts[..] {
        [words] if words.len() <= WORDS_MAX && nearest::nearest(&NAMES, &key(words)).is_empty() => {
            well_known_in(words)
        }
        _ => None,
    }
}

/// Finds the first of two neighbouring cities whose names were joined, as in "Champaign-Urbana, IL".
pub(super) fn twin_cities(typed: &str) -> Option<ReadingAnswer> {
    let mut parts = typed.split(',');
    let pair = parts.next()?;
    let rest: Vec<Vec<String>> = parts.map(words).filter(|words| !words.is_empty()).collect();
    let narrowed_by: Vec<PlaceNarrowing> = rest.iter().map(|words| PlaceNarrowing::new(words)).collect();
    TWIN_SEPARATORS.iter().find_map(|separator| {
        let (first, second) = pair.split_once(separator)?;
        let [mut firsts, seconds] = [first, second].map(|name| places_named(&fold(name)));
        firsts.retain(|first| {
            narrowed_by.iter().all(|words| words.fits(first)) && seconds.iter().any(|it| it.is_near(first))
        });
        choose(firsts)
    })
}

/// Returns the places with names like that of the text's city, those that fit the rest of the text first. If there are none,
/// these are the largest places of the areas in the text.
pub(super) fn similar(parts: &[Vec<String>]) -> Vec<PlaceCandidate> {
    let elsewhere = places_named(&key(&parts[0]));
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    // The first part may name the region or the country too, without a comma.
    let readings = by_commas(parts).take(1).chain(by_words(&parts[..1]).take(1));
    let mut found: Vec<(bool, u8, PlaceCandidate)> = Vec::new();
    for reading in readings {
        for (distance, row) in nearest::nearest(&NAMES, &reading.city) {
            let fits = |place: &PlaceCandidate| reading.narrowed_by.iter().all(|words| words.fits(place));
            found.extend(places_of_row(row).into_iter().map(|place| (!fits(&place), distance, place)));
        }
    }
    found.sort_by_key(|(misfits, distance, place)| (*misfits, *distance, by_weight(place)));
    if found.is_empty() {
        return parts
            .iter()
            .rev()
            .map(|words| largest(&areas_named(&key(words))))
            .find(|found| !found.is_empty())
            .unwrap_or_default();
    }
    found.into_iter().map(|(.., place)| place).collect()
}

/// Finds the place of a reading that fits but for parts of unknown meaning, such as a county or a neighbourhood.
fn without_unknown(reading: &LocationReading) -> Option<ReadingAnswer> {
    let mut found = places_named(&reading.city);
    if found.is_empty() {
        return None;
    }
    let (known, unknown): (Vec<_>, Vec<_>) =
        reading.narrowed_by.iter().partition(|words| words.names_area() || words.names_neighbour());
    found.retain(|place| known.iter().all(|words| words.fits(place)));
    // In a text of few letters a misspelt area cannot be told from another word.
    let is_misspelt = |key: &str| {
        key.chars().count() >= LETTERS_MIN
            && nearest::nearest(&AREA_NAMES, key).iter().any(|(distance, _)| *distance <= 1)
    };
    let is_unknown = |key: &str| places_named(key).is_empty() && !is_misspelt(key);
    if found.is_empty() || unknown.is_empty() || !unknown.iter().all(|words| is_unknown(&words.key())) {
        return None;
    }
    match choose(found) {
        // The tables have no names of regions in other scripts.
        Some(ReadingAnswer::Place(place))
            if known.is_empty()
                && !is_well_known(&place)
                && unknown.iter().any(|words| words.key().is_ascii()) =>
        {
            None
        }
        Some(ReadingAnswer::Ambiguous(_)) if known.is_empty() => None,
        found => found,
    }
}

/// Returns the place of `rest`, unless the parts before it are another place, farther away than a suburb, or a misspelt one.
fn beside(before: &[Vec<String>], rest: &[Vec<String>], place: PlaceCandidate) -> Option<ReadingAnswer> {
    let others: Vec<PlaceCandidate> = before
        .iter()
        .map(|words| places_named(&key(words)))
        .filter(|found| !found.iter().any(|other| other.is_near(&place)))
        .flatten()
        .filter(|other| other.named != NameKind::Alternative && other.people >= OWN_NAME_FROM)
        .collect();
    if !others.is_empty() {
        return Some(ReadingAnswer::Ambiguous(others.into_iter().chain([place]).collect()));
    }
    let areas = areas_named(&key(&rest[0]));
    let is_misspelt = !areas.is_empty()
        && nearest::nearest(&NAMES, &key(&before[0]))
            .into_iter()
            .flat_map(|(_, row)| places_of_row(row))
            .any(|near| near.named != NameKind::Alternative && areas.iter().any(|area| area.contains(&near)));
    if is_misspelt { None } else { Some(ReadingAnswer::Place(place)) }
}

/// Finds the well-known place at the end or at the beginning of a text without commas. At the beginning it is only asked for: most
/// such names are those of another place ("Santiago Tilantongo").
fn well_known_in(words: &[String]) -> Option<ReadingAnswer> {
    if words.iter().any(|word| COMPOUNDING.contains(&word.as_str())) {
        return None;
    }
    let known = |words: &[String], rest: &[String]| {
        places_named(&key(words)).into_iter().find(|place| is_well_known(place) && !is_elsewhere(rest, place))
    };
    if let Some(place) = (1..words.len()).find_map(|cut| known(&words[cut..], &words[..cut])) {
        return Some(ReadingAnswer::Place(place));
    }
    let is_linked = |cut: usize| LINKING.contains(&words[cut].as_str());
    let mut cuts = (1..words.len()).rev().filter(|cut| !is_linked(*cut));
    let place = cuts.find_map(|cut| known(&words[..cut], &words[cut..]))?;
    // Chinese, Japanese and Korean addresses begin with what is largest.
    let begins_with_largest = words[0].starts_with(is_ideograph_or_syllable);
    Some(if begins_with_largest {
        ReadingAnswer::Place(place)
    } else {
        ReadingAnswer::Ambiguous(vec![place])
    })
}

/// Returns true if words name an area, and the place is in none of that name.
fn is_elsewhere(words: &[String], place: &PlaceCandidate) -> bool {
    let runs = (0..words.len()).flat_map(|from| (from + 1..=words.len()).map(move |to| &words[from..to]));
    runs.map(key).filter(|key| key.chars().count() >= LETTERS_MIN).any(|key| {
        let areas = areas_named(&key);
        !areas.is_empty() && !areas.iter().any(|area| area.contains(place))
    })
}

fn is_well_known(place: &PlaceCandidate) -> bool {
    place.named != NameKind::Alternative && place.people >= WELL_KNOWN_FROM
}
