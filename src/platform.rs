//! What participants are told of the platform: nothing while some verifier is
//! well, and else that their submissions wait. It comes from the views, so it
//! is the same wherever the verifiers run.

use std::sync::Arc;
use std::time::Duration;

use projections::ViewQueries;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Why exactly is for the operator, in the log and for organisers.
const PAUSED: &str = "Our Swarm cannot run your images just now, by no fault of yours. \
    Your submission keeps its place in the queue.";

/// How often the views are looked at: at most, and at least.
const LOOKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// Follows what the verifiers report, until it is asked to stop.
pub(crate) fn follow(
    views: Arc<dyn ViewQueries>,
    stopping: CancellationToken,
) -> watch::Receiver<Option<String>> {
    let (told, platform) = watch::channel(None);
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        let mut checkpoint = views.watch();
        loop {
            // Readers of views that cannot be read are told so at once.
            if let Ok(sandboxes) = views.sandboxes().await {
                let well = sandboxes.iter().any(|one| one.sandbox.pause_reason.is_none());
                let now = (!well).then(|| PAUSED.to_owned());
                told.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
            }
            sleep(LOOKS[0]).await;
            // Moved, or some time has passed: either way it is time.
            let _ = timeout(LOOKS[1], checkpoint.changed()).await;
        }
    }));
    platform
}

#[cfg(test)]
mod tests {
    use domain::sandbox::SandboxReported;
    use event_store::Position;
    use jiff::Timestamp;
    use projections::view::SandboxView;
    use projections::{MemoryViews, ViewStore};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_verifier_that_is_well_is_enough() {
        let views = Arc::new(MemoryViews::new());
        let mut platform = follow(views.clone(), CancellationToken::new());
        // Nobody verifies yet.
        platform.wait_for(Option::is_some).await.unwrap();
        let mut at = Position::START;
        for (verifier, trouble, paused) in [
            ("a", Some("no manager"), true),
            ("b", None, false),
            ("b", Some("stopped"), true),
            ("a", None, false),
        ] {
            let upto = Position(at.0 + 1);
            let sandbox = SandboxReported { pause_reason: trouble.map(str::to_owned), nodes: vec![] };
            let report = SandboxView {
                verifier: verifier.to_owned(),
                position: upto,
                since: Timestamp::UNIX_EPOCH,
                sandbox,
            };
            views.record_sandbox(&report).await.unwrap();
            views.apply(at, &[], upto).await.unwrap();
            at = upto;
            platform.wait_for(|told| told.is_some() == paused).await.unwrap();
        }
    }
}
