//! The log of a system without a verifier. The test appends the events that a verifier would.

use domain::SubmissionId;
use domain::submission::{CATEGORY, Event, Participant, Passed, SCHEMA, Submitted, VerdictBasis};
use domain::testing::{located_in, submitted_by};
use event_store::testing::event_about;
use event_store::{Append, EsdbStore, ExpectedRevision, Position, StreamName};
use uuid::Uuid;

use super::System;

pub(crate) struct Log(EsdbStore);

impl Log {
    /// Connects to the log of a system.
    pub(crate) async fn of(system: &System) -> Self {
        Self(EsdbStore::connect(&format!("esdb://{}?tls=false", system.node())).await.unwrap())
    }

    /// Appends events to a submission's stream. Returns the position of the last one.
    pub(crate) async fn record(&self, id: SubmissionId, events: impl IntoIterator<Item = Event>) -> Position {
        let events =
            events.into_iter().map(|event| event_about(id.0, SCHEMA, event.kind(), event.to_stored()));
        let stream = StreamName::of(CATEGORY, id.0);
        self.0.append(&stream, ExpectedRevision::Any, events.collect()).await.unwrap().position
    }

    /// Records a submission that passes, with a place that depends on `number`. Returns the position of the
    /// last event.
    pub(crate) async fn pass(&self, number: u64) -> Position {
        self.pass_at(None, number).await
    }

    /// Records a submission of a venue that passes, like [`Log::pass`].
    pub(crate) async fn pass_at(&self, venue: Option<&str>, number: u64) -> Position {
        let id = SubmissionId(Uuid::new_v4());
        let (lat, lon) = ((number % 120) as f64 - 50.0, ((number / 120 + 180) % 360) as f64 - 180.0);
        let submitted = Submitted {
            participant: Participant { name: format!("Number {number}"), twitter: None },
            location: located_in("Somewhere", "GB", lat, lon),
            venue: venue.map(str::to_owned),
            answers: [("vote".to_owned(), "Rust".to_owned())].into(),
            ..submitted_by(&format!("owner{number}"))
        };
        self.record(
            id,
            [
                Event::Submitted(submitted),
                Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() }),
            ],
        )
        .await
    }
}
