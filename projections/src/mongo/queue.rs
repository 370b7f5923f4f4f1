//! The fair queue of those who wait: kept here, brought up to date by what
//! changed since, because its order is nothing that an index can say.

use std::collections::HashMap;

use domain::submission::SubmissionId;
use event_store::Position;
use mongodb::bson::doc;
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::Shared;
use super::collections::{Collections, Generation, Queued, number};
use super::transaction::find;
use crate::queue::Queue;
use crate::totals::Recent;
use crate::view::QueuePlace;

/// Who waits, as far as it is known here.
#[derive(Debug, Default)]
pub(super) struct Places {
    generation: Generation,
    upto: Position,
    queue: Queue,
    waiting: HashMap<String, (String, Position)>,
    recent: Recent,
}

impl Shared {
    pub(super) async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>> {
        let collections = self.collections()?;
        let (generation, upto) = {
            let places = self.places();
            (places.generation, places.upto)
        };
        let known = generation == collections.generation;
        // The very first time nothing may have been applied yet, and nobody waits.
        if !known || upto < *self.checkpoint.borrow() {
            self.refresh(&collections, if known { upto } else { Position::START }).await?;
        }
        let places = self.places();
        let place = places.waiting.get(&id.to_string());
        let ahead = place.and_then(|(owner, place)| places.queue.ahead(owner, *place));
        Ok(ahead.map(|ahead| places.recent.queue_place(ahead, &places.queue)))
    }

    /// Reads what changed since, or everybody who waits.
    async fn refresh(&self, collections: &Collections, since: Position) -> Result<()> {
        let mut session = self.client.start_session().snapshot(true).await?;
        let head = Collections::heads(&self.database)
            .find_one(doc! { "_id": collections.generation })
            .session(&mut session)
            .await?;
        let Some(head) = head else { return Ok(()) };
        let changed = match since {
            Position::START => doc! { "queued": { "$gte": 0 } },
            since => doc! { "view.position": { "$gt": number(since) } },
        };
        let fields = doc! { "queued": 1, "view.owner": 1 };
        let options = FindOptions::builder().projection(fields).build();
        let statuses = collections.statuses().clone_with_type::<Queued>();
        let changed = find(&statuses, &mut session, changed, options).await?;

        let mut places = self.places();
        if since == Position::START {
            *places = Places { generation: collections.generation, ..Places::default() };
        }
        if places.generation != collections.generation || places.upto > head.checkpoint {
            // Somebody else was here meanwhile and knows more.
            return Ok(());
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
