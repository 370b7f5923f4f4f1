//! The venues: the rooms of an event, as the challenge's file lists them, and how a participant belongs to one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::Deserializer;
use subtle::ConstantTimeEq;

use super::FieldError;
use crate::submission::Location;
use crate::text::{is_seen, trimmed};

mod network;

pub use network::VenueNetwork;

/// The largest number of venues.
const VENUES_MAX: usize = 1000;

/// The largest number of networks of one venue.
const NETWORKS_MAX: usize = 64;

/// The length of a venue's short name.
const NAME_CHARS: RangeInclusive<usize> = 1..=32;

/// The longest title and the longest location of a venue, in characters.
const TITLE_CHARS_MAX: usize = 100;

/// The length of a code. Whoever guesses one sends a request for each guess.
const CODE_CHARS: RangeInclusive<usize> = 4..=64;

/// A room of the event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// The short name, by which submissions, links and roles name the venue.
    pub name: String,
    /// The title that people read.
    pub title: String,
    /// The city and country, as typed.
    pub location: String,
    /// The networks of the room. Whoever is in one belongs to the venue.
    #[serde(default)]
    pub networks: Vec<VenueNetwork>,
    /// The code that is told in the room.
    #[serde(default)]
    pub code: Option<VenueCode>,
}

/// A venue as everybody may see it, with its location found in the gazetteer.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedVenue {
    pub name: String,
    pub title: String,
    pub location: Location,
}

/// The code of a venue, in capitals and without spaces. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct VenueCode(String);

/// The venue that a submission claims to belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VenueClaim {
    /// The short name, as the link has it.
    pub venue: Option<String>,
    /// The code, as typed.
    pub code: Option<String>,
}

/// The venue of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueMembership {
    /// The short name of the venue.
    pub venue: String,
    /// True if a code or a network of the venue shows that the participant is there. A name alone can be said by everybody.
    pub is_shown: bool,
}

/// The challenge's venues.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Venues(Vec<Venue>);

impl VenueClaim {
    /// Returns true if the claim names no other venue than the recorded one. Codes change, so they do not count.
    pub fn is_of(&self, recorded: Option<&str>) -> bool {
        let named = self.venue.as_deref().map(trimmed).filter(|name| is_seen(name));
        named.is_none_or(|name| recorded.is_some_and(|venue| venue.eq_ignore_ascii_case(name)))
    }
}

impl Venues {
    /// Returns the venues, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Venue> {
        self.0.iter()
    }

    /// Returns the venue in whose networks an address is.
    pub fn of_address(&self, address: IpAddr) -> Option<&Venue> {
        self.0.iter().find(|venue| venue.has_address(address))
    }

    /// Decides which venue a participant belongs to, by the submission's claim and by the client's address. A venue with a
    /// code or networks demands one of them, and a venue with neither takes everybody who names it. Without a claim, the
    /// address decides.
    ///
    /// # Errors
    /// The field that is wrong, with the remedy.
    pub fn belonging(
        &self,
        claim: &VenueClaim,
        address: Option<IpAddr>,
    ) -> Result<Option<VenueMembership>, FieldError> {
        let [name, code] =
            [&claim.venue, &claim.code].map(|text| text.as_deref().map(trimmed).filter(|text| is_seen(text)));
        let of_address = address.and_then(|address| self.of_address(address));
        match (name, code.map(VenueCode::normalised)) {
            (None, None) => Ok(of_address.map(|venue| venue.member(true))),
            (None, Some(code)) => self.with_code(&code).map(Some),
            (Some(name), code) => {
                let named = self.0.iter().find(|venue| venue.name == name.to_ascii_lowercase());
                let venue = named.ok_or_else(|| self.unknown(name))?;
                let is_there = of_address.is_some_and(|own| own.name == venue.name);
                match (&venue.code, code) {
                    (Some(own), Some(code)) if own.equals(&code) => Ok(Some(venue.member(true))),
                    (Some(_), Some(_)) => Err(wrong_code(&venue.title)),
                    _ if is_there => Ok(Some(venue.member(true))),
                    (Some(_), None) => Err(error(
                        "venue_code",
                        format!("Write the code of {}, which the room's screen shows.", venue.title),
                    )),
                    (None, _) if venue.networks.is_empty() => Ok(Some(venue.member(false))),
                    (None, _) => Err(error(
                        "venue",
                        format!(
                            "You are not in a network of {}; join the room's network, or leave the venue out.",
                            venue.title
                        ),
                    )),
                }
            }
        }
    }

    /// Returns the only venue with this code. Every code is compared, so that the time does not tell which one is near.
    fn with_code(&self, code: &str) -> Result<VenueMembership, FieldError> {
        let has_code = |venue: &&Venue| venue.code.as_ref().is_some_and(|own| own.equals(code));
        let found: Vec<&Venue> = self.0.iter().filter(has_code).collect();
        match found.as_slice() {
            [venue] => Ok(venue.member(true)),
            [] => Err(error(
                "venue_code",
                "No venue has this code. Compare it with the one in the room, or leave it out.",
            )),
            _ => Err(error("venue", "Several venues have this code. Open the link of yours, or name it.")),
        }
    }

    fn unknown(&self, name: &str) -> FieldError {
        if self.0.is_empty() {
            return error("venue", "This challenge has no venues. Leave the venue out.");
        }
        let suggestions = self.0.iter().map(|venue| venue.name.clone()).take(10).collect();
        let shown: String = name.chars().take(*NAME_CHARS.end()).collect();
        let message =
            format!("There is no venue {shown}. Leave the venue out, or open the link of your room again.");
        FieldError { suggestions, ..error("venue", message) }
    }

    /// Returns the reason why the venues cannot be used.
    pub(super) fn contradiction(&self) -> Option<String> {
        if self.0.len() > VENUES_MAX {
            return Some(format!("venues lists at most {VENUES_MAX}"));
        }
        let mut names = BTreeMap::new();
        for venue in &self.0 {
            if let Some(what) = venue.fault() {
                return Some(what);
            }
            if names.insert(&venue.name, ()).is_some() {
                return Some(format!("venues names {} twice", venue.name));
            }
        }
        self.overlap()
    }

    fn overlap(&self) -> Option<String> {
        let all = self.0.iter().flat_map(|venue| venue.networks.iter().map(move |network| (*network, venue)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(network, _)| *network);
        // Two networks overlap only if one contains the other, and then the wide one stands before all that it contains.
        let mut widest: Option<(VenueNetwork, &Venue)> = None;
        for (network, of) in all {
            match widest {
                Some((wide, other)) if wide.overlaps(network) && other.name != of.name => {
                    return Some(format!(
                        "the network {wide} of the venue {} overlaps {network} of {}",
                        other.name, of.name
                    ));
                }
                Some((wide, _)) if wide.overlaps(network) => {}
                _ => widest = Some((network, of)),
            }
        }
        None
    }
}

impl Venue {
    fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn member(&self, is_shown: bool) -> VenueMembership {
        VenueMembership { venue: self.name.clone(), is_shown }
    }

    fn fault(&self) -> Option<String> {
        let name = &self.name;
        let is_slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_text = |text: &String| is_seen(text) && text.chars().count() <= TITLE_CHARS_MAX;
        if !NAME_CHARS.contains(&name.len()) || !name.bytes().all(is_slug) {
            Some(format!("the name of a venue is 1 to 32 of a-z, 0-9 and -, as in berlin-2; not {name:?}"))
        } else if !is_text(&self.title) || !is_text(&self.location) {
            Some(format!("the venue {name} has a title and a location of 1 to {TITLE_CHARS_MAX} characters"))
        } else if self.networks.len() > NETWORKS_MAX {
            Some(format!("the venue {name} has at most {NETWORKS_MAX} networks"))
        } else if self.code.as_ref().is_some_and(|code| !code.is_long_enough()) {
            let (fewest, most) = (CODE_CHARS.start(), CODE_CHARS.end());
            Some(format!("the code of the venue {name} is {fewest} to {most} letters and digits"))
        } else {
            None
        }
    }
}

impl VenueCode {
    /// Returns the code that a typed text means: case and spaces do not count.
    fn normalised(typed: &str) -> String {
        typed.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect()
    }

    /// Compares in constant time, so that the duration does not reveal the code.
    fn equals(&self, normalised: &str) -> bool {
        self.0.as_bytes().ct_eq(normalised.as_bytes()).into()
    }

    fn is_long_enough(&self) -> bool {
        CODE_CHARS.contains(&self.0.len()) && self.0.bytes().all(|b| b.is_ascii_alphanumeric())
    }
}

impl<'de> Deserialize<'de> for VenueCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Self::normalised(&String::deserialize(deserializer)?)))
    }
}

impl fmt::Debug for VenueCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VenueCode(…)")
    }
}

fn wrong_code(title: &str) -> FieldError {
    error(
        "venue_code",
        format!(
            "This is not the code of {title}. Compare it with the one in the room, or leave the venue out."
        ),
    )
}

fn error(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into(), suggestions: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::{BIRTHDAY, Challenge};

    fn with(venues: &str) -> Result<Challenge, String> {
        Challenge::parse(&format!("{BIRTHDAY}\n{venues}")).map_err(|error| error.to_string())
    }

    fn venue(name: &str, lines: &str) -> String {
        format!(
            "[[venues]]\nname = \"{name}\"\ntitle = \"Room {name}\"\nlocation = \"Berlin, DE\"\n{lines}\n"
        )
    }

    fn venues() -> Challenge {
        let berlin = "networks = [\"203.0.113.0/24\", \"2001:db8::/32\"]\ncode = \"k7 qf\"";
        let paris = "networks = [\"198.51.100.7\"]";
        let list = [
            venue("berlin", berlin),
            venue("paris", paris),
            venue("rome", "code = \"ROMA\""),
            venue("bar", ""),
        ];
        with(&list.concat()).unwrap()
    }

    /// Returns the venue and how it is known, or the field that is wrong.
    fn belonging(venue: &str, code: &str, address: &str) -> Result<Option<(String, bool)>, String> {
        let given = |text: &str| Some(text.to_owned());
        let claim = VenueClaim { venue: given(venue), code: given(code) };
        let found = venues().venues.belonging(&claim, address.parse().ok());
        found.map(|found| found.map(|found| (found.venue, found.is_shown))).map_err(|error| error.field)
    }

    fn shown(venue: &str) -> Result<Option<(String, bool)>, String> {
        Ok(Some((venue.to_owned(), true)))
    }

    const ELSEWHERE: &str = "192.0.2.1";

    #[test]
    fn without_a_claim_the_network_decides() {
        assert_eq!(belonging("", " ", "203.0.113.200"), shown("berlin"));
        assert_eq!(belonging("", "", "2001:db8:7::1"), shown("berlin"));
        assert_eq!(belonging("", "", "::ffff:198.51.100.7"), shown("paris"));
        assert_eq!(belonging("", "", "198.51.100.8"), Ok(None));
        assert_eq!(belonging("", "", "unknown"), Ok(None));
    }

    #[test]
    fn a_name_needs_the_code_or_the_network_that_the_venue_has() {
        assert_eq!(belonging("berlin", "K7QF", ELSEWHERE), shown("berlin"));
        assert_eq!(belonging("Berlin", " k7 Qf ", ELSEWHERE), shown("berlin"));
        assert_eq!(belonging("berlin", "", "203.0.113.1"), shown("berlin"));
        assert_eq!(belonging("berlin", "", ELSEWHERE), Err("venue_code".into()));
        assert_eq!(belonging("berlin", "K7QG", "203.0.113.1"), Err("venue_code".into()));
        assert_eq!(belonging("paris", "", ELSEWHERE), Err("venue".into()));
        assert_eq!(belonging("paris", "K7QF", "198.51.100.7"), shown("paris"));
        assert_eq!(belonging("bar", "", ELSEWHERE), Ok(Some(("bar".into(), false))));
        assert_eq!(belonging("oslo", "", ELSEWHERE), Err("venue".into()));
    }

    #[test]
    fn a_code_alone_decides_wherever_the_client_is() {
        assert_eq!(belonging("", "roma", "203.0.113.1"), shown("rome"));
        assert_eq!(belonging("", "ROM", ELSEWHERE), Err("venue_code".into()));
    }

    #[test]
    fn venues_are_no_part_of_the_rules_and_codes_are_shown_nowhere() {
        let challenge = venues();
        assert_eq!(challenge.digest(), Challenge::birthday().digest());
        assert_eq!(challenge.file_digest(), Challenge::birthday().file_digest());
        let published = challenge.published().text;
        assert!(!published.contains("K7QF") && !published.contains("203.0.113"), "{published}");
        assert!(!format!("{challenge:?}").contains("K7QF"));
    }

    #[test]
    fn venues_that_cannot_be_used_are_refused_by_name() {
        let network = |text: &str| venue("a", &format!("networks = [\"{text}\"]"));
        let two = |one: &str, other: &str| {
            let named = |name, text: &str| venue(name, &format!("networks = [\"{text}\"]"));
            named("a", one) + &named("b", other)
        };
        for (list, named) in [
            (venue("Berlin", ""), "\"Berlin\""),
            (venue("", ""), "1 to 32"),
            (venue("a", "") + &venue("a", ""), "names a twice"),
            (venue("a", "code = \"K7Q\""), "code of the venue a is 4 to 64"),
            (venue("a", "code = \"K7-QF\""), "letters and digits"),
            (venue("a", "seats = 7"), "seats"),
            (network("berlin"), "\"berlin\" is not a network"),
            (network("203.0.113.0/33"), "is not a network"),
            (network("203.0.113.5/24"), "write 203.0.113.0/24"),
            (network("2001:db8::/65"), "at least a /64"),
            (network("2001:db8::1"), "at least a /64"),
            (network("0.0.0.0/0"), "the whole Internet"),
            (two("10.0.0.0/8", "10.1.0.0/16"), "10.0.0.0/8 of the venue a overlaps 10.1.0.0/16 of b"),
            (two("10.1.0.0/16", "10.0.0.0/8"), "overlaps"),
            (
                two("10.0.0.0/8\", \"10.1.0.0/16", "10.2.0.0/16"),
                "10.0.0.0/8 of the venue a overlaps 10.2.0.0/16 of b",
            ),
            ("[[venues]]\nname = \"a\"".to_owned(), "title"),
            (venue("a", "").replace("Berlin, DE", " "), "a location of 1 to 100"),
        ] {
            let refused = with(&list).unwrap_err();
            assert!(refused.contains(named), "{list}: {refused}");
            assert!(!refused.contains("K7"), "{refused}");
        }
        assert!(with(&two("10.0.0.0/16", "10.1.0.0/16")).is_ok());
    }
}
