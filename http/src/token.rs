//! The organiser's token: a secret that a request for organisers carries as a bearer token (RFC 6750).

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::Problem;

/// The organiser's token. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct OrganiserToken(Arc<str>);

/// A request that carries the organiser's token. A handler with this argument is for organisers only.
#[derive(Debug)]
pub struct Organiser;

/// A state of handlers that knows the organiser's token.
pub trait HoldsToken {
    /// Returns the token, or `None` if this server has none and so refuses every organiser.
    fn token(&self) -> Option<&OrganiserToken>;
}

impl OrganiserToken {
    /// Takes `secret` as the token, or returns `None` if it is empty.
    pub fn new(secret: &str) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(secret.into()))
    }

    /// Compares in constant time, so that the duration does not reveal the token.
    fn equals(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl fmt::Debug for OrganiserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrganiserToken(…)")
    }
}

impl<T: HoldsToken + ?Sized> HoldsToken for Arc<T> {
    fn token(&self) -> Option<&OrganiserToken> {
        T::token(self)
    }
}

impl<S: HoldsToken + Sync> FromRequestParts<S> for Organiser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Some(token) = state.token() else {
            let detail = "This server has no organiser's token; set MUSTER_TOKEN and start Muster again.";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        };
        match bearer_token(&parts.headers) {
            Some(presented) if token.equals(presented) => Ok(Self),
            Some(_) => Err(Problem::new(StatusCode::UNAUTHORIZED, "The organiser's token is wrong.")),
            None => {
                let detail = "This is for organisers: send the header “Authorization: Bearer TOKEN”.";
                Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
            }
        }
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
