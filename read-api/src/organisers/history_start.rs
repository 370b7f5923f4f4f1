//! The place in the log at which the history since a moment begins.

use event_store::{Position, Read, ReadError};
use jiff::{SignedDuration, Timestamp};
use projections::ViewQueries;

/// The largest step back of a log's clock that is expected between strangers' events, for which the views know no moment.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(1);

/// Returns a place in the log after which every event is that was recorded at `since` or later. A log that cannot be asked
/// for a moment would be read from its start, but the views remember places.
pub(super) async fn start_of(
    log: &dyn Read,
    queries: &dyn ViewQueries,
    since: Timestamp,
) -> Result<Position, ReadError> {
    let known = log.position_before(since).await?;
    let moment = since.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN);
    let Ok(Some(place)) = queries.place_before(moment).await else { return Ok(known) };
    match log.event_at(place.position).await {
        Ok(Some(found)) if found.id == place.event_id => Ok(known.max(place.position)),
        // The event was removed, or the views are those of another log.
        _ => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use domain::SubmissionId;
    use domain::submission::Event;
    use domain::testing::submitted_by;
    use event_store::{EventFilter, EventPage, ReadDirection, RecordedEvent, Revision, StreamName};
    use projections::{EventEnvelope, MemoryViews, ViewStore};
    use uuid::Uuid;

    use super::*;

    /// A log that finds no moment, as a server that this process has not read. Has the number of the event at each position.
    struct ForeignLog(fn(Position) -> Option<u64>);

    #[async_trait]
    impl Read for ForeignLog {
        async fn read_stream(
            &self,
            _: &StreamName,
            _: Revision,
            _: ReadDirection,
            _: usize,
        ) -> Result<Vec<RecordedEvent>, ReadError> {
            unreachable!("only places are asked for")
        }

        async fn read_all(&self, _: Position, _: &EventFilter, _: usize) -> Result<EventPage, ReadError> {
            unreachable!("only places are asked for")
        }

        async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
            let number = self.0(position);
            Ok(number.map(|number| RecordedEvent {
                id: Uuid::from_u128(number.into()),
                stream: StreamName::new("s").unwrap(),
                revision: 0,
                position,
                kind: "T".to_owned(),
                data: Bytes::new(),
                metadata: Bytes::new(),
                recorded_at: Timestamp::UNIX_EPOCH,
            }))
        }

        async fn head(&self) -> Result<Position, ReadError> {
            unreachable!("only places are asked for")
        }

        async fn position_before(&self, _: Timestamp) -> Result<Position, ReadError> {
            Ok(Position::START)
        }
    }

    #[tokio::test]
    async fn a_history_begins_at_the_place_that_the_views_remember() {
        let views = MemoryViews::new();
        // Events have the numbers of their positions.
        let submitted = |number: u64| EventEnvelope {
            id: SubmissionId(Uuid::from_u128(number.into())),
            revision: 0,
            position: Position(number),
            event_id: Uuid::from_u128(number.into()),
            recorded_at: Timestamp::from_second(i64::try_from(number).unwrap() * 60).unwrap(),
            event: Event::Submitted(submitted_by(&format!("owner{number}"))),
        };
        let events: Vec<_> = (1..=1000).map(submitted).collect();
        views.apply(Position::START, &events, Position(1000)).await.unwrap();
        let [first, last] = [&events[0], &events[999]];
        let start = async |log: fn(Position) -> Option<u64>, since| {
            start_of(&ForeignLog(log), &views, since).await.unwrap()
        };
        let begins = start(|at| Some(at.0), last.recorded_at).await;
        assert!((500..1000).contains(&begins.0), "{begins}");
        assert_eq!(start(|at| Some(at.0), first.recorded_at).await, Position::START);
        assert_eq!(start(|at| Some(at.0 + 1), last.recorded_at).await, Position::START, "another log");
        assert_eq!(start(|_| None, last.recorded_at).await, Position::START, "the event was removed");
    }
}
