//! The authorizations that registries gave us, until they end, so that not each request asks for a new one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The number of authorizations that are remembered.
const TOKENS_MAX: usize = 1000;

/// The time before its end at which a token is used no more.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest time for which a token is used, whatever its registry says.
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// Authorizations, by registry and repository.
#[derive(Debug, Default)]
pub(super) struct TokenMemory(Mutex<HashMap<(String, String), HeldToken>>);

/// The value of an `Authorization` header.
#[derive(Clone)]
pub(super) struct HeldToken {
    pub(super) authorization: String,
    until: Instant,
}

impl HeldToken {
    pub(super) fn new(authorization: String, lifetime: Duration) -> Self {
        Self { authorization, until: Instant::now() + lifetime.min(LIFE_MAX).saturating_sub(MARGIN) }
    }
}

impl std::fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldToken({:?})", self.until)
    }
}

impl TokenMemory {
    pub(super) fn recall(&self, registry: &str, repository: &str) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = tokens.get(&(registry.to_owned(), repository.to_owned()))?;
        (held.until > Instant::now()).then(|| held.authorization.clone())
    }

    pub(super) fn remember(&self, registry: &str, repository: &str, token: HeldToken) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            let now = Instant::now();
            tokens.retain(|_, held| held.until > now);
        }
        if tokens.len() < TOKENS_MAX {
            tokens.insert((registry.to_owned(), repository.to_owned()), token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_an_hour_whatever_its_registry_says() {
        let held = HeldToken::new("Bearer x".to_owned(), Duration::from_secs(u64::MAX));
        assert!(held.until <= Instant::now() + LIFE_MAX);
    }
}
