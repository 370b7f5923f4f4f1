//! Streams, and places in them and in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a stream: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(String);

/// The error for a text that is not the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of a stream has 1 to 255 bytes and no control characters")]
pub struct StreamNameError;

impl StreamName {
    /// Checks the name of a stream.
    ///
    /// # Errors
    /// If the name is empty, is longer than 255 bytes, or contains a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, StreamNameError> {
        let name = name.into();
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(StreamNameError);
        }
        Ok(Self(name))
    }

    /// Returns the name `category-id`.
    pub fn of(category: &'static str, id: uuid::Uuid) -> Self {
        Self(format!("{category}-{id}"))
    }

    /// Takes a name that a store has accepted before, perhaps by other rules.
    pub(crate) fn recorded(name: String) -> Self {
        Self(name)
    }

    /// Returns the stream that holds this stream's metadata.
    pub(crate) fn metadata(&self) -> Self {
        Self(format!("$${}", self.0))
    }

    /// Returns the stream whose metadata this stream holds, if it holds metadata.
    pub(crate) fn described(&self) -> Option<Self> {
        self.0.strip_prefix("$$").map(|name| Self(name.to_owned()))
    }

    /// Returns true if the stream belongs to the store itself.
    pub(crate) fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of the event that deletes its stream for good.
pub(crate) const TOMBSTONE_KIND: &str = "$streamDeleted";

/// The type of the event that sets a stream's metadata, in a stream of its own.
pub(crate) const METADATA_KIND: &str = "$metadata";

/// The number of an event within its stream, from 0, without gaps.
pub type Revision = u64;

/// The place of an event in the whole log. Positions rise, the first event has 1 or more, and gaps are
/// possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The position before the first event.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The revision that a stream must have for an append to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// The stream has no events.
    NoStream,
    /// The newest event of the stream has this revision.
    Exact(Revision),
    /// The stream may have any revision.
    Any,
}

/// The order in which a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadDirection {
    /// From the oldest event to the newest.
    Forwards,
    /// From the newest event to the oldest.
    Backwards,
}

/// The choice of events that a reader of the log wants. The default passes all events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// The types that pass. If empty, all types pass.
    pub kinds: Vec<String>,
    /// The beginning of the names of the streams that pass. If `None`, all streams pass.
    pub stream_prefix: Option<String>,
    /// True if the store's own events that may delete such streams pass too, for
    /// [`RecordedEvent::deleted_stream`](crate::RecordedEvent::deleted_stream).
    pub deletions: bool,
}

impl EventFilter {
    /// Passes the events of streams whose names begin with `prefix`.
    pub fn stream_prefix(prefix: impl Into<String>) -> Self {
        Self { stream_prefix: Some(prefix.into()), ..Self::default() }
    }

    /// Returns true if an event of this stream and this type passes.
    pub fn passes(&self, stream: &str, kind: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind))
            && self.stream_prefix.as_deref().is_none_or(|prefix| stream.starts_with(prefix))
    }

    /// Passes the store's own events that may delete streams, too.
    #[must_use]
    pub fn with_deletions(self) -> Self {
        Self { deletions: true, ..self }
    }

    /// Returns true if an event passes for a user of the port: it does not belong to the store itself, or it may delete
    /// a stream and the user asks for such events.
    pub(crate) fn passes_user(&self, stream: &str, kind: &str) -> bool {
        let deleted = match kind {
            TOMBSTONE_KIND => stream,
            METADATA_KIND => stream.strip_prefix("$$").unwrap_or("$"),
            _ => return !stream.starts_with('$') && !kind.starts_with('$') && self.passes(stream, kind),
        };
        let prefix = self.stream_prefix.as_deref().unwrap_or_default();
        self.deletions && deleted.starts_with(prefix) && !deleted.starts_with('$')
    }
}
