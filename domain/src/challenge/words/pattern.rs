//! One word of the dictionary, and the search for it in a text.
//!
//! A word in disguise has letters that are replaced (`sh1t`), left out (`sh*t`), repeated (`shiiit`) or set apart
//! (`s.h.i.t`). Names have all of these for good reasons as well, so each disguise counts only where hardly a name has it.

use std::cell::Cell;

use super::WordLanguage;
use super::dictionary::WordUse;
use super::glyphs::{Glyph, GlyphForm, GlyphText};
use crate::text::unaccented;

/// The number of signs in a row that a disguise sets between two letters.
const SIGNS_MAX: u8 = 3;

/// The number of steps of a search for one word from one place. Names and their disguises take a few dozen; a name of many signs,
/// each of which may stand for any letter or for none, would take hours.
const STEPS_MAX: u32 = 1000;

/// A word that is not taken, or several words in a row.
pub(super) struct WordPattern {
    pub(super) word: &'static str,
    pub(super) usage: WordUse,
    pub(super) languages: Vec<WordLanguage>,
    letters: Vec<PatternLetter>,
}

struct PatternLetter {
    letter: char,
    /// If true, the letter counts only with its accent.
    is_accented: bool,
    /// True if signs before the letter are no disguise, because it begins a word.
    begins_word: bool,
}

/// The search for one word from one place of a text on.
struct WordSearch<'a> {
    pattern: &'a WordPattern,
    text: &'a GlyphText,
    start: usize,
    steps_left: Cell<u32>,
}

/// The disguises of the letters that were matched so far.
#[derive(Clone, Copy, Default)]
struct WordDisguise {
    /// Letters of other scripts.
    look_alikes: usize,
    /// Digits and signs in place of letters.
    replaced: usize,
    /// Letters that are left out.
    left_out: usize,
    /// Accents that the word does not have.
    accents: usize,
    /// The repetitions of the letter before, and the largest number of them.
    repeated: usize,
    repeated_max: usize,
    /// Letters that are set apart from the one before.
    set_apart: usize,
    /// The signs since the letter before.
    signs: u8,
    /// True if a space sets letters apart.
    has_space: bool,
    /// True if the letters since the last sign have a vowel.
    has_vowel: bool,
    /// True if letters without a vowel are set apart from others. Syllables of names have one.
    has_bare_piece: bool,
}

impl WordPattern {
    pub(super) fn new(word: &'static str, usage: WordUse, languages: Vec<WordLanguage>) -> Self {
        let mut letters = Vec::new();
        let mut begins_word = false;
        for char in word.chars() {
            let plain = unaccented(char.encode_utf8(&mut [0; 4]));
            let Some(letter) = plain.chars().next().filter(char::is_ascii_lowercase) else {
                begins_word = true;
                continue;
            };
            letters.push(PatternLetter { letter, is_accented: !char.is_ascii(), begins_word });
            begins_word = false;
        }
        Self { word, usage, languages, letters }
    }

    /// Returns true if the word is in the text, except within a word that is allowed.
    pub(super) fn is_in(&self, text: &GlyphText, is_allowed: &impl Fn(&str) -> bool) -> bool {
        (0..text.glyphs.len()).any(|start| {
            let search = WordSearch { pattern: self, text, start, steps_left: Cell::new(STEPS_MAX) };
            let glyph = text.glyphs[start];
            let begins = glyph.form != GlyphForm::Blank && self.letters[0].is(glyph);
            // A disguise that sets letters apart has allowed words no more.
            begins && search.matches(0, start, WordDisguise::default()) && !is_allowed(text.token_at(start))
        })
    }
}

impl PatternLetter {
    fn is(&self, glyph: Glyph) -> bool {
        glyph.may_be(self.letter) && (!self.is_accented || glyph.is_accented)
    }
}

impl WordSearch<'_> {
    /// Returns true if the letters from this one on follow in the text.
    fn matches(&self, letter: usize, at: usize, disguise: WordDisguise) -> bool {
        let Some(left) = self.steps_left.get().checked_sub(1) else { return false };
        self.steps_left.set(left);
        let letters = &self.pattern.letters;
        if letter == letters.len() && self.counts(at, disguise) {
            return true;
        }
        let Some(&glyph) = self.text.glyphs.get(at) else { return false };
        if at > self.start && disguise.signs == 0 && glyph.repeats(self.text.glyphs[at - 1]) {
            let repeated = disguise.repeated + 1;
            let repeated_max = disguise.repeated_max.max(repeated);
            if self.matches(letter, at + 1, WordDisguise { repeated, repeated_max, ..disguise }) {
                return true;
            }
        }
        let Some(next) = letters.get(letter) else { return false };
        if letter > 0 && glyph.may_be_skipped() && disguise.signs < SIGNS_MAX {
            let has_space = disguise.has_space || (glyph.form == GlyphForm::Space && !next.begins_word);
            let skipped = WordDisguise { signs: disguise.signs + 1, has_space, ..disguise };
            if self.matches(letter, at + 1, skipped) {
                return true;
            }
        }
        next.is(glyph) && self.matches(letter + 1, at + 1, disguise.with(glyph, next))
    }

    /// Returns true if a match that ends before this glyph is hardly a name.
    fn counts(&self, end: usize, disguise: WordDisguise) -> bool {
        let WordDisguise { look_alikes, replaced, left_out, accents, repeated_max, set_apart, .. } = disguise;
        let (usage, length) = (self.pattern.usage, self.pattern.letters.len());
        let has_bare_piece = disguise.has_bare_piece || !disguise.has_vowel;
        let is_spelled_out = set_apart > 0 && set_apart == self.gaps() && length >= 4;

        let is_whole = self.text.is_edge(self.start) && self.ends(end);
        // A sign that begins a word is punctuation: "Brake (Unterweser)".
        let begins_with_sign = self.text.glyphs[self.start].form == GlyphForm::Sign;
        let is_within = usage == WordUse::Part && !begins_with_sign && set_apart + accents + left_out == 0;
        let has_letters = length - replaced - left_out >= if length > 3 { 2 } else { 1 };
        let is_long_enough = length >= 4 || left_out + accents == 0;
        let is_stretched_enough = repeated_max != 1 || usage == WordUse::Part;
        let is_apart_for_no_reason = match usage {
            _ if set_apart == 0 || is_spelled_out => true,
            WordUse::Part => true,
            WordUse::Name => false,
            WordUse::Whole => !disguise.has_space && (length >= 6 || length >= 4 && has_bare_piece),
        };
        let is_no_name = usage != WordUse::Name
            || length >= 4 && accents == 0 && (look_alikes + replaced + left_out > 0 || is_spelled_out);
        (is_whole || is_within)
            && has_letters
            && is_long_enough
            && is_stretched_enough
            && is_apart_for_no_reason
            && is_no_name
    }

    /// Returns the number of places at which letters of one word can be set apart.
    fn gaps(&self) -> usize {
        self.pattern.letters.iter().skip(1).filter(|letter| !letter.begins_word).count()
    }

    /// Returns true if a word may end before this glyph, or after the `s` of its plural there.
    fn ends(&self, end: usize) -> bool {
        let is_plural = |glyph: &Glyph| glyph.form == GlyphForm::Letter && glyph.may_be('s');
        let may_have_plural = self.pattern.usage != WordUse::Name && self.pattern.letters.len() >= 5;
        self.text.is_edge(end)
            || may_have_plural
                && self.text.glyphs.get(end).is_some_and(is_plural)
                && self.text.is_edge(end + 1)
    }
}

impl WordDisguise {
    /// Adds a letter of the word, and the glyph that stands for it.
    fn with(mut self, glyph: Glyph, letter: &PatternLetter) -> Self {
        match glyph.form {
            GlyphForm::LookAlike => self.look_alikes += 1,
            GlyphForm::Digit | GlyphForm::Sign => self.replaced += 1,
            GlyphForm::Blank => self.left_out += 1,
            GlyphForm::Letter | GlyphForm::Separator | GlyphForm::Space | GlyphForm::Other => {}
        }
        self.accents += usize::from(glyph.is_accented && !letter.is_accented);
        if self.signs > 0 && !letter.begins_word {
            self.set_apart += 1;
            self.has_bare_piece |= !self.has_vowel;
        }
        if self.signs > 0 {
            self.has_vowel = false;
        }
        self.has_vowel |= "aeiouy".contains(letter.letter);
        (self.signs, self.repeated) = (0, 0);
        self
    }
}
