//! The Swarm's managers: asks one after the other until one of them answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::api_error::ApiError;
use super::engine::Engine;

/// The managers, each of which can do everything. The manager that answered last is asked first.
pub(super) struct SwarmManagers {
    engines: Vec<Arc<Engine>>,
    current: AtomicUsize,
}

impl SwarmManagers {
    pub(super) fn new(engines: Vec<Arc<Engine>>) -> Self {
        Self { engines, current: AtomicUsize::new(0) }
    }

    /// Returns every engine, beginning with the one that answered last.
    pub(super) fn engines(&self) -> impl Iterator<Item = &Arc<Engine>> {
        let current = self.current.load(Ordering::Relaxed);
        (0..self.engines.len()).map(move |next| &self.engines[(current + next) % self.engines.len()])
    }

    /// Asks one manager after the other until one gives an answer other than [`ApiError::Unavailable`]. Each
    /// has `patience` to answer, because the client's own timeout ends at the response's headers.
    pub(super) async fn ask<T, F>(
        &self,
        patience: Duration,
        call: impl Fn(Arc<Engine>) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for next in 0..self.engines.len() {
            let index = (first + next) % self.engines.len();
            let engine = &self.engines[index];
            let answer = timeout(patience, call(Arc::clone(engine))).await;
            let answer = answer
                .unwrap_or_else(|_| Err(ApiError::Unavailable(format!("no answer within {patience:?}"))));
            match answer {
                Err(ApiError::Unavailable(why)) => reasons.push(format!("{}: {why}", engine.endpoint())),
                known => {
                    self.current.store(index, Ordering::Relaxed);
                    return known;
                }
            }
        }
        Err(ApiError::Unavailable(format!("no Swarm manager answers at {}", reasons.join("; "))))
    }
}
