//! The two queries of the map, answered from the [`BlockCache`].

use event_store::Position;

use super::block_cache::{BlockCache, CacheQuery, MissingData};
use crate::map::block::{BlockId, covering};
use crate::map::cluster::{CellCluster, cells_for, cells_near, clusters, expansion_zoom, nearest};
use crate::map::grid::{CellId, ZOOM_MAX};
use crate::map::mercator::MercatorPoint;
use crate::map::viewport::Viewport;
use crate::view::MapFeature;

/// Finds the features of a viewport.
#[derive(Clone)]
pub(super) struct ViewportQuery<'a> {
    viewport: &'a Viewport,
    /// The clusters, once their blocks are cached.
    clusters: Option<Vec<ResolvedCluster>>,
}

/// A cluster that is on the way to its feature.
#[derive(Clone)]
struct ResolvedCluster {
    cluster: CellCluster,
    /// The cluster's cells at the highest zoom at which it is known to be one cluster.
    cells: Vec<CellId>,
    feature: Option<MapFeature>,
}

/// Finds the cluster at the highest zoom that is nearest to a point.
#[derive(Clone)]
pub(super) struct NearestQuery(pub(super) MercatorPoint);

impl<'a> ViewportQuery<'a> {
    pub(super) fn new(viewport: &'a Viewport) -> Self {
        Self { viewport, clusters: None }
    }
}

impl CacheQuery for ViewportQuery<'_> {
    type Answer = Vec<MapFeature>;

    fn answer(&mut self, cache: &BlockCache) -> Result<Vec<MapFeature>, MissingData> {
        let clusters = match &mut self.clusters {
            Some(clusters) => clusters,
            none => {
                cache.require(cells_for(self.viewport).iter().flat_map(covering))?;
                let clusters = clusters(self.viewport, &cache.cells).into_iter();
                none.insert(clusters.map(ResolvedCluster::new).collect())
            }
        };
        let mut missing = MissingData::default();
        for cluster in clusters.iter_mut().filter(|cluster| cluster.feature.is_none()) {
            cluster.feature = cluster.resolve(cache, &mut missing);
        }
        if missing.blocks.is_empty() && missing.pins.is_empty() {
            Ok(clusters.iter_mut().filter_map(|cluster| cluster.feature.take()).collect())
        } else {
            Err(missing)
        }
    }
}

impl CacheQuery for NearestQuery {
    type Answer = Option<CellCluster>;

    fn answer(&mut self, cache: &BlockCache) -> Result<Option<CellCluster>, MissingData> {
        cache.require(covering(&cells_near(self.0)))?;
        Ok(nearest(&cache.cells, self.0))
    }
}

impl ResolvedCluster {
    fn new(cluster: CellCluster) -> Self {
        Self { cells: cluster.cells.clone(), cluster, feature: None }
    }

    /// Returns the cluster's feature, or adds to `missing` the data that it needs.
    fn resolve(&mut self, cache: &BlockCache, missing: &mut MissingData) -> Option<MapFeature> {
        let cluster = &self.cluster;
        if cluster.sums.count == 1 {
            let position = Position(cluster.sums.pin);
            let Some(pin) = cache.pins.get(&position) else {
                missing.pins.insert(position);
                return None;
            };
            return Some(pin.clone().map_or_else(|| cluster.feature(None), MapFeature::Pin));
        }
        if cluster.sums.places == 1 {
            return Some(cluster.feature(None));
        }
        // A block has three zooms, so most clusters need at most one further block.
        while let Some(zoom) = self.cells.first().map(|id| id.zoom + 1).filter(|zoom| *zoom <= ZOOM_MAX) {
            let children = self.cells.iter().flat_map(|id| id.children());
            if let Err(blocks) = cache.require(children.map(|id| BlockId::from_cell(id.wrapped()))) {
                missing.blocks.extend(blocks.blocks);
                return None;
            }
            match expansion_zoom(&cache.cells, &self.cells, zoom) {
                Ok(zoom) => return Some(cluster.feature(Some(zoom))),
                Err(cells) => self.cells = cells,
            }
        }
        Some(cluster.feature(None))
    }
}
