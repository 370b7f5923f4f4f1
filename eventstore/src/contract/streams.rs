//! Streams and events for the contract's tests, and helpers that append and read them.

use uuid::Uuid;

use crate::{
    Append, EventFilter, ExpectedRevision, NewEvent, Position, Read, ReadDirection, RecordedEvent,
    StreamName, testing::new_event,
};

/// The streams of one test. No other test uses them.
pub(super) struct TestCategory(Uuid);

impl TestCategory {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    pub(super) fn stream(&self) -> StreamName {
        StreamName::new(format!("contract{}-{}", self.0.simple(), Uuid::new_v4())).expect("well-formed")
    }

    pub(super) fn kind(&self, name: &str) -> String {
        format!("{}{name}", self.0.simple())
    }

    pub(super) fn filter(&self) -> EventFilter {
        EventFilter::stream_prefix(format!("contract{}-", self.0.simple()))
    }
}

pub(super) async fn append<'a>(
    store: &(impl Append + ?Sized),
    stream: &StreamName,
    expected: ExpectedRevision,
    events: impl IntoIterator<Item = &'a NewEvent>,
) -> crate::AppendReceipt {
    let events = events.into_iter().cloned().collect();
    store.append(stream, expected, events).await.expect("appended")
}

pub(super) async fn read(store: &(impl Read + ?Sized), stream: &StreamName) -> Vec<RecordedEvent> {
    store.read_stream(stream, 0, ReadDirection::Forwards, usize::MAX).await.expect("readable")
}

pub(super) async fn read_log(store: &(impl Read + ?Sized), filter: EventFilter) -> Vec<RecordedEvent> {
    let mut all = Vec::new();
    let mut at = Position::START;
    loop {
        let page = store.read_all(at, &filter, 100).await.expect("readable");
        all.extend(page.events);
        at = page.next;
        if page.end {
            return all;
        }
    }
}

pub(super) fn event(kind: &str, json: &str) -> NewEvent {
    new_event(kind, json.to_owned())
}

pub(super) fn events(kind: &str, count: usize) -> Vec<NewEvent> {
    (0..count).map(|n| event(kind, &format!(r#"{{"n":{n}}}"#))).collect()
}

pub(super) fn ids(events: &[RecordedEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

pub(super) fn ids_of(events: &[NewEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}
