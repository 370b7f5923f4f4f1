//! Streams, and where one is in them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stream's name: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(String);

/// Why a text is not a stream's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stream's name has 1 to 255 bytes and no control characters")]
pub struct StreamNameError;

impl StreamName {
    /// Takes a text as a stream's name.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, or holds a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, StreamNameError> {
        let name = name.into();
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(StreamNameError);
        }
        Ok(Self(name))
    }

    /// The stream of one thing of a category: `category-id`.
    pub fn of(category: &'static str, id: uuid::Uuid) -> Self {
        Self(format!("{category}-{id}"))
    }

    /// A name that a store has accepted before, perhaps by other rules.
    pub(crate) fn recorded(name: String) -> Self {
        Self(name)
    }

    /// The stream of this stream's metadata.
    pub(crate) fn metadata(&self) -> Self {
        Self(format!("$${}", self.0))
    }

    /// The stream whose metadata this one is.
    pub(crate) fn described(&self) -> Option<Self> {
        self.0.strip_prefix("$$").map(|name| Self(name.to_owned()))
    }

    /// Whether the stream is the store's own.
    pub(crate) fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's number in its stream, from 0.
pub type Revision = u64;

/// An event's place in the whole log: ever rising, the first event has 1 or
/// more, gaps are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the writer believes about the stream it appends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// The stream has no events.
    NoStream,
    /// The stream's newest event has this revision.
    Exact(Revision),
    /// Nothing is believed.
    Any,
}

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadDirection {
    /// Oldest first.
    Forwards,
    /// Newest first.
    Backwards,
}

/// Which events of the log a reader wants. The default wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only events whose type is one of these; empty means any.
    pub kinds: Vec<String>,
    /// Only events whose stream begins with this.
    pub stream_prefix: Option<String>,
}

impl EventFilter {
    /// Only events of streams that begin with `prefix`.
    pub fn stream_prefix(prefix: impl Into<String>) -> Self {
        Self { stream_prefix: Some(prefix.into()), ..Self::default() }
    }

    /// Whether an event of this stream and type passes.
    pub fn passes(&self, stream: &str, kind: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind))
            && self.stream_prefix.as_deref().is_none_or(|prefix| stream.starts_with(prefix))
    }

    /// Whether it passes and is not the store's own.
    pub(crate) fn passes_ours(&self, stream: &str, kind: &str) -> bool {
        !stream.starts_with('$') && !kind.starts_with('$') && self.passes(stream, kind)
    }
}
