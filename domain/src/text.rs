//! Foreign text in a form that people can read: bounded, on one line, and without characters that nobody sees. Also the
//! comparison of texts as people compare them.

mod fold;

pub use fold::unaccented;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

/// The number of characters that are shown before the first difference of two texts.
const BEFORE_DIFFERENCE: usize = 40;

/// Returns a text on one line of at most `chars_max` characters, and `…` if it is longer. A line break becomes a space, and
/// each character that nobody sees becomes its code point, such as `<U+FEFF>`.
pub fn visible(text: &str, chars_max: usize) -> String {
    let pieces = text.chars().map(|char| match char {
        '\n' | '\r' | '\t' => " ".to_owned(),
        char if char.is_control() || is_invisible(char) => code_point(char),
        char => char.to_string(),
    });
    joined(pieces, chars_max)
}

/// Returns two different texts in forms that people can tell apart. If the texts look the same, the characters that
/// differ become code points: `<U+0410>da` and `<U+0041>da`.
pub fn contrasted(one: &str, other: &str, chars_max: usize) -> (String, String) {
    let (shown, other_shown) = (visible(one, chars_max), visible(other, chars_max));
    if appearance(&shown) != appearance(&other_shown) {
        return (shown, other_shown);
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.nfc().collect(), other.nfc().collect());
    let equal = |(a, b): &(&char, &char)| a == b;
    let before = one.iter().zip(&other).take_while(equal).count();
    let after = one[before..].iter().rev().zip(other[before..].iter().rev()).take_while(equal).count();
    let spelled = |text: &[char]| {
        let start = before.saturating_sub(BEFORE_DIFFERENCE);
        let start_mark = (start > 0).then(|| "…".to_owned());
        let same = |chars: &[char]| visible(&chars.iter().collect::<String>(), chars_max);
        let end = text.len() - after;
        let pieces = start_mark.into_iter().chain([same(&text[start..before])]);
        let pieces = pieces.chain(text[before..end].iter().copied().map(code_point));
        joined(pieces.chain([same(&text[end..])]), chars_max)
    };
    (spelled(&one), spelled(&other))
}

/// Returns true if two texts have the same characters, composed or decomposed. Blanks around them do not count.
pub fn is_same(one: &str, other: &str) -> bool {
    trimmed(one).nfc().eq(trimmed(other).nfc())
}

/// Returns a text without the blanks, and without the invisible characters that copying leaves, around it.
pub fn trimmed(text: &str) -> &str {
    let is_blank = |char: char| {
        let is_left_over = matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}'
                ..='\u{2064}' | '\u{feff}'
        );
        char.is_whitespace() || is_left_over
    };
    text.trim_matches(is_blank)
}

/// Returns true if a text has a character that people see: neither a blank nor an invisible character nor a mark without
/// a letter.
pub fn is_seen(text: &str) -> bool {
    let is_seen = |char: char| {
        !(char.is_whitespace()
            || char.is_control()
            || is_invisible(char)
            || is_variation_selector(char)
            || is_combining_mark(char))
    };
    text.chars().any(is_seen)
}

/// Returns a text in the form in which words are compared: in lower case, without invisible characters and accents, and
/// with plain letters in place of wide, bold or circled ones and of those such as "ß".
pub fn folded(text: &str) -> String {
    let is_left_out = |char: char| {
        !char.is_whitespace() && (is_invisible(char) || is_variation_selector(char) || is_accent(char))
    };
    let lower = text.nfkd().flat_map(char::to_lowercase).nfkd();
    let undisguised: String = lower.filter(|char| !is_left_out(*char)).collect();
    unaccented(&undisguised)
}

/// Returns true for a character that has no form of its own on a screen: a format character, a blank other than the
/// space, or a character that only changes its neighbours. The selectors of an emoji's form are not among them.
pub fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
        | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{13446}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(char) & 0xfffe == 0xfffe
}

/// Returns true for a mark that changes the letter before it and that people leave out.
pub(crate) fn is_accent(char: char) -> bool {
    matches!(char,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Returns true for a character that selects one of several forms of the character before it.
pub(crate) fn is_variation_selector(char: char) -> bool {
    matches!(char, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns a text of which the reader sees no more than this: each character by the plainest one that looks like it, and
/// blanks in a row as one.
fn appearance(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    skeleton(&words.join(" ")).collect()
}

fn code_point(char: char) -> String {
    format!("<U+{:04X}>", u32::from(char))
}

/// Joins the pieces that have at most `chars_max` characters together, and adds `…` if there are more.
fn joined(pieces: impl Iterator<Item = String>, chars_max: usize) -> String {
    let (mut text, mut count) = (String::new(), 0);
    for piece in pieces {
        count += piece.chars().count();
        if count > chars_max {
            text.push('…');
            break;
        }
        text += &piece;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_nobody_sees_becomes_its_code_point() {
        assert_eq!(visible("\u{feff}{}", 99), "<U+FEFF>{}");
        assert_eq!(visible("Ada\u{a0}Lovelace\u{200b}\u{e0041}", 99), "Ada<U+00A0>Lovelace<U+200B><U+E0041>");
        assert_eq!(visible("a\u{1b}[31m\u{0}", 99), "a<U+001B>[31m<U+0000>");
    }

    #[test]
    fn ordinary_text_stays_on_one_bounded_line() {
        assert_eq!(visible("{\r\n\t\"a\": \"José 王伟 ❤️\"}", 99), "{   \"a\": \"José 王伟 ❤️\"}");
        assert_eq!(visible("abcdef", 3), "abc…");
        assert_eq!(visible("abc", 3), "abc");
        assert_eq!(visible("ab\u{feff}", 9), "ab…");
        assert_eq!(visible("", 3), "");
    }

    #[test]
    fn a_composed_text_is_the_same_as_a_decomposed_one() {
        for (one, other) in [
            ("Jos\u{e9}", "Jose\u{301}"),
            ("Nguy\u{1ec5}n", "Nguye\u{302}\u{303}n"),
            ("\u{ae40}", "\u{1100}\u{1175}\u{11b7}"),
            ("\u{212b}sa", "\u{c5}sa"),
            (" Ada ", "\u{feff}Ada\u{200b}"),
            ("\u{3000}山田　太郎", "山田\u{3000}太郎"),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [("José", "Jose"), ("Ada", "ada"), ("A\u{200b}da", "Ada"), ("Ａda", "Ada")] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn texts_that_look_the_same_are_told_apart_by_code_points() {
        for (one, other, shown, other_shown) in [
            ("Ada", "\u{410}da", "<U+0041>da", "<U+0410>da"),
            ("Bo Al", "Bo AI", "Bo A<U+006C>", "Bo A<U+0049>"),
            ("O'Hara", "O’Hara", "O<U+0027>Hara", "O<U+2019>Hara"),
            ("a b", "a  b", "a b", "a <U+0020>b"),
            ("a b", "a\tb", "a<U+0020>b", "a<U+0009>b"),
            ("Ada", "Bob", "Ada", "Bob"),
            ("Ada\u{200b}x", "Adax", "Ada<U+200B>x", "Adax"),
        ] {
            let expected = (shown.to_owned(), other_shown.to_owned());
            assert_eq!(contrasted(one, other, 99), expected, "{one:?} {other:?}");
        }
        let (one, other) = ("x".repeat(500), format!("{}y", "x".repeat(499)));
        let (shown, other_shown) = contrasted(&one, &other, 60);
        assert!(shown.ends_with("<U+0078>") && other_shown.ends_with("<U+0079>"), "{shown} {other_shown}");
    }

    #[test]
    fn blanks_fillers_and_lone_marks_are_not_seen() {
        for text in [
            "",
            " \u{a0}\u{3000}",
            "\u{3164}\u{3164}\u{3164}",
            "\u{2800}",
            "\u{200b}\u{2060}",
            "\u{115f}\u{1160}",
        ] {
            assert!(!is_seen(text), "{text:?}");
        }
        for text in ["\u{e0041}\u{e007f}", "\u{301}\u{302}", "\u{fe0f}", "\u{e0100}", "\u{ffff}", "\u{1d159}"]
        {
            assert!(!is_seen(text), "{text:?}");
        }
        for text in ["x", "王", "🐳", "\u{3164}x", "ن", "한"] {
            assert!(is_seen(text), "{text:?}");
        }
    }

    #[test]
    fn words_are_compared_without_disguise() {
        for text in
            ["foo", "FOO", "f\u{200b}oo", "f\u{2060}\u{ad}o\u{fe0f}o", "ｆｏｏ", "𝐟𝐨𝐨", "fo\u{336}o", "FÖÓ"]
        {
            assert_eq!(folded(text), "foo", "{text:?}");
        }
        assert_eq!(folded("İx"), "ix");
        assert_eq!(folded("ẞÆ\u{336}ł"), "ssael");
        assert_eq!(folded("a\u{3000}b"), "a b");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_shown_is_bounded(one in "\\PC{0,300}|.{0,80}", other in "\\PC{0,300}|.{0,80}") {
            let (shown, other_shown) = contrasted(&one, &other, 50);
            proptest::prop_assert!(shown.chars().count() <= 51 && other_shown.chars().count() <= 51);
            proptest::prop_assert_eq!(is_same(&one, &other), is_same(&other, &one));
            folded(&one);
        }
    }
}
