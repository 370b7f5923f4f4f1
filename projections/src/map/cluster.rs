//! Clustering: cells whose centres would overlap on the screen become one
//! cluster, so that the grid does not show.
//!
//! The cluster of a cell depends on cells at most [`MARGIN`] cells away, and all
//! of these are read. So a cluster stays the same when the map is moved, and it
//! belongs to exactly one of two viewports that share an edge.

use std::cmp::Reverse;

use super::grid::{CellId, CellRange, CellSums, ZOOM_MAX, cell_side};
use super::index::CellIndex;
use super::mercator::MercatorPoint;
use super::viewport::Viewport;
use crate::view::{Cluster, MapFeature};

/// The number of times that a cell without a cluster may look for one.
const ROUNDS: u32 = 2;

/// The distance in cells up to which a cell can matter: three for each round, and
/// one because a cluster's centre may lie beside the cell that it grew from.
const MARGIN: u32 = 3 * ROUNDS + 1;

/// Cells that are shown as one feature: a cluster, or a pin if there is one only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CellCluster {
    /// Sorted row by row from the west.
    pub(crate) cells: Vec<CellId>,
    /// The sums of all cells.
    pub(crate) sums: CellSums,
}

impl CellCluster {
    /// Returns the feature of a cluster of several pins.
    pub(crate) fn feature(&self, expansion_zoom: Option<u8>) -> MapFeature {
        let (lat, lon) = self.sums.wrapped_centre().unproject();
        MapFeature::Cluster(Cluster { count: self.sums.count.unsigned_abs(), lat, lon, expansion_zoom })
    }
}

/// Returns the cells that [`clusters`] needs.
pub(crate) fn cells_for(viewport: &Viewport) -> Option<CellRange> {
    viewport.cells(MARGIN)
}

/// Returns the clusters whose centres are in the viewport.
pub(crate) fn clusters(viewport: &Viewport, index: &CellIndex) -> Vec<CellCluster> {
    let Some(range) = cells_for(viewport) else { return vec![] };
    let mut clusters = merge(index.within(&range).collect());
    clusters.retain(|cluster| viewport.contains(cluster.sums.centre()));
    clusters
}

/// Returns the cells that [`nearest`] needs.
pub(crate) fn cells_near(point: MercatorPoint) -> CellRange {
    let cell = CellId::containing(point, ZOOM_MAX);
    CellRange::new(cell, cell, MARGIN)
}

/// Returns the cluster at the highest zoom whose centre is nearest to `point`.
pub(crate) fn nearest(index: &CellIndex, point: MercatorPoint) -> Option<CellCluster> {
    let here = (point.x.into(), point.y.into());
    let distance = |cluster: &CellCluster| squared_distance(cluster.sums.centre(), here);
    merge(index.within(&cells_near(point)).collect()).into_iter().min_by_key(distance)
}

/// Returns the lowest zoom, `max_zoom` at most, at which the pins of `cells` would be several clusters if
/// no other pins were near.
///
/// # Errors
/// If they are one cluster up to `max_zoom`; the error has its cells at that zoom.
pub(crate) fn expansion_zoom(index: &CellIndex, cells: &[CellId], max_zoom: u8) -> Result<u8, Vec<CellId>> {
    let mut cells = cells.to_vec();
    while let Some(zoom) = cells.first().map(|id| id.zoom).filter(|zoom| *zoom < max_zoom) {
        let children: Vec<_> = cells
            .iter()
            .flat_map(|id| id.children())
            .filter_map(|id| index.get(id).map(|sums| (id, sums)))
            .collect();
        cells = children.iter().map(|(id, _)| *id).collect();
        if merge(children).len() > 1 {
            return Ok(zoom + 1);
        }
    }
    Err(cells)
}

/// Merges cells of one zoom whose centres would overlap.
///
/// A cell is a root if no overlapping neighbour has more pins. Every other cell
/// joins the nearest root that it overlaps. A cell that overlaps no root, because
/// its larger neighbour joined another, tries once more among those that are left.
fn merge(cells: Vec<(CellId, CellSums)>) -> Vec<CellCluster> {
    let grid = NeighbourGrid::new(cells);
    let mut root_of: Vec<Option<usize>> = vec![None; grid.cells.len()];
    for _ in 0..ROUNDS {
        let undecided: Vec<bool> = root_of.iter().map(Option::is_none).collect();
        let is_root: Vec<bool> = (0..grid.cells.len())
            .map(|cell| {
                let mut overlapping = grid.overlapping(cell);
                undecided[cell]
                    && !overlapping.any(|other| undecided[other] && grid.rank(other) > grid.rank(cell))
            })
            .collect();
        for cell in (0..grid.cells.len()).filter(|cell| undecided[*cell]) {
            root_of[cell] = if is_root[cell] {
                Some(cell)
            } else {
                let roots = grid.overlapping(cell).filter(|other| is_root[*other]);
                roots.min_by_key(|root| (grid.distance(cell, *root), Reverse(grid.rank(*root))))
            };
        }
    }
    let mut clusters: Vec<CellCluster> = vec![];
    let mut cluster_of: Vec<Option<usize>> = vec![None; grid.cells.len()];
    for (cell, (id, sums)) in grid.cells.iter().enumerate() {
        let root = root_of[cell].unwrap_or(cell);
        let cluster = *cluster_of[root].get_or_insert_with(|| {
            clusters.push(CellCluster { cells: vec![], sums: CellSums::default() });
            clusters.len() - 1
        });
        clusters[cluster].cells.push(*id);
        clusters[cluster].sums += *sums;
    }
    clusters
}

/// Cells of one zoom in a table by row and column, so that neighbours are found at once.
struct NeighbourGrid {
    cells: Vec<(CellId, CellSums)>,
    top: u32,
    left: i32,
    width: usize,
    /// For each slot of the table the number of its cell plus one; 0 if it is empty. The rim is empty.
    slots: Vec<u32>,
    /// The square of the distance below which two centres overlap.
    overlap: u128,
}

impl NeighbourGrid {
    fn new(cells: Vec<(CellId, CellSums)>) -> Self {
        let zoom = cells.first().map_or(0, |(id, _)| id.zoom);
        let top = cells.iter().map(|(id, _)| id.y).min().unwrap_or(0);
        let left = cells.iter().map(|(id, _)| id.x).min().unwrap_or(0);
        let bottom = cells.iter().map(|(id, _)| id.y).max().unwrap_or(0);
        let right = cells.iter().map(|(id, _)| id.x).max().unwrap_or(0);
        let (height, width) = ((bottom - top) as usize + 3, (right - left) as usize + 3);
        // Three quarters of a cell: about 48 pixels, the width of a cluster's disc.
        let overlap = u128::from(cell_side(zoom) * 3 / 4).pow(2);
        let mut grid = Self { cells, top, left, width, slots: vec![0; width * height], overlap };
        for cell in 0..grid.cells.len() {
            let slot = grid.slot(cell);
            grid.slots[slot] = cell as u32 + 1;
        }
        grid
    }

    fn slot(&self, cell: usize) -> usize {
        let (id, _) = self.cells[cell];
        (id.y - self.top + 1) as usize * self.width + (id.x - self.left + 1) as usize
    }

    /// Returns the neighbours whose centres overlap this cell's.
    fn overlapping(&self, cell: usize) -> impl Iterator<Item = usize> {
        let slot = self.slot(cell);
        let rows = [slot - self.width, slot, slot + self.width];
        let slots = rows.into_iter().flat_map(|middle| middle - 1..=middle + 1);
        slots
            .filter_map(|slot| (self.slots[slot] as usize).checked_sub(1))
            .filter(move |other| *other != cell && self.distance(cell, *other) < self.overlap)
    }

    fn distance(&self, one: usize, other: usize) -> u128 {
        squared_distance(self.cells[one].1.centre(), self.cells[other].1.centre())
    }

    /// Orders cells by their number of pins, and by their names if that is equal.
    fn rank(&self, cell: usize) -> (i64, Reverse<CellId>) {
        let (id, sums) = self.cells[cell];
        (sums.count, Reverse(id))
    }
}

fn squared_distance(one: (i64, i64), other: (i64, i64)) -> u128 {
    let squared = |a: i64, b: i64| u128::from(a.abs_diff(b)).pow(2);
    squared(one.0, other.0) + squared(one.1, other.1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::map::index::tests::{all_cells, index_of, pin, pins};
    use crate::view::BoundingBox;

    fn world() -> BoundingBox {
        BoundingBox { west: -180.0, south: -90.0, east: 180.0, north: 90.0 }
    }

    fn clusters_in(bounds: BoundingBox, zoom: u8, index: &CellIndex) -> Vec<CellCluster> {
        clusters(&Viewport::new(bounds, zoom), index)
    }

    /// Returns the costliest screen: each of its cells has a pin.
    fn dense(zoom: u8, side: u32) -> Vec<(CellId, CellSums)> {
        let middle = 2u32 << zoom;
        let all = (0..side).flat_map(|y| (0..side).map(move |x| (middle + y, middle + x)));
        let cell = |(y, x): (u32, u32)| {
            // Anywhere in the cell, but the same for each run.
            let within = |seed: u32| (seed.wrapping_mul(2_654_435_761) >> 8) as i64 % cell_side(zoom) as i64;
            let at = |n: u32, seed| i64::from(n) * cell_side(zoom) as i64 + within(seed);
            let sums = CellSums { count: 1, places: 1, x: at(x, x * 31 + y), y: at(y, y * 17 + x), pin: 1 };
            (CellId { zoom, y, x: x.cast_signed() }, sums)
        };
        all.map(cell).collect()
    }

    #[test]
    fn neighbours_that_would_overlap_become_one_cluster_and_others_do_not() {
        // On both sides of a cell's edge, at Greenwich.
        let near = index_of([&pin(1, 51.5, -0.001), &pin(2, 51.5, 0.001), &pin(3, 51.5, 20.0)]);
        let found = clusters_in(world(), 5, &near);
        let counts: Vec<_> = found.iter().map(|cluster| (cluster.sums.count, cluster.cells.len())).collect();
        assert_eq!(counts, [(2, 2), (1, 1)]);
        let greenwich = BoundingBox { west: -0.01, south: 51.49, east: 0.01, north: 51.51 };
        assert_eq!(clusters_in(greenwich, 16, &near).len(), 2);
    }

    #[test]
    fn the_grid_does_not_show() {
        let clusters = merge(dense(8, 60));
        let total: i64 = clusters.iter().map(|cluster| cluster.sums.count).sum();
        assert_eq!(total, 60 * 60);
        let overlaps = |some: &CellCluster| {
            let centre = some.sums.centre();
            let near = |other: &&CellCluster| {
                let gap = squared_distance(centre, other.sums.centre());
                gap > 0 && gap < u128::from(cell_side(8) / 2).pow(2)
            };
            clusters.iter().any(|other| near(&other))
        };
        let overlapping = clusters.iter().filter(|cluster| overlaps(cluster)).count();
        assert!(overlapping * 50 < clusters.len(), "{overlapping} of {} overlap by a third", clusters.len());
    }

    #[test]
    fn neighbours_across_the_antimeridian_become_one_cluster() {
        let index = index_of([&pin(1, 10.0, 179.9), &pin(2, 10.0, -179.9), &pin(3, 10.0, -179.8)]);
        let between = |west, east| BoundingBox { west, east, ..world() };
        let eastern_edge = BoundingBox { west: 179.0, ..world() };
        for zoom in 0..7 {
            assert_eq!(clusters_in(eastern_edge, zoom, &index), [], "the centre is east of the antimeridian");
            for bounds in [world(), between(170.0, -170.0), between(-180.0, -179.0)] {
                let clusters = clusters_in(bounds, zoom, &index);
                let [cluster] = &clusters[..] else { panic!("{bounds:?} at {zoom}: {clusters:?}") };
                let (_, lon) = cluster.sums.wrapped_centre().unproject();
                assert_eq!(cluster.sums.count, 3, "{bounds:?} at {zoom}");
                assert!((lon + 179.933).abs() < 0.001, "{lon}");
                assert_eq!(expansion_zoom(&index, &cluster.cells, ZOOM_MAX), Ok(9));
            }
        }
        let near = index_of([&pin(4, 10.0, 179.999)]);
        let found = nearest(&near, MercatorPoint::project(10.0, -179.999));
        assert_eq!(found.map(|cluster| cluster.sums.pin), Some(4));
    }

    proptest! {
        #[test]
        fn a_map_that_is_moved_shows_the_same_clusters(
            pins in pins(80), zoom in 0..6u8, west in -180.0..180.0, south in -85.0..85.0
        ) {
            let index = index_of(&pins);
            let shown = |bounds| clusters_in(bounds, zoom, &index);
            let mut parts: Vec<CellCluster> = [
                BoundingBox { east: west, south, ..world() },
                BoundingBox { west, south, ..world() },
                BoundingBox { east: west, north: south, ..world() },
                BoundingBox { west, north: south, ..world() },
            ]
            .into_iter()
            .flat_map(shown)
            .collect();
            let mut whole = shown(world());
            parts.sort_by_key(|cluster| cluster.cells.clone());
            whole.sort_by_key(|cluster| cluster.cells.clone());
            prop_assert_eq!(&parts, &whole);
            let wrapped = |clusters: Vec<CellCluster>| -> BTreeSet<Vec<CellId>> {
                let cells = clusters.into_iter().map(|cluster| cluster.cells);
                cells.map(|cells| cells.into_iter().map(CellId::wrapped).collect()).collect()
            };
            let across = BoundingBox { west: west.abs(), east: -west.abs(), ..world() };
            let rest = BoundingBox { west: -west.abs(), east: west.abs(), ..world() };
            let both = shown(across).into_iter().chain(shown(rest)).collect();
            prop_assert_eq!(wrapped(both), wrapped(whole.clone()));
            let total: i64 = whole.iter().map(|cluster| cluster.sums.count).sum();
            prop_assert_eq!(total, pins.len() as i64);
        }

        #[test]
        fn a_cluster_is_one_feature_below_its_expansion_zoom(pins in pins(30), zoom in 0..16u8) {
            let index = index_of(&pins);
            for cluster in clusters_in(world(), zoom.min(5), &index) {
                let clusters_at = |zoom| {
                    // The cells within the cluster, shifted to the cluster's repetition of the world.
                    let inside = |id: CellId| cluster.cells.iter().find_map(|cell| {
                        let up = id.zoom - cell.zoom;
                        let x = id.x + ((cell.x - cell.wrapped().x) << up);
                        ((id.y >> up, x >> up) == (cell.y, cell.x)).then_some(CellId { x, ..id })
                    });
                    let ids = all_cells(&index, zoom).filter_map(|(id, _)| inside(id));
                    let mut inside: Vec<_> = ids.map(|id| (id, index.get(id).unwrap())).collect();
                    inside.sort_by_key(|(id, _)| *id);
                    merge(inside).len()
                };
                let splits = expansion_zoom(&index, &cluster.cells, ZOOM_MAX).ok();
                let expected = (cluster.cells[0].zoom + 1..=ZOOM_MAX).find(|zoom| clusters_at(*zoom) > 1);
                prop_assert_eq!(splits, expected);
            }
        }
    }
}
