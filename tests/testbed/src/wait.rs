//! Waits until something is true, never for a fixed time.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

/// Calls `poll` again and again until it returns a value.
///
/// # Errors
///
/// Fails if `within` has passed. The error contains `what`.
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
