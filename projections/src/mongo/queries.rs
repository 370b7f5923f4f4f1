//! The questions, each within one snapshot of the views where it asks twice.

use std::collections::{BTreeSet, HashMap};

use domain::submission::SubmissionId;
use event_store::Position;
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::Shared;
use super::blocks::{Address, Block};
use super::collections::{Collections, PinDocument, cell_key, number};
use super::transaction::{among, find};
use crate::cells::{self, CellId, Cells, Point, ZOOM_MAX};
use crate::spots::{Frame, Group, around, expansion, nearest};
use crate::totals::{self, Counters};
use crate::view::{Bounds, Pin, Spot, StatsView, StatusView};

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

    pub(super) async fn pins(&self, bounds: Bounds, zoom: u8) -> Result<Vec<Spot>> {
        let collections = self.collections()?;
        let mut session = self.snapshot().await?;
        let frame = Frame::of(bounds, zoom);
        let mut cells = Cells::default();
        collections.read(&mut session, frame.block().into_iter().flat_map(ids), &mut cells).await?;
        let groups = frame.groups(&cells);

        let alone = groups.iter().filter(|group| group.total.count == 1);
        let alone = alone.map(|group| number(Position(group.total.pin))).collect();
        let pins = collections.pins();
        let pins = find(&pins, &mut session, with_positions(alone), FindOptions::default()).await?;
        let mut pins: HashMap<Position, Pin> =
            pins.into_iter().map(|document| (document.pin.position, document.pin)).collect();
        let expansions = collections.expansions(&mut session, &groups).await?;
        let spots = groups.iter().zip(expansions).map(|(group, expansion)| {
            let pin = (group.total.count == 1).then(|| pins.remove(&Position(group.total.pin))).flatten();
            pin.map_or_else(|| group.cluster(expansion), Spot::Pin)
        });
        Ok(spots.collect())
    }

    pub(super) async fn pins_at(&self, lat: f64, lon: f64, max: usize) -> Result<Vec<Pin>> {
        let collections = self.collections()?;
        let mut session = self.snapshot().await?;
        let point = Point::at(lat, lon);
        let mut cells = Cells::default();
        collections.read(&mut session, ids(around(point)), &mut cells).await?;
        let Some(group) = nearest(&cells, point) else { return Ok(vec![]) };
        let options = FindOptions::builder().sort(doc! { "pin.position": -1 }).limit(limit(max)).build();
        let here = in_cells(&group.cells);
        let pins = find(&collections.pins(), &mut session, here, options).await?;
        Ok(pins.into_iter().map(|document| document.pin).take(max).collect())
    }

    async fn find(&self, filter: Document, sorted: Document, max: usize) -> Result<Vec<Pin>> {
        let found = self.collections()?.pins().find(filter).sort(sorted).limit(limit(max)).await?;
        let mut pins: Vec<Pin> = found.map_ok(|document: PinDocument| document.pin).try_collect().await?;
        pins.truncate(max);
        Ok(pins)
    }

    /// A session in which every query sees the same moment.
    async fn snapshot(&self) -> Result<ClientSession> {
        self.client.start_session().snapshot(true).await
    }
}

impl Collections {
    /// Reads cells of one zoom.
    async fn read(
        &self,
        session: &mut ClientSession,
        ids: impl IntoIterator<Item = CellId>,
        cells: &mut Cells,
    ) -> Result<()> {
        let addresses: Vec<Address> = ids.into_iter().map(Address::of).collect();
        let Some(level) = addresses.first().map(|address| address.level) else { return Ok(()) };
        let blocks: BTreeSet<i64> = addresses.into_iter().map(|address| address.block).collect();
        let options = FindOptions::builder().projection(Block::projection(level)).build();
        let found = find(&self.blocks(), session, among(blocks.into_iter().collect()), options).await?;
        found.iter().for_each(|block| block.unpack(level, cells));
        Ok(())
    }

    /// Where each group falls apart: all of them go down together, a zoom at a
    /// time, and most need only one.
    async fn expansions(&self, session: &mut ClientSession, groups: &[Group]) -> Result<Vec<Option<u8>>> {
        let mut expansions = vec![None; groups.len()];
        let mut together: Vec<(usize, Vec<CellId>)> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.total.places > 1)
            .map(|(index, group)| (index, group.cells.clone()))
            .collect();
        while let Some(zoom) =
            together.first().map(|(_, ids)| ids[0].zoom + 1).filter(|zoom| *zoom <= ZOOM_MAX)
        {
            let mut cells = Cells::default();
            let children = together.iter().flat_map(|(_, ids)| ids).flat_map(|id| id.children());
            self.read(session, children, &mut cells).await?;
            together = together
                .into_iter()
                .filter_map(|(index, ids)| match expansion(&cells, &ids, zoom) {
                    Ok(apart) => {
                        expansions[index] = Some(apart);
                        None
                    }
                    Err(ids) => Some((index, ids)).filter(|(_, ids)| !ids.is_empty()),
                })
                .collect();
        }
        Ok(expansions)
    }
}

fn unfinished() -> Document {
    doc! { "unfinished": { "$gte": 0 } }
}

fn changed_after(after: Position) -> Document {
    doc! { "pin.position": { "$gt": number(after) } }
}

fn with_positions(positions: Vec<Bson>) -> Document {
    doc! { "pin.position": { "$in": positions } }
}

/// Texts that begin with a text: those between it and it with the last of all characters.
fn beginning_with(field: &str, text: &str) -> Document {
    doc! { field: { "$gte": text, "$lt": format!("{text}\u{10ffff}") } }
}

fn in_cells(cells: &[CellId]) -> Document {
    let keys: Vec<Bson> = cells.iter().map(|id| cell_key(id.home()).into()).collect();
    doc! { "cell": { "$in": keys } }
}

fn ids(block: cells::Block) -> impl Iterator<Item = CellId> {
    let cells::Block { zoom, rows, columns } = block;
    rows.flat_map(move |y| columns.clone().map(move |x| CellId { zoom, y, x }))
}

/// MongoDB takes 0 for no limit.
fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX).max(1)
}
