//! One look at all tasks for everybody who waits for one: the managers do not
//! tell when a task changes, so they are asked, once for all, only while somebody
//! waits, and no more often than they answer easily. That a container runs, its
//! own engine tells sooner, and is believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::swarm::{Swarm, Task, TaskPhase};

/// The pauses between two looks. Looking takes a twentieth of the time at most:
/// alone, nobody waits long for what the managers know; where many wait, the
/// engines have better things to do.
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(250);
const SHARE: u32 = 20;

/// The tasks as they were seen last. Clones are watchers; while there is one
/// besides the first, the Swarm is asked.
#[derive(Clone)]
pub(crate) struct TaskWatcher {
    seen: watch::Receiver<TaskSnapshot>,
    _interest: Arc<()>,
}

/// What one look showed.
#[derive(Debug, Clone)]
pub(crate) struct TaskSnapshot {
    /// When it was begun: what happened before, it shows.
    pub(crate) at: Instant,
    /// Every task of ours.
    pub(crate) tasks: Arc<[Task]>,
    /// Why the looks after this one showed nothing.
    pub(crate) blind: Option<String>,
}

/// What keeps the looks going, until it is dropped.
pub(crate) struct TaskPoller {
    tasks: TaskWatcher,
    looking: tokio::task::JoinHandle<()>,
}

impl TaskPoller {
    /// Begins to look.
    pub(crate) fn start(swarm: Arc<dyn Swarm>) -> Self {
        let nothing = TaskSnapshot { at: Instant::now(), tasks: Arc::new([]), blind: None };
        let (looks, seen) = watch::channel(nothing);
        let interest = Arc::new(());
        let tasks = TaskWatcher { seen, _interest: Arc::clone(&interest) };
        let looking = tokio::spawn(async move {
            let mut starts = swarm.starts();
            let mut started = HashMap::new();
            loop {
                let at = Instant::now();
                // This task and `TaskPoller` itself hold one each.
                if Arc::strong_count(&interest) <= 2 {
                    sleep(PAUSE_MIN).await;
                    continue;
                }
                match swarm.tasks().await {
                    Ok(tasks) => {
                        started.retain(|id, heard| *heard > at || tasks.iter().any(|task| task.id == *id));
                        let tasks = running(&tasks, &started);
                        looks.send_replace(TaskSnapshot { at, tasks, blind: None });
                    }
                    Err(error) => looks.send_modify(|seen| seen.blind = Some(error.to_string())),
                }
                let pause = sleep((at.elapsed() * SHARE).clamp(PAUSE_MIN, PAUSE_MAX));
                tokio::pin!(pause);
                loop {
                    tokio::select! {
                        () = &mut pause => break,
                        Some(id) = starts.next() => {
                            started.insert(id, Instant::now());
                            looks.send_modify(|seen| seen.tasks = running(&seen.tasks, &started));
                        }
                    }
                }
            }
        });
        Self { tasks, looking }
    }

    /// Somebody who waits for tasks.
    pub(crate) fn watcher(&self) -> TaskWatcher {
        self.tasks.clone()
    }
}

impl Drop for TaskPoller {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl TaskWatcher {
    /// The newest look.
    pub(crate) fn now(&self) -> TaskSnapshot {
        self.seen.borrow().clone()
    }

    /// Waits until a look shows what is waited for; `None` at the deadline.
    pub(crate) async fn until<T>(
        &mut self,
        deadline: Instant,
        mut shows: impl FnMut(&TaskSnapshot) -> Option<T>,
    ) -> Option<T> {
        timeout_at(deadline, async {
            loop {
                let seen = self.seen.borrow_and_update().clone();
                if let Some(found) = shows(&seen) {
                    return Some(found);
                }
                // Nobody looks any more: the verifier is being dropped.
                self.seen.changed().await.ok()?;
            }
        })
        .await
        .ok()
        .flatten()
    }
}

/// The tasks, with those running whose engines say so, unless more is known.
fn running(tasks: &[Task], started: &HashMap<String, Instant>) -> Arc<[Task]> {
    let known = tasks.iter().cloned().map(|mut task| {
        let is_on_its_way =
            matches!(task.phase, TaskPhase::Placing(_) | TaskPhase::Pulling | TaskPhase::Starting);
        if is_on_its_way && started.contains_key(&task.id) {
            task.phase = TaskPhase::Running;
        }
        task
    });
    known.collect()
}
