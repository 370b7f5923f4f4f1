//! Whose share of the bounds a request counts in.

use std::sync::Arc;

use domain::challenge::{VenueMembership, Venues};
use http_edge::ClientAddress;

/// A venue, or a client address outside all of them. A venue counts as one, however many addresses it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Share {
    /// The venue with this short name: a code or a network shows that the participant is there.
    Venue(Arc<str>),
    Client(ClientAddress),
}

impl Share {
    /// Returns the end of a sentence about requests of the share.
    pub(crate) fn whose(&self) -> &'static str {
        match self {
            Self::Client(_) => "from your address",
            Self::Venue(_) => "from your venue",
        }
    }

    /// Returns the share of a client of whom nothing but the address is known.
    pub(crate) fn of_address(venues: &Venues, client: ClientAddress) -> Self {
        let venue = client.ip().and_then(|address| venues.of_address(address));
        venue.map_or(Self::Client(client), |venue| Self::Venue(venue.name.as_str().into()))
    }

    /// Returns the share of a submission. A venue that was only named gives none of its own: everybody can name it.
    pub(crate) fn of_membership(membership: Option<&VenueMembership>, client: ClientAddress) -> Self {
        match membership.filter(|membership| membership.is_shown) {
            Some(membership) => Self::Venue(membership.venue.as_str().into()),
            None => Self::Client(client),
        }
    }
}
