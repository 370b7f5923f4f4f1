//! The sources of history: the log itself, or a running Muster.

use std::sync::Arc;

use async_stream::try_stream;
use domain::SubmissionId;
use domain::submission::CATEGORY;
use event_store::{EventStore, Position, ReadDirection, ReadError, StreamName, SubscriptionItem};
use futures::StreamExt;
use futures::stream::BoxStream;
use read_api::HistoryFilter;
use uuid::Uuid;

use super::line::EventLine;
use super::server_history::ServerHistory;
use super::sink::LastEntry;
use super::submitter::Submitter;
use crate::cli::client::{ClientError, MusterClient, TokenOption};
use crate::cli::error::CliError;
use crate::event_log::EventLog;

/// The number of events in one page.
const PAGE_EVENTS: usize = 1024;

/// The number of events in which the acceptance of a submission is searched.
const FIRST_EVENTS: usize = 64;

/// The place where history is read.
pub(crate) enum HistorySource {
    Log(EventLog),
    /// A running Muster, with the token that history needs.
    Server(MusterClient, TokenOption),
}

/// The part of the history to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistoryQuery {
    pub(crate) filter: HistoryFilter,
    /// Events after this position.
    pub(crate) after: u64,
    /// The id of the event at that position, if it is known. A log with another event there is another log.
    pub(crate) after_id: Option<Uuid>,
    /// Waits for new events at the end of the log.
    pub(crate) follow: bool,
}

/// A step of reading history.
pub(crate) enum HistoryItem {
    /// An event. The log does not filter by owner and venue, so the reader must do it; a server does.
    Line(Box<EventLine>),
    /// Every event up to this position was considered.
    Upto(u64),
}

impl HistorySource {
    /// Returns the position of the newest event.
    pub(crate) async fn head(&self) -> Result<u64, CliError> {
        match self {
            Self::Log(log) => Ok(log.store().head().await?.0),
            Self::Server(client, _) => Ok(client.stats(None).await?.position.0),
        }
    }

    /// Checks that an export that ends with this event is one of this log, as far as the log can tell at once. A server is
    /// asked with the first request.
    ///
    /// # Errors
    /// If another event stands at its position, or the log ends before.
    pub(super) async fn check(&self, last: &LastEntry) -> Result<(), CliError> {
        let Self::Log(log) = self else { return Ok(()) };
        let why = match log.store().event_at(Position(last.position)).await {
            Ok(Some(event)) if !last.is(&event) => {
                format!("event {} of stream {} stands at position {}", event.id, event.stream, last.position)
            }
            Ok(_) => return Ok(()),
            Err(error @ (ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. })) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        Err(CliError::refused(format!(
            "the file is an export of another log, or of this one before it was restored ({why}); \
             move the file, or name another"
        )))
    }

    /// Returns the submitter of a submission, or `None` if the log has no such submission.
    pub(crate) async fn submitter(&self, id: SubmissionId) -> Result<Option<Submitter>, CliError> {
        match self {
            Self::Log(log) => {
                let stream = StreamName::of(CATEGORY, id.0);
                let store = log.store();
                let first = match store.read_stream(&stream, 0, ReadDirection::Forwards, FIRST_EVENTS).await {
                    // Its events may still stand in the whole log.
                    Err(ReadError::StreamDeleted(_)) => return Ok(None),
                    first => first?,
                };
                // The first events may be strangers'.
                let mut events = first.iter().filter_map(|event| EventLine::from(event).event());
                Ok(events.find_map(|event| Submitter::from_event(&event)))
            }
            Self::Server(client, _) => match client.status_patiently(id, None).await {
                Ok(answer) => Ok(Some(answer.view.into())),
                // The submission was deleted, or its stream has only strangers' events.
                Err(ClientError::Refused(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Reads the events, oldest first, each once.
    pub(crate) fn lines(&self, query: HistoryQuery) -> BoxStream<'_, Result<HistoryItem, CliError>> {
        match self {
            Self::Log(log) => lines_of_log(log.store(), query).boxed(),
            Self::Server(client, token) => lines_of_server(client, token, query).boxed(),
        }
    }

    /// Closes the log, if it is the source.
    pub(crate) async fn close(self) {
        if let Self::Log(log) = self {
            log.close().await;
        }
    }
}

fn lines_of_log(
    log: Arc<dyn EventStore>,
    query: HistoryQuery,
) -> impl futures::Stream<Item = Result<HistoryItem, CliError>> + Send {
    try_stream! {
        let HistoryQuery { filter, after, follow, .. } = query;
        let mut after = Position(after);
        if let Some(since) = filter.since {
            after = after.max(log.position_before(since).await?);
        }
        loop {
            let page = log.read_all(after, &filter.events, PAGE_EVENTS).await?;
            for event in page.events.iter().filter(|event| filter.is_in_period(event)) {
                yield HistoryItem::Line(Box::new(event.into()));
            }
            after = page.next;
            yield HistoryItem::Upto(after.0);
            if page.end {
                break;
            }
        }
        if !follow {
            return;
        }
        let mut subscription = log.subscribe(after, filter.events.clone());
        while let Some(item) = subscription.next().await {
            match item? {
                SubscriptionItem::Event(event) if filter.is_in_period(&event) => {
                    yield HistoryItem::Line(Box::new((&event).into()));
                }
                _ => {}
            }
        }
    }
}

fn lines_of_server<'a>(
    client: &'a MusterClient,
    token: &'a TokenOption,
    query: HistoryQuery,
) -> impl futures::Stream<Item = Result<HistoryItem, CliError>> + Send + 'a {
    try_stream! {
        let mut history = ServerHistory::open(client, token, query).await?;
        while let Some(line) = history.next().await? {
            let position = line.position;
            yield HistoryItem::Line(Box::new(line));
            yield HistoryItem::Upto(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use event_store::testing::new_event;
    use event_store::{Append, EventFilter, ExpectedRevision, Read, SqliteStore};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn an_export_of_another_log_is_not_continued() {
        let folder = TempDir::new().unwrap();
        let log = SqliteStore::open(folder.path().join("log.db")).unwrap();
        let stream = StreamName::of(CATEGORY, Uuid::new_v4());
        log.append(&stream, ExpectedRevision::NoStream, vec![new_event("Noted", "1")]).await.unwrap();
        let page = log.read_all(Position::START, &EventFilter::default(), 1).await.unwrap();
        let (event, source) = (&page.events[0], HistorySource::Log(EventLog::Embedded(log)));
        let recorded = (stream.as_str().to_owned(), event.revision, event.recorded_at);
        let same = LastEntry { position: 1, id: Some(event.id), recorded: Some(recorded.clone()) };
        let unknown = LastEntry { position: 1, id: None, recorded: None };
        for fitting in [&same, &LastEntry { id: None, ..same.clone() }, &unknown] {
            source.check(fitting).await.unwrap();
        }
        let later = (recorded.0, recorded.1, event.recorded_at + jiff::SignedDuration::from_micros(1));
        for other in [
            LastEntry { id: Some(Uuid::new_v4()), ..same },
            LastEntry { recorded: Some(later), ..unknown.clone() },
            LastEntry { position: 2, ..unknown },
        ] {
            let error = source.check(&other).await.unwrap_err().to_string();
            assert!(error.contains("an export of another log") && error.contains("move the file"), "{error}");
        }
        source.close().await;
    }
}
