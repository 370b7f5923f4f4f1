//! A batch of events: load what it touches, fold, write back what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::submission::{Event, SubmissionId};
use event_store::Position;
use mongodb::bson::{Bson, doc, to_bson};
use mongodb::error::Result;
use mongodb::options::{FindOptions, ReturnDocument};
use mongodb::{ClientSession, Collection};

use super::collections::{
    Collections, Head, PassDocument, PinDocument, StatusDocument, number, place_key, place_of,
};
use super::transaction::{Ended, Transaction, among, delete, find, replace, update, write};
use super::{Shared, said};
use crate::cells::Point;
use crate::fold::Fold;
use crate::owner::Owner;
use crate::project::Pass;
use crate::view::Pin;
use crate::{ApplyError, Envelope};

impl Shared {
    pub(super) async fn apply(
        &self,
        from: Position,
        events: &[Envelope],
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
        events: &[Envelope],
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
        events: &[Envelope],
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
            self.follow(session, head, events).await?;
        }
        Ok(Some(()))
    }

    async fn follow(&self, session: &mut ClientSession, head: Head, events: &[Envelope]) -> Result<()> {
        let mut fold = self.load(session, head, events).await?;
        let places = fold.places.clone();
        let entries: HashMap<SubmissionId, usize> =
            fold.statuses.values().map(|view| (view.id, view.timeline.len())).collect();
        let mut moves: HashMap<SubmissionId, Position> = HashMap::new();
        let mut passes: BTreeMap<Position, Option<Pin>> = BTreeMap::new();
        let mut pins: BTreeMap<String, Pin> = BTreeMap::new();
        for envelope in events {
            let (effects, moved) = fold.follow(envelope);
            if effects.enters.is_some() || effects.leaves.is_some() {
                moves.insert(envelope.id, envelope.position);
            }
            match effects.pass {
                Some(Pass::Counts(pin)) => passes.insert(pin.position, Some(*pin)),
                Some(Pass::Revoked(since)) => passes.insert(since, None),
                None => None,
            };
            pins.extend(moved.and_then(|moved| moved.after).map(|pin| (pin.owner.clone(), pin)));
        }

        let statuses = std::mem::take(&mut fold.statuses).into_values().filter_map(|view| {
            let (before, moved) = (entries.get(&view.id).copied(), moves.get(&view.id).copied());
            let unchanged = before == Some(view.timeline.len());
            let document = (!unchanged).then(|| StatusDocument::new(view, moved.unwrap_or_default()))?;
            Some(match before {
                None => replace(document.id.as_str(), &document),
                Some(entries) => {
                    document.update(entries, moved.is_some()).and_then(|by| update(document.id.as_str(), &by))
                }
            })
        });
        self.write(session, &self.statuses(), statuses).await?;

        let pins = pins.into_values().map(PinDocument::new);
        let pins = pins.map(|document| replace(document.owner.as_str(), &document));
        self.write(session, &self.pins(), pins).await?;

        let (counted, revoked): (Vec<_>, Vec<_>) = passes.into_iter().partition(|(_, pin)| pin.is_some());
        let counted =
            counted.into_iter().filter_map(|(position, pin)| Some(PassDocument { position, pin: pin? }));
        let counted = counted.map(|document| replace(number(document.position), &document));
        self.write(session, &self.passes(), counted).await?;
        let revoked = revoked.into_iter().map(|(position, _)| number(position));
        delete(self.database(), session, self.passes().name(), revoked).await?;

        let changed =
            |(point, _): &(&Point, &u64)| fold.places[*point] != places.get(*point).copied().unwrap_or(0);
        let (gone, here): (Vec<_>, Vec<_>) =
            fold.places.iter().filter(changed).partition(|(_, count)| **count == 0);
        let here = here.into_iter().map(|(point, count)| {
            update(place_key(*point), &doc! { "$set": { "n": i64::try_from(*count).unwrap_or(i64::MAX) } })
        });
        self.write(session, &self.places(), here).await?;
        let gone = gone.into_iter().map(|(point, _)| Bson::from(place_key(*point)));
        delete(self.database(), session, self.places().name(), gone).await?;

        self.add(session, &fold.cells).await?;
        let counters = fold
            .counters
            .iter()
            .map(|(counter, by)| update(to_bson(counter)?, &doc! { "$inc": { "n": *by } }));
        self.write(session, &self.counters(), counters).await?;

        let recent = update(self.generation, &doc! { "$set": { "recent": to_bson(&fold.recent)? } });
        self.write(session, &Self::heads(self.database()), [recent]).await
    }

    /// Everything that the events will touch, but for what are sums.
    async fn load(&self, session: &mut ClientSession, head: Head, events: &[Envelope]) -> Result<Fold> {
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

        let keys = places.into_iter().map(place_key).collect();
        let places = find(&self.places(), session, among(keys), FindOptions::default()).await?;
        let pins = |n: i64| u64::try_from(n).unwrap_or(0);
        fold.places = places.into_iter().map(|place| (place_of(place.key), pins(place.n))).collect();
        Ok(fold)
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
        writes: impl IntoIterator<Item = Result<mongodb::bson::RawDocumentBuf>>,
    ) -> Result<()> {
        let writes = writes.into_iter().collect::<Result<Vec<_>>>()?;
        write(self.database(), session, collection.name(), writes).await
    }
}
