//! The pause message for participants. It says that submissions wait, and is absent while at least one verifier works.
//! It is derived from the views, so every process shows the same.

use std::sync::Arc;
use std::time::Duration;

use projections::ViewQueries;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The message names no cause. Operators read the cause in the log, and organisers on their page.
const PAUSED: &str = "Our Swarm cannot run your images just now, by no fault of yours. \
    Your submission keeps its place in the queue.";

/// The shortest time between two reads of the views.
const PERIOD_MIN: Duration = Duration::from_millis(250);

/// About the longest time between two reads of the views.
const PERIOD_MAX: Duration = Duration::from_secs(5);

/// Watches the reports of the verifiers until `stopping` is cancelled. The value is the pause message, if there is one.
pub(crate) fn watch_verifiers(
    views: Arc<dyn ViewQueries>,
    stopping: CancellationToken,
) -> watch::Receiver<Option<String>> {
    let (sender, pause_message) = watch::channel(None);
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        let mut checkpoint = views.watch();
        loop {
            // If the views cannot be read, the last message stays. Readers of the views get an error anyway.
            if let Ok(sandboxes) = views.sandboxes().await {
                let works = sandboxes.iter().any(|view| view.sandbox.pause_reason.is_none());
                let now = (!works).then(|| PAUSED.to_owned());
                sender.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
            }
            sleep(PERIOD_MIN).await;
            // Reads again after a change, and after some time without one.
            let _ = timeout(PERIOD_MAX, checkpoint.changed()).await;
        }
    }));
    pause_message
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
    async fn one_working_verifier_is_enough() {
        let views = Arc::new(MemoryViews::new());
        let mut pause_message = watch_verifiers(views.clone(), CancellationToken::new());
        // No verifier has reported yet.
        pause_message.wait_for(Option::is_some).await.unwrap();
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
            pause_message.wait_for(|message| message.is_some() == paused).await.unwrap();
        }
    }
}
