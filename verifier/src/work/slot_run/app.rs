//! One image of a trial, and how far the Swarm brought it.

use std::net::IpAddr;
use std::time::Duration;

use domain::ImageRef;
use tokio::time::Instant;

use super::Finding;
use crate::registry::Found;
use crate::sandbox::tasks::Seen;
use crate::swarm::{Ending, Phase, Task};

/// One of the images.
pub(super) struct App {
    pub(super) image: ImageRef,
    pub(super) found: Found,
    /// The id of its service.
    pub(super) service: String,
    pub(super) began: Instant,
    pub(super) phase: Option<Phase>,
    pub(super) task: String,
    pub(super) pulled: Option<Duration>,
    pub(super) running: Option<Running>,
    pub(super) finding: Option<Finding>,
}

/// Since when it runs, and where.
pub(super) struct Running {
    pub(super) since: Instant,
    pub(super) address: Option<IpAddr>,
}

impl App {
    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.finding.is_some() || matches!(self.phase, Some(Phase::Ended(_)))
    }

    /// Takes note of what a look at the tasks shows of it.
    pub(super) fn take_note(&mut self, seen: &Seen, network: &str) {
        // The Swarm may put another in the place of one that it stops.
        let is_its =
            |task: &&Task| task.service == self.service && (self.task.is_empty() || task.id == self.task);
        let Some(task) = seen.tasks.iter().find(is_its) else { return };
        self.phase = Some(task.phase.clone());
        self.task.clone_from(&task.id);
        // What ended by itself was there and was begun.
        let by_itself = matches!(task.phase, Phase::Ended(Ending::Exited(_) | Ending::NotStarted(_)));
        if by_itself || matches!(task.phase, Phase::Starting | Phase::Running) {
            self.pulled.get_or_insert_with(|| self.began.elapsed());
        }
        if task.phase == Phase::Running {
            let address = task.addresses.iter().find(|(id, _)| id == network).map(|(_, address)| *address);
            self.running.get_or_insert_with(|| Running { since: Instant::now(), address });
        }
    }
}
