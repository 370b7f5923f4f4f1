//! A text as its reader sees it: glyphs, each with the letters that it may stand for.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use super::as_compared;
use crate::text::{is_accent, is_invisible, is_variation_selector, unaccented};

/// The number of glyphs that are looked at. No name is as long.
const GLYPHS_MAX: usize = 1000;

/// A text, and the words that it consists of.
pub(super) struct GlyphText {
    pub(super) glyphs: Vec<Glyph>,
    tokens: Vec<String>,
}

/// One character, or one letter of a character that stands for several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    /// The letters of the alphabet that it may stand for, as a set of bits from `a` on.
    letters: u32,
    pub(super) form: GlyphForm,
    pub(super) is_accented: bool,
    /// The number of its word in the text.
    token: usize,
}

/// The kind of a glyph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GlyphForm {
    /// A Latin letter.
    Letter,
    /// A letter of another script that looks like a Latin one.
    LookAlike,
    /// A digit that may stand for a letter.
    Digit,
    /// A sign that may stand for a letter, or for nothing.
    Sign,
    /// A sign in place of a letter that is left out: `*` or `#`.
    Blank,
    /// Punctuation.
    Separator,
    /// A space between words.
    Space,
    /// A letter that is like no Latin one.
    Other,
}

impl GlyphText {
    pub(super) fn new(text: &str) -> Self {
        let is_between = |char: char| !char.is_alphanumeric() && !is_combining_mark(char);
        let mut read = Self { glyphs: Vec::new(), tokens: Vec::new() };
        for token in text.split_inclusive(is_between) {
            for char in token.nfkd().flat_map(char::to_lowercase).nfkd() {
                if read.glyphs.len() < GLYPHS_MAX {
                    read.push(char);
                }
            }
            read.tokens.push(as_compared(token.trim_end_matches(is_between)));
        }
        read
    }

    /// Returns the word that a glyph belongs to, as allowed words are compared.
    pub(super) fn token_at(&self, glyph: usize) -> &str {
        &self.tokens[self.glyphs[glyph].token]
    }

    /// Returns true if a word may begin or end between this glyph and the one before it.
    pub(super) fn is_edge(&self, at: usize) -> bool {
        let is_letter = |at: usize| self.glyphs.get(at).is_some_and(|glyph| glyph.form.is_letter());
        !is_letter(at) || at.checked_sub(1).is_none_or(|before| !is_letter(before))
    }

    fn push(&mut self, char: char) {
        let token = self.tokens.len();
        let mut add = |letters: u32, form: GlyphForm, is_accented: bool| {
            self.glyphs.push(Glyph { letters, form, is_accented, token });
        };
        match char {
            'a'..='z' => add(bit(char), GlyphForm::Letter, false),
            char if is_accent(char) => {
                if let Some(before) = self.glyphs.last_mut() {
                    before.is_accented = true;
                }
            }
            char if char.is_whitespace() => add(0, GlyphForm::Space, false),
            char if is_invisible(char) || is_variation_selector(char) => {}
            '*' | '#' => add(u32::MAX, GlyphForm::Blank, false),
            char if meant(char).is_some() => {
                let letters = meant(char).unwrap_or_default().chars().map(bit).sum();
                let form = if char.is_ascii_digit() { GlyphForm::Digit } else { GlyphForm::Sign };
                add(letters, form, false);
            }
            char if char.is_alphabetic() => {
                let plain = unaccented(char.encode_utf8(&mut [0; 4]));
                if !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_lowercase()) {
                    let is_accented = plain.len() == 1;
                    plain.chars().for_each(|letter| add(bit(letter), GlyphForm::Letter, is_accented));
                } else if let Some(letter) = look_alike(char) {
                    add(bit(letter), GlyphForm::LookAlike, false);
                } else {
                    add(0, GlyphForm::Other, false);
                }
            }
            _ => add(0, GlyphForm::Separator, false),
        }
    }
}

impl Glyph {
    pub(super) fn may_be(self, letter: char) -> bool {
        self.letters & bit(letter) != 0
    }

    /// Returns true if both are the same letter.
    pub(super) fn repeats(self, before: Self) -> bool {
        self.form.is_letter() && self.letters == before.letters && self.letters != 0
    }

    /// Returns true if the glyph may stand between the letters of a word and mean nothing.
    pub(super) fn may_be_skipped(self) -> bool {
        use GlyphForm::{Blank, Separator, Sign, Space};
        matches!(self.form, Sign | Blank | Separator | Space)
    }
}

impl GlyphForm {
    fn is_letter(self) -> bool {
        matches!(self, Self::Letter | Self::LookAlike | Self::Other)
    }
}

fn bit(letter: char) -> u32 {
    1 << (u32::from(letter) - u32::from('a'))
}

/// Returns the letters that a digit or a sign stands for where people disguise words.
fn meant(char: char) -> Option<&'static str> {
    Some(match char {
        '0' => "o",
        '1' | '!' | '|' | '¡' => "il",
        '2' => "z",
        '3' | '€' => "e",
        '4' => "a",
        '@' => "au",
        '5' | '$' | '§' => "s",
        '6' => "bg",
        '7' => "t",
        '8' => "b",
        '9' => "g",
        '+' | '†' => "t",
        '(' | '<' | '[' | '¢' | '©' => "c",
        '£' => "l",
        '×' => "x",
        '®' => "r",
        _ => return None,
    })
}

/// Returns the Latin letter that a letter of another script looks like, small or capital.
fn look_alike(char: char) -> Option<char> {
    let latin = |char: char| {
        let mut plainest = skeleton(char.encode_utf8(&mut [0; 4])).collect::<Vec<_>>().into_iter();
        let letter = plainest.next().filter(char::is_ascii_alphabetic)?;
        plainest.next().is_none().then(|| letter.to_ascii_lowercase())
    };
    latin(char).or_else(|| char.to_uppercase().next().and_then(latin))
}
