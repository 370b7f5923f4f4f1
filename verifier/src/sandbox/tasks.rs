//! Polls the Swarm's tasks once for all waiters, because the managers do not report when a task changes.
//! Polls only while a waiter exists, and less often the longer the managers take to answer. Start events from
//! the engines make a running task known sooner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::swarm::{Swarm, Task, TaskId, TaskPhase};

/// The shortest and the longest pause between two requests. A pause is at least [`SHARE`] times as long as
/// the request took, so that polling costs the managers at most a twentieth of the time if the longest pause
/// allows it.
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(250);
const SHARE: u32 = 20;

/// A watcher of the newest snapshot. The Swarm is polled while a watcher besides the poller's own exists.
#[derive(Clone)]
pub(crate) struct TaskWatcher {
    snapshots: watch::Receiver<TaskSnapshot>,
    _interest: Arc<()>,
}

/// The tasks at one moment.
#[derive(Debug, Clone)]
pub(crate) struct TaskSnapshot {
    /// The start of the request, so every earlier change is included.
    pub(crate) at: Instant,
    /// Every task of this verifier.
    pub(crate) tasks: Arc<[Task]>,
    /// The error of the requests after this one, if they failed.
    pub(crate) error: Option<String>,
}

/// A background task that polls the Swarm's tasks until this is dropped.
pub(crate) struct TaskPoller {
    tasks: TaskWatcher,
    polling: tokio::task::JoinHandle<()>,
}

impl TaskPoller {
    pub(crate) fn start(swarm: Arc<dyn Swarm>) -> Self {
        let empty = TaskSnapshot { at: Instant::now(), tasks: Arc::new([]), error: None };
        let (sender, snapshots) = watch::channel(empty);
        let interest = Arc::new(());
        let tasks = TaskWatcher { snapshots, _interest: Arc::clone(&interest) };
        let polling = tokio::spawn(async move {
            let mut starts = swarm.starts();
            let mut started = HashMap::new();
            loop {
                let at = Instant::now();
                // This task and `TaskPoller` itself hold one reference each.
                if Arc::strong_count(&interest) <= 2 {
                    sleep(PAUSE_MIN).await;
                    continue;
                }
                match swarm.tasks().await {
                    Ok(tasks) => {
                        started.retain(|id, heard| *heard > at || tasks.iter().any(|task| task.id == *id));
                        let tasks = mark_started(&tasks, &started);
                        sender.send_replace(TaskSnapshot { at, tasks, error: None });
                    }
                    Err(error) => sender.send_modify(|snapshot| snapshot.error = Some(error.to_string())),
                }
                let pause = sleep((at.elapsed() * SHARE).clamp(PAUSE_MIN, PAUSE_MAX));
                tokio::pin!(pause);
                loop {
                    tokio::select! {
                        () = &mut pause => break,
                        Some(id) = starts.next() => {
                            started.insert(id, Instant::now());
                            sender.send_modify(|snapshot| {
                                snapshot.tasks = mark_started(&snapshot.tasks, &started);
                            });
                        }
                    }
                }
            }
        });
        Self { tasks, polling }
    }

    pub(crate) fn watcher(&self) -> TaskWatcher {
        self.tasks.clone()
    }
}

impl Drop for TaskPoller {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl TaskWatcher {
    /// Returns the newest snapshot.
    pub(crate) fn now(&self) -> TaskSnapshot {
        self.snapshots.borrow().clone()
    }

    /// Waits until `find` returns a value for a snapshot, and returns that value. Returns `None` at the
    /// deadline.
    pub(crate) async fn until<T>(
        &mut self,
        deadline: Instant,
        mut find: impl FnMut(&TaskSnapshot) -> Option<T>,
    ) -> Option<T> {
        timeout_at(deadline, async {
            loop {
                let snapshot = self.snapshots.borrow_and_update().clone();
                if let Some(found) = find(&snapshot) {
                    return Some(found);
                }
                // Fails once the poller is dropped, as the verifier ends.
                self.snapshots.changed().await.ok()?;
            }
        })
        .await
        .ok()
        .flatten()
    }
}

/// Returns the tasks, and marks those as running whose engines reported a start before the managers did.
fn mark_started(tasks: &[Task], started: &HashMap<TaskId, Instant>) -> Arc<[Task]> {
    let known = tasks.iter().cloned().map(|mut task| {
        let is_before_start =
            matches!(task.phase, TaskPhase::Placing(_) | TaskPhase::Pulling | TaskPhase::Starting);
        if is_before_start && started.contains_key(&task.id) {
            task.phase = TaskPhase::Running;
        }
        task
    });
    known.collect()
}
