//! One look at all tasks for everybody who waits for one: the Swarm does not
//! tell when a task changes, so it is asked, once for all, only while somebody
//! waits, and no more often than it answers easily.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::swarm::{Swarm, Task};

/// The pauses between two looks. Looking takes a twentieth of the time at most:
/// alone, nobody waits long for what the managers know; where many wait, the
/// engines have better things to do.
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(250);
const SHARE: u32 = 20;

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
            loop {
                let at = Instant::now();
                // This task and `Watch` itself hold one each.
                if Arc::strong_count(&interest) <= 2 {
                    sleep(PAUSE_MIN).await;
                    continue;
                }
                match swarm.tasks().await {
                    Ok(tasks) => {
                        looks.send_replace(Seen { at, tasks: tasks.into(), blind: None });
                    }
                    Err(error) => looks.send_modify(|seen| seen.blind = Some(error.to_string())),
                }
                sleep((at.elapsed() * SHARE).clamp(PAUSE_MIN, PAUSE_MAX)).await;
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
