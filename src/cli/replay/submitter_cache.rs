//! Finds the submitter of each event. Only the first event of a submission names the submitter, so the cache looks that
//! event up and remembers the answer for a while.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Event, SubmissionId};

use super::line::EventLine;
use super::source::HistorySource;
use super::submitter::Submitter;
use crate::cli::error::CliError;

/// The number of submissions that the cache remembers.
const SUBMISSIONS_MAX: usize = 10_000;

/// The submitters of the submissions seen lately.
#[derive(Debug, Default)]
pub(super) struct SubmitterCache {
    known: HashMap<SubmissionId, Option<Arc<Submitter>>>,
}

impl SubmitterCache {
    /// Returns the submitter behind an event, or `None` if the event belongs to no submission.
    pub(super) async fn submitter(
        &mut self,
        source: &HistorySource,
        line: &EventLine,
        event: Option<&Event>,
    ) -> Result<Option<Arc<Submitter>>, CliError> {
        let Some(id) = line.submission() else { return Ok(None) };
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let submitter = match event.and_then(Submitter::from_event) {
            Some(submitter) => Some(submitter),
            None => source.submitter(id).await?,
        };
        if self.known.len() >= SUBMISSIONS_MAX {
            self.known.clear();
        }
        let submitter = submitter.map(Arc::new);
        self.known.insert(id, submitter.clone());
        Ok(submitter)
    }
}
