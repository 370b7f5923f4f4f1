//! A real log behind a bad connection, which loses requests or responses.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use event_store::{
    Append, AppendError, AppendReceipt, EventFilter, EventPage, ExpectedRevision, NewEvent, Position, Read,
    ReadDirection, ReadError, RecordedEvent, Revision, SqliteStore, StreamName,
};
use jiff::Timestamp;

pub(crate) struct BadLine {
    log: SqliteStore,
    /// The number of appends that are not answered from now on.
    silences: AtomicU32,
    lost: Lost,
}

/// The part of an append that is lost.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lost {
    Request,
    Answer,
    /// The log has the request, and refuses it.
    Permission,
}

impl BadLine {
    pub(crate) fn to(log: SqliteStore, lost: Lost, silences: u32) -> Self {
        Self { log, silences: AtomicU32::new(silences), lost }
    }
}

/// A log that never answers.
pub(crate) struct SilentLog;

#[async_trait]
impl Append for SilentLog {
    async fn append(
        &self,
        _: &StreamName,
        _: ExpectedRevision,
        _: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
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
        _: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        std::future::pending().await
    }

    async fn read_all(&self, _: Position, _: &EventFilter, _: usize) -> Result<EventPage, ReadError> {
        std::future::pending().await
    }

    async fn event_at(&self, _: Position) -> Result<Option<RecordedEvent>, ReadError> {
        std::future::pending().await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        std::future::pending().await
    }

    async fn position_before(&self, _: Timestamp) -> Result<Position, ReadError> {
        std::future::pending().await
    }
}

#[async_trait]
impl Append for BadLine {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        let silent = self
            .silences
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        if silent && self.lost == Lost::Request {
            return Err(AppendError::Unavailable("the request was lost".into()));
        }
        if silent && self.lost == Lost::Permission {
            return Err(AppendError::Refused("Access Denied".into()));
        }
        let answer = self.log.append(stream, expected, events).await;
        if silent { Err(AppendError::Unavailable("the answer was lost".into())) } else { answer }
    }
}

#[async_trait]
impl Read for BadLine {
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Revision,
        direction: ReadDirection,
        max: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.log.read_stream(stream, from, direction, max).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, ReadError> {
        self.log.read_all(after, filter, max).await
    }

    async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.log.event_at(position).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.log.head().await
    }

    async fn position_before(&self, moment: Timestamp) -> Result<Position, ReadError> {
        self.log.position_before(moment).await
    }
}
