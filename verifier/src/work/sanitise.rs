//! Makes foreign texts fit to be recorded and shown: bounded, and without control characters.

/// The bounds of an app's last output.
const LINES_MAX: usize = 8;
const LINE_CHARS_MAX: usize = 160;

/// The longest quotation of an engine's error text, in characters.
const ENGINE_CHARS_MAX: usize = 300;

/// Returns an engine's error text on one line.
pub(crate) fn single_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ENGINE_CHARS_MAX).collect()
}

/// Returns a sentence with the last lines that an app wrote.
pub(crate) fn last_lines(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let lines: Vec<String> = output
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    match &lines[lines.len().saturating_sub(LINES_MAX)..] {
        [] => " It wrote nothing.".to_owned(),
        last => format!(" Its last output:\n{}", last.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_few_short_and_without_control_characters() {
        assert_eq!(last_lines(b""), " It wrote nothing.");
        assert_eq!(last_lines(b"one\r\n\x1b[31mtwo\n\n"), " Its last output:\none\n[31mtwo");
        let flood = "x".repeat(1000) + "\n";
        let sentence = last_lines(flood.repeat(100).as_bytes());
        assert!(sentence.len() < (LINES_MAX + 1) * (LINE_CHARS_MAX + 1) + 20, "{}", sentence.len());
        assert!(last_lines(&[0xff, 0xfe]).contains('\u{fffd}'));
    }
}
