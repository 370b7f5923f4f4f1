//! The dictionary of words that a participant's name and Twitter account must not contain, in four languages, and through
//! common disguises.

mod dictionary;
mod glyphs;
mod pattern;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use self::dictionary::WORDS;
use self::glyphs::GlyphText;

/// The languages of the dictionary that count, and the treatment of entries with one of its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordRules {
    /// The languages whose words are recognised. If there are none, the dictionary is not used.
    pub languages: BTreeSet<WordLanguage>,
    /// Names that are taken although they have a word of the dictionary in them.
    pub allowed: Vec<String>,
    /// The treatment of entries with a refused word, of the dictionary or of the challenge's own list.
    pub found: FoundWordAction,
}

/// A language of the dictionary, by its ISO 639 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WordLanguage {
    De,
    En,
    Es,
    Fr,
}

/// The treatment of an entry whose name or Twitter account has a refused word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundWordAction {
    /// The entry is not accepted.
    #[default]
    Refuse,
    /// The entry is accepted and verified. It is hidden until an organiser shows it.
    Hold,
}

impl Default for WordRules {
    fn default() -> Self {
        use WordLanguage::{De, En, Es, Fr};
        Self { languages: [De, En, Es, Fr].into(), allowed: Vec::new(), found: FoundWordAction::Refuse }
    }
}

impl WordRules {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the first word of the dictionary that a text contains, plain or disguised.
    pub(super) fn find(&self, text: &str) -> Option<&'static str> {
        let text = GlyphText::new(text);
        let is_allowed = |token: &str| {
            WORDS.is_allowed(token) || self.allowed.iter().any(|allowed| as_compared(allowed) == token)
        };
        let mut patterns = WORDS.patterns.iter();
        let found = patterns.find(|pattern| {
            pattern.languages.iter().any(|language| self.languages.contains(language))
                && pattern.is_in(&text, &is_allowed)
        });
        found.map(|pattern| pattern.word)
    }
}

/// Returns a word in the form in which allowed words are compared. Accents stay: "Fück" is a surname.
fn as_compared(word: &str) -> String {
    word.nfc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../testdata/real_names.txt");
    const REFUSED: &str = include_str!("../../testdata/refused_names.txt");

    fn lines(text: &'static str) -> Vec<&'static str> {
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    #[test]
    fn none_of_200_real_names_and_places_is_refused() {
        let names = lines(REAL);
        assert!(names.len() >= 200, "{}", names.len());
        let rules = WordRules::default();
        let refused: Vec<_> = names.iter().filter_map(|name| Some((name, rules.find(name)?))).collect();
        assert!(refused.is_empty(), "{} of {}: {refused:?}", refused.len(), names.len());
    }

    #[test]
    fn at_least_95_percent_of_200_refused_words_and_disguises_are_caught() {
        let names = lines(REFUSED);
        assert!(names.len() >= 200, "{}", names.len());
        let rules = WordRules::default();
        let missed: Vec<_> = names.iter().filter(|name| rules.find(name).is_none()).collect();
        println!("{} of {} are caught; missed: {missed:?}", names.len() - missed.len(), names.len());
        assert!(missed.len() * 20 <= names.len(), "{} of {}: {missed:?}", missed.len(), names.len());
    }

    #[test]
    fn a_name_of_signs_does_not_search_for_hours() {
        let rules = WordRules::default();
        for sign in ["*", "#", "1", ".", "* "] {
            for letter in 'a'..='z' {
                let name: String = format!("{letter}{}", sign.repeat(49)).chars().take(50).collect();
                rules.find(&name);
                rules.find(&format!("{letter}{sign}").repeat(25).chars().take(50).collect::<String>());
            }
        }
        assert_eq!(rules.find("sh*t"), Some("shit"));
    }

    #[test]
    fn only_the_languages_of_the_challenge_count_and_an_organiser_may_allow_a_name() {
        let german = WordRules { languages: [WordLanguage::De].into(), ..WordRules::default() };
        assert_eq!(german.find("Arschloch"), Some("arschloch"));
        assert_eq!(german.find("connard"), None);
        let none = WordRules { languages: BTreeSet::new(), ..WordRules::default() };
        assert_eq!(none.find("Arschloch"), None);
        let allowed =
            WordRules { allowed: vec!["Whore".to_owned(), "Müffucker".to_owned()], ..WordRules::default() };
        assert_eq!(allowed.find("Ada Whore"), None);
        assert_eq!(allowed.find("Jo Mu\u{308}ffucker"), None);
        assert_eq!(allowed.find("Ada Whores"), Some("whore"));
    }

    #[test]
    fn a_name_of_a_person_is_refused_in_disguise_only() {
        let rules = WordRules::default();
        for name in ["Dick Cheney", "dick", "Dìck", "Ada Dick-Cock", "Kike", "D. Ick"] {
            assert_eq!(rules.find(name), None, "{name}");
        }
        for name in ["d1ck", "D!ck", "c0ck", "d i c k", "D.I.C.K."] {
            assert!(rules.find(name).is_some(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_a_word_is_found_among_others(before in "[ .,王0-9]{0,9}", text in "\\PC{0,80}|[fuck*.! ]{0,60}") {
            let rules = WordRules::default();
            let _ = rules.find(&text);
            let among = format!("{before} motherfucker {text}");
            proptest::prop_assert!(rules.find(&among).is_some());
        }
    }
}
