//! The tokens of organisers by name. They are events in one stream of the log, which all processes share, so a token that is
//! added or revoked is so at once in every process. The log has the hash of a token, never the token.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use event_store::{Read, ReadDirection, ReadError, RecordedEvent, Revision, StreamName};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::OrganiserToken;

/// The stream of the tokens.
const STREAM: &str = "organisers-tokens";

/// The beginning of each token, so that no other text leads to a look into the log.
const PREFIX: &str = "muster-";

/// The number of characters after the prefix.
const SECRET_CHARS: usize = 64;

/// The number of tokens that are looked up at the same time, and the time for each. Whoever guesses does not fill the log's
/// queue.
const LOOKUPS_MAX: usize = 8;
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

const PAGE_EVENTS: usize = 256;

/// The largest number of events in the stream.
const EVENTS_MAX: Revision = 10_000;

/// The tokens by which organisers are known. Clones share the log.
#[derive(Clone)]
pub struct OrganiserTokens {
    /// The token of the settings, which all share who have it.
    shared: Option<OrganiserToken>,
    log: Arc<dyn Read>,
    lookups: Arc<Semaphore>,
}

/// The rights that a token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrganiserRole {
    /// Sees and moderates everything, and adds and revokes tokens.
    Organiser,
    /// Sees and moderates the submissions of the venue with this short name.
    Venue(String),
    /// Reads, replays and exports. Moderates nothing.
    Analyst,
    /// Reads the metrics only.
    Operator,
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRoleError;

/// The holder of a token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder {
    /// The name of the token. `None` for the one that all share.
    pub person: Option<String>,
    pub role: OrganiserRole,
}

/// An event of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TokenEvent {
    /// A token was made.
    OrganiserTokenAdded(TokenAdded),
    /// A token is no longer taken.
    OrganiserTokenRevoked {
        name: String,
        /// The name of the token by which it was revoked. Absent for the one that all share.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<String>,
    },
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAdded {
    pub name: String,
    pub role: OrganiserRole,
    /// The SHA-256 of the secret, in hex.
    pub hash: String,
    /// The name of the token by which it was added. Absent for the one that all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// The tokens that are taken, by name, as the log has them.
#[derive(Debug, Default)]
pub struct TokenDirectory {
    pub tokens: BTreeMap<String, (TokenAdded, Timestamp)>,
    /// The newest revision of the stream.
    pub revision: Option<Revision>,
}

/// The reason why it is not known whether a token is taken.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// Too many others are looked up, or the log does not answer.
    Late,
    Unreadable(ReadError),
}

impl OrganiserTokens {
    pub fn new(shared: Option<OrganiserToken>, log: Arc<dyn Read>) -> Self {
        Self { shared, log, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Returns true if the settings have a token.
    pub(crate) fn has_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Returns the holder of a token, or `None` if it is not taken. The log is asked only for tokens by name.
    pub(crate) async fn holder(&self, presented: &str) -> Result<Option<TokenHolder>, LookupError> {
        if self.shared.as_ref().is_some_and(|shared| shared.equals(presented)) {
            return Ok(Some(TokenHolder { person: None, role: OrganiserRole::Organiser }));
        }
        if presented.strip_prefix(PREFIX).is_none_or(|secret| secret.len() != SECRET_CHARS) {
            return Ok(None);
        }
        let looking_up = async {
            let _place = self.lookups.acquire().await;
            TokenDirectory::read(&*self.log).await
        };
        let directory = timeout(LOOKUP_DEADLINE, looking_up).await.map_err(|_| LookupError::Late)?;
        let hash = hash_of(presented);
        let tokens = directory.map_err(LookupError::Unreadable)?.tokens.into_values();
        let token = tokens.map(|(token, _)| token).find(|token| token.hash == hash);
        Ok(token.map(|token| TokenHolder { person: Some(token.name), role: token.role }))
    }
}

impl TokenDirectory {
    /// Reads the tokens from the log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn read(log: &dyn Read) -> Result<Self, ReadError> {
        let stream = Self::stream();
        let mut directory = Self::default();
        loop {
            let from = directory.revision.map_or(0, |newest| newest + 1);
            let page = log.read_stream(&stream, from, ReadDirection::Forwards, PAGE_EVENTS).await?;
            page.iter().for_each(|event| directory.apply(event));
            if page.len() < PAGE_EVENTS {
                return Ok(directory);
            }
        }
    }

    pub fn stream() -> StreamName {
        StreamName::new(STREAM).expect("a constant that is tested")
    }

    /// Returns true if the stream has so many events that no token is added to it.
    pub fn is_full(&self) -> bool {
        self.revision.is_some_and(|newest| newest >= EVENTS_MAX)
    }

    /// Applies an event. A stranger's changes nothing.
    fn apply(&mut self, event: &RecordedEvent) {
        self.revision = Some(event.revision);
        match TokenEvent::read(event) {
            Some(TokenEvent::OrganiserTokenAdded(added)) => {
                self.tokens.insert(added.name.clone(), (added, event.recorded_at));
            }
            Some(TokenEvent::OrganiserTokenRevoked { name, .. }) => {
                self.tokens.remove(&name);
            }
            None => {}
        }
    }
}

impl TokenEvent {
    /// The type of a revocation, as stored.
    pub(crate) const REVOKED: &str = "OrganiserTokenRevoked";

    /// Returns the event's type, as stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OrganiserTokenAdded(_) => "OrganiserTokenAdded",
            Self::OrganiserTokenRevoked { .. } => Self::REVOKED,
        }
    }

    /// Returns the event's data as JSON, as stored.
    pub fn to_stored(&self) -> Vec<u8> {
        let tagged = serde_json::to_value(self).expect("events are plain data with text keys");
        tagged["data"].to_string().into_bytes()
    }

    /// Returns true if the event ends the token of this name.
    pub(crate) fn revokes(&self, person: &str) -> bool {
        matches!(self, Self::OrganiserTokenRevoked { name, .. } if name == person)
    }

    /// Returns `None` for an event that is not ours or that this version does not know.
    pub(crate) fn read(event: &RecordedEvent) -> Option<Self> {
        /// The part of our metadata by which our events are known.
        #[derive(Deserialize)]
        struct OwnMetadata {
            #[serde(rename = "schema")]
            _schema: u32,
            #[serde(rename = "actor")]
            _actor: String,
        }
        serde_json::from_slice::<OwnMetadata>(&event.metadata).ok()?;
        let data: serde_json::Value = serde_json::from_slice(&event.data).ok()?;
        serde_json::from_value(serde_json::json!({ "type": event.kind, "data": data })).ok()
    }
}

/// Makes a token's secret from random bytes, which nobody else may know.
pub fn secret_of(random: [u8; 32]) -> String {
    PREFIX.to_owned() + &hex(&random)
}

/// Returns the hash of a token that the log has.
pub fn hash_of(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FromStr for OrganiserRole {
    type Err = UnknownRoleError;

    fn from_str(text: &str) -> Result<Self, UnknownRoleError> {
        let is_slug = |slug: &&str| {
            (1..=40).contains(&slug.len())
                && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        match text {
            "organiser" => Ok(Self::Organiser),
            "analyst" => Ok(Self::Analyst),
            "operator" => Ok(Self::Operator),
            _ => {
                let venue = text.strip_prefix("venue:").filter(is_slug).ok_or(UnknownRoleError)?;
                Ok(Self::Venue(venue.to_owned()))
            }
        }
    }
}

impl fmt::Display for OrganiserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organiser => f.write_str("organiser"),
            Self::Venue(venue) => write!(f, "venue:{venue}"),
            Self::Analyst => f.write_str("analyst"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl fmt::Display for UnknownRoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is organiser, venue:NAME, analyst or operator")
    }
}

impl std::error::Error for UnknownRoleError {}

impl Serialize for OrganiserRole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrganiserRole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_format_is_unchanged() {
        let added = TokenAdded {
            name: "Grace".into(),
            role: OrganiserRole::Venue("berlin".into()),
            hash: "ab".into(),
            person: None,
        };
        let revoked = |person| TokenEvent::OrganiserTokenRevoked { name: "Grace".into(), person };
        for (event, stored) in [
            (TokenEvent::OrganiserTokenAdded(added), r#"{"hash":"ab","name":"Grace","role":"venue:berlin"}"#),
            (revoked(None), r#"{"name":"Grace"}"#),
            (revoked(Some("Ada".into())), r#"{"name":"Grace","person":"Ada"}"#),
        ] {
            let data: serde_json::Value = serde_json::from_slice(&event.to_stored()).unwrap();
            assert_eq!(data, serde_json::from_str::<serde_json::Value>(stored).unwrap());
            let tagged = serde_json::json!({ "type": event.kind(), "data": data });
            assert_eq!(serde_json::from_value::<TokenEvent>(tagged).unwrap(), event);
        }
        TokenDirectory::stream();
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in ["organiser", "venue:berlin-2", "analyst", "operator"] {
            assert_eq!(role.parse::<OrganiserRole>().unwrap().to_string(), role);
        }
        for wrong in ["", "admin", "venue:", "venue:Ber lin", "Organiser"] {
            assert!(wrong.parse::<OrganiserRole>().is_err(), "{wrong}");
        }
    }
}
