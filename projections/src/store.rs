//! The ports of the read model: the projection writes through [`ViewStore`],
//! all other processes read through [`ViewQueries`].

#![warn(missing_docs)]

use async_trait::async_trait;
use domain::submission::{Event, SubmissionId};
use event_store::{LogCheckpoint, LogIdentity, Position, Revision};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::LogPlace;
use crate::view::{
    BoundingBox, DeletionView, MapView, Pin, QueuePlace, SandboxView, SetAsideEvent, SetAsideView,
    StandstillView, StatsView, StatusView,
};

/// An event of a submission with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEnvelope {
    /// The submission.
    pub id: SubmissionId,
    /// The event's number within its stream, from 0.
    pub revision: Revision,
    /// The event's place in the whole log.
    pub position: Position,
    /// The id that the event has in the log.
    pub event_id: Uuid,
    /// The time at which the log recorded the event.
    pub recorded_at: Timestamp,
    /// The event itself.
    pub event: Event,
}

/// The writing half. The views and their checkpoint change together or not at all.
#[async_trait]
pub trait ViewStore: ViewQueries {
    /// Applies events, which are in the order of their positions, and moves the checkpoint to `upto`.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the checkpoint is not `from`. So if two projections apply the same
    /// batch, one of them fails and no event is counted twice.
    async fn apply(&self, from: Position, events: &[EventEnvelope], upto: Position)
    -> Result<(), ApplyError>;

    /// Notes which log the views follow, unless they know.
    async fn note_log(&self, log: LogIdentity) -> Result<(), ApplyError>;

    /// Notes that the views are shown once their checkpoint reaches `end`, the end that the log has now. The lowest end that
    /// was noted counts, so views that were shown once stay so.
    async fn show_from(&self, end: Position) -> Result<(), ApplyError>;

    /// Takes a submission out of all views, because its stream was deleted, and moves the checkpoint to the deletion. Later
    /// events of the submission change nothing.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the checkpoint is not `from`.
    async fn apply_deletion(&self, from: Position, deletion: &DeletionView) -> Result<(), ApplyError>;

    /// Records a report on a verifier's sandbox, unless a report of the same verifier at the same or a
    /// later position is recorded. The checkpoint does not move.
    async fn record_sandbox(&self, sandbox: &SandboxView) -> Result<(), ApplyError>;

    /// Counts strangers' events, which are in the order of their positions. An event that was counted before is
    /// not counted again. The checkpoint does not move.
    async fn record_set_aside(&self, events: &[SetAsideEvent]) -> Result<(), ApplyError>;

    /// Lets a submission stand still: later events of it change nothing, until the event at which it stands
    /// still is applied. Repeating it changes nothing, nor does it if the submission is further than that. The
    /// checkpoint does not move.
    async fn record_standstill(&self, standstill: &StandstillView) -> Result<(), ApplyError>;

    /// Lets a submission go on that stood still: applies its events up to `checkpoint`, which does not move, and
    /// forgets the standstill. If the submission stands still again at `next`, it does so in the same step.
    ///
    /// # Errors
    /// [`ApplyError::Overtaken`] if the checkpoint is not `checkpoint`.
    async fn resume(
        &self,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> Result<(), ApplyError>;
}

/// The reading half. Each query fails with [`QueryError::Unavailable`] if the store does not answer.
#[async_trait]
pub trait ViewQueries: Send + Sync {
    /// Returns the position up to which the log is applied.
    async fn checkpoint(&self) -> Result<Position, QueryError>;

    /// Returns a watch on the checkpoint. It also rises when another process moves the checkpoint.
    fn watch(&self) -> watch::Receiver<Position>;

    /// Returns a watch on the checkpoint from which on the views are shown; `None` until a projection has noted it. See
    /// [`FirstCatchUp`](crate::FirstCatchUp).
    fn shown_from(&self) -> watch::Receiver<Option<Position>>;

    /// Names the way in which the views are kept and the build of them that is read. Views of another name may show the same
    /// position differently.
    fn representation(&self) -> String;

    /// Returns the place in the log from which a projection goes on: the last event of a submission that is applied. The
    /// views may have seen more of the log since then, but the events there are strangers' and may go at any time.
    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError>;

    /// Returns a place in the log before which every event of a submission was recorded before `moment`, the last that is
    /// known; `None` if there is none.
    async fn place_before(&self, moment: Timestamp) -> Result<Option<LogPlace>, QueryError>;

    /// Returns a submission's view, or `None` if the submission is not known.
    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError>;

    /// Returns the deletion of a submission, or `None` if its stream was not deleted.
    async fn deletion(&self, id: SubmissionId) -> Result<Option<DeletionView>, QueryError>;

    /// Returns a submission's queue position, or `None` if the submission does not wait.
    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError>;

    /// Returns the totals over all submissions.
    async fn stats(&self) -> Result<StatsView, QueryError>;

    /// Returns the pins and clusters in `bounds` at `zoom`, 0 to [`ZOOM_MAX`](crate::ZOOM_MAX). If a side
    /// of the box is longer than 8,192 pixels (256 to a tile), a lower zoom is used; the view names it.
    /// The cost depends on the box's size in pixels, not on the number of pins.
    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError>;

    /// Returns the pins of the cluster whose centre is nearest to a place in degrees, newest first and
    /// `max` at most. It is meant for clusters that stay one cluster at every zoom.
    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// Returns the pins that changed after the position `after`, sorted by position and `max` at most.
    /// A pin with 0 `passes` was removed from the map.
    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// Returns the pins whose participant's name, last name or city begins with `text`, ignoring case and
    /// accents, `max` at most. Pins that are found by name come first, those found by last name next.
    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError>;

    /// Returns the totals of a venue. `places` is 0: [`PinMap`](crate::PinMap) counts them.
    async fn venue_stats(&self, venue: &str) -> Result<StatsView, QueryError>;

    /// Returns the pins of a venue that changed after the position `after`, sorted by position and `max` at most. A pin with
    /// 0 `passes` was removed from the map, or is at another venue now.
    async fn venue_pins_changed(
        &self,
        venue: &str,
        after: Position,
        max: usize,
    ) -> Result<Vec<Pin>, QueryError>;

    /// Returns the newest `max` submissions that wait or are being verified, oldest first; of a venue, or of all.
    async fn unfinished(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// Returns the first `max` submissions that wait or are being verified, oldest first, without those that are
    /// to be tried again at a moment after `now`. That moment is compared to the second.
    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// Returns the newest `max` submissions that were given up, oldest first; of a venue, or of all.
    async fn given_up(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// Returns the newest `max` submissions whose names wait for an organiser's look, oldest first; of a venue, or of all.
    /// Those that failed or were withdrawn wait for none.
    async fn held(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// Returns the newest `max` submissions that are being verified, oldest first.
    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError>;

    /// Returns the newest report on each verifier's sandbox, sorted by the verifier's name.
    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError>;

    /// Returns the strangers' events that were set aside.
    async fn set_aside(&self) -> Result<SetAsideView, QueryError>;

    /// Returns the submissions that stand still, `max` at most, sorted by position.
    async fn standstills(&self, max: usize) -> Result<Vec<StandstillView>, QueryError>;

    /// Returns the event at which a submission stands still. The submission may have no status, if this is
    /// its first event.
    async fn standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>, QueryError>;
}

/// The reason why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another projection moved the checkpoint to this position. Continue from there.
    #[error("another projection has already moved the views to position {0}")]
    Overtaken(Position),
    /// The store did not answer, so the batch may or may not be applied. Read the checkpoint and continue
    /// from there.
    #[error("the views are unavailable: {0}")]
    Unavailable(String),
}

/// The reason why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store did not answer. Try again later.
    #[error("the views are unavailable: {0}")]
    Unavailable(String),
}
