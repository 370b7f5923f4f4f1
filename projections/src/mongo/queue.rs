//! The fair queue of those who wait: kept here, brought up to date by what
//! changed since, because its order is nothing that an index can say.

use std::collections::HashMap;

use domain::submission::SubmissionId;
use event_store::Position;
use mongodb::bson::doc;
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::MongoViews;
use super::collections::ViewCollections;
use super::documents::{Generation, Queued, number};
use super::transaction::find;
use crate::fold::totals::RecentActivity;
use crate::queue::Queue;
use crate::view::QueuePlace;

/// Who waits, as far as it is known here.
#[derive(Debug, Default)]
pub(super) struct Places {
    generation: Generation,
    upto: Position,
    queue: Queue,
    waiting: HashMap<String, (String, Position)>,
    recent: RecentActivity,
}

impl MongoViews {
    pub(super) async fn find_queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>> {
        let collections = self.collections()?;
        if self.stale(&collections).is_some() {
            let _alone = self.refreshing.lock().await;
            // Somebody else may have done it while this one waited.
            if let Some(since) = self.stale(&collections) {
                self.refresh(&collections, since).await?;
            }
        }
        let places = self.places();
        let place = places.waiting.get(&id.to_string());
        let ahead = place.and_then(|(owner, place)| places.queue.ahead(owner, *place));
        Ok(ahead.map(|ahead| places.recent.queue_place(ahead, &places.queue)))
    }

    /// Since when the queue is not known, if it is not.
    fn stale(&self, collections: &ViewCollections) -> Option<Position> {
        let places = self.places();
        let known = places.generation == collections.generation;
        (!known || places.upto < self.polled.checkpoint()).then_some(if known {
            places.upto
        } else {
            Position::START
        })
    }

    /// Reads what changed since, or everybody who waits.
    async fn refresh(&self, collections: &ViewCollections, since: Position) -> Result<()> {
        let mut session = self.snapshot().await?;
        let Some(head) = collections.head(&mut session).await? else { return Ok(()) };
        let changed = match since {
            Position::START => doc! { "queued": { "$gte": 0 } },
            since => doc! { "moved": { "$gt": number(since) } },
        };
        let fields = doc! { "queued": 1, "view.owner": 1 };
        let options = FindOptions::builder().projection(fields).build();
        let statuses = collections.statuses().clone_with_type::<Queued>();
        let changed = find(&statuses, &mut session, changed, options).await?;

        let mut places = self.places();
        if since == Position::START {
            *places = Places { generation: collections.generation, ..Places::default() };
        }
        for queued in changed {
            places.put(queued);
        }
        places.upto = head.checkpoint;
        places.recent = head.recent;
        Ok(())
    }
}

impl Places {
    fn put(&mut self, now: Queued) {
        if let Some((owner, place)) = self.waiting.remove(&now.id) {
            self.queue.leave(&owner, place);
        }
        if let Some(place) = now.queued {
            self.queue.enter(&now.view.owner, place);
            self.waiting.insert(now.id, (now.view.owner, place));
        }
    }
}
