//! The end of a process in two steps. It leaves first: it is not ready any more but still serves, so that a balancer in front
//! sends its clients elsewhere. Then it stops.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The two steps of a process's end. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the process is asked to end.
    pub leaving: CancellationToken,
    /// Cancelled when the parts of the process have to end.
    pub stopping: CancellationToken,
}

impl Shutdown {
    /// Creates the steps of a process that stops `pause` after it was asked to.
    pub fn after(pause: Duration) -> Self {
        let shutdown = Self::default();
        let Self { leaving, stopping } = shutdown.clone();
        tokio::spawn(async move {
            leaving.cancelled().await;
            sleep(pause).await;
            stopping.cancel();
        });
        shutdown
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_leaves_at_once_and_stops_after_the_pause() {
        let shutdown = Shutdown::after(Duration::from_secs(2));
        let waiting = timeout(Duration::from_secs(3600), shutdown.stopping.cancelled());
        assert!(waiting.await.is_err(), "nobody asked the process to stop");

        let asked = Instant::now();
        shutdown.leaving.cancel();
        shutdown.stopping.cancelled().await;
        assert_eq!(asked.elapsed().as_secs(), 2);
    }
}
