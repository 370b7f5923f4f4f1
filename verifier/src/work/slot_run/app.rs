//! One image of a trial, and how far the Swarm brought it.

use std::net::IpAddr;
use std::time::Duration;

use domain::ImageRef;
use tokio::time::Instant;

use super::AppFinding;
use crate::registry::ResolvedImage;
use crate::sandbox::tasks::TaskSnapshot;
use crate::swarm::{Task, TaskEnding, TaskPhase};

/// One of the images.
pub(super) struct AppRun {
    pub(super) image: ImageRef,
    pub(super) found: ResolvedImage,
    /// The id of its service.
    pub(super) service: String,
    pub(super) began: Instant,
    pub(super) phase: Option<TaskPhase>,
    pub(super) task: String,
    pub(super) pulled: Option<Duration>,
    pub(super) running: Option<Running>,
    pub(super) finding: Option<AppFinding>,
}

/// Since when it runs, and where.
pub(super) struct Running {
    pub(super) since: Instant,
    pub(super) address: Option<IpAddr>,
}

impl AppRun {
    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.finding.is_some() || matches!(self.phase, Some(TaskPhase::Ended(_)))
    }

    /// Takes note of what a look at the tasks shows of it.
    pub(super) fn take_note(&mut self, seen: &TaskSnapshot, network: &str) {
        // The Swarm may put another in the place of one that it stops.
        let is_its =
            |task: &&Task| task.service == self.service && (self.task.is_empty() || task.id == self.task);
        let Some(task) = seen.tasks.iter().find(is_its) else { return };
        self.phase = Some(task.phase.clone());
        self.task.clone_from(&task.id);
        // What ended by itself was there and was begun.
        let by_itself =
            matches!(task.phase, TaskPhase::Ended(TaskEnding::Exited(_) | TaskEnding::NotStarted(_)));
        if by_itself || matches!(task.phase, TaskPhase::Starting | TaskPhase::Running) {
            self.pulled.get_or_insert_with(|| self.began.elapsed());
        }
        if task.phase == TaskPhase::Running {
            let address = task.addresses.iter().find(|(id, _)| id == network).map(|(_, address)| *address);
            self.running.get_or_insert_with(|| Running { since: Instant::now(), address });
        }
    }
}
