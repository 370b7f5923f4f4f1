//! The queries. A query with several reads makes them in one snapshot.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use domain::text::unaccented;
use event_store::{LogCheckpoint, Position};
use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Result as MongoResult;
use mongodb::options::FindOptions;
use tokio::sync::watch;

use super::collections::SHAPE;
use super::documents::{PinDocument, cell_key, number};
use super::map_query::{NearestQuery, ViewportQuery};
use super::transaction::find;
use super::{MongoViews, within_deadline};
use crate::fold::totals::{self, Counters, VenueTotals};
use crate::map::grid::CellId;
use crate::map::mercator::MercatorPoint;
use crate::map::viewport::Viewport;
use crate::view::{
    BoundingBox, DeletionView, MapView, Pin, QueuePlace, SandboxView, SetAsideView, StandstillView,
    StatsView, StatusView,
};
use crate::{LogPlace, QueryError, ViewQueries};

#[async_trait]
impl ViewQueries for MongoViews {
    async fn checkpoint(&self) -> Result<Position, QueryError> {
        Ok(within_deadline(self.polled.poll()).await?.checkpoint)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.polled.watch()
    }

    fn shown_from(&self) -> watch::Receiver<Option<Position>> {
        self.polled.shown_from()
    }

    fn representation(&self) -> String {
        format!("MongoDB, shape {SHAPE}, generation {}", self.polled.generation().unwrap_or_default())
    }

    async fn place_before(&self, moment: Timestamp) -> Result<Option<LogPlace>, QueryError> {
        within_deadline(self.read_place_before(moment)).await
    }

    async fn resume_point(&self) -> Result<LogCheckpoint, QueryError> {
        Ok(within_deadline(self.polled.poll()).await?.resume_point())
    }

    async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>, QueryError> {
        within_deadline(async {
            let found = self.collections()?.statuses().find_one(doc! { "_id": id.to_string() }).await?;
            Ok(found.map(|document| document.view))
        })
        .await
    }

    async fn deletion(&self, id: SubmissionId) -> Result<Option<DeletionView>, QueryError> {
        within_deadline(async {
            let found = self.collections()?.deletions().find_one(doc! { "_id": id.to_string() }).await?;
            Ok(found.and_then(|document| document.view()))
        })
        .await
    }

    async fn queue_place(&self, id: SubmissionId) -> Result<Option<QueuePlace>, QueryError> {
        within_deadline(self.find_queue_place(id)).await
    }

    async fn stats(&self) -> Result<StatsView, QueryError> {
        within_deadline(async {
            let collections = self.collections()?;
            let mut session = self.snapshot().await?;
            let head = collections.head(&mut session).await?;
            let counters =
                find(&collections.counters(), &mut session, doc! {}, FindOptions::default()).await?;
            let counters = counters.into_iter().filter(|counter| counter.n != 0);
            let counters: Counters = counters.map(|counter| (counter.key, counter.n)).collect();
            let (recent, checkpoint) =
                head.map_or_else(Default::default, |head| (head.recent, head.checkpoint));
            self.polled.publish(collections.generation, checkpoint);
            Ok(totals::stats(&counters, &recent, checkpoint))
        })
        .await
    }

    async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView, QueryError> {
        let viewport = Viewport::new(bounds, zoom);
        let features = within_deadline(self.read_through(ViewportQuery::new(&viewport))).await?;
        Ok(MapView { zoom: viewport.zoom(), features })
    }

    async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>, QueryError> {
        within_deadline(async {
            let nearest = self.read_through(NearestQuery(MercatorPoint::project(lat, lon))).await?;
            let Some(cluster) = nearest else { return Ok(vec![]) };
            self.read_pins(in_cells(&cluster.cells), doc! { "pin.position": -1 }, max).await
        })
        .await
    }

    async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>, QueryError> {
        let changed = doc! { "pin.position": { "$gt": number(after) } };
        within_deadline(self.read_pins(changed, doc! { "pin.position": 1 }, max)).await
    }

    async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>, QueryError> {
        let text = unaccented(text);
        within_deadline(async {
            let (mut found, mut owners) = (Vec::new(), BTreeSet::new());
            for field in ["name", "last_name", "city"] {
                let sort = doc! { field: 1, "pin.position": 1 };
                let pins = self.read_pins(beginning_with(field, &text), sort, max).await?;
                found.extend(pins.into_iter().filter(|pin| owners.insert(pin.owner.clone())));
            }
            found.truncate(max);
            Ok(found)
        })
        .await
    }

    async fn venue_stats(&self, venue: &str) -> Result<StatsView, QueryError> {
        within_deadline(async {
            let collections = self.collections()?;
            let mut session = self.snapshot().await?;
            let head = collections.head(&mut session).await?;
            let of_venue = doc! { "venue": venue };
            let counters =
                find(&collections.venue_counters(), &mut session, of_venue, FindOptions::default()).await?;
            let counters = counters.into_iter().filter(|counter| counter.n != 0);
            let counters: Counters = counters.map(|counter| (counter.id.key, counter.n)).collect();
            let own = collections.venues().find_one(doc! { "_id": venue }).session(&mut session).await?;
            let totals = VenueTotals { counters, recent: own.map(|own| own.recent).unwrap_or_default() };
            let (recent, checkpoint) =
                head.map_or_else(Default::default, |head| (head.recent, head.checkpoint));
            self.polled.publish(collections.generation, checkpoint);
            Ok(totals::venue_stats(&totals, &recent, checkpoint))
        })
        .await
    }

    async fn venue_pins_changed(
        &self,
        venue: &str,
        after: Position,
        max: usize,
    ) -> Result<Vec<Pin>, QueryError> {
        let changed = doc! { "venues": venue, "pin.position": { "$gt": number(after) } };
        let pins = within_deadline(self.read_pins(changed, doc! { "pin.position": 1 }, max)).await?;
        Ok(pins.into_iter().map(|pin| pin.seen_at(venue)).collect())
    }

    async fn unfinished(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        within_deadline(self.read_newest(at(venue, unfinished()), "unfinished", max)).await
    }

    async fn overdue(&self, now: Timestamp, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let mut overdue = unfinished();
        // Moments are stored as texts that sort by time, but for fractions of a second.
        overdue.insert("view.waiting.retry_at", doc! { "$not": { "$gt": format!("{now:.0}") } });
        within_deadline(async {
            let statuses = self.collections()?.statuses();
            let oldest = statuses.find(overdue).sort(doc! { "unfinished": 1 }).limit(limit(max)).await?;
            oldest.map_ok(|document| document.view).try_collect().await
        })
        .await
    }

    async fn given_up(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let given_up = doc! { "given_up": { "$gte": 0 } };
        within_deadline(self.read_newest(at(venue, given_up), "given_up", max)).await
    }

    async fn held(&self, venue: Option<&str>, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let held = doc! { "held": { "$gte": 0 } };
        within_deadline(self.read_newest(at(venue, held), "held", max)).await
    }

    async fn verifying(&self, max: usize) -> Result<Vec<StatusView>, QueryError> {
        let mut verifying = unfinished();
        verifying.insert("queued", doc! { "$exists": false });
        within_deadline(self.read_newest(verifying, "unfinished", max)).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxView>, QueryError> {
        within_deadline(self.read_sandboxes()).await
    }

    async fn set_aside(&self) -> Result<SetAsideView, QueryError> {
        within_deadline(async { self.collections()?.read_set_aside().await }).await
    }

    async fn standstills(&self, max: usize) -> Result<Vec<StandstillView>, QueryError> {
        within_deadline(async { self.collections()?.read_standstills(limit(max)).await }).await
    }

    async fn standstill(&self, id: SubmissionId) -> Result<Option<StandstillView>, QueryError> {
        within_deadline(async { self.collections()?.read_standstill(id).await }).await
    }
}

impl MongoViews {
    async fn read_place_before(&self, moment: Timestamp) -> MongoResult<Option<LogPlace>> {
        let before = doc! { "newest_ms": { "$lte": moment.as_millisecond() } };
        let last = doc! { "newest_ms": -1, "_id": -1 };
        let found = self.collections()?.places().find_one(before).sort(last).await?;
        Ok(found.and_then(|document| document.place()))
    }

    /// Reads the newest `max` submissions that match `filter` by the position in `field`, oldest first.
    async fn read_newest(&self, filter: Document, field: &str, max: usize) -> MongoResult<Vec<StatusView>> {
        let statuses = self.collections()?.statuses();
        let newest = statuses.find(filter).sort(doc! { field: -1 }).limit(limit(max)).await?;
        let mut views: Vec<StatusView> = newest.map_ok(|document| document.view).try_collect().await?;
        views.truncate(max);
        views.reverse();
        Ok(views)
    }

    async fn read_pins(&self, filter: Document, sort: Document, max: usize) -> MongoResult<Vec<Pin>> {
        let found = self.collections()?.pins().find(filter).sort(sort).limit(limit(max)).await?;
        let mut pins: Vec<Pin> = found.map_ok(|document: PinDocument| document.pin).try_collect().await?;
        pins.truncate(max);
        Ok(pins)
    }
}

fn unfinished() -> Document {
    doc! { "unfinished": { "$gte": 0 } }
}

/// Adds to a filter of submissions that they are of a venue.
fn at(venue: Option<&str>, mut filter: Document) -> Document {
    filter.extend(venue.map(|venue| ("view.venue".to_owned(), Bson::from(venue))));
    filter
}

/// Matches the texts that begin with `text`: all up to `text` followed by the last character of Unicode.
fn beginning_with(field: &str, text: &str) -> Document {
    doc! { field: { "$gte": text, "$lt": format!("{text}\u{10ffff}") } }
}

fn in_cells(cells: &[CellId]) -> Document {
    let keys: Vec<Bson> = cells.iter().map(|id| cell_key(id.wrapped()).into()).collect();
    doc! { "cell": { "$in": keys } }
}

/// Returns a limit for MongoDB, which takes 0 for no limit.
fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX).max(1)
}
