//! Folding: "São Paulo", "SAO PAULO" and "sao-paulo" become the same key.
//!
//! `scripts/gazetteer/make.py` folded the keys of the tables, so the two must agree; a test compares every key.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Splits a text into words in lower case, without accents and punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for low in text.nfkd().filter(|char| !is_dropped(*char)).flat_map(char::to_lowercase) {
        let word = words.last_mut().expect("there is always a last word");
        if low.is_alphanumeric() || is_combining_mark(low) {
            match plain(low) {
                Some(letters) => word.push_str(letters),
                None => word.push(low),
            }
        } else if !word.is_empty() {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the key of a name that has these words. Keys have no spaces, because people use spaces and hyphens differently.
pub(super) fn key(words: &[String]) -> String {
    words.iter().map(|word| in_full(word)).collect::<String>().nfc().collect()
}

/// Returns the beginning of the key of a name whose last word may be incomplete.
pub(super) fn key_prefix(words: &[String]) -> String {
    let Some((last, complete)) = words.split_last() else {
        return String::new();
    };
    format!("{}{last}", key(complete)).nfc().collect()
}

/// Returns the key of a text.
pub(super) fn fold(text: &str) -> String {
    key(&words(text))
}

/// Matches the accents of Latin, Greek and Cyrillic, the points of Hebrew and Arabic, and modifier letters. People leave
/// them out.
fn is_dropped(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36F}' | '\u{2B0}'..='\u{2FF}' | '\u{591}'..='\u{5C7}' | '\u{64B}'..='\u{65F}' | '\u{670}')
}

/// Expands an abbreviation.
fn in_full(word: &str) -> &str {
    match word {
        "st" => "saint",
        "ste" => "sainte",
        _ => word,
    }
}

/// Replaces a letter that Unicode does not decompose into a plain letter and a mark.
fn plain(char: char) -> Option<&'static str> {
    Some(match char {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'ə' => "e",
        'ς' => "σ",
        _ => return None,
    })
}
