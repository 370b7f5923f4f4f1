//! The event store: a port that speaks of streams, revisions and positions,
//! and the adapters behind it. It carries bytes and knows nothing of what
//! they mean.
//!
//! The port is split by who may do what. A projection is handed a
//! [`Subscribe`] and so cannot append; only a holder of [`Append`] can.
//!
//! Names that begin with `$` belong to the store itself: streams and event
//! types of that kind cannot be appended here, and readers of the whole log
//! are not shown them.

#![warn(missing_docs)]

#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod esdb;
mod event;
mod line;
pub mod node;
mod sqlite;
mod stream;

pub use self::esdb::{ConnectError, EsdbStore};
pub use error::{AppendError, ReadError};
pub use event::{EventMetadata, NewEvent, RecordedEvent};
pub use line::OneLine;
pub use sqlite::{OpenLogError, SqliteStore};
pub use stream::{
    EventFilter, ExpectedRevision, Position, ReadDirection, Revision, StreamName, StreamNameError,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;

/// Reading what was recorded.
#[async_trait]
pub trait Read: Send + Sync {
    /// At most `max` events of one stream, from `from` (inclusive) on, in
    /// `direction`. A stream that nobody wrote to reads as empty; one that was
    /// deleted for good is [`ReadError::Refused`].
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError>;

    /// One page of the whole log: events strictly after `after` that pass the
    /// filter, in the order of their positions. A page looks at a bounded
    /// number of events, so it may be empty before the end. A position beyond
    /// the log's end is [`ReadError::Refused`]: it is another log's.
    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError>;

    /// The position of the newest event; [`Position::START`] for an empty log.
    async fn head(&self) -> Result<Position, ReadError>;

    /// A position after which everything stands that was recorded at `moment`
    /// or later, found without reading what is before it. Events that are a
    /// little older may stand after it, too.
    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError>;
}

/// Appending to a stream.
#[async_trait]
pub trait Append: Read {
    /// Appends all of `events` (at least one, together at most 1 MiB) or none
    /// of them. On `Ok` they are durable.
    ///
    /// Appending the same event ids again at the same expectation succeeds with
    /// what the first append answered: that is how an ambiguous failure
    /// ([`AppendError::Unavailable`]) is retried.
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError>;
}

/// Following the log.
pub trait Subscribe: Send + Sync {
    /// Everything strictly after `after` that passes the filter: first what is
    /// recorded, then what comes, without a gap or a repeat. The subscription
    /// heals itself: it yields an error only when going on would lose events.
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription;
}

/// All three; what an adapter is.
pub trait EventStore: Append + Subscribe {}

impl<T: Append + Subscribe> EventStore for T {}

/// What [`Subscribe::subscribe`] gives.
pub type Subscription = BoxStream<'static, Result<SubscriptionItem, ReadError>>;

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum SubscriptionItem {
    /// An event that passed the filter.
    Event(RecordedEvent),
    /// Everything up to this position has been considered. Sent now and then
    /// while catching up, so that a filtered reader's checkpoint moves too.
    Checkpoint(Position),
    /// What was recorded has been delivered; from here on it is live.
    CaughtUp(Position),
}

/// One page of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events that passed the filter.
    pub events: Vec<RecordedEvent>,
    /// Where the next page starts (pass it as `after`).
    pub next: Position,
    /// Whether the end of the log was reached.
    pub end: bool,
}

/// What an append answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendReceipt {
    /// The stream's revision after the append.
    pub revision: Revision,
    /// The position of the last event appended.
    pub position: Position,
}
