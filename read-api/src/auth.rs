//! Who may see what is not public: holders of the organisers' token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::problem::Problem;

/// The organisers' secret. Never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes a text as the token; `None` when it is empty.
    pub fn new(secret: &str) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(secret.into()))
    }

    fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A request that bears the token. A handler that takes one is for organisers only.
pub(crate) struct Organiser;

impl FromRequestParts<Arc<App>> for Organiser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(token) = &app.token else {
            let why = "This server has no organisers' token; set MUSTER_TOKEN and start it again.";
            return Err(Problem::new(StatusCode::FORBIDDEN, why));
        };
        let presented = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match presented {
            Some(presented) if token.is(presented) => Ok(Self),
            Some(_) => Err(Problem::new(StatusCode::UNAUTHORIZED, "The token is wrong.")),
            None => {
                let why = "This is for organisers: send the header “Authorization: Bearer TOKEN”.";
                Err(Problem::new(StatusCode::UNAUTHORIZED, why))
            }
        }
    }
}
