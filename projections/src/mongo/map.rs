//! The part of the map that was looked at, kept here as of one checkpoint. A
//! screen is hundreds of blocks, and most people look at the same ones: what
//! changed since is forgotten, and read again when somebody looks.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use event_store::Position;
use mongodb::ClientSession;
use mongodb::bson::{Bson, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Shared;
use super::collections::{Collections, Generation, number};
use super::transaction::find;
use crate::blocks::BlockId;
use crate::cells::Cells;
use crate::view::Pin;

/// So many cells are kept, and pins that stand alone: about a hundred megabytes.
const CELLS_MAX: usize = 1 << 20;
const PINS_MAX: usize = 1 << 16;

/// When more blocks than this changed, all are read again.
const CHANGED_MAX: usize = 1 << 16;

/// What is known of the map.
#[derive(Debug, Default)]
pub(super) struct Map {
    generation: Generation,
    upto: Position,
    /// How often something was read into it.
    readings: u64,
    /// Blocks that are known to have no pins are among them.
    pub(super) cells: Cells,
    /// How many were read since there were none.
    cells_read: usize,
    /// By the event that last changed it a pin is always the same. There is
    /// none when it is not known, and `None` when there is none.
    pub(super) pins: HashMap<Position, Option<Pin>>,
}

/// What must be known of the map before it can be shown.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) blocks: BTreeSet<BlockId>,
    pub(super) pins: BTreeSet<Position>,
}

/// The name of a block.
#[derive(Deserialize)]
struct Changed {
    #[serde(rename = "_id")]
    id: i64,
}

impl Shared {
    /// Shows something of the map as it is at the newest checkpoint that is
    /// known here now, or a later one: who waits for somebody else's reading
    /// makes do with it. What `look` makes looks at one moment of it,
    /// and again once what it missed is there. While MongoDB is away nothing is
    /// shown.
    pub(super) async fn show<T, L>(&self, look: impl Fn() -> L) -> Result<T>
    where
        L: FnMut(&Map) -> std::result::Result<T, Missing>,
    {
        let collections = self.collections()?;
        let asked = *self.checkpoint.borrow();
        let current = |map: &Map| {
            let fresh = map.generation == collections.generation && map.upto >= asked;
            fresh && !self.away.load(Ordering::Relaxed)
        };
        let map = self.map.read().await;
        if current(&map)
            && let Ok(shown) = look()(&map)
        {
            return Ok(shown);
        }
        let readings = map.readings;
        drop(map);
        let mut map = self.map.write().await;
        // Somebody else may have read it while this one waited.
        if map.readings != readings
            && current(&map)
            && let Ok(shown) = look()(&map)
        {
            return Ok(shown);
        }
        let mut session = self.snapshot().await?;
        map.refresh(&collections, &mut session).await?;
        let mut look = look();
        loop {
            match look(&map) {
                Ok(shown) => return Ok(shown),
                Err(missing) => map.read(&collections, &mut session, missing).await?,
            }
        }
    }
}

impl Map {
    /// That all of these blocks are known.
    pub(super) fn knows(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
    ) -> std::result::Result<(), Missing> {
        let blocks: BTreeSet<_> = blocks.into_iter().filter(|block| !self.cells.has(*block)).collect();
        if blocks.is_empty() { Ok(()) } else { Err(Missing { blocks, ..Missing::default() }) }
    }

    /// Forgets what changed until the session's moment.
    async fn refresh(&mut self, collections: &Collections, session: &mut ClientSession) -> Result<()> {
        let head = Collections::heads(collections.database())
            .find_one(doc! { "_id": collections.generation })
            .session(&mut *session)
            .await?;
        let upto = head.map_or(Position::START, |head| head.checkpoint);
        if self.generation != collections.generation || upto < self.upto || self.cells_read > CELLS_MAX {
            *self = Self { generation: collections.generation, readings: self.readings, ..Self::default() };
        }
        if self.pins.len() > PINS_MAX {
            self.pins.clear();
        }
        if upto > self.upto && self.cells_read > 0 {
            self.forget(collections, session).await?;
        }
        self.upto = upto;
        self.readings += 1;
        Ok(())
    }

    async fn forget(&mut self, collections: &Collections, session: &mut ClientSession) -> Result<()> {
        let names = FindOptions::builder()
            .projection(doc! { "_id": 1 })
            .limit(i64::try_from(CHANGED_MAX).unwrap_or(i64::MAX))
            .build();
        let since = doc! { "changed": { "$gt": number(self.upto) } };
        let blocks = collections.blocks().clone_with_type::<Changed>();
        let changed = find(&blocks, session, since, names).await?;
        if changed.len() == CHANGED_MAX {
            (self.cells, self.cells_read) = (Cells::default(), 0);
        }
        changed.iter().for_each(|changed| self.cells.forget(BlockId(changed.id)));
        Ok(())
    }

    async fn read(
        &mut self,
        collections: &Collections,
        session: &mut ClientSession,
        missing: Missing,
    ) -> Result<()> {
        if !missing.blocks.is_empty() {
            let found = collections.find_blocks(session, &missing.blocks).await?;
            self.cells_read += missing.blocks.len();
            missing.blocks.into_iter().for_each(|block| self.cells.put(block, Default::default()));
            for block in found {
                let cells = block.cells();
                self.cells_read += cells.len();
                self.cells.put(block.id(), cells);
            }
        }
        if !missing.pins.is_empty() {
            let positions: Vec<Bson> = missing.pins.iter().map(|position| number(*position)).collect();
            let these = doc! { "pin.position": { "$in": positions } };
            let found = find(&collections.pins(), session, these, FindOptions::default()).await?;
            self.pins.extend(missing.pins.into_iter().map(|position| (position, None)));
            self.pins.extend(found.into_iter().map(|document| (document.pin.position, Some(document.pin))));
        }
        Ok(())
    }
}
