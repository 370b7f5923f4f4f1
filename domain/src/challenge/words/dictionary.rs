//! The dictionary: the table of words that the program was built with.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::WordLanguage;
use super::pattern::WordPattern;

/// The table. `domain/data/LICENCE.md` says where it comes from.
const TABLE: &str = include_str!("../../../data/words.tsv");

/// The words, read once.
pub(super) static WORDS: LazyLock<WordDictionary> = LazyLock::new(|| WordDictionary::parse(TABLE));

/// The words that are not taken, and the exceptions.
pub(super) struct WordDictionary {
    pub(super) patterns: Vec<WordPattern>,
    /// Real words that have one of the parts in them.
    allowed: BTreeSet<&'static str>,
}

/// The use of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordUse {
    /// `word`: it is recognised as a whole word.
    Whole,
    /// `part`: it is recognised within longer words as well.
    Part,
    /// `name`: it is also a name of persons, and recognised only if letters of it are disguised.
    Name,
}

impl WordDictionary {
    pub(super) fn is_allowed(&self, word: &str) -> bool {
        self.allowed.contains(word)
    }

    fn parse(table: &'static str) -> Self {
        let (mut patterns, mut allowed) = (Vec::new(), BTreeSet::new());
        for row in table.lines() {
            let mut columns = row.split('\t');
            let (languages, usage, word) = (columns.next(), columns.next(), columns.next());
            let (Some(languages), Some(usage), Some(word)) = (languages, usage, word) else { continue };
            let usage = match usage {
                "word" => WordUse::Whole,
                "part" => WordUse::Part,
                "name" => WordUse::Name,
                _ => {
                    allowed.insert(word);
                    continue;
                }
            };
            let languages = languages.split(',').filter_map(WordLanguage::from_code).collect();
            patterns.push(WordPattern::new(word, usage, languages));
        }
        Self { patterns, allowed }
    }
}

impl WordLanguage {
    fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "de" => Self::De,
            "en" => Self::En,
            "es" => Self::Es,
            "fr" => Self::Fr,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::WordRules;

    #[test]
    fn every_row_of_the_table_is_read_and_every_word_that_is_no_name_finds_itself() {
        assert_eq!(WORDS.patterns.len() + WORDS.allowed.len(), TABLE.lines().count());
        let rules = WordRules::default();
        for pattern in &WORDS.patterns {
            assert!(!pattern.languages.is_empty(), "{}", pattern.word);
            let is_found = rules.find(&pattern.word.to_uppercase()).is_some();
            assert_eq!(is_found, pattern.usage != WordUse::Name, "{}", pattern.word);
        }
        for word in &WORDS.allowed {
            assert_eq!(rules.find(word), None, "{word}");
        }
    }
}
