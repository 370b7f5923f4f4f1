//! The event store: a port that speaks of streams, revisions and positions, and the adapters behind it.
//! The port carries bytes and does not know what the events mean.
//!
//! The port is split by permission. A projection is given a [`Subscribe`] and so cannot append; only a
//! holder of an [`Append`] can.
//!
//! Names that begin with `$` belong to the store itself. Such streams and event types cannot be appended
//! through the port, and readers of the whole log do not see them.

#![warn(missing_docs)]

mod append_request;
mod checkpoint;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod esdb;
mod event;
mod line;
pub mod node;
mod sqlite;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod tls_files;

pub use self::esdb::{ConnectError, EsdbStore, IndexedPlace};
pub use checkpoint::{LogCheckpoint, LogIdentity};
pub use error::{AppendError, EventPlace, ReadError};
pub use event::{EventMetadata, NewEvent, RecordedEvent};
pub use line::OneLine;
pub use sqlite::{
    BackupError, BackupReport, LogCondition, LogReport, OpenLogError, SqliteStore, back_up_log, restore_log,
    verify_log,
};
pub use stream::{
    EventFilter, ExpectedRevision, Position, ReadDirection, Revision, StreamName, StreamNameError,
};
pub use tls_files::{TlsFiles, TlsFilesError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;

/// Read access to the log.
#[async_trait]
pub trait Read: Send + Sync {
    /// Reads at most `max` events of one stream, from the revision `from` (inclusive) on, in `direction`.
    /// A stream without events, or one that was deleted, reads as empty.
    ///
    /// # Errors
    /// [`ReadError::StreamDeleted`] if the stream was deleted for good.
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError>;

    /// Reads one page of the whole log: at most `max` events strictly after `after` that pass the filter,
    /// in the order of their positions. A page scans a bounded number of events, so it may be empty before
    /// the end of the log.
    ///
    /// # Errors
    /// [`ReadError::BeyondEnd`] if `after` is beyond the newest position.
    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError>;

    /// Returns the event at a position, or `None` if the log has removed it or the position is the start.
    ///
    /// # Errors
    /// [`ReadError::BeyondEnd`] if the log ends before the position, and [`ReadError::OtherLog`] if no event can have
    /// stood there.
    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError>;

    /// Returns the position of the newest event that subscribers are shown, or [`Position::START`] if there is none.
    async fn head(&self) -> Result<Position, ReadError>;

    /// Returns a position that every event recorded at or after `moment` follows. Does not read the log, so
    /// older events may follow the position too: a store that has no index of the moment answers
    /// [`Position::START`].
    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError>;
}

/// Write access to the log.
#[async_trait]
pub trait Append: Read {
    /// Appends all of `events` to the stream, or none of them. An append has at least one event and at
    /// most 1 MiB in all. On `Ok` the events are durable.
    ///
    /// An append is idempotent by the ids of its events: the same ids at the same expected revision
    /// succeed again, with the receipt of the first append. So an append without an answer
    /// ([`AppendError::Unavailable`]) can be retried.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if the stream is not at the expected revision.
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError>;
}

/// Subscriptions to the log.
pub trait Subscribe: Send + Sync {
    /// Delivers every event strictly after `after` that passes the filter, without a gap or a repetition:
    /// first the recorded events, then new ones when they are appended. The subscription reconnects by
    /// itself; it yields an error, as its last item, only if going on would lose events.
    fn subscribe(&self, after: Position, filter: EventFilter) -> Subscription;
}

/// The port of those who follow the log and never append to it.
pub trait Follow: Read + Subscribe {}

impl<T: Read + Subscribe> Follow for T {}

/// The whole port, which each adapter implements.
pub trait EventStore: Append + Follow {}

impl<T: Append + Subscribe> EventStore for T {}

/// The stream that [`Subscribe::subscribe`] returns.
pub type Subscription = BoxStream<'static, Result<SubscriptionItem, ReadError>>;

/// An item of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum SubscriptionItem {
    /// An event that passed the filter.
    Event(RecordedEvent),
    /// All events up to this position were scanned. Sent now and then while the subscription catches up. It
    /// shows progress and is no place to resume: that is the position of an event.
    Checkpoint(Position),
    /// All recorded events up to this position were delivered. New events follow. No place to resume either.
    CaughtUp(Position),
}

/// A page of the log, which [`Read::read_all`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events that passed the filter.
    pub events: Vec<RecordedEvent>,
    /// The `after` of the next page.
    pub next: Position,
    /// True if the end of the log was reached.
    pub end: bool,
}

/// The place of an append in its stream and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendReceipt {
    /// The revision of the last appended event.
    pub revision: Revision,
    /// The position of the last appended event.
    pub position: Position,
}
