//! One look at all tasks for everybody who waits for one: the Swarm does not
//! tell when a task changes, so it is asked, once for all, and only while
//! somebody waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::swarm::{Swarm, Task};

/// An engine passes its tasks' states on every 100 ms.
const POLL: Duration = Duration::from_millis(100);

/// The tasks as they were seen last. Clones are watchers; while there is one
/// besides the first, the Swarm is asked.
#[derive(Clone)]
pub(crate) struct Tasks {
    seen: watch::Receiver<Seen>,
    _interest: Arc<()>,
}

/// What one look showed.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// When it was begun: what happened before, it shows.
    pub(crate) at: Instant,
    /// Every task of ours.
    pub(crate) tasks: Arc<[Task]>,
    /// Why the looks after this one showed nothing.
    pub(crate) blind: Option<String>,
}

/// What keeps the looks going, until it is dropped.
pub(crate) struct Watch {
    tasks: Tasks,
    looking: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn start(swarm: Arc<dyn Swarm>) -> Self {
        let nothing = Seen { at: Instant::now(), tasks: Arc::new([]), blind: None };
        let (looks, seen) = watch::channel(nothing);
        let interest = Arc::new(());
        let tasks = Tasks { seen, _interest: Arc::clone(&interest) };
        let looking = tokio::spawn(async move {
            let mut ticks = interval(POLL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // This task and `Watch` itself hold one each.
                if Arc::strong_count(&interest) <= 2 {
                    continue;
                }
                let at = Instant::now();
                match swarm.tasks().await {
                    Ok(tasks) => {
                        looks.send_replace(Seen { at, tasks: tasks.into(), blind: None });
                    }
                    Err(error) => looks.send_modify(|seen| seen.blind = Some(error.to_string())),
                }
            }
        });
        Self { tasks, looking }
    }

    /// Somebody who waits for tasks.
    pub(crate) fn watcher(&self) -> Tasks {
        self.tasks.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Tasks {
    /// The newest look.
    pub(crate) fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until a look shows what is waited for; `None` at the deadline.
    pub(crate) async fn until<T>(
        &mut self,
        deadline: Instant,
        mut shows: impl FnMut(&Seen) -> Option<T>,
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
