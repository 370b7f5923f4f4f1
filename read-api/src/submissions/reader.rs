//! One submission as it is now: from its view, or from its stream while the
//! view has not seen the newest.

use std::sync::Arc;
use std::time::Duration;

use domain::submission::{CATEGORY, SubmissionId};
use event_store::{Position, Read, ReadDirection, ReadError, RecordedEvent, Revision, StreamName};
use http_edge::Problem;
use jiff::Timestamp;
use projections::view::StatusView;
use projections::{EventEnvelope, ViewQueries};

use crate::problem::views_unavailable;

/// How long a reader waits for views that are behind, before it reads the
/// stream: usually they are behind by less.
const CATCH_UP: Duration = Duration::from_millis(10);

/// So many events of one stream are read at a time, and so many in all.
const PAGE: usize = 500;
const STREAM_MAX: Revision = 5_000;

/// Reads submissions so that everybody sees what they have written.
pub(crate) struct SubmissionReader {
    queries: Arc<dyn ViewQueries>,
    log: Arc<dyn Read>,
}

impl SubmissionReader {
    pub(crate) fn new(queries: Arc<dyn ViewQueries>, log: Arc<dyn Read>) -> Self {
        Self { queries, log }
    }

    /// The submission after everything that was recorded before this call;
    /// `None` when nobody submitted it.
    pub(crate) async fn get(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        // Without the log, what the views know is still an answer.
        let head = self.log.head().await;
        let seen_all = match head {
            Ok(head) => self.views_reach(head).await,
            Err(_) => false,
        };
        let view = self.queries.status(id).await.map_err(views_unavailable)?;
        if seen_all {
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
        let reached = checkpoint.wait_for(|seen| *seen >= head);
        matches!(tokio::time::timeout(CATCH_UP, reached).await, Ok(Ok(_)))
    }

    /// The submission as it was at a moment; `None` when it was not there yet.
    pub(crate) async fn at(&self, id: SubmissionId, time: Timestamp) -> Result<Option<StatusView>, Problem> {
        self.fold(&StreamName::of(CATEGORY, id.0), |event| event.recorded_at <= time).await
    }

    /// What the events of a stream make, up to the first that does not belong.
    /// `None` when that is nothing, or too much to be read for one answer.
    async fn fold(
        &self,
        stream: &StreamName,
        belongs: impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Option<StatusView>, Problem> {
        let mut view = None;
        let mut next: Revision = 0;
        while next < STREAM_MAX {
            let page = match self.log.read_stream(stream, next, ReadDirection::Forwards, PAGE).await {
                Err(ReadError::StreamDeleted(_)) => return Ok(None),
                page => page?,
            };
            for event in &page {
                if !belongs(event) {
                    return Ok(view);
                }
                StatusView::apply(&mut view, &EventEnvelope::decode(event)?);
                next = event.revision + 1;
            }
            if page.len() < PAGE {
                return Ok(view);
            }
        }
        Ok(None)
    }
}
