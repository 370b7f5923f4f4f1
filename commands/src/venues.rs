//! The places of the challenge's venues, found in the gazetteer at the start.

use domain::challenge::{PlacedVenue, Venues};
use domain::submission::{Location, Place};

use crate::{Gazetteer, GazetteerPlace, PlaceError};

/// The error for a venue whose location does not name one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the location {location:?} of the venue {venue}: {why}{}", among(why))]
pub struct VenueLocationError {
    venue: String,
    location: String,
    why: PlaceError,
}

/// Finds the places of the venues.
///
/// # Errors
/// [`VenueLocationError`], if the location of one of them does not name one place.
pub fn place_venues(venues: &Venues, gazetteer: &Gazetteer) -> Result<Vec<PlacedVenue>, VenueLocationError> {
    let placed = venues.iter().map(|venue| {
        let (name, title, typed) = (venue.name.clone(), venue.title.clone(), venue.location.clone());
        match gazetteer.resolve(&typed) {
            Ok(place) => Ok(PlacedVenue { name, title, location: Location { typed, place: place.into() } }),
            Err(why) => Err(VenueLocationError { venue: name, location: typed, why }),
        }
    });
    placed.collect()
}

impl From<GazetteerPlace> for Place {
    fn from(place: GazetteerPlace) -> Self {
        Self { city: place.city, country: place.country, lat: place.lat, lon: place.lon }
    }
}

/// Returns the places that were probably meant, as the end of a sentence.
fn among(why: &PlaceError) -> String {
    let places = match why {
        PlaceError::Empty | PlaceError::TooLong => return String::new(),
        PlaceError::Unknown { nearest: places }
        | PlaceError::Ambiguous { candidates: places }
        | PlaceError::Area { largest: places } => places,
    };
    let shown: Vec<_> = places.iter().take(3).map(ToString::to_string).collect();
    if shown.is_empty() { String::new() } else { format!(", such as {}", shown.join("; ")) }
}

#[cfg(test)]
mod tests {
    use domain::Challenge;

    use super::*;

    fn placed(location: &str) -> Result<Vec<PlacedVenue>, String> {
        let venue = format!("[[venues]]\nname = \"a\"\ntitle = \"A\"\nlocation = \"{location}\"");
        let file = format!("{}\n{venue}", include_str!("../../domain/challenges/birthday.toml"));
        let challenge = Challenge::parse(&file).unwrap();
        place_venues(&challenge.venues, Gazetteer::shipped()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_venue_is_where_its_location_says_or_the_error_names_it() {
        let [venue] = &placed("Berlin, DE").unwrap()[..] else { panic!("one venue") };
        assert_eq!(
            (venue.location.place.city.as_str(), venue.location.typed.as_str()),
            ("Berlin", "Berlin, DE")
        );
        let unknown = placed("Qqqqburg").unwrap_err();
        assert!(unknown.contains("\"Qqqqburg\" of the venue a: no such place"), "{unknown}");
        let ambiguous = placed("Springfield").unwrap_err();
        assert!(ambiguous.contains("several places") && ambiguous.contains("such as Spring"), "{ambiguous}");
    }
}
