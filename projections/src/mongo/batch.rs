//! A batch of events: load what it touches, fold, write back what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::submission::{Event, SubmissionId};
use event_store::Position;
use mongodb::bson::{doc, to_bson};
use mongodb::error::Result;
use mongodb::options::{FindOptions, ReturnDocument};
use mongodb::{ClientSession, Collection};

use super::blocks::Stored;
use super::collections::{Collections, Head, PassDocument, PinDocument, StatusDocument, number};
use super::transaction::{Ended, Transaction, Write, among, find, write};
use super::{Shared, said};
use crate::fold::Fold;
use crate::owner::Owner;
use crate::project::PassChange;
use crate::square::Point;
use crate::view::Pin;
use crate::{ApplyError, EventEnvelope};

impl Shared {
    pub(super) async fn apply(
        &self,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> std::result::Result<(), ApplyError> {
        let unavailable = |error| ApplyError::Unavailable(said(&error));
        let collections = self.collections().map_err(unavailable)?;
        let applied = collections.apply(&self.client, from, events, upto).await.map_err(unavailable)?;
        if applied {
            self.saw(upto);
            return Ok(());
        }
        // Another generation may be the current one by now.
        let checkpoint = self.look().await.map_err(unavailable)?;
        Err(ApplyError::Overtaken(checkpoint))
    }
}

impl Collections {
    /// Applies a batch; `false` when the checkpoint is elsewhere.
    pub(super) async fn apply(
        &self,
        client: &mongodb::Client,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<bool> {
        let mut transaction = Transaction::new(client).await?;
        loop {
            let work = self.claim_and_follow(transaction.begin().await?, from, events, upto).await;
            match transaction.end(work).await? {
                Ended::Committed(()) => return Ok(true),
                Ended::Nothing => return Ok(false),
                Ended::Again => {}
            }
        }
    }

    async fn claim_and_follow(
        &self,
        session: &mut ClientSession,
        from: Position,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<Option<()>> {
        // First of all, so that two projectors meet here.
        let claimed = Self::heads(self.database())
            .find_one_and_update(
                doc! { "_id": self.generation, "checkpoint": number(from), "retired": false },
                doc! { "$set": { "checkpoint": number(upto) } },
            )
            .return_document(ReturnDocument::Before)
            .session(&mut *session)
            .await?;
        let Some(head) = claimed else { return Ok(None) };
        if !events.is_empty() {
            self.follow(session, head, events, upto).await?;
        }
        Ok(Some(()))
    }

    async fn follow(
        &self,
        session: &mut ClientSession,
        head: Head,
        events: &[EventEnvelope],
        upto: Position,
    ) -> Result<()> {
        let (mut fold, blocks) = self.load(session, head, events).await?;
        let entries: HashMap<SubmissionId, usize> =
            fold.statuses.values().map(|view| (view.id, view.timeline.len())).collect();
        let known: HashSet<String> = fold.owners.keys().cloned().collect();
        let mut moves: HashMap<SubmissionId, Position> = HashMap::new();
        let mut passes: BTreeMap<Position, Option<Pin>> = BTreeMap::new();
        let mut pins: BTreeMap<String, Pin> = BTreeMap::new();
        for envelope in events {
            let (effects, moved) = fold.apply(envelope);
            if effects.enters.is_some() || effects.leaves.is_some() {
                moves.insert(envelope.id, envelope.position);
            }
            match effects.pass {
                Some(PassChange::Counts(pin)) => passes.insert(pin.position, Some(*pin)),
                Some(PassChange::Revoked(since)) => passes.insert(since, None),
                None => None,
            };
            pins.extend(moved.and_then(|moved| moved.after).map(|pin| (pin.owner.clone(), pin)));
        }

        let statuses = std::mem::take(&mut fold.statuses).into_values().filter_map(|view| {
            let (before, moved) = (entries.get(&view.id).copied(), moves.get(&view.id).copied());
            let unchanged = before == Some(view.timeline.len());
            let document = (!unchanged).then(|| StatusDocument::new(view, moved.unwrap_or_default()))?;
            Some(match before {
                None => Write::insert(&document),
                Some(entries) => document
                    .update(entries, moved.is_some())
                    .and_then(|by| Write::update(document.id.as_str(), &by)),
            })
        });
        self.write(session, &self.statuses(), statuses).await?;

        let pins = pins.into_values().map(PinDocument::new).map(|document| {
            if known.contains(&document.owner) {
                Write::update(document.owner.as_str(), &document)
            } else {
                Write::insert(&document)
            }
        });
        self.write(session, &self.pins(), pins).await?;

        let passes = passes.into_iter().map(|(position, pin)| match pin {
            Some(pin) => Write::insert(&PassDocument { position, pin }),
            None => Write::delete(number(position)),
        });
        self.write(session, &self.passes(), passes).await?;

        let blocks = blocks.changed(&fold.cells, &fold.places, upto)?;
        self.write(session, &self.blocks(), blocks.into_iter().map(Ok)).await?;
        let counters = fold
            .counters
            .iter()
            .map(|(counter, by)| Write::update(to_bson(counter)?, &doc! { "$inc": { "n": *by } }));
        self.write(session, &self.counters(), counters).await?;

        let recent = Write::update(self.generation, &doc! { "$set": { "recent": to_bson(&fold.recent)? } });
        self.write(session, &Self::heads(self.database()), [recent]).await
    }

    /// Everything that the events will touch, but for what are sums.
    async fn load(
        &self,
        session: &mut ClientSession,
        head: Head,
        events: &[EventEnvelope],
    ) -> Result<(Fold, Stored)> {
        let mut fold = Fold { recent: head.recent, ..Fold::default() };
        let ids: BTreeSet<String> = events.iter().map(|envelope| envelope.id.to_string()).collect();
        let statuses =
            find(&self.statuses(), session, among(ids.into_iter().collect()), FindOptions::default()).await?;
        fold.statuses = statuses.into_iter().map(|document| (document.view.id, document.view)).collect();

        // Where a verdict may put a pin, and whose passes may end.
        let mut owners: HashMap<SubmissionId, (String, Point)> = HashMap::new();
        let mut verdicts: BTreeMap<String, i64> = BTreeMap::new();
        let mut places: BTreeSet<Point> = BTreeSet::new();
        for envelope in events {
            if let Event::Submitted(submitted) = &envelope.event {
                let place = &submitted.location.place;
                owners.insert(envelope.id, (submitted.owner.clone(), Point::at(place.lat, place.lon)));
            }
            let known = fold.statuses.get(&envelope.id).map(|view| {
                let location = &view.location;
                (view.owner.clone(), Point::at(location.lat, location.lon))
            });
            let Some((owner, place)) = known.or_else(|| owners.get(&envelope.id).cloned()) else { continue };
            match envelope.event {
                Event::Passed(_) => {
                    verdicts.entry(owner).or_default();
                    places.insert(place);
                }
                Event::Failed(_) => *verdicts.entry(owner).or_default() += 1,
                Event::Submitted(_)
                | Event::VerificationStarted(_)
                | Event::ImagesPulled(_)
                | Event::ContainersStarted(_)
                | Event::Probed(_)
                | Event::VerificationInterrupted(_)
                | Event::RejudgeRequested(_) => {}
            }
        }

        let names = verdicts.keys().cloned().collect();
        for document in find(&self.pins(), session, among(names), FindOptions::default()).await? {
            let ends = verdicts.get(&document.owner).copied().unwrap_or(0);
            let passes = match (document.pin.passes, ends) {
                (0, _) => vec![],
                // No pass ends, so what is shown will do for the newest.
                (_, 0) => vec![document.pin.clone()],
                _ => self.newest_passes(session, &document.owner, ends + 1).await?,
            };
            places.extend(passes.iter().map(Point::of));
            places.insert(Point::of(&document.pin));
            let owner = Owner { count: document.pin.passes, passes, pin: Some(document.pin) };
            fold.owners.insert(document.owner, owner);
        }

        let blocks = self.stored(session, places).await?;
        fold.places = blocks.places();
        Ok((fold, blocks))
    }

    /// An owner's newest passes, oldest first.
    async fn newest_passes(&self, session: &mut ClientSession, owner: &str, max: i64) -> Result<Vec<Pin>> {
        let options = FindOptions::builder().sort(doc! { "_id": -1 }).limit(max).build();
        let newest = find(&self.passes(), session, doc! { "pin.owner": owner }, options).await?;
        Ok(newest.into_iter().rev().map(|document| document.pin).collect())
    }

    pub(super) async fn write<T: Send + Sync>(
        &self,
        session: &mut ClientSession,
        collection: &Collection<T>,
        writes: impl IntoIterator<Item = Result<Write>>,
    ) -> Result<()> {
        write(self.database(), session, collection.name(), writes).await
    }
}
