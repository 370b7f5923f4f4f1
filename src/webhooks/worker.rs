//! The worker of one hook: follows the log and delivers. It keeps its place in a file, so that nothing is lost over a
//! restart. Each hook has a worker of its own, so a slow receiver delays no other.

use std::sync::Arc;
use std::time::Duration;

use commands::QueueLength;
use event_store::{
    EventFilter, Follow, LogCheckpoint, LogIdentity, ReadError, RecordedEvent, Subscription, SubscriptionItem,
};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::HookBoard;
use super::file::WebhookSetting;
use super::kept::KeptFile;
use super::metrics::WebhookMetrics;
use super::notice::{NoticeKind, WebhookNotice, notices_of};
use super::queue::{FailedTry, HookQueue, KeptQueue, LogPlace};
use super::sender::MessageSender;

/// The pause after the log or the file could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// The longest sleep before the clock is looked at again.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The number of events without a notice after which the place in the log is kept anyway.
const UNKEPT_MAX: u32 = 1000;

/// The worker of one hook.
pub(super) struct HookWorker {
    pub(super) log: Arc<dyn Follow>,
    pub(super) setting: WebhookSetting,
    pub(super) sender: MessageSender,
    pub(super) file: KeptFile,
    pub(super) board: Arc<HookBoard>,
    pub(super) metrics: WebhookMetrics,
    /// The number of waiting submissions from which the queue is long, and its length once the views know it.
    pub(super) queue_long: u64,
    pub(super) length: watch::Receiver<Option<QueueLength>>,
    pub(super) stopping: CancellationToken,
}

impl HookWorker {
    /// Delivers until the process is asked to stop.
    pub(super) async fn run(mut self) {
        let mut queue: Option<HookQueue> = None;
        while !self.stopping.is_cancelled() {
            let worked = match &mut queue {
                None => self.begin().await.map(|begun| queue = Some(begun)),
                Some(queue) => self.follow(queue).await,
            };
            if let Err(why) = worked {
                if let Some(queue) = queue.take() {
                    self.keep(&queue).await;
                }
                tracing::warn!("the webhook {} pauses and tries again: {why}", self.setting.name);
                self.board.show_trouble(Some(why));
                self.stopping.run_until_cancelled(sleep(TROUBLE_PAUSE)).await;
            }
        }
        if let Some(queue) = queue {
            self.keep(&queue).await;
        }
    }

    /// Loads the queue. A new hook begins with what happens next.
    async fn begin(&self) -> Result<HookQueue, String> {
        let file = self.file.clone();
        let loaded = spawn_blocking(move || file.load()).await.map_err(|error| error.to_string())?;
        let mut kept: KeptQueue = loaded.map_err(|error| error.to_string())?.unwrap_or_default();
        let begun = self.checkpoint(kept.read).await.map_err(|error| error.to_string())?;
        kept.read = Some(begun.into());
        let queue = HookQueue::new(kept);
        self.keep(&queue).await;
        Ok(queue)
    }

    /// Returns the place at which to go on. In another log than before, that is its end.
    async fn checkpoint(&self, kept: Option<LogPlace>) -> Result<LogCheckpoint, ReadError> {
        let identity = LogIdentity::read(&*self.log).await?;
        if let Some(kept) = kept.map(LogCheckpoint::from) {
            match kept.check(&*self.log, identity).await {
                Ok(()) => return Ok(LogCheckpoint { log: kept.log.or(identity), ..kept }),
                Err(error @ (ReadError::OtherLog { .. } | ReadError::BeyondEnd { .. })) => {
                    let name = &self.setting.name;
                    tracing::warn!("the webhook {name} finds another log, and begins at its end: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        let position = self.log.head().await?;
        let event = self.log.event_at(position).await?.map(|event| event.id);
        Ok(LogCheckpoint { log: identity, position, event })
    }

    /// Follows the log and delivers, until the process is asked to stop or the log fails.
    async fn follow(&mut self, queue: &mut HookQueue) -> Result<(), String> {
        let place = queue.kept.read.map(|place| place.position).unwrap_or_default();
        let mut events: Subscription = self.log.subscribe(place, EventFilter::default());
        self.board.show_trouble(None);
        let (stopping, board) = (self.stopping.clone(), Arc::clone(&self.board));
        let mut unkept = 0;
        loop {
            board.show(queue);
            self.metrics.set_waiting(&self.setting.name, queue.kept.waiting.len());
            let now = Timestamp::now();
            if let Some(notice) = queue.to_try(now).cloned() {
                let Some(sent) = stopping.run_until_cancelled(self.sender.send(&self.setting, &notice)).await
                else {
                    return Ok(());
                };
                self.note(queue, &notice, sent.map_err(|error| (error.why, error.retry_after)));
                self.keep(queue).await;
                continue;
            }
            let next_try = queue.next_try().map(|next| until(next, now));
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(()),
                () = board.again.notified() => queue.try_again(Timestamp::now()),
                () = sleep(next_try.unwrap_or(SLEEP_MAX)) => {}
                Ok(()) = self.length.changed() => {
                    if self.look_at_length(queue) {
                        self.keep(queue).await;
                    }
                }
                item = events.next(), if queue.has_room() => {
                    let item = item.ok_or("the subscription ended")?.map_err(|error| error.to_string())?;
                    let SubscriptionItem::Event(event) = item else { continue };
                    let is_new = self.take(queue, &event).await.map_err(|error| error.to_string())?;
                    unkept += 1;
                    if is_new || unkept >= UNKEPT_MAX {
                        self.keep(queue).await;
                        unkept = 0;
                    }
                }
            }
        }
    }

    /// Takes an event. Returns true if it makes a notice.
    async fn take(&self, queue: &mut HookQueue, event: &RecordedEvent) -> Result<bool, ReadError> {
        let notices = notices_of(&*self.log, event, &self.setting.name, &self.setting.kinds).await?;
        let (now, is_new) = (Timestamp::now(), !notices.is_empty());
        notices.into_iter().for_each(|notice| queue.add(notice, now));
        let log = queue.kept.read.and_then(|place| LogCheckpoint::from(place).log);
        let read = LogCheckpoint { log, position: event.position, event: Some(event.id) };
        queue.kept.read = Some(read.into());
        Ok(is_new)
    }

    /// Looks at the length of the submissions' queue. Returns true if something is to be kept.
    fn look_at_length(&mut self, queue: &mut HookQueue) -> bool {
        let Some(QueueLength { waiting, expected_wait_s }) = *self.length.borrow_and_update() else {
            return false;
        };
        if !self.setting.kinds.contains(&NoticeKind::QueueLong) {
            return false;
        }
        let was_long = queue.kept.queue_is_long;
        if queue.becomes_long(waiting, self.queue_long) {
            let position = queue.kept.read.map(|place| place.position).unwrap_or_default();
            let notice = WebhookNotice::of_queue(waiting, expected_wait_s, position);
            queue.add(notice, Timestamp::now());
        }
        was_long != queue.kept.queue_is_long
    }

    /// Notes the outcome of a try.
    fn note(
        &self,
        queue: &mut HookQueue,
        notice: &WebhookNotice,
        sent: Result<(), (String, Option<Duration>)>,
    ) {
        let (name, now) = (self.setting.name.as_str(), Timestamp::now());
        match sent {
            Ok(()) => {
                queue.delivered(&notice.id, now);
                self.metrics.tried(name, "delivered");
            }
            Err((why, asked)) => match queue.failed(&notice.id, &why, asked, now) {
                FailedTry::TriedAgain => {
                    tracing::warn!("the webhook {name} did not get {}: {why}; trying again", notice.id);
                    self.metrics.tried(name, "failed");
                }
                FailedTry::GivenUp => {
                    tracing::error!("the webhook {name} did not get {}, which is given up: {why}", notice.id);
                    self.metrics.tried(name, "given_up");
                }
            },
        }
    }

    /// Keeps the queue in its file. If that fails, a restart sends some messages again, with the same ids.
    async fn keep(&self, queue: &HookQueue) {
        let (file, kept) = (self.file.clone(), queue.kept.clone());
        let saved = spawn_blocking(move || file.save(&kept)).await;
        let failure = match saved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("the place of the webhook {} in the log cannot be kept: {failure}", self.setting.name);
        self.board.show_trouble(Some(format!("its place in the log cannot be kept: {failure}")));
    }
}

fn until(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or_default().min(SLEEP_MAX)
}
