//! The period in which a challenge takes submissions.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::Challenge;

/// The part of the challenge's life that a moment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengePhase {
    /// Submissions are taken from this moment on.
    Before(Timestamp),
    /// Submissions are taken.
    Open,
    /// Submissions were taken until this moment.
    After(Timestamp),
}

impl Challenge {
    /// Returns the phase at the moment `now`. The challenge is open at `opens`, and no longer at `closes`.
    pub fn phase(&self, now: Timestamp) -> ChallengePhase {
        match (self.opens, self.closes) {
            (Some(opens), _) if now < opens => ChallengePhase::Before(opens),
            (_, Some(closes)) if now >= closes => ChallengePhase::After(closes),
            _ => ChallengePhase::Open,
        }
    }
}

impl ChallengePhase {
    /// Returns the phase as it is spelled in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before(_) => "before",
            Self::Open => "open",
            Self::After(_) => "after",
        }
    }
}

/// Reads a moment, which is a text or a date of TOML. Both have the form of RFC 3339.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Datetime(date) => date.to_string(),
        other => other.to_string(),
    };
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!("{text} is not a moment with its offset, such as 2026-03-21T12:00:00Z"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::BIRTHDAY;

    fn with(lines: &str) -> Result<Challenge, String> {
        Challenge::parse(&format!("{lines}\n{BIRTHDAY}")).map_err(|error| error.to_string())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_challenge_is_open_from_its_opening_until_just_before_its_closing() {
        let (opens, closes) = (at("2026-03-21T11:00:00Z"), at("2026-03-22T11:00:00Z"));
        let challenge =
            with("opens = \"2026-03-21T12:00:00+01:00\"\ncloses = 2026-03-22T12:00:00+01:00").unwrap();
        for (now, phase) in [
            ("2026-03-21T10:59:59.999Z", ChallengePhase::Before(opens)),
            ("2026-03-21T11:00:00Z", ChallengePhase::Open),
            ("2026-03-22T10:59:59.999Z", ChallengePhase::Open),
            ("2026-03-22T11:00:00Z", ChallengePhase::After(closes)),
        ] {
            assert_eq!(challenge.phase(at(now)), phase, "{now}");
        }
        assert_eq!(Challenge::birthday().phase(closes), ChallengePhase::Open);
        let only_opens = with("opens = 2026-03-21T11:00:00Z").unwrap();
        assert_eq!(only_opens.phase(at("2099-01-01T00:00:00Z")), ChallengePhase::Open);
        let only_closes = with("closes = 2026-03-21T11:00:00Z").unwrap();
        assert_eq!(only_closes.phase(at("1999-01-01T00:00:00Z")), ChallengePhase::Open);
    }

    #[test]
    fn the_moments_are_no_part_of_the_rules() {
        let challenge = with("opens = 2026-03-21T11:00:00Z\ncloses = 2026-03-22T11:00:00Z").unwrap();
        assert_eq!(challenge.digest(), Challenge::birthday().digest());
        assert_eq!(challenge.file_digest(), Challenge::birthday().file_digest());
    }

    #[test]
    fn a_moment_that_is_not_one_is_refused_by_name() {
        for (lines, named) in [
            ("opens = \"tomorrow\"", "tomorrow is not a moment"),
            ("opens = 2026-03-21T12:00:00", "2026-03-21T12:00:00 is not a moment with its offset"),
            ("closes = 2026-03-21", "2026-03-21 is not a moment"),
            ("closes = 12", "12 is not a moment"),
            ("opens = 2026-03-21T12:00:00Z\ncloses = 2026-03-21T12:00:00Z", "closes is later than opens"),
        ] {
            let refused = with(lines).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
