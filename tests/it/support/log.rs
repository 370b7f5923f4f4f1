//! The log of a system that stands without a verifier: what one would record,
//! the test does.

use domain::SubmissionId;
use domain::submission::{CATEGORY, Event, SCHEMA};
use event_store::{Append, EsdbStore, Expected, Metadata, NewEvent, Position, StreamName};
use uuid::Uuid;

use super::System;

pub(crate) struct Log(EsdbStore);

impl Log {
    /// That of a system that serves it.
    pub(crate) async fn of(system: &System) -> Self {
        Self(EsdbStore::connect(&format!("esdb://{}?tls=false", system.node())).await.unwrap())
    }

    /// Appends to a submission's stream; where the log has the last event.
    pub(crate) async fn record(&self, id: SubmissionId, events: impl IntoIterator<Item = Event>) -> Position {
        let events = events.into_iter().map(|event| NewEvent {
            id: Uuid::new_v4(),
            kind: event.kind().to_owned(),
            data: event.to_stored().into(),
            metadata: Metadata {
                schema: SCHEMA,
                correlation_id: id.0,
                causation_id: id.0,
                actor: "test".to_owned(),
            },
        });
        let stream = StreamName::of(CATEGORY, id.0);
        self.0.append(&stream, Expected::Any, events.collect()).await.unwrap().position
    }
}
