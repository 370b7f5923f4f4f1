//! Folding: "São Paulo", "SAO PAULO" and "sao-paulo" become the same key.
//!
//! `scripts/gazetteer/make.py` folded the keys of the tables, so the two must agree; a test compares every key.

use domain::text::unaccented;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Splits a text into words in lower case, without accents and punctuation. A mark without a letter, such as the selector after
/// an emoji, is no word.
pub(super) fn words(text: &str) -> Vec<String> {
    unaccented(text)
        .split(|char: char| !char.is_alphanumeric() && !is_combining_mark(char))
        .filter(|word| word.contains(char::is_alphanumeric))
        // Korean syllables are in parts, and the endings of names are not.
        .map(|word| composed(word.to_owned()))
        .collect()
}

/// Returns the key of a name that has these words. Keys have no spaces, because people use spaces and hyphens differently.
pub(super) fn key<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    composed(words.into_iter().map(|word| in_full(word)).collect())
}

/// Returns the beginning of the key of a name whose last word may be incomplete.
pub(super) fn key_prefix(words: &[String]) -> String {
    let Some((last, complete)) = words.split_last() else {
        return String::new();
    };
    composed(format!("{}{last}", key(complete)))
}

/// Returns the key of a text.
pub(super) fn fold(text: &str) -> String {
    key(&words(text))
}

fn composed(text: String) -> String {
    if text.is_ascii() { text } else { text.nfc().collect() }
}

/// Expands an abbreviation.
fn in_full(word: &str) -> &str {
    match word {
        "st" | "sankt" | "sint" => "saint",
        "ste" => "sainte",
        "ft" => "fort",
        "mt" => "mount",
        _ => word,
    }
}
