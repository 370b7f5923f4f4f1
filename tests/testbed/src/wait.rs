//! Waiting until something is so, never for a time that seems enough.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

/// Asks `poll` again and again until it has an answer.
///
/// # Errors
///
/// When `within` has passed, with what was waited for.
pub async fn until<T>(what: &str, within: Duration, mut poll: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = poll().await {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("waited {within:?} in vain for {what}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
