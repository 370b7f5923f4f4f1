//! A cache of the map's blocks and pins as of one checkpoint. A screen needs
//! hundreds of blocks, and most readers look at the same ones. Blocks that
//! change are removed, and read again when a query needs them.

use std::collections::{BTreeSet, HashMap};

use event_store::Position;
use mongodb::ClientSession;
use mongodb::bson::{Bson, doc};
use mongodb::error::Result;
use mongodb::options::FindOptions;

use super::MongoViews;
use super::blocks::{find_blocks, unpack_block};
use super::collections::ViewCollections;
use super::documents::{BlockKey, Generation, number};
use super::transaction::find;
use crate::map::block::BlockId;
use crate::map::index::CellIndex;
use crate::view::Pin;

/// The numbers of cells and of pins in the cache, about a hundred megabytes together.
const CELLS_MAX: usize = 1 << 20;
const PINS_MAX: usize = 1 << 16;

/// If more blocks changed since the last refresh, the cache is cleared instead.
const CHANGED_MAX: usize = 1 << 16;

/// The cached part of the map.
#[derive(Debug, Default)]
pub(super) struct BlockCache {
    generation: Generation,
    /// The checkpoint that the cache reflects.
    upto: Position,
    /// The number of refreshes.
    refreshes: u64,
    /// The cached blocks. A block without pins is cached as an empty block.
    pub(super) cells: CellIndex,
    /// The number of cells that were read since `cells` was last cleared.
    cells_read: usize,
    /// Cached pins, keyed by the position of their last change. A missing key means *not loaded*; `None`
    /// means *loaded, and there is no such pin*.
    pub(super) pins: HashMap<Position, Option<Pin>>,
}

/// The blocks and pins that a query needs and the cache does not have.
#[derive(Debug, Default)]
pub(super) struct MissingData {
    pub(super) blocks: BTreeSet<BlockId>,
    pub(super) pins: BTreeSet<Position>,
}

/// A query that is answered from the cache. A query may keep intermediate results
/// from one call of `answer` to the next, so the cache must not be refreshed between them.
pub(super) trait CacheQuery: Clone {
    type Answer;

    /// Returns the answer, or the data that must be loaded before the next call.
    fn answer(&mut self, cache: &BlockCache) -> std::result::Result<Self::Answer, MissingData>;
}

impl MongoViews {
    /// Answers a query as of the newest checkpoint that is known here, or a later one. Loads missing data
    /// from MongoDB. Fails while MongoDB is away, even if the cache has the data.
    pub(super) async fn read_through<Q: CacheQuery>(&self, mut query: Q) -> Result<Q::Answer> {
        let collections = self.collections()?;
        let oldest = self.polled.checkpoint();
        let is_current = |cache: &BlockCache| {
            let fresh = cache.generation == collections.generation && cache.upto >= oldest;
            fresh && !self.polled.is_away()
        };
        let cache = self.block_cache.read().await;
        if is_current(&cache)
            && let Ok(answer) = query.clone().answer(&cache)
        {
            return Ok(answer);
        }
        let refreshes = cache.refreshes;
        drop(cache);
        let mut cache = self.block_cache.write().await;
        // Another query may have loaded the data while this one waited for the lock.
        if cache.refreshes != refreshes
            && is_current(&cache)
            && let Ok(answer) = query.clone().answer(&cache)
        {
            return Ok(answer);
        }
        let mut session = self.snapshot().await?;
        cache.refresh(&collections, &mut session).await?;
        loop {
            match query.answer(&cache) {
                Ok(answer) => return Ok(answer),
                Err(missing) => cache.load(&collections, &mut session, missing).await?,
            }
        }
    }
}

impl BlockCache {
    /// Returns the blocks that are not cached as an error.
    pub(super) fn require(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
    ) -> std::result::Result<(), MissingData> {
        let blocks: BTreeSet<_> = blocks.into_iter().filter(|block| !self.cells.has_block(*block)).collect();
        if blocks.is_empty() { Ok(()) } else { Err(MissingData { blocks, ..MissingData::default() }) }
    }

    /// Moves the cache to the session's checkpoint: removes the blocks that changed.
    async fn refresh(&mut self, collections: &ViewCollections, session: &mut ClientSession) -> Result<()> {
        let head = collections.head(session).await?;
        let upto = head.map_or(Position::START, |head| head.checkpoint);
        if self.generation != collections.generation || upto < self.upto || self.cells_read > CELLS_MAX {
            *self = Self { generation: collections.generation, refreshes: self.refreshes, ..Self::default() };
        }
        if self.pins.len() > PINS_MAX {
            self.pins.clear();
        }
        if upto > self.upto && self.cells_read > 0 {
            self.remove_changed(collections, session).await?;
        }
        self.upto = upto;
        self.refreshes += 1;
        Ok(())
    }

    async fn remove_changed(
        &mut self,
        collections: &ViewCollections,
        session: &mut ClientSession,
    ) -> Result<()> {
        let keys = FindOptions::builder()
            .projection(doc! { "_id": 1 })
            .limit(i64::try_from(CHANGED_MAX).unwrap_or(i64::MAX))
            .build();
        let since = doc! { "changed": { "$gt": number(self.upto) } };
        let blocks = collections.blocks().clone_with_type::<BlockKey>();
        let changed = find(&blocks, session, since, keys).await?;
        if changed.len() == CHANGED_MAX {
            (self.cells, self.cells_read) = (CellIndex::default(), 0);
        }
        changed.iter().for_each(|block| self.cells.remove_block(BlockId(block.id)));
        Ok(())
    }

    async fn load(
        &mut self,
        collections: &ViewCollections,
        session: &mut ClientSession,
        missing: MissingData,
    ) -> Result<()> {
        if !missing.blocks.is_empty() {
            let found = find_blocks(collections, session, &missing.blocks).await?;
            self.cells_read += missing.blocks.len();
            missing.blocks.into_iter().for_each(|id| self.cells.insert_block(id, Default::default()));
            for document in found {
                let block = unpack_block(&document.cells);
                self.cells_read += block.len();
                self.cells.insert_block(BlockId(document.id), block);
            }
        }
        if !missing.pins.is_empty() {
            let positions: Vec<Bson> = missing.pins.iter().map(|position| number(*position)).collect();
            let filter = doc! { "pin.position": { "$in": positions } };
            let found = find(&collections.pins(), session, filter, FindOptions::default()).await?;
            self.pins.extend(missing.pins.into_iter().map(|position| (position, None)));
            self.pins.extend(found.into_iter().map(|document| (document.pin.position, Some(document.pin))));
        }
        Ok(())
    }
}
