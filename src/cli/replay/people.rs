//! Whose an event is. Only a submission's first event says so, so that is
//! looked up, and remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Event, SubmissionId};
use projections::view::StatusView;

use super::CliError;
use super::line::EventLine;
use super::source::HistorySource;

/// How many submissions are remembered.
const KEPT: usize = 10_000;

/// Who submitted, and where they are.
#[derive(Debug, PartialEq)]
pub(crate) struct Submitter {
    /// The registry namespace.
    pub(super) owner: String,
    pub(super) name: String,
    /// ISO 3166 code of two letters.
    pub(super) country: String,
    /// Degrees north.
    pub(super) lat: f64,
    /// Degrees east.
    pub(super) lon: f64,
}

/// Those that are remembered.
#[derive(Debug, Default)]
pub(super) struct SubmitterCache {
    known: HashMap<SubmissionId, Option<Arc<Submitter>>>,
}

impl SubmitterCache {
    /// Whose an event is; `None` when it is no submission's.
    pub(super) async fn of(
        &mut self,
        source: &HistorySource,
        line: &EventLine,
        event: Option<&Event>,
    ) -> Result<Option<Arc<Submitter>>, CliError> {
        let Some(id) = line.submission() else { return Ok(None) };
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let who = match event.and_then(Submitter::of) {
            Some(who) => Some(who),
            None => source.who(id).await?,
        };
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        let who = who.map(Arc::new);
        self.known.insert(id, who.clone());
        Ok(who)
    }
}

impl Submitter {
    /// What a submission's first event says.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let Event::Submitted(submitted) = event else { return None };
        let place = &submitted.location.place;
        Some(Self {
            owner: submitted.owner.clone(),
            name: submitted.participant.name.clone(),
            country: place.country.clone(),
            lat: place.lat,
            lon: place.lon,
        })
    }
}

impl From<StatusView> for Submitter {
    fn from(view: StatusView) -> Self {
        let (owner, name, place) = (view.owner, view.name, view.location);
        Self { owner, name, country: place.country, lat: place.lat, lon: place.lon }
    }
}
