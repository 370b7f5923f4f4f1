//! Wordings: the ways to read a typed text as parts, from what was typed to what is left without postcodes, filler words and
//! the endings of Chinese, Japanese and Korean names.

use super::affixes::{
    DIVIDING_ENDINGS, ENDINGS, JOINED_COUNTRIES, LEADING, LEADING_AREA, RIVERS, TRAILING, TRAILING_AREA,
    VAGUE,
};
use super::fold::words;

/// The largest number of parts of a text that are told apart. An address has fewer, and each more costs more than the one before.
const PARTS_MAX: usize = 12;

/// A text as parts of folded words. No part is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypedWording {
    pub(super) parts: Vec<Vec<String>>,
    /// What the words that were left out say of the place.
    pub(super) hint: WordingHint,
}

/// What filler words say of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordingHint {
    Nothing,
    /// The first part is an area and not its city, as in "Province of Salta".
    Area,
    /// The place is only near, as in "Greater London".
    Vague,
}

/// Returns the ways to read a text, the most literal first.
pub(super) fn wordings(typed: &str) -> Vec<TypedWording> {
    let raw = raw_parts(typed);
    let without_codes: Vec<String> = raw.iter().map(|part| without_postcode(part, false)).collect();
    let without_letters: Vec<String> = raw.iter().map(|part| without_postcode(part, true)).collect();
    let mut all = Vec::new();
    for raw in [raw, without_codes, without_letters] {
        let divided: Vec<String> = raw.iter().flat_map(|part| divided(part)).collect();
        let divided = if divided.len() <= PARTS_MAX { divided } else { raw.clone() };
        let plain = TypedWording { parts: folded_parts(&raw), hint: WordingHint::Nothing };
        let divided = TypedWording { parts: folded_parts(&divided), hint: WordingHint::Nothing };
        let (bare, bare_divided) = (bare(&plain), bare(&divided));
        all.push([plain, divided, bare, bare_divided]);
    }
    // What was typed goes first; a name may have a number or a filler word in it.
    let mut distinct: Vec<TypedWording> = Vec::new();
    for step in 0..4 {
        for wordings in &mut all {
            let wording = TypedWording { parts: std::mem::take(&mut wordings[step].parts), ..wordings[step] };
            if !wording.parts.is_empty() && distinct.iter().all(|known| known.parts != wording.parts) {
                distinct.push(wording);
            }
        }
    }
    if let Some(literal) = distinct.first() {
        let by_river = by_river(literal);
        distinct.splice(1..1, by_river);
    }
    distinct
}

/// Returns the ways to read a river after the city, as in "Marburg (Lahn)": in the city's full name, and otherwise as the
/// country.
fn by_river(literal: &TypedWording) -> Vec<TypedWording> {
    let named = |part: &Vec<String>| match &part[..] {
        [word] => RIVERS.iter().find(|(river, _)| river == word),
        _ => None,
    };
    let Some((at, (river, link))) =
        (1..literal.parts.len()).find_map(|at| Some((at, named(&literal.parts[at])?)))
    else {
        return Vec::new();
    };
    let mut in_full = literal.clone();
    in_full.parts.remove(at);
    in_full.parts[0].extend(link.iter().chain([river]).map(|word| (*word).to_owned()));
    let in_country = |code: &str| {
        let mut wording = literal.clone();
        wording.parts[at] = vec![code.to_owned()];
        wording
    };
    vec![in_full, in_country("de"), in_country("at")]
}

/// Splits a text at what people write between a city and more. A flag becomes the code of its country.
fn raw_parts(typed: &str) -> Vec<String> {
    let mut text = String::with_capacity(typed.len() + 8);
    let mut chars = typed.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek().copied()) {
            ('\u{1F1E6}'..='\u{1F1FF}', Some(second @ '\u{1F1E6}'..='\u{1F1FF}')) => {
                chars.next();
                text.extend([',', letter_of_flag(char), letter_of_flag(second), ',']);
            }
            // The letters of a flag of England, Scotland or Wales, such as "gbeng".
            ('\u{E0061}'..='\u{E007A}', _) => {
                text.push(char::from_u32(u32::from(char) - 0xE0000).unwrap_or(' '));
            }
            ('\u{1F3F4}' | '\u{E007F}', _) => text.push(','),
            ('/' | '(' | ')' | '[' | ']' | ';' | '|' | '·' | '•' | '–' | '—' | '→' | '>' | ':' | '\n', _)
            | ('،' | '、' | '，' | '；' | '（' | '）' | '・' | '@', _) => text.push(','),
            ('-', after) if after == Some(' ') || text.ends_with(' ') => text.push(','),
            // A postcode, as in "Dhaka-1207".
            ('-', Some(after)) if after.is_ascii_digit() && text.ends_with(char::is_alphabetic) => {
                text.push(',')
            }
            _ => text.push(char),
        }
    }
    let mut parts: Vec<String> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if parts.len() > PARTS_MAX {
        let rest = parts.split_off(PARTS_MAX - 1);
        parts.push(rest.join(" "));
    }
    parts
}

fn letter_of_flag(char: char) -> char {
    char::from_u32(u32::from(char) - 0x1F1E6 + u32::from('A')).unwrap_or(' ')
}

/// Leaves out the words with digits: postcodes, and numbers of houses and districts. If `letters` is set, two capital
/// letters after four digits are part of the postcode, as in the Netherlands, and so are a last letter or Roman numeral,
/// which number the districts of Copenhagen and Budapest.
fn without_postcode(part: &str, letters: bool) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut after_digits = false;
    for word in part.split_whitespace() {
        let is_code =
            word.chars().any(char::is_numeric) || (letters && !kept.is_empty() && is_district_number(word));
        let ends_code =
            letters && after_digits && word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        after_digits = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_code {
            // Scripts without spaces join the postcode to the name.
            let joined: String =
                word.chars().filter(|char| *char >= '\u{E00}' && char.is_alphabetic()).collect();
            kept.extend(Some(joined).filter(|joined| !joined.is_empty()));
        } else if !ends_code {
            kept.push(word.to_owned());
        }
    }
    kept.join(" ")
}

/// Returns true for one capital letter and for a Roman numeral.
fn is_district_number(word: &str) -> bool {
    let word = word.trim_end_matches('.').as_bytes();
    matches!(word, [b'A'..=b'Z']) || (!word.is_empty() && word.iter().all(|byte| b"IVX".contains(byte)))
}

/// Divides a Chinese or Japanese address, which has no spaces, after its country and after each ending.
fn divided(part: &str) -> Vec<String> {
    let (country, rest) = JOINED_COUNTRIES
        .iter()
        .find_map(|country| Some((Some(*country), part.strip_prefix(country)?)))
        .filter(|(_, rest)| !rest.is_empty())
        .unwrap_or((None, part));
    let mut pieces: Vec<String> = country.into_iter().map(str::to_owned).collect();
    let mut piece = String::new();
    for char in rest.chars() {
        piece.push(char);
        if DIVIDING_ENDINGS.contains(&char) && piece.chars().count() > 2 {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
    pieces
}

fn folded_parts(raw: &[String]) -> Vec<Vec<String>> {
    raw.iter().map(|part| in_full(words(part))).filter(|words| !words.is_empty()).collect()
}

/// Writes out what German names abbreviate, as in "Mülheim a. d. Ruhr".
fn in_full(mut words: Vec<String>) -> Vec<String> {
    for at in 1..words.len().saturating_sub(1) {
        let link = match (words[at].as_str(), words[at + 1].as_str()) {
            ("a", "d") => "an",
            ("o", "d") => "ob",
            ("i", "d") => "in",
            _ => continue,
        };
        (words[at], words[at + 1]) = (link.to_owned(), "der".to_owned());
    }
    words
}

/// Leaves out the filler words and endings of each part.
fn bare(wording: &TypedWording) -> TypedWording {
    let mut hint = WordingHint::Nothing;
    let mut parts = Vec::new();
    for part in &wording.parts {
        let (shorter, trailing) = without_affix(part, [TRAILING_AREA, TRAILING], without_last);
        let (shorter, leading) = without_affix(shorter, [LEADING_AREA, LEADING], without_first);
        if parts.is_empty() {
            let is_area = leading.iter().any(|affix| LEADING_AREA.contains(affix))
                || trailing.iter().any(|affix| TRAILING_AREA.contains(affix));
            hint = match trailing[..] {
                _ if is_area => WordingHint::Area,
                [] if leading.contains(&VAGUE) => WordingHint::Vague,
                _ => WordingHint::Nothing,
            };
        }
        parts.push(shorter.iter().map(|word| without_ending(word).to_owned()).collect());
    }
    TypedWording { parts, hint }
}

/// Takes off affixes, the longest first, as long as a word is left. Returns the rest and the affixes.
fn without_affix<'a>(
    mut words: &'a [String],
    affixes: [&[&'static str]; 2],
    without: fn(&'a [String], &str) -> Option<&'a [String]>,
) -> (&'a [String], Vec<&'static str>) {
    let mut removed = Vec::new();
    loop {
        let shorter = affixes.iter().copied().flatten().filter_map(|affix| {
            without(words, affix).filter(|rest| !rest.is_empty()).map(|rest| (*affix, rest))
        });
        let Some((affix, rest)) = shorter.min_by_key(|(_, rest)| rest.len()) else { return (words, removed) };
        removed.push(affix);
        words = rest;
    }
}

fn without_first<'a>(words: &'a [String], affix: &str) -> Option<&'a [String]> {
    let (first, rest) = words.split_at_checked(affix.split(' ').count())?;
    first.iter().map(String::as_str).eq(affix.split(' ')).then_some(rest)
}

fn without_last<'a>(words: &'a [String], affix: &str) -> Option<&'a [String]> {
    let (rest, last) = words.split_at(words.len().checked_sub(affix.split(' ').count())?);
    last.iter().map(String::as_str).eq(affix.split(' ')).then_some(rest)
}

/// Returns a Chinese, Japanese or Korean name without its ending. What is left has two characters or more.
pub(super) fn without_ending(word: &str) -> &str {
    let shorter = ENDINGS.iter().filter_map(|ending| word.strip_suffix(ending)).min_by_key(|stem| stem.len());
    shorter.filter(|stem| stem.chars().count() >= 2).unwrap_or(word)
}
