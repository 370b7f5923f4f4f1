//! The tokens of organisers: secrets that requests carry as bearer tokens (RFC 6750), and the rights that they give.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq;
use zxcvbn::zxcvbn;

use crate::Problem;
use crate::organiser_tokens::{LookupError, OrganiserRole, OrganiserTokens, TokenHolder};

/// The smallest number of characters of a token.
const CHARS_MIN: usize = 16;

/// The number of guesses that a token withstands, as a power of ten. Whoever guesses sends requests over the network.
const GUESSES_LOG10_MIN: f64 = 10.0;

/// Words that a guesser tries first.
const NEAR_AT_HAND: [&str; 8] =
    ["muster", "organiser", "organisers", "organizer", "token", "secret", "docker", "birthday"];

/// The organiser's token. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct OrganiserToken(Arc<str>);

/// The reason why a secret is no good token. It does not show the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeakTokenError {
    /// The token has this number of characters.
    Short(usize),
    /// The token consists of words, dates or patterns that are tried first.
    Guessable,
    /// The token has characters that no header can carry.
    Unsendable,
}

/// A request of an organiser who may moderate. A handler with this argument is for organisers only.
#[derive(Debug)]
pub struct Organiser {
    /// The name of the organiser's token. `None` for the one that all share.
    pub person: Option<String>,
    /// The venue whose submissions the organiser may moderate. `None` for all submissions.
    pub venue: Option<String>,
}

/// A request of an organiser of everything, who may add and revoke tokens.
#[derive(Debug)]
pub struct Administrator {
    /// The name of the organiser's token. `None` for the one that all share.
    pub person: Option<String>,
}

/// A request of somebody who may read what only organisers and analysts see.
#[derive(Debug)]
pub struct Reader {
    /// The name of the reader's token. `None` for the one that all share.
    pub person: Option<String>,
    /// The venue whose submissions may be read. `None` for all submissions.
    pub venue: Option<String>,
    /// The role of the token.
    pub role: OrganiserRole,
}

/// A state of handlers that knows the organisers' tokens.
pub trait HoldsToken {
    /// Returns the tokens that are taken.
    fn tokens(&self) -> &OrganiserTokens;
}

impl OrganiserToken {
    /// Takes `secret` as the token, or returns `None` if it is empty.
    pub fn new(secret: &str) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(secret.into()))
    }

    /// Returns the value of the header `Authorization` that presents the token.
    pub fn to_header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in constant time, so that the duration does not reveal the token.
    pub(crate) fn equals(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl FromStr for OrganiserToken {
    type Err = WeakTokenError;

    /// Takes a secret as the token, unless it is short or guessable.
    fn from_str(secret: &str) -> Result<Self, WeakTokenError> {
        let is_sendable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let length = secret.chars().count();
        if length < CHARS_MIN {
            Err(WeakTokenError::Short(length))
        } else if !secret.bytes().all(is_sendable) || secret.trim() != secret {
            Err(WeakTokenError::Unsendable)
        } else if zxcvbn(secret, &NEAR_AT_HAND).guesses_log10() < GUESSES_LOG10_MIN {
            Err(WeakTokenError::Guessable)
        } else {
            Ok(Self(secret.into()))
        }
    }
}

impl std::error::Error for WeakTokenError {}

impl fmt::Display for WeakTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(length) => {
                write!(f, "it has {length} characters, and at least {CHARS_MIN} are needed")?
            }
            Self::Guessable => {
                f.write_str("it can be guessed, because it consists of common words or a pattern")?
            }
            Self::Unsendable => f.write_str("a token has ASCII letters, digits and signs only")?,
        }
        f.write_str("; make one with: openssl rand -hex 32")
    }
}

impl fmt::Debug for OrganiserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrganiserToken(…)")
    }
}

impl<T: HoldsToken + ?Sized> HoldsToken for Arc<T> {
    fn tokens(&self) -> &OrganiserTokens {
        T::tokens(self)
    }
}

impl<S: HoldsToken + Sync> FromRequestParts<S> for Organiser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let TokenHolder { person, role } = holder(state.tokens(), &parts.headers).await?;
        match role {
            OrganiserRole::Organiser => Ok(Self { person, venue: None }),
            OrganiserRole::Venue(venue) => Ok(Self { person, venue: Some(venue) }),
            role => Err(forbidden(&role)),
        }
    }
}

impl<S: HoldsToken + Sync> FromRequestParts<S> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let TokenHolder { person, role } = holder(state.tokens(), &parts.headers).await?;
        match role {
            OrganiserRole::Organiser => Ok(Self { person }),
            role => Err(forbidden(&role)),
        }
    }
}

impl<S: HoldsToken + Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let TokenHolder { person, role } = holder(state.tokens(), &parts.headers).await?;
        match &role {
            OrganiserRole::Organiser | OrganiserRole::Analyst => Ok(Self { person, venue: None, role }),
            OrganiserRole::Venue(venue) => Ok(Self { person, venue: Some(venue.clone()), role }),
            OrganiserRole::Operator => Err(forbidden(&role)),
        }
    }
}

/// Refuses requests for metrics that carry no operator's or organiser's token.
///
/// # Errors
/// 401, 403, or 503 if the token cannot be looked up.
pub(crate) async fn admit_operator(tokens: &OrganiserTokens, headers: &HeaderMap) -> Result<(), Problem> {
    match holder(tokens, headers).await?.role {
        OrganiserRole::Organiser | OrganiserRole::Operator => Ok(()),
        role => Err(forbidden(&role)),
    }
}

/// Returns the holder of the request's token.
///
/// # Errors
/// 401 without a token that is taken, 403 if the server has none, 503 if the token cannot be looked up.
async fn holder(tokens: &OrganiserTokens, headers: &HeaderMap) -> Result<TokenHolder, Problem> {
    let presented = bearer_token(headers);
    let found = match presented {
        Some(presented) => tokens.holder(presented).await.map_err(unknown)?,
        None => None,
    };
    match (found, presented) {
        (Some(holder), _) => Ok(holder),
        (None, _) if !tokens.has_shared() => {
            let detail = "This server has no organiser's token; set MUSTER_TOKEN and start Muster again.";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        (None, Some(_)) => Err(Problem::new(StatusCode::UNAUTHORIZED, "The organiser's token is wrong.")),
        (None, None) => {
            let detail = "This is for organisers: send the header “Authorization: Bearer TOKEN”.";
            Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
        }
    }
}

fn forbidden(role: &OrganiserRole) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, format!("A token of the role {role} does not permit this."))
}

fn unknown(error: LookupError) -> Problem {
    let reason = match error {
        LookupError::Late => "it does not answer in time".to_owned(),
        LookupError::Unreadable(error) => error.to_string(),
    };
    tracing::warn!(%reason, "a token cannot be looked up in the event log");
    Problem::unavailable("The event log cannot be read at present, so your token cannot be checked.")
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_short_or_guessable_is_refused() {
        let refused = |secret: &str| secret.parse::<OrganiserToken>().unwrap_err();
        assert_eq!(refused(""), WeakTokenError::Short(0));
        assert_eq!(refused("f3a9c07be152d86"), WeakTokenError::Short(15));
        for secret in [
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "1234567890123456",
            "0123456789abcdef",
            "abcdefghijklmnop",
            "abcabcabcabcabcabc",
            "passwordpassword",
            "password12345678",
            "changemechangeme",
            "organisers-token",
            "organiser-organiser",
            "mustermustermuster",
            "qwertyuiopasdfgh",
            "secretsecretsecret",
            "administrator123",
            "1111111122222222",
        ] {
            assert_eq!(refused(secret), WeakTokenError::Guessable, "{secret}");
        }
        for secret in ["пароль-от-карты-42", "0f9e8d7c6b5a4938\t2716", "f3a9c07be152d86b4e\u{200b}"]
        {
            assert_eq!(refused(secret), WeakTokenError::Unsendable, "{secret}");
        }
        assert!(refused("short").to_string().contains("openssl rand -hex 32"));
    }

    #[test]
    fn a_random_token_or_a_long_phrase_is_taken() {
        for secret in [
            "f3a9c07be152d86b4e91ac0d7735f208",
            "Zk9vQm2xT7LpWc4h",
            "8b1c5f0e-2d7a-4c93-9e66-0a41d2f8b7c3",
            "correct horse battery staple",
            "for organisers only",
            "a-token-of-the-test",
            "organiser-of-the-tests",
            "organiser-of-the-benchmarks",
        ] {
            let token: OrganiserToken = secret.parse().unwrap_or_else(|error| panic!("{secret}: {error}"));
            assert!(token.equals(secret) && !format!("{token:?}").contains(secret));
        }
    }
}
