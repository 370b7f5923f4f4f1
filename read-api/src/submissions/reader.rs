//! Reads one submission as it is now: from its view, or from its stream while the view is behind or the views are away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::submission::{CATEGORY, SubmissionId};
use event_store::{Position, Read, ReadDirection, ReadError, RecordedEvent, StreamName};
use http_edge::Problem;
use jiff::Timestamp;
use projections::view::{QueuePlace, StatusView};
use projections::{LogItem, QueryError, ViewQueries};
use tokio::time::Instant;

use crate::problem::views_unavailable;

/// The time that a reader waits for views that are behind before it reads the stream. Usually they are behind by less.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The time that the log has to answer while the views have an answer too.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time that the log has to answer if the views do not know the submission.
const PATIENCE_WITHOUT_VIEW: Duration = Duration::from_secs(2);

/// The time that the log has for all pages of one stream.
const STREAM_PATIENCE: Duration = Duration::from_secs(8);

/// The time that the views have to answer before the stream is read.
const VIEWS_PATIENCE: Duration = Duration::from_millis(500);

/// The time for which the log or the views are not asked after they did not answer.
const AWAY: Duration = Duration::from_secs(1);

/// The number of events of one stream that are read at a time.
const PAGE_EVENTS: usize = 500;

/// Reads submissions so that a client always sees its own writes.
pub(crate) struct SubmissionReader {
    queries: Arc<dyn ViewQueries>,
    log: Arc<dyn Read>,
    log_away: Away,
    views_away: Away,
}

/// The end of the time in which somebody is not asked who did not answer.
#[derive(Default)]
struct Away(Mutex<Option<Instant>>);

impl Away {
    fn lasts(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }

    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
    }
}

impl SubmissionReader {
    pub(crate) fn new(queries: Arc<dyn ViewQueries>, log: Arc<dyn Read>) -> Self {
        Self { queries, log, log_away: Away::default(), views_away: Away::default() }
    }

    /// Returns the submission with every event that was recorded before this call, or `None` if there is none of this
    /// id. While the log is away, what the views know is the answer, and while the views are away, what the log knows. Answers 410
    /// if the submission was deleted.
    pub(crate) async fn get(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        match self.find(id).await? {
            Some(view) => Ok(Some(view)),
            None => self.deleted(id).await,
        }
    }

    /// Answers 410 if the submission's stream was deleted, or else `None`.
    async fn deleted(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        match self.ask_views(self.queries.deletion(id)).await.map_err(views_unavailable)? {
            Some(_) => Err(ReadError::StreamDeleted(StreamName::of(CATEGORY, id.0)).into()),
            None => Ok(None),
        }
    }

    async fn find(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        let current = match self.ask(PATIENCE, self.log.head()).await {
            Ok(head) => self.views_reach(head).await,
            Err(_) => false,
        };
        let stream = StreamName::of(CATEGORY, id.0);
        let Ok(view) = self.ask_views(self.queries.status(id)).await else {
            return self.fold(&stream, PATIENCE_WITHOUT_VIEW, |_| true).await?.into_view();
        };
        if current {
            return match view {
                Some(view) => Ok(Some(view)),
                None => self.unread(id).await,
            };
        }
        let next = view.as_ref().map_or(0, |view| view.revision + 1);
        let patience = if view.is_some() { PATIENCE } else { PATIENCE_WITHOUT_VIEW };
        let read =
            match self.ask(patience, self.log.read_stream(&stream, next, ReadDirection::Forwards, 1)).await {
                Ok(newer) if newer.is_empty() => return Ok(view),
                Ok(_) => self.fold(&stream, patience, |_| true).await,
                Err(error) => Err(error),
            };
        match read {
            Ok(folded) => Ok(folded.into_view()?.or(view)),
            // Restoring the log takes the operator, so the view must not hide the damage. Nor may it hide that the
            // submission was deleted.
            Err(
                error
                @ (ReadError::Corrupt(_) | ReadError::DamagedEvent { .. } | ReadError::StreamDeleted(_)),
            ) => Err(error.into()),
            Err(_) if view.is_some() => Ok(view),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the log, unless it is away. A log that does not answer in time is away.
    async fn ask<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let away = |why: &str| Err(ReadError::Unavailable(why.to_owned()));
        if self.log_away.lasts() {
            return away("it did not answer a moment ago");
        }
        let answer =
            tokio::time::timeout(patience, call).await.unwrap_or_else(|_| away("it did not answer in time"));
        if matches!(answer, Err(ReadError::Unavailable(_))) {
            self.log_away.begin();
        }
        answer
    }

    /// Asks the views, unless they are away. Views that do not answer in time are away.
    async fn ask_views<T>(
        &self,
        query: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let away = |why: &str| Err(QueryError::Unavailable(why.to_owned()));
        if self.views_away.lasts() {
            return away("they did not answer a moment ago");
        }
        let answer = tokio::time::timeout(VIEWS_PATIENCE, query)
            .await
            .unwrap_or_else(|_| away("they did not answer in time"));
        if let Err(error) = &answer {
            self.views_away.begin();
            tracing::warn!(%error, "the views cannot be read; statuses come from the log");
        }
        answer
    }

    /// Returns the place of a submission in the queue, or `None` if it does not wait or the views are away.
    pub(crate) async fn queue_place(&self, id: SubmissionId) -> Option<QueuePlace> {
        self.ask_views(self.queries.queue_place(id)).await.ok().flatten()
    }

    /// Returns the event at a position of the log, which has not long to answer.
    pub(crate) async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.ask(PATIENCE, self.log.event_at(position)).await
    }

    /// Answers 503 if the submission is in the log and this version cannot read its first event, or else `None`.
    async fn unread(&self, id: SubmissionId) -> Result<Option<StatusView>, Problem> {
        match self.ask_views(self.queries.standstill(id)).await.map_err(views_unavailable)? {
            Some(standstill) => Err(Problem::unavailable(standstill.message)),
            None => Ok(None),
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

    /// Returns the submission as it was at `time`, after its last event that was recorded by then, or `None` if it was
    /// submitted later.
    pub(crate) async fn at(&self, id: SubmissionId, time: Timestamp) -> Result<Option<StatusView>, Problem> {
        let stream = StreamName::of(CATEGORY, id.0);
        let folded = self.fold(&stream, PATIENCE_WITHOUT_VIEW, |event| event.recorded_at <= time).await?;
        match folded.into_view()? {
            Some(view) => Ok(Some(view)),
            None => self.deleted(id).await,
        }
    }

    /// Folds our events of a stream, up to the last for which `include` is true. A page of events is in memory at a time, so
    /// the stream may have any length. The log has `patience` to answer for each page.
    async fn fold(
        &self,
        stream: &StreamName,
        patience: Duration,
        include: impl Fn(&RecordedEvent) -> bool,
    ) -> Result<FoldedStream, ReadError> {
        let reading = async {
            let (mut folded, mut next) = (FoldedStream::default(), 0);
            // What was folded up to the last event that is included, if others follow it.
            let mut included = None;
            loop {
                let page = self.log.read_stream(stream, next, ReadDirection::Forwards, PAGE_EVENTS);
                let page = self.ask(patience, page).await?;
                for event in &page {
                    next = event.revision + 1;
                    if include(event) {
                        included = None;
                    } else if included.is_none() {
                        included = Some(folded.clone());
                    }
                    folded.apply(&LogItem::read(event));
                }
                if page.len() < PAGE_EVENTS {
                    return Ok(included.unwrap_or(folded));
                }
            }
        };
        tokio::time::timeout(STREAM_PATIENCE, reading)
            .await
            .unwrap_or_else(|_| Err(ReadError::Unavailable("the stream takes too long to read".to_owned())))
    }
}

/// A stream, folded so far.
#[derive(Debug, Clone, Default)]
struct FoldedStream {
    view: Option<StatusView>,
    /// The message of a first event that this version cannot read.
    unread: Option<String>,
}

impl FoldedStream {
    fn apply(&mut self, item: &LogItem) {
        match (item, &mut self.view) {
            _ if self.unread.is_some() => {}
            (LogItem::Event(envelope), view) => StatusView::apply(view, envelope),
            (LogItem::Standstill(standstill), Some(view)) => {
                view.stand_still(standstill);
            }
            (LogItem::Standstill(standstill), None) => self.unread = Some(standstill.message.clone()),
            (
                LogItem::Sandbox(_) | LogItem::SetAside(_) | LogItem::Deleted(_) | LogItem::Irrelevant(_),
                _,
            ) => {}
        }
    }

    /// Returns the submission. Answers 503 if this version cannot read its first event.
    fn into_view(self) -> Result<Option<StatusView>, Problem> {
        match self.unread {
            Some(message) => Err(Problem::unavailable(message)),
            None => Ok(self.view),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use axum::http::StatusCode;
    use domain::submission::Event;
    use domain::testing::submitted_by;
    use event_store::{EventFilter, EventPage, Revision};
    use projections::{EventEnvelope, MemoryViews, ViewStore};
    use uuid::Uuid;

    use super::*;

    /// A log that falls silent after its first answers, and counts its calls.
    #[derive(Default)]
    struct SilentLog {
        calls: AtomicU32,
        /// The newest event. With it, the log answers each call but the read of a whole stream.
        newest: Option<RecordedEvent>,
        /// The answer to the read of a whole stream.
        whole: Option<fn() -> ReadError>,
    }

    impl SilentLog {
        async fn silence<T>(&self) -> Result<T, ReadError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    #[async_trait]
    impl Read for SilentLog {
        async fn read_stream(
            &self,
            _: &StreamName,
            _: Revision,
            _: ReadDirection,
            max: usize,
        ) -> Result<Vec<RecordedEvent>, ReadError> {
            match (&self.newest, self.whole) {
                (Some(newest), _) if max == 1 => Ok(vec![newest.clone()]),
                (_, Some(error)) => Err(error()),
                _ => self.silence().await,
            }
        }

        async fn read_all(&self, _: Position, _: &EventFilter, _: usize) -> Result<EventPage, ReadError> {
            self.silence().await
        }

        async fn event_at(&self, _: Position) -> Result<Option<RecordedEvent>, ReadError> {
            self.silence().await
        }

        async fn head(&self) -> Result<Position, ReadError> {
            match &self.newest {
                Some(newest) => Ok(newest.position),
                None => self.silence().await,
            }
        }

        async fn position_before(&self, _: Timestamp) -> Result<Position, ReadError> {
            self.silence().await
        }
    }

    /// Returns a reader whose views know one submission at position 1.
    async fn reader_of(log: Arc<SilentLog>) -> (SubmissionReader, SubmissionId) {
        let (known, views) = (SubmissionId(Uuid::new_v4()), Arc::new(MemoryViews::new()));
        let submitted = EventEnvelope {
            id: known,
            revision: 0,
            position: Position(1),
            event_id: Uuid::new_v4(),
            recorded_at: Timestamp::UNIX_EPOCH,
            event: Event::Submitted(submitted_by("ada")),
        };
        views.apply(Position::START, &[submitted], Position(1)).await.unwrap();
        (SubmissionReader::new(views, log), known)
    }

    #[tokio::test]
    async fn without_the_log_a_status_is_what_the_views_know() {
        let log = Arc::new(SilentLog::default());
        let (reader, known) = reader_of(log.clone()).await;
        for _ in 0..100 {
            assert!(reader.get(known).await.unwrap().is_some());
        }
        assert!(log.calls.load(Ordering::Relaxed) < 10, "a log that is away is not asked each time");
        // It may be in the log, so its existence is not denied.
        let unknown = reader.get(SubmissionId(Uuid::new_v4())).await.unwrap_err();
        assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    /// Returns a log that has an event at position 2 and answers the read of a whole stream with `whole`.
    fn with_news(whole: Option<fn() -> ReadError>) -> Arc<SilentLog> {
        let newest = RecordedEvent {
            id: Uuid::new_v4(),
            stream: StreamName::of(CATEGORY, Uuid::new_v4()),
            revision: 1,
            position: Position(2),
            kind: "VerificationStarted".to_owned(),
            data: "{}".into(),
            metadata: "{}".into(),
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        Arc::new(SilentLog { newest: Some(newest), whole, ..SilentLog::default() })
    }

    #[tokio::test]
    async fn if_the_log_falls_silent_while_a_stream_is_read_a_status_is_what_the_views_know() {
        let (reader, known) = reader_of(with_news(None)).await;
        let read = tokio::time::timeout(Duration::from_secs(20), reader.get(known)).await;
        assert_eq!(read.expect("it has a deadline").unwrap().unwrap().revision, 0);
        let (reader, _) = reader_of(with_news(None)).await;
        let past = reader.at(SubmissionId(Uuid::new_v4()), Timestamp::now());
        let past = tokio::time::timeout(Duration::from_secs(20), past).await;
        assert_eq!(past.expect("it has a deadline").unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn the_views_hide_neither_damage_nor_a_deletion() {
        let (reader, known) =
            reader_of(with_news(Some(|| ReadError::Unavailable("a restart".to_owned())))).await;
        assert!(reader.get(known).await.unwrap().is_some());
        let (reader, known) = reader_of(with_news(Some(|| ReadError::Corrupt("a page".to_owned())))).await;
        assert_eq!(reader.get(known).await.unwrap_err().status(), StatusCode::INTERNAL_SERVER_ERROR);
        let deleted = || ReadError::StreamDeleted(StreamName::of(CATEGORY, Uuid::nil()));
        let (reader, known) = reader_of(with_news(Some(deleted))).await;
        assert_eq!(reader.get(known).await.unwrap_err().status(), StatusCode::GONE);
    }
}
