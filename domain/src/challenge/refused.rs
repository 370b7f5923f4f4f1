//! The words that a challenge does not take in a participant's name and Twitter account.

use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;

use crate::text::folded;

/// Words, or several words in a row, that are recognised through capitals, accents and disguise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct RefusedWords {
    written: Vec<String>,
    /// The words of each entry, folded. Every name is compared with them.
    folded: Vec<Vec<String>>,
}

impl RefusedWords {
    pub(super) fn contradiction(&self) -> Option<String> {
        let at = self.folded.iter().position(Vec::is_empty)?;
        Some(format!(
            "refused_words has “{}”, in which there is neither a letter nor a digit",
            self.written[at]
        ))
    }

    /// Returns the first refused entry that a text contains.
    pub(super) fn find(&self, text: &str) -> Option<String> {
        let words = words(text);
        let is_within = |entry: &&Vec<String>| {
            !entry.is_empty() && words.windows(entry.len()).any(|some| some == entry.as_slice())
        };
        self.folded.iter().find(is_within).map(|entry| entry.join(" "))
    }
}

impl From<Vec<String>> for RefusedWords {
    fn from(written: Vec<String>) -> Self {
        let folded = written.iter().map(|entry| words(entry)).collect();
        Self { written, folded }
    }
}

impl From<RefusedWords> for Vec<String> {
    fn from(words: RefusedWords) -> Self {
        words.written
    }
}

/// Returns the folded words of a text. A mark belongs to the letter before it.
fn words(text: &str) -> Vec<String> {
    let is_between = |char: char| !char.is_alphanumeric() && !is_combining_mark(char);
    let folded = folded(text);
    let words = folded.split(is_between).filter(|word| word.contains(char::is_alphanumeric));
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(entry: &str, text: &str) -> bool {
        RefusedWords::from(vec![entry.to_owned()]).find(text).is_some()
    }

    #[test]
    fn a_refused_word_is_found_through_its_disguise() {
        for text in [
            "an ass here",
            "ASS",
            "a\u{200c}ss",
            "a\u{ad}ss",
            "ａｓｓ",
            "a\u{336}ss",
            "𝐚𝐬𝐬",
            "äss",
            "aß",
            "王\u{3000}ass",
        ] {
            assert!(is_refused("Ass", text), "{text}");
        }
        for text in ["Cassandra", "as s", ""] {
            assert!(!is_refused("Ass", text), "{text}");
        }
    }

    #[test]
    fn any_word_of_a_challenge_finds_itself() {
        for (entry, text) in [
            ("scheiße", "SCHEISSE"),
            ("Scheisse", "scheiße"),
            ("हिन्दी", "मैं हिन्दी"),
            ("x-y", "an X-Y"),
            ("x-y", "x y"),
            ("two words", "Two  Words here"),
            ("Øre", "ore"),
            ("4711", "Ada 4711"),
        ] {
            assert!(is_refused(entry, text), "{entry} in {text}");
            assert!(is_refused(entry, entry), "{entry}");
        }
        for (entry, text) in [("x-y", "xy"), ("two words", "two other words"), ("हिन्दी", "हि")]
        {
            assert!(!is_refused(entry, text), "{entry} in {text}");
        }
    }

    #[test]
    fn an_entry_without_a_letter_is_a_contradiction() {
        for entry in ["", " - ", "\u{301}"] {
            let words = RefusedWords::from(vec!["fine".to_owned(), entry.to_owned()]);
            assert!(words.contradiction().is_some(), "{entry:?}");
            assert_eq!(words.find("- \u{301} x"), None);
        }
        assert_eq!(RefusedWords::from(vec!["fine".to_owned()]).contradiction(), None);
    }

    #[test]
    fn the_words_are_stored_as_they_were_written() {
        let written = serde_json::json!(["Ass", "scheiße", "x-y"]);
        let words: RefusedWords = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(words).unwrap(), written);
    }
}
