//! Foreign text in a form that people can read: bounded, on one line, and without characters that nobody sees.

/// Returns a text on one line of at most `chars_max` characters, and `…` if it is longer. A line break becomes a space, and
/// each character that nobody sees becomes its code point, such as `<U+FEFF>`.
pub fn visible(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for char in text.chars() {
        let piece = match char {
            '\n' | '\r' | '\t' => " ".to_owned(),
            char if char.is_control() || is_invisible(char) => format!("<U+{:04X}>", u32::from(char)),
            char => char.to_string(),
        };
        count += piece.chars().count();
        if count > chars_max {
            shown.push('…');
            break;
        }
        shown += &piece;
    }
    shown
}

/// Returns true for a character that has no form of its own on a screen: a format character, a blank other than the
/// space, or a character that only changes its neighbours. The selectors of an emoji's form are not among them.
pub fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
        | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
}
