//! The end of a long response when the token of its reader is revoked.

use axum::http::StatusCode;
use event_store::{EventFilter, Position, Subscribe, Subscription, SubscriptionItem};
use futures::StreamExt;

use crate::Problem;
use crate::organiser_tokens::{TokenDirectory, TokenEvent};

/// Waits for the end of one token. The token that all share ends with the process only.
pub struct TokenWatch {
    /// The token's name, and the revocations.
    named: Option<(String, Subscription)>,
}

impl TokenWatch {
    /// Watches the token of this name from `after` on, a position that the log had when the token was looked up.
    pub fn new(log: &dyn Subscribe, after: Position, person: Option<String>) -> Self {
        let filter = EventFilter {
            kinds: vec![TokenEvent::REVOKED.to_owned()],
            ..EventFilter::stream_prefix(TokenDirectory::stream().to_string())
        };
        Self { named: person.map(|person| (person, log.subscribe(after, filter))) }
    }

    /// Waits until the token is revoked, or its revocation could not be seen any more. Returns the problem to tell its holder. Nothing
    /// is lost if the future is dropped.
    pub async fn ended(&mut self) -> Problem {
        let Some((person, revocations)) = &mut self.named else { return std::future::pending().await };
        while let Some(Ok(item)) = revocations.next().await {
            if let SubscriptionItem::Event(event) = item
                && TokenEvent::read(&event).is_some_and(|event| event.revokes(person))
            {
                return Problem::new(StatusCode::UNAUTHORIZED, "Your token was revoked.");
            }
        }
        Problem::unavailable("The event log cannot be read at present, so your token cannot be checked.")
    }
}
