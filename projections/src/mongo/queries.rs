//! The questions, each within one snapshot of the views where it asks twice.

use std::collections::BTreeSet;

use domain::submission::SubmissionId;
use event_store::Position;
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::Shared;
use super::collections::{Collections, PinDocument, cell_key, number};
use super::map::Map;
use super::screen::Screen;
use super::transaction::find;
use crate::cells::CellId;
use crate::spots::{Frame, around, nearest};
use crate::square::Point;
use crate::totals::{self, Counters};
use crate::view::{BoundingBox, MapView, Pin, StatsView, StatusView};

impl Shared {
    pub(super) async fn checkpoint(&self) -> Result<Position> {
        self.look().await
    }

    pub(super) async fn status(&self, id: SubmissionId) -> Result<Option<StatusView>> {
        let found = self.collections()?.statuses().find_one(doc! { "_id": id.to_string() }).await?;
        Ok(found.map(|document| document.view))
    }

    pub(super) async fn unfinished(&self, max: usize) -> Result<Vec<StatusView>> {
        self.newest(unfinished(), max).await
    }

    pub(super) async fn verifying(&self, max: usize) -> Result<Vec<StatusView>> {
        let mut verifying = unfinished();
        verifying.insert("queued", doc! { "$exists": false });
        self.newest(verifying, max).await
    }

    async fn newest(&self, which: Document, max: usize) -> Result<Vec<StatusView>> {
        let newest = self.collections()?.statuses();
        let newest = newest.find(which).sort(doc! { "unfinished": -1 }).limit(limit(max)).await?;
        let mut views: Vec<StatusView> = newest.map_ok(|document| document.view).try_collect().await?;
        views.truncate(max);
        views.reverse();
        Ok(views)
    }

    pub(super) async fn stats(&self) -> Result<StatsView> {
        let collections = self.collections()?;
        let mut session = self.snapshot().await?;
        let head = Collections::heads(&self.database)
            .find_one(doc! { "_id": collections.generation })
            .session(&mut session)
            .await?;
        let counts = find(&collections.counters(), &mut session, doc! {}, FindOptions::default()).await?;
        let counters: Counters = counts.into_iter().filter(|c| c.n != 0).map(|c| (c.key, c.n)).collect();
        let (recent, checkpoint) = head.map_or_else(Default::default, |head| (head.recent, head.checkpoint));
        self.saw(checkpoint);
        Ok(totals::stats(&counters, &recent, checkpoint))
    }

    pub(super) async fn pins_changed(&self, after: Position, max: usize) -> Result<Vec<Pin>> {
        let sorted = doc! { "pin.position": 1 };
        self.find(changed_after(after), sorted, max).await
    }

    pub(super) async fn find_pins(&self, text: &str, max: usize) -> Result<Vec<Pin>> {
        let text = text.to_lowercase();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for field in ["name", "city"] {
            let sorted = doc! { field: 1, "pin.position": 1 };
            let pins = self.find(beginning_with(field, &text), sorted, max).await?;
            found.extend(pins.into_iter().filter(|pin| seen.insert(pin.owner.clone())));
        }
        found.truncate(max);
        Ok(found)
    }

    pub(super) async fn pins(&self, bounds: BoundingBox, zoom: u8) -> Result<MapView> {
        let frame = Frame::of(bounds, zoom);
        let features = self.show(|| {
            let mut screen = Screen::of(&frame);
            move |map| screen.features(map)
        });
        Ok(MapView { zoom: frame.zoom(), features: features.await? })
    }

    pub(super) async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>> {
        let point = Point::at(lat, lon);
        let nearest = self.show(|| {
            |map: &Map| {
                map.knows(around(point).blocks())?;
                Ok(nearest(&map.cells, point))
            }
        });
        let Some(group) = nearest.await? else { return Ok(vec![]) };
        self.find(in_cells(&group.cells), doc! { "pin.position": -1 }, max).await
    }

    async fn find(&self, filter: Document, sorted: Document, max: usize) -> Result<Vec<Pin>> {
        let found = self.collections()?.pins().find(filter).sort(sorted).limit(limit(max)).await?;
        let mut pins: Vec<Pin> = found.map_ok(|document: PinDocument| document.pin).try_collect().await?;
        pins.truncate(max);
        Ok(pins)
    }

    /// A session in which every query sees the same moment.
    pub(super) async fn snapshot(&self) -> Result<ClientSession> {
        self.client.start_session().snapshot(true).await
    }
}

fn unfinished() -> Document {
    doc! { "unfinished": { "$gte": 0 } }
}

fn changed_after(after: Position) -> Document {
    doc! { "pin.position": { "$gt": number(after) } }
}

/// Texts that begin with a text: those between it and it with the last of all characters.
fn beginning_with(field: &str, text: &str) -> Document {
    doc! { field: { "$gte": text, "$lt": format!("{text}\u{10ffff}") } }
}

fn in_cells(cells: &[CellId]) -> Document {
    let keys: Vec<Bson> = cells.iter().map(|id| cell_key(id.home()).into()).collect();
    doc! { "cell": { "$in": keys } }
}

/// MongoDB takes 0 for no limit.
fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX).max(1)
}
