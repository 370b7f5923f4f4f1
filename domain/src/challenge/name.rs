//! The check of a participant's name: its length as people count it, and the characters that cannot be shown.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::text::{is_invisible, is_seen, is_variation_selector};

/// The longest name that a challenge may allow, in characters.
const CHARS_MAX: usize = 200;

/// The number of marks in a row that one letter may carry. Three are common in some scripts; towers of them cover the page.
const MARKS_MAX: usize = 6;

/// The number of code points of one character. A family of emoji has eleven.
const CODE_POINTS_MAX: usize = 16;

/// The length of a participant's name in characters as people count them, which are Unicode's extended grapheme clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NameRules {
    /// The smallest number of characters.
    pub min_chars: usize,
    /// The largest number of characters.
    pub max_chars: usize,
}

impl Default for NameRules {
    fn default() -> Self {
        Self { min_chars: 1, max_chars: 50 }
    }
}

impl NameRules {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn contradiction(&self) -> Option<String> {
        let fits = 1 <= self.min_chars && self.min_chars <= self.max_chars && self.max_chars <= CHARS_MAX;
        (!fits).then(|| {
            format!(
                "name.min_chars is at least 1, name.max_chars at least name.min_chars and at most {CHARS_MAX}"
            )
        })
    }

    /// Returns the reason why a name cannot be shown on the map, in words for the participant.
    pub fn fault(&self, name: &str) -> Option<String> {
        let length = name.graphemes(true).count();
        if !(self.min_chars..=self.max_chars).contains(&length) || !is_seen(name) {
            Some(format!("A name has {} to {} characters that can be seen.", self.min_chars, self.max_chars))
        } else if let Some(hidden) = hidden_character(name) {
            let point = u32::from(hidden);
            Some(format!("The name has a character that cannot be seen (U+{point:04X}); write it without."))
        } else if name.starts_with(is_combining_mark) {
            Some("A name begins with a letter, not with an accent alone.".to_owned())
        } else if has_tower(name) {
            Some("Too many accents stand on one letter of the name.".to_owned())
        } else {
            None
        }
    }
}

/// Returns the first character that nobody sees, and that neither its script nor an emoji needs at its place. Changes of
/// the direction are such characters.
pub fn hidden_character(text: &str) -> Option<char> {
    text.graphemes(true).find_map(|grapheme| {
        let is_flag = grapheme.starts_with('\u{1f3f4}') && grapheme.ends_with('\u{e007f}');
        let mut before: Option<char> = None;
        grapheme.chars().find(|char| {
            // A joiner or a selector acts on the character before it.
            let is_needed = match *char {
                '\u{200c}' | '\u{200d}' => before.is_some_and(may_join),
                '\u{fe0f}' if matches!(before, Some('#' | '*' | '0'..='9')) => true,
                char if is_variation_selector(char) => before.is_some_and(may_vary),
                '\u{180b}'..='\u{180f}' => matches!(before, Some('\u{1800}'..='\u{18af}')),
                '\u{e0020}'..='\u{e007f}' => is_flag,
                '\u{2028}' | '\u{2029}' => false,
                char => char.is_whitespace() && !char.is_control(),
            };
            let is_hidden = char.is_control() || is_invisible(*char) || is_variation_selector(*char);
            before = Some(*char);
            is_hidden && !is_needed
        })
    })
}

/// Returns true if a joiner may act on the character. Those of the European scripts, Georgian, Han, Kana and Hangul have no joined
/// forms: with a joiner they look as without it, so that one name could pass for another. A second joiner does nothing.
fn may_join(before: char) -> bool {
    !matches!(u32::from(before),
        0..=0x58f | 0x10a0..=0x11ff | 0x1ab0..=0x1aff | 0x1c80..=0x1cbf | 0x1d00..=0x20ff | 0x2c00..=0x2d2f | 0x2de0..=0xa4cf
        | 0xa640..=0xa69f | 0xa700..=0xa7ff | 0xa960..=0xa97f | 0xab30..=0xab6f | 0xac00..=0xd7ff | 0xf900..=0xfb17
        | 0xfe20..=0xfe2f | 0xff00..=0xffef | 0x1b000..=0x1b16f | 0x20000..=0x3ffff)
}

/// Returns true if a selector may choose a form of the character. Letters of the European scripts have one form only.
fn may_vary(before: char) -> bool {
    let is_plain =
        matches!(u32::from(before), 0..=0x58f | 0x1ab0..=0x1aff | 0x1d00..=0x1fff | 0x200b..=0x200f);
    matches!(before, '©' | '®') || !(is_plain || is_variation_selector(before))
}

/// Returns true if a letter carries more marks, or consists of more code points, than any script needs.
fn has_tower(name: &str) -> bool {
    let composed: String = name.nfc().collect();
    let mut marks = 0;
    let carries_many = composed.chars().any(|char| {
        marks = if is_combining_mark(char) { marks + 1 } else { 0 };
        marks > MARKS_MAX
    });
    carries_many || composed.graphemes(true).any(|grapheme| grapheme.chars().count() > CODE_POINTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct NameTable {
        taken: Vec<String>,
        refused: Vec<String>,
    }

    /// The form in the browser is tested with the same table.
    #[test]
    fn a_name_has_1_to_50_characters_that_can_be_seen() {
        let table: NameTable = serde_json::from_str(include_str!("../../testdata/names.json")).unwrap();
        let rules = NameRules::default();
        for name in table.taken {
            assert_eq!(rules.fault(crate::text::trimmed(&name)), None, "{name:?}");
        }
        for name in table.refused {
            assert!(rules.fault(crate::text::trimmed(&name)).is_some(), "{name:?} was taken");
        }
    }

    #[test]
    fn a_character_is_what_people_count() {
        let rules = NameRules { min_chars: 2, max_chars: 3 };
        for name in ["Bo", "王伟", "👨‍👩‍👧‍👦👨‍👩‍👧‍👦", "e\u{301}e\u{301}e\u{301}", "नीना", "🇫🇷🇩🇪"]
        {
            assert_eq!(rules.fault(name), None, "{name}");
        }
        for name in ["B", "👨‍👩‍👧‍👦", "e\u{301}", "🇫🇷", "Anna"] {
            assert_eq!(
                rules.fault(name).unwrap(),
                "A name has 2 to 3 characters that can be seen.",
                "{name}"
            );
        }
    }

    #[test]
    fn a_hidden_character_is_named() {
        for (name, point) in [
            ("A\u{200b}da", "U+200B"),
            ("Ada\u{202e}", "U+202E"),
            ("A\u{2066}da\u{2069}", "U+2066"),
            ("A\u{200d}da", "U+200D"),
            ("Ada\u{e0041}\u{e0042}", "U+E0041"),
            ("Ada\u{3164}", "U+3164"),
            ("A\u{0}da", "U+0000"),
            ("Jose\u{301}\u{200c}", "U+200C"),
            ("Ωmega\u{200d}", "U+200D"),
            ("Արմեն\u{200d}", "U+200D"),
            ("かな\u{200d}", "U+200D"),
            ("김\u{200d}", "U+200D"),
            ("王\u{200d}\u{200d}", "U+200D"),
            ("\u{20bb7}\u{200d}", "U+200D"),
            ("\u{646}\u{200c}\u{200c}\u{646}", "U+200C"),
            ("Jos\u{e9}\u{fe01}", "U+FE01"),
            ("\u{2764}\u{fe0f}\u{fe0f}", "U+FE0F"),
        ] {
            let fault = NameRules::default().fault(name).unwrap();
            assert!(fault.contains(point), "{fault}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics_and_what_is_taken_can_be_seen(name in "\\PC{0,60}|.{0,20}") {
            if NameRules::default().fault(&name).is_none() {
                proptest::prop_assert!(is_seen(&name));
            }
        }
    }
}
