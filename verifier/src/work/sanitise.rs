//! Foreign words, made fit to be told: bounded, without control characters.

/// How much of an app's last words is told.
const LINES_MAX: usize = 8;
const LINE_CHARS_MAX: usize = 160;
const WORDS_CHARS_MAX: usize = 300;

/// An engine's words about an image, on one line.
pub(crate) fn quoted(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_CHARS_MAX).collect()
}

/// What an app wrote last, fit to be recorded; nothing if it wrote nothing.
pub(crate) fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<String> = said
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    match &lines[lines.len().saturating_sub(LINES_MAX)..] {
        [] => " It wrote nothing.".to_owned(),
        last => format!(" It wrote last:\n{}", last.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_few_short_and_without_control_characters() {
        assert_eq!(last_lines(b""), " It wrote nothing.");
        assert_eq!(last_lines(b"one\r\n\x1b[31mtwo\n\n"), " It wrote last:\none\n[31mtwo");
        let flood = "x".repeat(1000) + "\n";
        let told = last_lines(flood.repeat(100).as_bytes());
        assert!(told.len() < (LINES_MAX + 1) * (LINE_CHARS_MAX + 1) + 20, "{}", told.len());
        assert!(last_lines(&[0xff, 0xfe]).contains('\u{fffd}'));
    }
}
