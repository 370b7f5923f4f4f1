//! The state of a verifier's sandbox: its nodes, and the reason if nothing is verified there.
//!
//! Each verifier has a stream of its own, `sandbox-<its name>`. Each event holds the whole state, so a reader needs only the
//! newest. As with submissions, these names and fields are the storage format.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ImageRef, SubmissionId};

/// The category of the streams: `sandbox-<verifier>`.
pub const CATEGORY: &str = "sandbox";

/// The version of the shapes below, kept with every event.
pub const SCHEMA: u32 = 1;

/// The interval at which a verifier repeats its report, also if nothing changed.
pub const REPORT_EVERY: Duration = Duration::from_secs(120);

/// The age of its newest report from which a verifier counts as silent. A verifier that died does not say so.
pub const SILENT_AFTER: Duration = Duration::from_secs(300);

/// The state of a verifier's sandbox, recorded whenever it changes, and repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReported {
    /// The reason why nothing is verified at present, in a sentence for the operator; `None` while all is well.
    #[serde(rename = "trouble")]
    pub pause_reason: Option<String>,
    /// The nodes for participants' containers, by name.
    pub nodes: Vec<SandboxNode>,
    /// The registries that limit requests, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<SandboxRegistry>,
    /// The digests of rules that submissions name and that the verifier cannot carry out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_rules: Vec<String>,
    /// The images that have been on their way for some seconds, for those who submitted them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetches: Vec<ImageFetch>,
}

/// An image of a submission on its way, before the submission is claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFetch {
    pub submission: SubmissionId,
    pub image: ImageRef,
    /// The place that the image is brought to.
    pub to: FetchTarget,
    /// The bytes that have arrived, of all compressed layers.
    pub bytes: u64,
    pub of_bytes: u64,
}

/// A place that an image is brought to, in the order of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchTarget {
    /// The verifier, which looks into its layers.
    Verifier,
    /// The node on which it will run.
    Node,
}

/// A registry that limits requests, or that asked to be left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRegistry {
    /// The name of the registry, as in the challenge's file.
    pub name: String,
    /// The pause until which the verifier does not ask the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<RegistryPause>,
    /// The number of pulls that the registry permits until its limit, as it said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls_remaining: Option<u64>,
}

/// The pause of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryPause {
    /// The moment from which the registry is asked again.
    pub until: Timestamp,
    /// The reason, in a sentence for the operator.
    pub reason: String,
}

/// A node of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxNode {
    /// The host name of the node.
    pub name: String,
    #[serde(flatten)]
    pub state: SandboxNodeState,
}

/// The grade of a node's sandbox: what an app may do there. A higher grade allows all that a lower one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxGrade {
    /// A read-only root file system with a few writable places in memory, and no capabilities. A node has this grade if
    /// its engine does not set no-new-privileges, or if nobody has inspected it.
    Bare,
    /// A read-only root file system with writable places in memory where ordinary images need them, and seven
    /// capabilities.
    ReadOnly,
    /// A writable root file system within a bound, volumes as Docker makes them, and seven capabilities.
    Writable,
}

/// The paths that an app may write to on a node whose root file system is read-only, beside the volumes of its image.
const WRITABLE_PLACES: [&str; 2] = ["/tmp", "/run"];

/// The paths that ordinary images write to, and that are empty when their programs are installed.
const ORDINARY_PLACES: [&str; 17] = [
    "/run/lock",
    "/var/tmp",
    "/var/cache/nginx",
    "/var/lib/nginx",
    "/var/log/nginx",
    "/var/log/apache2",
    "/var/log/lighttpd",
    "/var/log/supervisor",
    "/var/cache/apache2",
    "/var/cache/lighttpd",
    "/usr/local/apache2/logs",
    "/usr/local/tomcat/logs",
    "/usr/local/tomcat/temp",
    "/usr/local/tomcat/work",
    "/root/.cache",
    "/root/.npm",
    "/root/.pm2",
];

/// The capabilities that ordinary images need to change the owners of files and to run their workers as another user:
/// the engine's default ones without those that reach beyond the container's own files and processes.
const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

impl SandboxGrade {
    /// Returns the names of the capabilities that an app has, without the prefix `CAP_`.
    pub fn capabilities(self) -> &'static [&'static str] {
        match self {
            Self::Bare => &[],
            Self::ReadOnly | Self::Writable => &CAPABILITIES,
        }
    }

    /// Returns the paths at which an app has a writable directory in memory, or `None` if its root file system is
    /// writable. The volumes of the image are writable in every grade.
    pub fn places_in_memory(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Bare => Some(WRITABLE_PLACES.to_vec()),
            Self::ReadOnly => Some([&WRITABLE_PLACES[..], &ORDINARY_PLACES].concat()),
            Self::Writable => None,
        }
    }

    /// Returns the grade's name, as in the challenge's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::ReadOnly => "read_only",
            Self::Writable => "writable",
        }
    }
}

/// The availability of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SandboxNodeState {
    /// Submissions are verified on the node.
    Ready {
        /// The number of attempts that the node has room for.
        slots: u32,
        /// The grade of the node's sandbox. Reports of older versions have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grade: Option<SandboxGrade>,
    },
    /// An operator has paused the node: no new attempts begin there.
    Paused,
    /// An operator has drained the node: nothing runs there.
    Drained,
    /// The node does not respond.
    Down,
    /// The node would not keep participants' containers within their limits.
    Refused {
        /// The reason, in a sentence for the operator.
        reason: String,
    },
}

/// The reason why a stored event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an event of a sandbox of schema {SCHEMA} or older: {0}")]
pub struct SandboxDecodeError(String);

impl SandboxReported {
    /// The event's type, as stored.
    pub const KIND: &str = "SandboxReported";

    /// Returns the name of a verifier's stream.
    pub fn stream(verifier: &str) -> String {
        format!("{CATEGORY}-{verifier}")
    }

    /// Returns the verifier whose stream has this name, or `None` if it is not a verifier's.
    pub fn verifier(stream: &str) -> Option<&str> {
        stream.strip_prefix(CATEGORY)?.strip_prefix('-')
    }

    /// Returns the number of attempts that all nodes together have room for.
    pub fn slots(&self) -> u32 {
        self.nodes.iter().map(|node| node.state.slots()).sum()
    }

    /// Returns the event's data as JSON, as stored.
    pub fn to_stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("events are plain data with text keys")
    }

    /// Reads a stored event of this or any older schema.
    ///
    /// # Errors
    /// If the type or the shape is not known, or a newer version wrote the event.
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
    /// Returns the number of attempts that the node has room for.
    pub fn slots(&self) -> u32 {
        match self {
            Self::Ready { slots, .. } => *slots,
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
                node("a", SandboxNodeState::Ready { slots: 4, grade: Some(SandboxGrade::Writable) }),
                node("b", SandboxNodeState::Drained),
                node("c", SandboxNodeState::Down),
                node("e", SandboxNodeState::Paused),
                node("d", SandboxNodeState::Refused { reason: "no seccomp".to_owned() }),
            ],
            registries: vec![
                SandboxRegistry {
                    name: "docker.io".to_owned(),
                    pause: Some(RegistryPause {
                        until: Timestamp::UNIX_EPOCH,
                        reason: "slow down".to_owned(),
                    }),
                    pulls_remaining: Some(76),
                },
                SandboxRegistry { name: "ghcr.io".to_owned(), pause: None, pulls_remaining: None },
            ],
            unknown_rules: vec!["sha256:r".to_owned()],
            fetches: vec![ImageFetch {
                submission: SubmissionId(uuid::Uuid::nil()),
                image: "ada/app".parse().unwrap(),
                to: FetchTarget::Node,
                bytes: 7,
                of_bytes: 9,
            }],
        }
    }

    /// If this test fails, stored history would become unreadable. Read the old shape as well, keep the old line as a sample,
    /// and then change the line here.
    #[test]
    fn the_storage_format_is_this() {
        let stored = String::from_utf8(one_of_each().to_stored()).unwrap();
        assert_eq!(
            stored,
            r#"{"trouble":null,"nodes":[{"name":"a","state":"ready","slots":4,"grade":"writable"},{"name":"b","state":"drained"},{"name":"c","state":"down"},{"name":"e","state":"paused"},{"name":"d","state":"refused","reason":"no seccomp"}],"registries":[{"name":"docker.io","pause":{"until":"1970-01-01T00:00:00Z","reason":"slow down"},"pulls_remaining":76},{"name":"ghcr.io"}],"unknown_rules":["sha256:r"],"fetches":[{"submission":"00000000-0000-0000-0000-000000000000","image":"docker.io/ada/app:latest","to":"node","bytes":7,"of_bytes":9}]}"#
        );
        let read = SandboxReported::from_stored("SandboxReported", SCHEMA, stored.as_bytes());
        assert_eq!(read.unwrap(), one_of_each());
        assert_eq!(one_of_each().slots(), 4);
        let without_grade = stored.replace(r#","grade":"writable""#, "");
        let read = SandboxReported::from_stored("SandboxReported", SCHEMA, without_grade.as_bytes()).unwrap();
        let older =
            SandboxReported { registries: vec![], unknown_rules: vec![], fetches: vec![], ..one_of_each() };
        let stored = String::from_utf8(older.to_stored()).unwrap();
        for newer in ["registries", "unknown_rules", "fetches"] {
            assert!(!stored.contains(newer), "{stored}");
        }
        assert_eq!(
            SandboxReported::from_stored("SandboxReported", SCHEMA, &older.to_stored()).unwrap(),
            older
        );
        assert_eq!(read.nodes[0].state, SandboxNodeState::Ready { slots: 4, grade: None });
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
