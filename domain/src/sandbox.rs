//! The sandbox as a verifier has it: whether submissions are verified there,
//! and on which nodes.
//!
//! It stands apart from submissions: each verifier has a stream of its own,
//! `sandbox-<its name>`, and each event is the whole picture, so the newest is
//! all that need be known. As with submissions, these names and fields are the
//! storage format.

use serde::{Deserialize, Serialize};

/// The category of the streams: `sandbox-<verifier>`.
pub const CATEGORY: &str = "sandbox";

/// The version of the shapes below, kept with every event.
pub const SCHEMA: u32 = 1;

/// How a verifier's sandbox is; recorded whenever that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReported {
    /// Why nothing is verified just now, in a sentence for the operator; `None` while all is well.
    #[serde(rename = "trouble")]
    pub pause_reason: Option<String>,
    /// Every node that is there for participants' containers, by name.
    pub nodes: Vec<SandboxNode>,
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxNode {
    /// Its host name.
    pub name: String,
    /// What it can be used for.
    #[serde(flatten)]
    pub state: SandboxNodeState,
}

/// What a node can be used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SandboxNodeState {
    /// Submissions are verified there.
    Ready {
        /// So many at a time.
        slots: u32,
    },
    /// An operator wants nothing new there.
    Paused,
    /// An operator wants nothing there.
    Drained,
    /// It is not heard of.
    Down,
    /// It would not keep participants' containers in bounds.
    Refused {
        /// What it lacks, in a sentence for the operator.
        reason: String,
    },
}

/// Why a stored event is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an event of a sandbox of schema {SCHEMA} or older: {0}")]
pub struct SandboxDecodeError(String);

impl SandboxReported {
    /// The event's type, as stored.
    pub const KIND: &str = "SandboxReported";

    /// The name of a verifier's stream.
    pub fn stream(verifier: &str) -> String {
        format!("{CATEGORY}-{verifier}")
    }

    /// The verifier whose stream this is; `None` for a stream of something else.
    pub fn verifier(stream: &str) -> Option<&str> {
        stream.strip_prefix(CATEGORY)?.strip_prefix('-')
    }

    /// How many submissions may be under way at a time.
    pub fn slots(&self) -> u32 {
        self.nodes.iter().map(|node| node.state.slots()).sum()
    }

    /// The event's data as JSON, as stored.
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("events are plain data with text keys")
    }

    /// Reads a stored event of this or any older schema.
    ///
    /// # Errors
    /// When its type or shape is not known, or it was written by a newer version.
    pub fn from_stored(kind: &str, schema: u32, data: &[u8]) -> Result<Self, SandboxDecodeError> {
        if kind != Self::KIND {
            return Err(SandboxDecodeError(format!("unknown type {kind}")));
        }
        if schema > SCHEMA {
            return Err(SandboxDecodeError(format!("{kind} has schema {schema}; upgrade to read it")));
        }
        serde_json::from_slice(data).map_err(|error| SandboxDecodeError(error.to_string()))
    }
}

impl SandboxNodeState {
    /// How many submissions may be under way there at a time.
    pub fn slots(&self) -> u32 {
        match self {
            Self::Ready { slots } => *slots,
            Self::Paused | Self::Drained | Self::Down | Self::Refused { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> SandboxReported {
        let node = |name: &str, state| SandboxNode { name: name.to_owned(), state };
        SandboxReported {
            pause_reason: None,
            nodes: vec![
                node("a", SandboxNodeState::Ready { slots: 4 }),
                node("b", SandboxNodeState::Drained),
                node("c", SandboxNodeState::Down),
                node("e", SandboxNodeState::Paused),
                node("d", SandboxNodeState::Refused { reason: "no seccomp".to_owned() }),
            ],
        }
    }

    /// If this test goes red, history would become unreadable: lead the old
    /// shape to the new one on reading, keep the old line as a sample, then change it.
    #[test]
    fn the_storage_format_is_this() {
        let stored = String::from_utf8(one_of_each().to_stored()).unwrap();
        assert_eq!(
            stored,
            r#"{"trouble":null,"nodes":[{"name":"a","state":"ready","slots":4},{"name":"b","state":"drained"},{"name":"c","state":"down"},{"name":"e","state":"paused"},{"name":"d","state":"refused","reason":"no seccomp"}]}"#
        );
        let read = SandboxReported::from_stored("SandboxReported", SCHEMA, stored.as_bytes());
        assert_eq!(read.unwrap(), one_of_each());
        assert_eq!(one_of_each().slots(), 4);
    }

    #[test]
    fn what_is_not_known_is_refused_and_named() {
        let refused = |kind: &str, schema, data: &str| {
            SandboxReported::from_stored(kind, schema, data.as_bytes()).unwrap_err().to_string()
        };
        assert!(refused("Exploded", SCHEMA, "{}").contains("Exploded"));
        assert!(refused("SandboxReported", SCHEMA + 1, "{}").contains("upgrade"));
        assert!(refused("SandboxReported", SCHEMA, "{}").contains("nodes"));
        let unknown = r#"{"trouble":null,"nodes":[{"name":"a","state":"melted"}]}"#;
        assert!(refused("SandboxReported", SCHEMA, unknown).contains("melted"));
    }

    #[test]
    fn a_stream_says_whose_it_is() {
        let stream = SandboxReported::stream("host-1");
        assert_eq!(SandboxReported::verifier(&stream), Some("host-1"));
        assert_eq!(SandboxReported::verifier("submission-1"), None);
    }
}
