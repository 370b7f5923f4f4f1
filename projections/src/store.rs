//! The ports of the read model: [`ViewStore`] is written by the projection,
//! [`ViewQueries`] is read by everybody else.

#![warn(missing_docs)]

use async_trait::async_trait;
use domain::submission::{Event, SubmissionId};
use event_store::{Position, Revision};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::view::{BoundingBox, MapView, Pin, QueuePlace, SandboxView, StatsView, StatusView};

/// An event of a submission, as a projection sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEnvelope {
    /// Whose.
    pub id: SubmissionId,
    /// Its number in its stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// The writing half. All views and the checkpoint move together or not at all.
#[async_trait]
pub trait ViewStore: ViewQueries {
    /// Applies events in the order of their positions and sets the checkpoint
    /// to `upto`, provided that it still is `from`: of two projectors at the
    /// same batch one gets [`ApplyError::Overtaken`] and nothing counts twice.
    async fn apply(&self, from: Position, events: &[EventEnvelope], upto: Position)
    -> Result<(), ApplyError>;

    /// Keeps a report on a sandbox, unless there is one of that verifier at the
    /// same position or a later one: it needs no checkpoint.
    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError>;
}

/// The reading half.
#[async_trait]
pub trait ViewQueries: Send + Sync {
    /// Up to where the views have seen the log.
    async fn checkpoint(&self) -> Result<Position, QueryError>;

    /// Rises when the checkpoint does, also when another process moved it.
    fn watch(&self) -> watch::Receiver<Position>;

    /// One submission.
    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError>;

    /// A waiting submission's place in the queue; `None` when it does not wait.
    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError>;

    /// The totals.
    async fn stats(&self) -> Result<StatsView, QueryError>;

    /// Returns the pins and clusters in `bounds` at `zoom`, 0 to [`ZOOM_MAX`](crate::ZOOM_MAX). A box with
    /// a side of more than 8,192 pixels (256 to a tile) is clustered at the highest zoom at which it has none.
    /// The cost depends on the box's size in pixels, not on the number of pins.
    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError>;

    /// The pins of the cluster whose centre is nearest to this place, newest
    /// first, at most `max`: for clusters that do not fall apart at any zoom.
    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// Pins that changed strictly after `after`, by position, at most `max`.
    /// One whose `passes` are 0 is gone.
    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// Pins whose owner's name begins with `text`, or whose city does, in any case; at most `max`.
    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// The newest submissions that wait or are being verified, oldest first; for the organiser.
    async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// The submissions that are being verified, the newest `max`, oldest first; for the organiser.
    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// The newest report on each verifier's sandbox, by the verifier's name; for the organiser.
    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError>;
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another projector was faster: go on from its checkpoint.
    #[error("the views are at {0} already")]
    Overtaken(Position),
    /// Whether it was applied is unknown: read the checkpoint and go on from there.
    #[error("the views are unavailable: {0}")]
    Unavailable(String),
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Try again later.
    #[error("the views are unavailable: {0}")]
    Unavailable(String),
}
