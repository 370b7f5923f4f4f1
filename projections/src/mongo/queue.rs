//! The queue of the views in MongoDB: kept in memory and refreshed from the documents that changed, because no index has
//! the fair order.

use std::collections::BTreeSet;

use domain::queue::FairQueue;
use domain::submission::SubmissionId;
use event_store::Position;
use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::MongoViews;
use super::collections::ViewCollections;
use super::documents::{Generation, Queued, number};
use super::transaction::find;
use crate::fold::totals::RecentActivity;
use crate::view::QueuePlace;

/// The number of lines whose claims one query reads.
const LINES_AT_ONCE: usize = 1000;

/// The queue as it was at a checkpoint of a generation.
#[derive(Debug, Default)]
pub(super) struct CachedQueue {
    generation: Generation,
    checkpoint: Position,
    queue: FairQueue,
    recent: RecentActivity,
}

impl MongoViews {
    pub(super) async fn find_queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>> {
        let collections = self.collections()?;
        if self.stale_since(&collections).is_some() {
            let _alone = self.refreshing.lock().await;
            // Another query may have refreshed the queue in the meantime.
            if let Some(since) = self.stale_since(&collections) {
                self.refresh(&collections, since).await?;
            }
        }
        let cached = self.cached_queue();
        let ahead = cached.queue.ahead_of(id);
        Ok(ahead.map(|ahead| cached.recent.queue_place(ahead, cached.queue.waiting())))
    }

    /// Returns the position after which changes are missing in the cached queue, or `None` if it is current.
    fn stale_since(&self, collections: &ViewCollections) -> Option<Position> {
        let cached = self.cached_queue();
        let known = cached.generation == collections.generation;
        (!known || cached.checkpoint < self.polled.checkpoint()).then_some(if known {
            cached.checkpoint
        } else {
            Position::START
        })
    }

    /// Reads the changes since a position, or the whole queue from [`Position::START`].
    async fn refresh(&self, collections: &ViewCollections, since: Position) -> Result<()> {
        let mut session = self.snapshot().await?;
        let Some(head) = collections.head(&mut session).await? else { return Ok(()) };
        let changed = match since {
            Position::START => {
                let unfinished =
                    find_queued(collections, &mut session, doc! { "unfinished": { "$gte": 0 } }).await?;
                let lines: BTreeSet<&str> = unfinished.iter().map(|one| one.line.as_str()).collect();
                let lines: Vec<&str> = lines.into_iter().collect();
                let mut claims = vec![];
                // Only lines in the queue have a turn, so the claims of all others are not read.
                for lines in lines.chunks(LINES_AT_ONCE) {
                    let of_lines = doc! { "line": { "$in": lines }, "claimed": { "$gte": 0 } };
                    claims.extend(find_queued(collections, &mut session, of_lines).await?);
                }
                unfinished.into_iter().chain(claims).collect()
            }
            since => {
                find_queued(collections, &mut session, doc! { "moved": { "$gt": number(since) } }).await?
            }
        };
        let deleted = doc! { "position": { "$gt": number(since) } };
        let deleted = find(&collections.deletions(), &mut session, deleted, FindOptions::default()).await?;

        let mut cached = self.cached_queue();
        if since == Position::START {
            *cached = CachedQueue { generation: collections.generation, ..CachedQueue::default() };
        }
        cached.update(&changed);
        for id in deleted.iter().filter_map(|deletion| deletion.id.parse().ok()) {
            cached.queue.remove(id);
        }
        cached.checkpoint = head.checkpoint;
        cached.recent = head.recent;
        Ok(())
    }
}

impl CachedQueue {
    fn update(&mut self, changed: &[Queued]) {
        for (id, submission) in changed.iter().filter_map(|submission| Some((submission.id()?, submission))) {
            match (submission.queued, submission.claimed) {
                (Some(place), _) => self.queue.enqueue(id, &submission.line, place.0),
                // The place is not needed: if the submission waits again, its document has it.
                (None, Some(claim)) if submission.unfinished.is_some() => {
                    self.queue.enqueue(id, &submission.line, claim.0);
                    self.queue.claim(id, claim.0);
                }
                _ => {}
            }
        }
        // Finished submissions are removed last: as long as a line has one in the queue, its claims are kept.
        for submission in changed {
            if let Some(claim) = submission.claimed {
                self.queue.record_claim(&submission.line, claim.0);
            }
        }
        for submission in changed.iter().filter(|submission| submission.unfinished.is_none()) {
            if let Some(id) = submission.id() {
                self.queue.remove(id);
            }
        }
    }
}

impl Queued {
    fn id(&self) -> Option<SubmissionId> {
        self.id.parse().ok()
    }
}

async fn find_queued(
    collections: &ViewCollections,
    session: &mut ClientSession,
    filter: Document,
) -> Result<Vec<Queued>> {
    let fields = doc! { "unfinished": 1, "queued": 1, "claimed": 1, "line": 1 };
    let statuses = collections.statuses().clone_with_type::<Queued>();
    find(&statuses, session, filter, FindOptions::builder().projection(fields).build()).await
}
