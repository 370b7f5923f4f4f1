//! The finding about one image after a slot run, and its blame: the app, the slot, the node, or the platform.

use std::net::{IpAddr, SocketAddr};

use domain::challenge::Evidence;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};
use domain::text::visible;

use crate::swarm::TaskEnding;
use crate::work::probe::Suspect;

/// The longest quotation of an engine's error text, in characters.
const ENGINE_CHARS_MAX: usize = 300;

/// The exit code of a process that was killed, as the kernel does for lack of memory.
const KILLED: i64 = 137;
/// The exit code of a process that the filter of system calls killed. Both our list and the engines' own do so only for calls of
/// another architecture.
const FILTERED: i64 = 159;
/// The highest exit code that a program gives by itself. Higher codes belong to signals.
const SIGNALLED: i64 = 128;

/// The hint for a process that was killed for a call of another architecture.
const FOR_32_BITS: &str = " That is SIGSYS, the signal for a system call that no app may make here. Programs for 32-bit x86 make such \
    calls from their start: use a base image and programs for linux/amd64.";

/// The finding about one image.
#[derive(Debug)]
pub(crate) enum AppFinding {
    /// The app's own behaviour.
    Confirmed(Evidence),
    /// A failure that the slot or the node may have caused. It counts if a run in another slot shows the
    /// same.
    Suspected { suspect: Suspect, code: FailureCode, message: String },
    /// The platform is at fault.
    PlatformFault(PlatformFault),
}

impl AppFinding {
    /// Returns the finding about an app whose container ended on a node that is well.
    pub(crate) fn of_ending(ending: &TaskEnding, memory_mib: u64) -> Self {
        let (code, message) = match ending {
            TaskEnding::PlatformFault(code, why) => return Self::PlatformFault(platform_fault(*code, why)),
            TaskEnding::WrongPlatform(why) => {
                let why = visible(why, ENGINE_CHARS_MAX);
                (FailureCode::WrongPlatform, format!("The node cannot run the image: {why}"))
            }
            TaskEnding::NotStarted(why) => {
                let why = visible(why, ENGINE_CHARS_MAX);
                (FailureCode::DidNotStart, format!("The container did not start: {why}"))
            }
            TaskEnding::Exited(KILLED) => {
                let message = format!(
                    "The app was killed (exit code 137). This happens if it uses more than {memory_mib} MiB of memory."
                );
                let code = FailureCode::OutOfMemory;
                return Self::Suspected { suspect: Suspect::LostNode, code, message };
            }
            TaskEnding::Exited(code) => {
                let mut message = format!("The app ended by itself with exit code {code}.");
                if *code == FILTERED {
                    message += FOR_32_BITS;
                }
                // A code above 128 is a signal's, or of an engine that restarted and killed its containers.
                let suspect = if *code > SIGNALLED { Suspect::LostNode } else { Suspect::SlowNode };
                return Self::Suspected { suspect, code: FailureCode::ExitedEarly, message };
            }
        };
        Self::Confirmed(Evidence::Failure { code, message })
    }

    /// Returns the reason to try another slot, if there is one.
    pub(crate) fn doubt(&self) -> Option<&str> {
        match self {
            Self::Suspected { message, .. } => Some(message),
            Self::PlatformFault(fault) if fault.code == InterruptionCode::SlotFailed => Some(&fault.message),
            Self::Confirmed(_) | Self::PlatformFault(_) => None,
        }
    }

    /// Returns true for a failure that may come from a right that the app lacks in its sandbox, such as a place
    /// to write. `is_right` judges a response: an app may answer 200 with the page of its error.
    pub(crate) fn may_lack_rights(&self, is_right: impl FnOnce(&Evidence) -> bool) -> bool {
        match self {
            Self::Confirmed(evidence @ Evidence::Http { .. }) => !is_right(evidence),
            Self::Confirmed(Evidence::Failure { code, .. }) | Self::Suspected { code, .. } => {
                *code != FailureCode::WrongPlatform
            }
            Self::PlatformFault(_) => false,
        }
    }

    /// Returns the code of a failure that the app's output may explain, and the text that the explanation is added to.
    pub(crate) fn failure_to_explain(&mut self) -> Option<(FailureCode, &mut String)> {
        let (code, text) = match self {
            Self::Confirmed(Evidence::Http { status: 200 | 300..=399, .. }) | Self::PlatformFault(_) => {
                return None;
            }
            Self::Confirmed(Evidence::Http { explanation, .. }) => (FailureCode::BadStatus, explanation),
            Self::Confirmed(Evidence::Failure { code, message }) | Self::Suspected { code, message, .. } => {
                (*code, message)
            }
        };
        let is_of_a_run = matches!(
            code,
            FailureCode::ExitedEarly
                | FailureCode::OutOfMemory
                | FailureCode::NothingOnPort
                | FailureCode::TimedOut
                | FailureCode::BadHttp
                | FailureCode::BadStatus
        );
        is_of_a_run.then_some((code, text))
    }

    /// Returns the reason not to use the slot again, if its network or its relay failed or seems to have
    /// failed.
    pub(crate) fn slot_fault(&self) -> Option<&str> {
        match self {
            Self::Suspected { suspect: Suspect::SlowNode, .. } => None,
            Self::Suspected { code: FailureCode::NothingOnPort, message, .. } => Some(message),
            Self::Suspected { .. } => None,
            _ => self.doubt(),
        }
    }

    /// Returns the fault if the node failed: it did not get the image, or it is ill.
    pub(crate) fn node_fault(&self) -> Option<&PlatformFault> {
        let node_codes = [InterruptionCode::PullFailed, InterruptionCode::NodeIll];
        match self {
            Self::PlatformFault(fault) if node_codes.contains(&fault.code) => Some(fault),
            _ => None,
        }
    }

    /// Returns true if the app ran on its node, whatever it did there.
    pub(crate) fn is_of_a_run(&self) -> bool {
        match self {
            Self::Confirmed(Evidence::Http { .. }) => true,
            Self::Confirmed(Evidence::Failure { code, .. }) | Self::Suspected { code, .. } => {
                code.is_of_a_run()
            }
            Self::PlatformFault(_) => false,
        }
    }

    /// Adds the words with which the node's engine failed to pull the image before its slot was taken.
    pub(crate) fn add_words_of_pull(&mut self, words: &str) {
        if let Self::PlatformFault(fault) = self
            && fault.code == InterruptionCode::PullFailed
        {
            let words = visible(&without_addresses(words), ENGINE_CHARS_MAX);
            fault.message = format!("{}; the node's engine said before: {words}", fault.message);
        }
    }

    /// Turns a fault of the node, which another node has shown alike, into a failure of the image, with the engine's words.
    pub(crate) fn blame_image(&mut self) {
        if let Self::PlatformFault(fault) = self {
            let why = visible(&fault.message, ENGINE_CHARS_MAX);
            let message =
                format!("Two nodes that run other images could not start this one. The engine said: {why}");
            *self = Self::Confirmed(Evidence::Failure { code: FailureCode::DidNotStart, message });
        }
    }

    /// Turns a confirmed failure into a suspicion.
    pub(super) fn suspected(self, suspect: Suspect) -> Self {
        match self {
            Self::Confirmed(Evidence::Failure { code, message }) => {
                Self::Suspected { suspect, code, message }
            }
            known => known,
        }
    }

    /// Combines this finding with the `first` one, which another slot showed before. A suspicion is confirmed
    /// if both have the same failure code, if both times only a slow node was suspected, if the container ended both
    /// times and at least once by itself, or if only a slow node is suspected and the first finding was certain.
    /// Otherwise the suspicion becomes a platform fault.
    pub(crate) fn after(self, first: &Self) -> Self {
        match (self, first) {
            (
                Self::Suspected { suspect, code, message },
                Self::Suspected { suspect: first_suspect, code: first_code, .. },
            ) if code == *first_code
                || (suspect, *first_suspect) == (Suspect::SlowNode, Suspect::SlowNode)
                || (is_ending(code) && is_ending(*first_code))
                    && [suspect, *first_suspect].contains(&Suspect::SlowNode) =>
            {
                Self::Confirmed(Evidence::Failure { code, message })
            }
            (Self::Suspected { suspect: Suspect::SlowNode, code, message }, Self::Confirmed(_)) => {
                Self::Confirmed(Evidence::Failure { code, message })
            }
            (Self::Suspected { message, .. }, _) => {
                Self::PlatformFault(platform_fault(InterruptionCode::SlotFailed, &message))
            }
            (known, _) => known,
        }
    }
}

/// Returns true if the failure is the end of the container. An app may exit on a read-only node and be killed on a
/// writable one, because its files count as memory there.
fn is_ending(code: FailureCode) -> bool {
    matches!(code, FailureCode::ExitedEarly | FailureCode::OutOfMemory)
}

pub(super) fn platform_fault(code: InterruptionCode, message: &str) -> PlatformFault {
    PlatformFault::new(code, message)
}

/// Replaces each IP address, with its port, by a dash: participants need not learn the network of the nodes.
fn without_addresses(words: &str) -> String {
    let is_part = |char: char| char.is_ascii_hexdigit() || matches!(char, '.' | ':' | '[' | ']');
    let mut shown = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (part, after) = from.split_at(from.find(|char| !is_part(char)).unwrap_or(from.len()));
        let address = part.trim_end_matches([':', '.']);
        let is_address = address.parse::<IpAddr>().is_ok() || address.parse::<SocketAddr>().is_ok();
        shown += before;
        shown += if is_address { "–" } else { address };
        shown += &part[address.len()..];
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_another_architecture_gets_a_hint_and_no_other() {
        let message = |code| match AppFinding::of_ending(&TaskEnding::Exited(code), 64) {
            AppFinding::Suspected { code: FailureCode::ExitedEarly, message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert!(
            message(159).contains("exit code 159") && message(159).contains("32-bit"),
            "{}",
            message(159)
        );
        assert!([1, 139, 158].iter().all(|code| !message(*code).contains("32-bit")));
    }

    #[test]
    fn the_words_of_an_engine_are_shown_without_the_addresses_of_its_network() {
        for (said, shown) in [
            (
                "dial tcp 10.0.1.9:5443: connect: connection refused",
                "dial tcp –: connect: connection refused",
            ),
            ("lookup gate.lan on 10.0.0.2:53: no such host", "lookup gate.lan on –: no such host"),
            ("read udp [fd00::7]:53: i/o timeout", "read udp –: i/o timeout"),
            ("at fd00::7.", "at –."),
            (
                "x509: certificate signed by unknown authority",
                "x509: certificate signed by unknown authority",
            ),
            ("sha256:abc: 404: face it", "sha256:abc: 404: face it"),
        ] {
            assert_eq!(without_addresses(said), shown);
        }
    }
}
