//! The explanation that follows the message about an app that failed while it ran: hints, the last lines that the app
//! wrote, and the command that runs the image alike.

use domain::Challenge;
use domain::challenge::ProbeRules;
use domain::sandbox::SandboxGrade;
use domain::submission::FailureCode;
use domain::text::visible;

/// The bounds of an app's last output as it is recorded.
const LINES_MAX: usize = 8;
const LINE_CHARS_MAX: usize = 160;

/// The facts about a run that its explanation depends on.
pub(super) struct FailedRun<'a> {
    pub(super) challenge: &'a Challenge,
    pub(super) grade: SandboxGrade,
    /// The image's name, as people write it.
    pub(super) image: &'a str,
    /// The TCP ports that the image exposes.
    pub(super) exposed_ports: &'a [u16],
    pub(super) code: FailureCode,
    /// The end of the app's output, or `None` if it could not be read.
    pub(super) output: Option<&'a [u8]>,
}

impl FailedRun<'_> {
    /// Returns the explanation, which begins with a space or a line break. The app's output comes last, so that it cannot
    /// pass for a sentence of ours.
    pub(super) fn explanation(&self) -> String {
        let output = self.output.map(String::from_utf8_lossy);
        let mut explanation = String::new();
        for hint in self.hints(output.as_deref().unwrap_or_default()) {
            explanation += " ";
            explanation += &hint;
        }
        let last = output.as_deref().map(last_lines);
        if last.as_ref().is_some_and(Vec::is_empty) {
            explanation += " It wrote nothing.";
        }
        explanation += "\nTo run it alike on your machine, but for Muster's filter of system calls, which `muster try` has:\n";
        explanation += &self.challenge.docker_run(self.grade, self.image);
        if let Some(lines) = last.filter(|lines| !lines.is_empty()) {
            explanation += "\nIts last output:\n";
            explanation += &lines.join("\n");
        }
        explanation
    }

    /// Returns the sentences that help with known causes, which show in the app's output or its image.
    fn hints(&self, output: &str) -> Vec<String> {
        let mut hints = Vec::new();
        let lower = output.to_lowercase();
        let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
        if says(&["read-only file system", "erofs"]) && self.grade != SandboxGrade::Writable {
            hints.push(
                "A path that it writes to is read-only here: it may write to /tmp, /run and the volumes that its \
                 Dockerfile declares (VOLUME)."
                    .to_owned(),
            );
        }
        if says(&["operation not permitted", "eperm"]) {
            let rights = match self.grade.capabilities() {
                [] => "no capabilities".to_owned(),
                names => format!("only the capabilities {}", names.join(", ")),
            };
            hints.push(format!("Something that it does is not permitted here: a container has {rights}."));
        }
        if says(&["no space left on device", "enospc"]) && self.grade != SandboxGrade::Writable {
            let mib = self.challenge.limits.tmpfs_mib;
            hints.push(format!("A writable directory is full: in memory, each holds {mib} MiB."));
        }
        if self.code == FailureCode::NothingOnPort {
            hints.extend(self.hints_on_the_port(&lower));
        }
        hints
    }

    fn hints_on_the_port(&self, lower: &str) -> Vec<String> {
        let ProbeRules::Http(probe) = &self.challenge.probe;
        let mut hints = Vec::new();
        if !self.exposed_ports.is_empty() && !self.exposed_ports.contains(&probe.port) {
            let ports: Vec<_> = self.exposed_ports.iter().map(u16::to_string).collect();
            hints.push(format!(
                "The image exposes port {} (EXPOSE), and the challenge asks on port {}.",
                ports.join(" and "),
                probe.port
            ));
        }
        if let Some(local) =
            ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|local| lower.contains(local))
        {
            hints.push(format!(
                "Its output names {local}: an app that listens there alone cannot be reached from outside its container; \
                 let it listen on 0.0.0.0."
            ));
        } else if lower.contains("[::]") {
            hints.push(
                "Its output names [::], which may mean IPv6 alone: let it listen on 0.0.0.0 as well."
                    .to_owned(),
            );
        }
        hints
    }
}

/// Returns the last lines of an output. If they are the end of a backtrace, the line that begins the
/// backtrace comes before them, because it has the error.
fn last_lines(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let first_shown = lines.len().saturating_sub(LINES_MAX);
    let (before, last) = lines.split_at(first_shown);
    let head = last.first().filter(|first| is_in_backtrace(first)).and_then(|_| head_of_backtrace(before));
    let shown: Vec<_> = match head {
        Some(head) => [head, "…"].into_iter().chain(last[1..].iter().copied()).collect(),
        None => last.to_vec(),
    };
    shown.into_iter().map(readable).collect()
}

/// Returns the line before a backtrace whose end is cut off from `before`: the error, in the languages that print it first.
fn head_of_backtrace<'a>(before: &[&'a str]) -> Option<&'a str> {
    let last_panic =
        before.iter().rev().find(|line| line.starts_with("panic:") || line.starts_with("fatal error:"));
    last_panic.or_else(|| before.iter().rev().find(|line| !is_in_backtrace(line))).copied()
}

/// Returns true for a line that a backtrace has below its first: an indented one, the next cause, or one of Go's frames.
fn is_in_backtrace(line: &str) -> bool {
    line.starts_with([' ', '\t'])
        || line.starts_with("Caused by:")
        || line.starts_with("goroutine ")
        || line.starts_with("created by ")
        || (line.ends_with(')') && line.contains('.') && !line.contains(' '))
}

/// Returns a line without the sequences that colour it on a terminal, and with its indentation.
fn readable(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain += before;
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    visible(&(plain + rest), LINE_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: FailureCode, grade: SandboxGrade, exposed_ports: &[u16], output: &str) -> String {
        let challenge = Challenge::birthday();
        let output = Some(output.as_bytes());
        FailedRun { challenge: &challenge, grade, image: "ada/app", exposed_ports, code, output }
            .explanation()
    }

    #[test]
    fn last_lines_are_few_short_and_readable() {
        assert!(last_lines("\n\n").is_empty());
        assert_eq!(last_lines("one\r\n\x1b[1;31mtwo\x1b[0m\x07\n\n"), ["one", "two<U+0007>"]);
        let lines = last_lines(&("x".repeat(1000) + "\n").repeat(100));
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_CHARS_MAX + 1), "{lines:?}");
    }

    #[test]
    fn the_error_of_a_long_backtrace_is_shown() {
        let frames = |frame: &str| frame.repeat(30);
        for (output, head) in [
            (
                format!("starting\njava.net.BindException: in use\n{}", frames("\tat a.B.c(B.java:3)\n")),
                "java.net.BindException: in use",
            ),
            (
                format!(
                    "/app.js:3\n throw e\nError: boom\n{}\n",
                    frames("    at Object.<anonymous> (/app.js:3:7)\n")
                ),
                "Error: boom",
            ),
            (
                format!(
                    "panic: nil map\n\ngoroutine 1 [running]:\n{}",
                    frames("main.main()\n\t/app/main.go:3 +0x1d\n")
                ),
                "panic: nil map",
            ),
        ] {
            let shown = last_lines(&output);
            assert_eq!(shown[0], head, "{shown:?}");
            assert_eq!(shown[1], "…");
            assert_eq!(shown.len(), LINES_MAX + 1);
        }
        let python =
            format!("Traceback (most recent call last):\n{}ValueError: no\n", frames("  File \"a.py\"\n"));
        let shown = last_lines(&python);
        assert_eq!(shown[0], "Traceback (most recent call last):");
        assert_eq!(shown.last().unwrap(), "ValueError: no");
    }

    #[test]
    fn a_known_cause_adds_the_sentence_that_helps() {
        let early = FailureCode::ExitedEarly;
        let written = "open() \"/srv/x\" failed (30: Read-only file system)";
        let read_only = explained(early, SandboxGrade::ReadOnly, &[], written);
        assert!(read_only.contains("/tmp, /run and the volumes"), "{read_only}");
        assert!(!explained(early, SandboxGrade::Writable, &[], written).contains("read-only here"));
        let denied = "chroot: cannot change root: Operation not permitted";
        assert!(explained(early, SandboxGrade::Writable, &[], denied).contains("CHOWN, DAC_OVERRIDE"));
        assert!(explained(early, SandboxGrade::Bare, &[], denied).contains("no capabilities"));
        assert!(explained(early, SandboxGrade::ReadOnly, &[], "ENOSPC: write").contains("16 MiB"));
    }

    #[test]
    fn an_app_that_cannot_be_reached_is_told_where_it_listens() {
        let nothing = |ports: &[u16], output| {
            explained(FailureCode::NothingOnPort, SandboxGrade::ReadOnly, ports, output)
        };
        let flask = nothing(&[5000], " * Running on http://127.0.0.1:5000");
        assert!(flask.contains("exposes port 5000 (EXPOSE), and the challenge asks on port 80."), "{flask}");
        assert!(flask.contains("names 127.0.0.1: an app that listens there alone"), "{flask}");
        assert!(nothing(&[80], "listening on [::]:80").contains("IPv6 alone"));
        assert!(!nothing(&[80, 443], "ready").contains("EXPOSE"));
        let other = explained(FailureCode::BadStatus, SandboxGrade::ReadOnly, &[5000], "127.0.0.1 GET / 400");
        assert!(!other.contains("EXPOSE") && !other.contains("listens"), "{other}");
    }

    #[test]
    fn an_explanation_has_the_command_that_runs_the_image_alike_and_ends_with_the_output() {
        let explanation = explained(FailureCode::TimedOut, SandboxGrade::Writable, &[], "");
        assert!(explanation.starts_with(" It wrote nothing.\nTo run it alike"), "{explanation}");
        assert!(explanation.ends_with("--cap-add SETUID ada/app"), "{explanation}");
        let explanation =
            explained(FailureCode::TimedOut, SandboxGrade::Writable, &[], "To run it alike:\nx");
        assert!(explanation.ends_with("ada/app\nIts last output:\nTo run it alike:\nx"), "{explanation}");
    }
}
