//! Folding: what makes "São Paulo", "SAO PAULO" and "sao-paulo" the same name.
//!
//! The tables' keys were folded by `scripts/gazetteer/make.py`, so the two must agree; a test holds every key against this one.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The words of a text in lower case, without accents and punctuation.
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

/// The key of a name given by its words. Keys have no spaces: people disagree about them as they do about hyphens.
pub(super) fn key(words: &[String]) -> String {
    words.iter().map(|word| in_full(word)).collect::<String>().nfc().collect()
}

/// What the key of a name begins with whose last word may go on.
pub(super) fn key_begun(words: &[String]) -> String {
    let Some((last, finished)) = words.split_last() else {
        return String::new();
    };
    format!("{}{last}", key(finished)).nfc().collect()
}

/// The key of a text.
pub(super) fn fold(text: &str) -> String {
    key(&words(text))
}

/// Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic, and modifier letters: what people leave out.
fn is_dropped(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36F}' | '\u{2B0}'..='\u{2FF}' | '\u{591}'..='\u{5C7}' | '\u{64B}'..='\u{65F}' | '\u{670}')
}

/// The word that an abbreviation stands for.
fn in_full(word: &str) -> &str {
    match word {
        "st" => "saint",
        "ste" => "sainte",
        _ => word,
    }
}

/// Letters which do not decompose into a plain letter and a mark.
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
