//! Reads a submission from its stream.

use commands::{CommandError, read_event};
use domain::{Submission, SubmissionId};
use event_store::{Read, ReadDirection, StreamName};
use uuid::Uuid;

/// The number of events that are read at a time.
const PAGE_EVENTS: usize = 256;

/// A submission as the log has it.
#[derive(Default)]
pub(crate) struct LoadedStream {
    pub(crate) state: Submission,
    /// The id of the newest event of ours.
    pub(crate) newest: Option<Uuid>,
}

impl LoadedStream {
    /// Reads the stream to its end.
    ///
    /// # Errors
    /// If the log cannot be read, the stream was deleted, or this version cannot read one of its events.
    pub(crate) async fn read(store: &dyn Read, id: SubmissionId) -> Result<Self, CommandError> {
        let stream = StreamName::of(domain::submission::CATEGORY, id.0);
        let (mut loaded, mut from) = (Self::default(), 0);
        loop {
            let page = store.read_stream(&stream, from, ReadDirection::Forwards, PAGE_EVENTS).await?;
            for recorded in &page {
                from = recorded.revision + 1;
                let Some(event) = read_event(recorded)? else { continue };
                loaded.state = loaded.state.evolve(&event);
                loaded.newest = Some(recorded.id);
            }
            if page.len() < PAGE_EVENTS {
                return Ok(loaded);
            }
        }
    }
}
