//! An app of a slot run, and its progress as the Swarm reports it.

use std::net::IpAddr;
use std::time::Duration;

use domain::ImageRef;
use tokio::time::Instant;

use super::AppFinding;
use crate::gate::RunnableImage;
use crate::sandbox::tasks::TaskSnapshot;
use crate::swarm::{NetworkId, ServiceId, Task, TaskEnding, TaskId, TaskPhase};

/// An image that is run in the slot.
pub(super) struct AppRun {
    pub(super) image: ImageRef,
    pub(super) resolved: RunnableImage,
    pub(super) began: Instant,
    /// The time from the beginning until the image was on the node.
    pub(super) pulled_after: Option<Duration>,
    /// The time from the beginning until the container ran.
    pub(super) started_after: Option<Duration>,
    /// True if the app has ever accepted a connection.
    pub(super) has_connected: bool,
    pub(super) state: AppState,
}

/// The progress of an app.
pub(super) enum AppState {
    /// The service exists. No task of the service was seen yet.
    Created(ServiceId),
    /// The task exists. Its container has not started yet.
    Scheduled { task: TaskId, phase: TaskPhase },
    /// The container runs. `address` is `None` if the task has no address in its slot's network.
    Running { task: TaskId, since: Instant, address: Option<IpAddr> },
    /// The container has ended. The meaning of that is not decided yet.
    Ended { task: TaskId, ending: TaskEnding },
    /// The finding about the app is final.
    Done(AppFinding),
}

impl AppRun {
    /// Returns true if the app's container makes no more progress.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, AppState::Ended { .. } | AppState::Done(_))
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, AppState::Done(_))
    }

    /// Returns true if the task has a node.
    pub(super) fn is_placed(&self) -> bool {
        match &self.state {
            AppState::Created(_) => false,
            AppState::Scheduled { phase, .. } => !matches!(phase, TaskPhase::Placing(_)),
            AppState::Running { .. } | AppState::Ended { .. } | AppState::Done(_) => true,
        }
    }

    pub(super) fn is_pulled(&self) -> bool {
        self.pulled_after.is_some()
    }

    pub(super) fn is_started(&self) -> bool {
        self.started_after.is_some()
    }

    /// Updates the progress from a snapshot of all tasks. `network` is the slot's.
    pub(super) fn update(&mut self, snapshot: &TaskSnapshot, network: &NetworkId) {
        let Some(task) = snapshot.tasks.iter().find(|task| self.state.is_about(task)) else { return };
        // An app that ended by itself had been pulled and started.
        let ended_by_itself =
            matches!(task.phase, TaskPhase::Ended(TaskEnding::Exited(_) | TaskEnding::NotStarted(_)));
        if ended_by_itself || matches!(task.phase, TaskPhase::Starting | TaskPhase::Running) {
            self.pulled_after.get_or_insert_with(|| self.began.elapsed());
        }
        let id = task.id.clone();
        match (&task.phase, &self.state) {
            (TaskPhase::Ended(ending), _) => {
                self.state = AppState::Ended { task: id, ending: ending.clone() };
            }
            (_, AppState::Running { .. } | AppState::Ended { .. }) => {}
            (TaskPhase::Running, _) => {
                let since = Instant::now();
                self.started_after = Some(since.duration_since(self.began));
                self.state = AppState::Running { task: id, since, address: task.address_in(network) };
            }
            (phase, _) => self.state = AppState::Scheduled { task: id, phase: phase.clone() },
        }
    }
}

impl AppState {
    /// Returns true if the app is run by this task. Only the first task of a service is: the Swarm may
    /// replace a task that it stops.
    fn is_about(&self, task: &Task) -> bool {
        match self {
            Self::Created(service) => task.service == *service,
            Self::Scheduled { task: id, .. }
            | Self::Running { task: id, .. }
            | Self::Ended { task: id, .. } => task.id == *id,
            Self::Done(_) => false,
        }
    }
}
