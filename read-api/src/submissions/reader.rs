//! Reads one submission as it is now: from its view, or from its stream while the view is behind.

use std::sync::Arc;
use std::time::Duration;

use domain::submission::{CATEGORY, SubmissionId};
use event_store::{Position, Read, ReadDirection, ReadError, RecordedEvent, Revision, StreamName};
use http_edge::Problem;
use jiff::Timestamp;
use projections::view::StatusView;
use projections::{EventEnvelope, ViewQueries};

use crate::problem::views_unavailable;

/// The time that a reader waits for views that are behind before it reads the stream. Usually they are behind by less.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The number of events of one stream that are read at a time.
const PAGE_EVENTS: usize = 500;

/// The length from which on a stream is too long to be folded for one response.
const STREAM_EVENTS_MAX: Revision = 5_000;

/// Reads submissions so that a client always sees its own writes.
pub(crate) struct SubmissionReader {
    queries: Arc<dyn ViewQueries>,
    log: Arc<dyn Read>,
}

impl SubmissionReader {
    pub(crate) fn new(queries: Arc<dyn ViewQueries>, log: Arc<dyn Read>) -> Self {
        Self { queries, log }
    }

    /// Returns the submission with every event that was recorded before this call, or `None` if there is none of this
    /// id.
    pub(crate) async fn get(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        // If the log cannot be read, the view is still a useful response.
        let current = match self.log.head().await {
            Ok(head) => self.views_reach(head).await,
            Err(_) => false,
        };
        let view = self.queries.status(id).await.map_err(views_unavailable)?;
        if current {
            return Ok(view);
        }
        let stream = StreamName::of(CATEGORY, id.0);
        let next = view.as_ref().map_or(0, |view| view.revision + 1);
        match self.log.read_stream(&stream, next, ReadDirection::Forwards, 1).await {
            Ok(newer) if newer.is_empty() => Ok(view),
            Ok(_) => Ok(self.fold(&stream, |_| true).await?.or(view)),
            // The organiser deleted the submission from the log.
            Err(ReadError::StreamDeleted(_)) => Ok(None),
            // Restoring the log takes the operator, so the view must not hide the damage.
            Err(error @ ReadError::Corrupt(_)) => Err(error.into()),
            Err(_) if view.is_some() => Ok(view),
            Err(error) => Err(error.into()),
        }
    }

    async fn views_reach(&self, head: Position) -> bool {
        let mut checkpoint = self.queries.watch();
        if *checkpoint.borrow() >= head {
            return true;
        }
        let reached = checkpoint.wait_for(|position| *position >= head);
        matches!(tokio::time::timeout(CATCH_UP, reached).await, Ok(Ok(_)))
    }

    /// Returns the submission as it was at `time`, or `None` if it was submitted later.
    pub(crate) async fn at(&self, id: SubmissionId, time: Timestamp) -> Result<Option<StatusView>, Problem> {
        self.fold(&StreamName::of(CATEGORY, id.0), |event| event.recorded_at <= time).await
    }

    /// Folds the events of a stream, up to the first for which `include` is false. Returns `None` if there are no
    /// events, if the stream was deleted, or if there are too many events for one response.
    async fn fold(
        &self,
        stream: &StreamName,
        include: impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Option<StatusView>, Problem> {
        let mut view = None;
        let mut next: Revision = 0;
        while next < STREAM_EVENTS_MAX {
            let page = match self.log.read_stream(stream, next, ReadDirection::Forwards, PAGE_EVENTS).await {
                Err(ReadError::StreamDeleted(_)) => return Ok(None),
                page => page?,
            };
            for event in &page {
                if !include(event) {
                    return Ok(view);
                }
                StatusView::apply(&mut view, &EventEnvelope::decode(event)?);
                next = event.revision + 1;
            }
            if page.len() < PAGE_EVENTS {
                return Ok(view);
            }
        }
        Ok(None)
    }
}
