//! Adds and revokes the tokens of organisers by name.

use event_store::{EventMetadata, ExpectedRevision, NewEvent};
use http_edge::{OrganiserRole, TokenAdded, TokenDirectory, TokenEvent, hash_of, secret_of};
use uuid::Uuid;

use crate::handler::append;
use crate::{Actor, CommandError, Commands};

/// The number of times that a change is tried, if other changes come before it.
const TRIES_MAX: u32 = 8;

/// The largest number of tokens that are taken at the same time.
const TOKENS_MAX: usize = 1000;

/// The version of the shapes of the events.
const SCHEMA: u32 = 1;

/// The reason why a token was not added or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenChangeError {
    /// Another token has the name.
    #[error("there is a token of this name; revoke it first, or take another name")]
    NameTaken,
    /// No token has the name.
    #[error("there is no token of this name")]
    UnknownName,
    /// There are as many tokens, or as many changes, as there may be.
    #[error("there are {TOKENS_MAX} tokens, or too many changes of them; revoke some")]
    TooMany,
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] CommandError),
}

impl Commands {
    /// Adds a token with this name. Returns its secret, which nobody can learn again.
    ///
    /// # Errors
    /// If the name is taken, or any error of the log.
    pub async fn add_token(
        &self,
        name: &str,
        role: &OrganiserRole,
        person: Option<&str>,
    ) -> Result<String, TokenChangeError> {
        let secret = secret_of(random_bytes());
        let added = TokenAdded {
            name: name.to_owned(),
            role: role.clone(),
            hash: hash_of(&secret),
            person: person.map(str::to_owned),
        };
        let event = TokenEvent::OrganiserTokenAdded(added);
        self.change_tokens(&event, person, |directory| match directory {
            directory if directory.tokens.contains_key(name) => Err(TokenChangeError::NameTaken),
            directory if directory.tokens.len() >= TOKENS_MAX || directory.is_full() => {
                Err(TokenChangeError::TooMany)
            }
            _ => Ok(()),
        })
        .await?;
        Ok(secret)
    }

    /// Revokes the token with this name. No process takes it any more.
    ///
    /// # Errors
    /// If there is none, or any error of the log.
    pub async fn revoke_token(&self, name: &str, person: Option<&str>) -> Result<(), TokenChangeError> {
        let person_name = person.map(str::to_owned);
        let event = TokenEvent::OrganiserTokenRevoked { name: name.to_owned(), person: person_name };
        self.change_tokens(&event, person, |directory| match directory.tokens.contains_key(name) {
            true => Ok(()),
            false => Err(TokenChangeError::UnknownName),
        })
        .await
    }

    /// Returns the tokens that are taken.
    ///
    /// # Errors
    /// If the log cannot be read in time.
    pub async fn tokens(&self) -> Result<TokenDirectory, CommandError> {
        self.within_deadline(async { Ok(TokenDirectory::read(&**self.log()).await?) }).await
    }

    async fn change_tokens(
        &self,
        event: &TokenEvent,
        person: Option<&str>,
        check: impl Fn(&TokenDirectory) -> Result<(), TokenChangeError>,
    ) -> Result<(), TokenChangeError> {
        let new = new_event(event, person);
        for _ in 0..TRIES_MAX {
            let directory = self.tokens().await?;
            check(&directory)?;
            let expected = directory.revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            let stream = TokenDirectory::stream();
            let appending = append(&**self.log(), &stream, expected, vec![new.clone()]);
            if self.within_deadline(appending).await?.is_some() {
                return Ok(());
            }
        }
        Err(CommandError::Contended(TRIES_MAX).into())
    }
}

fn new_event(event: &TokenEvent, person: Option<&str>) -> NewEvent {
    let id = Uuid::now_v7();
    let actor = Actor::Organiser(person.unwrap_or("organiser").to_owned());
    NewEvent {
        id,
        kind: event.kind().to_owned(),
        data: event.to_stored().into(),
        metadata: EventMetadata {
            schema: SCHEMA,
            correlation_id: id,
            causation_id: id,
            actor: actor.to_string(),
            informs: true,
        },
    }
}

/// Returns 244 random bits, by way of two random UUIDs, in 32 bytes.
fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes
}
