//! Applies a batch of events in one transaction: loads the state that it
//! touches, applies the events and writes back the changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::submission::{Event, SubmissionId};
use event_store::Position;
use mongodb::bson::{Document, doc, to_bson};
use mongodb::error::Result;
use mongodb::options::{FindOptions, ReturnDocument};
use mongodb::{ClientSession, Collection};

use super::blocks::{StoredBlocks, load_blocks};
use super::collections::ViewCollections;
use super::documents::{
    DeletionDocument, Generation, GenerationHead, PassDocument, PinDocument, PlaceDocument, StatusDocument,
    StoredTimeline, number,
};
use super::transaction::{DocumentWrite, RetryingTransaction, TransactionEnd, find, with_ids, write};
use super::{MongoViews, describe};
use crate::fold::ViewState;
use crate::fold::owner::OwnerPasses;
use crate::fold::project::PassChange;
use crate::map::mercator::MercatorPoint;
use crate::view::{DeletionView, Pin, StandstillView};
use crate::{ApplyError, EventEnvelope};

impl MongoViews {
    pub(super) async fn apply_batch(
        &self,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> std::result::Result<(), ApplyError> {
        let unavailable = |error| ApplyError::Unavailable(describe(&error));
        let collections = self.collections().map_err(unavailable)?;
        let applied = collections.apply(&self.client, from, events, upto).await.map_err(unavailable)?;
        self.applied(collections.generation, applied, upto).await
    }

    pub(super) async fn resume_submission(
        &self,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> std::result::Result<(), ApplyError> {
        let unavailable = |error| ApplyError::Unavailable(describe(&error));
        let collections = self.collections().map_err(unavailable)?;
        let resumed = collections.resume(&self.client, id, checkpoint, events, next);
        self.applied(collections.generation, resumed.await.map_err(unavailable)?, checkpoint).await
    }

    pub(super) async fn delete_submission(
        &self,
        from: Position,
        deletion: &DeletionView,
    ) -> std::result::Result<(), ApplyError> {
        let unavailable = |error| ApplyError::Unavailable(describe(&error));
        let collections = self.collections().map_err(unavailable)?;
        let deleted =
            collections.delete_submission(&self.client, from, deletion).await.map_err(unavailable)?;
        self.applied(collections.generation, deleted, deletion.position).await
    }

    async fn applied(
        &self,
        generation: Generation,
        applied: bool,
        upto: Position,
    ) -> std::result::Result<(), ApplyError> {
        if applied {
            self.polled.publish(generation, upto);
            return Ok(());
        }
        // Another generation may have become current.
        let head = self.polled.poll().await.map_err(|error| ApplyError::Unavailable(describe(&error)))?;
        Err(ApplyError::Overtaken(head.checkpoint))
    }
}

impl ViewCollections {
    /// Applies a batch. Returns false if the checkpoint is not `from` or the generation is retired.
    pub(super) async fn apply(
        &self,
        client: &mongodb::Client,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<bool> {
        let mut transaction = RetryingTransaction::new(client).await?;
        loop {
            let work = self.move_checkpoint_and_apply(transaction.begin().await?, from, events, upto).await;
            match transaction.end(work).await? {
                TransactionEnd::Committed(()) => return Ok(true),
                TransactionEnd::Aborted => return Ok(false),
                TransactionEnd::Retry => {}
            }
        }
    }

    /// Takes a submission out of the views. Returns false like [`Self::apply`].
    pub(super) async fn delete_submission(
        &self,
        client: &mongodb::Client,
        from: Position,
        deletion: &DeletionView,
    ) -> Result<bool> {
        let mut transaction = RetryingTransaction::new(client).await?;
        loop {
            let session = transaction.begin().await?;
            let work = async {
                let Some(head) = self.move_checkpoint(session, from, &[], deletion.position).await? else {
                    return Ok(None);
                };
                let id = deletion.id.to_string();
                self.standstills::<Document>().delete_one(doc! { "_id": &id }).session(&mut *session).await?;
                let noted = DocumentWrite::update(id, &DeletionDocument::new(deletion));
                self.write(session, &self.deletions(), [noted]).await?;
                self.apply_events(session, head, &[], Some(deletion), deletion.position).await?;
                Ok(Some(()))
            };
            let work = work.await;
            match transaction.end(work).await? {
                TransactionEnd::Committed(()) => return Ok(true),
                TransactionEnd::Aborted => return Ok(false),
                TransactionEnd::Retry => {}
            }
        }
    }

    /// Applies the events of a submission that stood still, and replaces its standstill by `next`. Returns false like
    /// [`Self::apply`].
    async fn resume(
        &self,
        client: &mongodb::Client,
        id: SubmissionId,
        checkpoint: Position,
        events: &[EventEnvelope],
        next: Option<&StandstillView>,
    ) -> Result<bool> {
        let mut transaction = RetryingTransaction::new(client).await?;
        loop {
            let session = transaction.begin().await?;
            let work = async {
                let applied =
                    self.move_checkpoint_and_apply(&mut *session, checkpoint, events, checkpoint).await?;
                if applied.is_some() {
                    self.replace_standstill(session, id, next, seen_after(checkpoint)).await?;
                }
                Ok(applied)
            };
            let work = work.await;
            match transaction.end(work).await? {
                TransactionEnd::Committed(()) => return Ok(true),
                TransactionEnd::Aborted => return Ok(false),
                TransactionEnd::Retry => {}
            }
        }
    }

    async fn move_checkpoint_and_apply(
        &self,
        session: &mut ClientSession,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<Option<()>> {
        let Some(head) = self.move_checkpoint(session, from, events, upto).await? else { return Ok(None) };
        if !events.is_empty() {
            self.apply_events(session, head, events, None, upto).await?;
        }
        Ok(Some(()))
    }

    /// Moves the checkpoint, and returns the head before; `None` if the checkpoint is not `from` or the generation is
    /// retired.
    async fn move_checkpoint(
        &self,
        session: &mut ClientSession,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<Option<GenerationHead>> {
        // First, so that two projections conflict here.
        let mut changes = doc! { "checkpoint": number(upto) };
        if let Some(last) = events.last().filter(|last| last.position > from) {
            let event = last.event_id.to_string();
            changes.insert("resume", doc! { "position": number(last.position), "event": event });
        }
        Self::heads(self.database())
            .find_one_and_update(
                doc! { "_id": self.generation, "checkpoint": number(from), "retired": false },
                doc! { "$set": changes },
            )
            .return_document(ReturnDocument::Before)
            .session(session)
            .await
    }

    async fn apply_events(
        &self,
        session: &mut ClientSession,
        head: GenerationHead,
        events: &[EventEnvelope],
        deletion: Option<&DeletionView>,
        upto: Position,
    ) -> Result<()> {
        let stored_upto = head.checkpoint;
        let mut choosing = head.choosing.clone();
        let places: Vec<PlaceDocument> =
            events.iter().filter_map(|envelope| choosing.see(envelope)).map(PlaceDocument::from).collect();
        self.write(session, &self.places(), places.iter().map(DocumentWrite::insert)).await?;
        // Readers keep what they know of the stored checkpoint, and ask for the changes after it.
        let changed = upto.max(seen_after(stored_upto));
        let (mut state, blocks) =
            self.load(session, head, events, deletion.map(|deletion| deletion.id)).await?;
        let stored: HashMap<SubmissionId, StoredTimeline> =
            state.statuses.values().map(|view| (view.id, StoredTimeline::of(view))).collect();
        let stored_owners: HashSet<String> = state.owners.keys().cloned().collect();
        let mut queue_moves: HashMap<SubmissionId, Position> = HashMap::new();
        let mut passes: BTreeMap<Position, Option<Pin>> = BTreeMap::new();
        let mut pins: BTreeMap<String, Pin> = BTreeMap::new();
        for envelope in events {
            let (effects, pin_change) = state.apply(envelope);
            let moves = effects.enters.is_some() || effects.leaves.is_some() || effects.status.is_some();
            if moves || effects.resumed {
                queue_moves.insert(envelope.id, envelope.position.max(seen_after(stored_upto)));
            }
            match effects.pass {
                Some(PassChange::Counts(pin) | PassChange::Corrected(pin)) => {
                    passes.insert(pin.position, Some(*pin))
                }
                Some(PassChange::Revoked(since)) => passes.insert(since, None),
                None => None,
            };
            pins.extend(pin_change.and_then(|change| change.after).map(|pin| (pin.owner.clone(), pin)));
        }

        let deleted = deletion.and_then(|deletion| {
            let (view, pin_change) = state.delete(deletion)?;
            if let Some(pass) = view.counts_since() {
                passes.insert(pass.position, None);
            }
            pins.extend(pin_change.and_then(|change| change.after).map(|pin| (pin.owner.clone(), pin)));
            Some(DocumentWrite::delete(view.id.to_string()))
        });
        let statuses = std::mem::take(&mut state.statuses).into_values().filter_map(|view| {
            let (before, moved) = (stored.get(&view.id).copied(), queue_moves.get(&view.id).copied());
            let unchanged = before == Some(StoredTimeline::of(&view));
            let document = (!unchanged).then(|| StatusDocument::new(view, moved.unwrap_or_default()))?;
            Some(match before {
                None => DocumentWrite::insert(&document),
                Some(stored) => document
                    .update(stored, moved.is_some())
                    .and_then(|by| DocumentWrite::update(document.id.as_str(), &by)),
            })
        });
        self.write(session, &self.statuses(), statuses.chain(deleted)).await?;

        let pins = pins.into_values().map(PinDocument::new).map(|document| {
            if stored_owners.contains(&document.owner) {
                DocumentWrite::update(document.owner.as_str(), &document)
            } else {
                DocumentWrite::insert(&document)
            }
        });
        self.write(session, &self.pins(), pins).await?;

        let passes = passes.into_iter().map(|(position, pin)| match pin {
            // A pass that was hidden and is shown again may be stored.
            Some(pin) if position <= stored_upto => {
                DocumentWrite::update(number(position), &PassDocument { position, pin })
            }
            Some(pin) => DocumentWrite::insert(&PassDocument { position, pin }),
            None => DocumentWrite::delete(number(position)),
        });
        self.write(session, &self.passes(), passes).await?;

        let blocks = blocks.into_writes(&state.cells, &state.places, changed)?;
        self.write(session, &self.blocks(), blocks.into_iter().map(Ok)).await?;
        let counters = state
            .counters
            .iter()
            .map(|(counter, by)| DocumentWrite::update(to_bson(counter)?, &doc! { "$inc": { "n": *by } }));
        self.write(session, &self.counters(), counters).await?;

        self.write_venues(session, &state).await?;
        let kept = doc! { "recent": to_bson(&state.recent)?, "choosing": to_bson(&choosing)? };
        let head = DocumentWrite::update(self.generation, &doc! { "$set": kept });
        self.write(session, &Self::heads(self.database()), [head]).await
    }

    /// Loads the state that the events will touch, except for the sums.
    async fn load(
        &self,
        session: &mut ClientSession,
        head: GenerationHead,
        events: &[EventEnvelope],
        deleted: Option<SubmissionId>,
    ) -> Result<(ViewState, StoredBlocks)> {
        let mut state = ViewState { recent: head.recent, ..ViewState::default() };
        let ids = events.iter().map(|envelope| envelope.id).chain(deleted);
        let ids: BTreeSet<String> = ids.map(|id| id.to_string()).collect();
        let statuses =
            find(&self.statuses(), session, with_ids(ids.into_iter().collect()), FindOptions::default())
                .await?;
        state.statuses = statuses.into_iter().map(|document| (document.view.id, document.view)).collect();

        // The places where an event may put a pin, and for each owner the number of passes that may end or return.
        let mut owners: HashMap<SubmissionId, (String, MercatorPoint)> = HashMap::new();
        let mut changed_passes: BTreeMap<String, i64> = BTreeMap::new();
        let mut places: BTreeSet<MercatorPoint> = BTreeSet::new();
        for envelope in events {
            if let Event::Submitted(submitted) = &envelope.event {
                let place = &submitted.location.place;
                // Only the first counts.
                owners.entry(envelope.id).or_insert_with(|| {
                    (submitted.owner.clone(), MercatorPoint::project(place.lat, place.lon))
                });
            }
            let known = state.statuses.get(&envelope.id).map(|view| {
                let location = &view.location;
                (view.owner.clone(), MercatorPoint::project(location.lat, location.lon))
            });
            let Some((owner, place)) = known.or_else(|| owners.get(&envelope.id).cloned()) else { continue };
            match envelope.event {
                Event::Passed(_) => {
                    changed_passes.entry(owner).or_default();
                    places.insert(place);
                }
                Event::Failed(_) | Event::Hidden(_) | Event::NameCorrected(_) => {
                    *changed_passes.entry(owner).or_default() += 1;
                }
                Event::Shown(_) => {
                    *changed_passes.entry(owner).or_default() += 1;
                    places.insert(place);
                }
                Event::Submitted(_)
                | Event::VerificationStarted(_)
                | Event::ImagesPulled(_)
                | Event::ContainersStarted(_)
                | Event::Probed(_)
                | Event::VerificationInterrupted(_)
                | Event::RejudgeRequested(_)
                | Event::Withdrawn(_)
                | Event::GivenUp(_) => {}
            }
        }

        if let Some(view) = deleted.and_then(|id| state.statuses.get(&id)) {
            *changed_passes.entry(view.owner.clone()).or_default() += 1;
        }
        let names = changed_passes.keys().cloned().collect();
        for document in find(&self.pins(), session, with_ids(names), FindOptions::default()).await? {
            let changes = changed_passes.get(&document.owner).copied().unwrap_or(0);
            let passes = match (document.pin.passes, changes) {
                (0, _) => vec![],
                // No pass ends or returns, so the pin on the map stands for the newest pass.
                (_, 0) => vec![document.pin.clone()],
                _ => self.newest_passes(session, &document.owner, changes + 1).await?,
            };
            places.extend(passes.iter().map(MercatorPoint::from_pin));
            places.insert(MercatorPoint::from_pin(&document.pin));
            let owner = OwnerPasses { count: document.pin.passes, passes, pin: Some(document.pin) };
            state.owners.insert(document.owner, owner);
        }

        let submitted = events.iter().filter_map(|envelope| match &envelope.event {
            Event::Submitted(submitted) => submitted.venue.clone(),
            _ => None,
        });
        let known = state.statuses.values().filter_map(|view| view.venue.clone());
        let venues: BTreeSet<String> = submitted.chain(known).collect();
        state.venues = self.load_venues(session, venues).await?;
        let blocks = load_blocks(self, session, places).await?;
        state.places = blocks.places();
        Ok((state, blocks))
    }

    /// Returns an owner's newest `max` passes, oldest first.
    async fn newest_passes(&self, session: &mut ClientSession, owner: &str, max: i64) -> Result<Vec<Pin>> {
        let options = FindOptions::builder().sort(doc! { "_id": -1 }).limit(max).build();
        let newest = find(&self.passes(), session, doc! { "pin.owner": owner }, options).await?;
        Ok(newest.into_iter().rev().map(|document| document.pin).collect())
    }

    pub(super) async fn write<T: Send + Sync>(
        &self,
        session: &mut ClientSession,
        collection: &Collection<T>,
        writes: impl IntoIterator<Item = Result<DocumentWrite>>,
    ) -> Result<()> {
        write(self.database(), session, collection.name(), writes).await
    }
}

/// Returns the first position whose changes a reader asks for that has seen the views at `checkpoint`. The next checkpoint
/// is no lower.
pub(super) fn seen_after(checkpoint: Position) -> Position {
    Position(checkpoint.0 + 1)
}
