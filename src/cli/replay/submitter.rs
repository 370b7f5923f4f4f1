//! The participant behind a submission, as the columns of a table need it.

use domain::Event;
use projections::view::StatusView;

/// The owner, the participant and the place of a submission.
#[derive(Debug, PartialEq)]
pub(crate) struct Submitter {
    /// The registry namespace of the images.
    pub(super) owner: String,
    pub(super) name: String,
    /// ISO 3166 code of two letters.
    pub(super) country: String,
    /// The latitude in degrees north.
    pub(super) lat: f64,
    /// The longitude in degrees east.
    pub(super) lon: f64,
}

impl Submitter {
    /// Returns the submitter that a `Submitted` event names, and `None` for any other event.
    pub(super) fn from_event(event: &Event) -> Option<Self> {
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
