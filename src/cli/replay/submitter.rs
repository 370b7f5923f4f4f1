//! The participant behind a submission, as the columns of a table need it.

use domain::Event;
use projections::view::StatusView;
use read_api::HistoryFilter;

/// The owner, the participant and the place of a submission.
#[derive(Debug, PartialEq)]
pub(crate) struct Submitter {
    /// The registry namespace of the images.
    pub(super) owner: String,
    /// The short name of the venue, if there is one.
    pub(super) venue: Option<String>,
    pub(super) name: String,
    /// ISO 3166 code of two letters.
    pub(super) country: String,
    /// The latitude in degrees north.
    pub(super) lat: f64,
    /// The longitude in degrees east.
    pub(super) lon: f64,
}

impl Submitter {
    /// Returns true if the filter takes the submission.
    pub(super) fn is_taken_by(&self, filter: &HistoryFilter) -> bool {
        filter.owner.as_ref().is_none_or(|owner| *owner == self.owner)
            && filter.venue.as_ref().is_none_or(|venue| Some(venue) == self.venue.as_ref())
    }

    /// Returns the submitter that a `Submitted` event names, and `None` for any other event.
    pub(super) fn from_event(event: &Event) -> Option<Self> {
        let Event::Submitted(submitted) = event else { return None };
        let place = &submitted.location.place;
        Some(Self {
            owner: submitted.owner.clone(),
            venue: submitted.venue.clone(),
            name: submitted.participant.name.clone(),
            country: place.country.clone(),
            lat: place.lat,
            lon: place.lon,
        })
    }
}

impl From<StatusView> for Submitter {
    fn from(view: StatusView) -> Self {
        let (owner, venue, name, place) = (view.owner, view.venue, view.name, view.location);
        Self { owner, venue, name, country: place.country, lat: place.lat, lon: place.lon }
    }
}
