//! The faults for which a verifier begins nothing, although its Swarm is well.

use tokio::sync::watch;

use super::Slots;

/// The reason why a verifier begins nothing, in a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VerifierFault {
    /// The machine's clock is wrong. What is the verifier's own is known without it.
    Clock(String),
    /// Another process has the verifier's name, so nothing tells what is this one's own.
    Name(String),
}

impl VerifierFault {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Clock(reason) | Self::Name(reason) => reason,
        }
    }
}

impl Slots {
    /// Returns true if another process has this verifier's name, as far as is known.
    pub(crate) fn is_name_shared(&self) -> bool {
        self.keeper.is_name_shared()
    }

    /// Begins nothing while `fault` has one: no attempt, no slot and no inspection. Tells its reason as the pause reason. Returns when
    /// the sender is gone.
    pub(crate) async fn heed_fault(&self, mut fault: watch::Receiver<Option<VerifierFault>>) {
        loop {
            let now = fault.borrow_and_update().clone();
            self.keeper.pool().fault = now;
            self.keeper.notify();
            if fault.changed().await.is_err() {
                return;
            }
        }
    }

    /// Begins no attempt while the gate has trouble, and tells it as the pause reason. Returns when the sender is gone.
    pub(crate) async fn heed_gate(&self, mut trouble: watch::Receiver<Option<String>>) {
        loop {
            let now = trouble.borrow_and_update().clone();
            self.keeper.pool().gate_trouble = now;
            self.keeper.notify();
            if trouble.changed().await.is_err() {
                return;
            }
        }
    }
}
