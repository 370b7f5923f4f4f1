//! What a map shows of the cells in its box: cells whose centres would overlap
//! on the screen become one spot, so that the grid does not show.
//!
//! A cell depends on its neighbours at most [`MARGIN`] cells away, all of which
//! are read: so a spot is the same however the map is moved, and belongs to
//! exactly one of the boxes that share an edge.

use std::cmp::Reverse;

use crate::area::{Area, Window};
use crate::cells::{Cell, CellId, Cells, ZOOM_MAX, cell_side};
use crate::square::{Point, WORLD};
use crate::view::{BoundingBox, Cluster, MapFeature};

/// The longest side of a viewport in tiles of 256 pixels: 8,192 pixels. A larger
/// box is shown at a lower zoom, so no request costs more than a large screen.
const TILES_MAX: u64 = 32;

/// How often what was left alone may look for a neighbour.
const ROUNDS: u32 = 2;

/// How far away a cell can be that matters: three for each round, and one
/// because a spot's centre may lie beside the cell that it grew from.
const MARGIN: u32 = 3 * ROUNDS + 1;

/// A map's box, at the zoom at which it is shown.
#[derive(Debug)]
pub(crate) struct Frame {
    zoom: u8,
    /// Nothing, when the box is none.
    area: Option<Area>,
}

/// Cells that are shown as one spot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Row by row from the west.
    pub(crate) cells: Vec<CellId>,
    /// Their sum.
    pub(crate) total: Cell,
}

impl Frame {
    pub(crate) fn zoom(&self) -> u8 {
        self.zoom
    }

    pub(crate) fn of(bounds: BoundingBox, zoom: u8) -> Self {
        let area = Area::of(bounds);
        let mut zoom = zoom.min(ZOOM_MAX);
        while zoom > 0 && area.as_ref().is_some_and(|area| area.longest_side() << zoom > TILES_MAX * WORLD) {
            zoom -= 1;
        }
        Self { zoom, area }
    }

    /// The cells that must be known to say what the frame shows.
    pub(crate) fn window(&self) -> Option<Window> {
        self.area.as_ref().map(|area| area.window(self.zoom, MARGIN))
    }

    /// What the frame shows.
    pub(crate) fn groups(&self, cells: &Cells) -> Vec<Group> {
        let Some(area) = &self.area else { return vec![] };
        let mut groups = merge(cells.within(&area.window(self.zoom, MARGIN)).collect());
        groups.retain(|group| area.contains(group.total.centre()));
        groups
    }
}

impl Group {
    /// Returns the group of several pins as a cluster that splits at `expansion_zoom`.
    pub(crate) fn feature(&self, expansion_zoom: Option<u8>) -> MapFeature {
        let (lat, lon) = self.total.place().lat_lon();
        MapFeature::Cluster(Cluster { count: self.total.count.unsigned_abs(), lat, lon, expansion_zoom })
    }
}

/// Looks for the zoom at which these cells would be shown as several spots, if
/// they were alone in the world, down to zoom `deepest`. When there they are
/// still one, answers what cells they are there.
pub(crate) fn expansion(cells: &Cells, group: &[CellId], deepest: u8) -> Result<u8, Vec<CellId>> {
    let mut group = group.to_vec();
    while let Some(zoom) = group.first().map(|id| id.zoom).filter(|zoom| *zoom < deepest) {
        let children: Vec<_> = group
            .iter()
            .flat_map(|id| id.children())
            .filter_map(|id| cells.get(id).map(|cell| (id, cell)))
            .collect();
        group = children.iter().map(|(id, _)| *id).collect();
        if merge(children).len() > 1 {
            return Ok(zoom + 1);
        }
    }
    Err(group)
}

/// The group at the deepest zoom nearest to `point`: the pins that a click there means.
pub(crate) fn nearest(cells: &Cells, point: Point) -> Option<Group> {
    let here = (point.x.into(), point.y.into());
    let distance = |group: &Group| squared_distance(group.total.centre(), here);
    merge(cells.within(&around(point)).collect()).into_iter().min_by_key(distance)
}

/// The cells that must be known to say what is [`nearest`] to a point.
pub(crate) fn around(point: Point) -> Window {
    let here = point.cell(ZOOM_MAX);
    Window::around(here, here, MARGIN)
}

/// Merges cells of one zoom whose centres are too near to each other.
///
/// A cell is a root when none of its neighbours that are too near has more
/// pins; every other joins the nearest root that is too near to it. What then
/// is left has a larger neighbour that went elsewhere, and tries once more.
fn merge(cells: Vec<(CellId, Cell)>) -> Vec<Group> {
    let grid = Grid::new(cells);
    let mut joins: Vec<Option<usize>> = vec![None; grid.cells.len()];
    for _ in 0..ROUNDS {
        let undecided: Vec<bool> = joins.iter().map(Option::is_none).collect();
        let is_root: Vec<bool> = (0..grid.cells.len())
            .map(|index| {
                undecided[index]
                    && !grid.near(index).any(|near| undecided[near] && grid.rank(near) > grid.rank(index))
            })
            .collect();
        for index in (0..grid.cells.len()).filter(|index| undecided[*index]) {
            joins[index] = if is_root[index] {
                Some(index)
            } else {
                let roots = grid.near(index).filter(|near| is_root[*near]);
                roots.min_by_key(|root| (grid.distance(index, *root), Reverse(grid.rank(*root))))
            };
        }
    }
    let mut groups: Vec<Group> = vec![];
    let mut group_of: Vec<Option<usize>> = vec![None; grid.cells.len()];
    for (index, (id, cell)) in grid.cells.iter().enumerate() {
        let root = joins[index].unwrap_or(index);
        let group = *group_of[root].get_or_insert_with(|| {
            groups.push(Group { cells: vec![], total: Cell::default() });
            groups.len() - 1
        });
        groups[group].cells.push(*id);
        groups[group].total += *cell;
    }
    groups
}

/// Cells by row and column.
struct Grid {
    cells: Vec<(CellId, Cell)>,
    top: u32,
    left: i32,
    width: usize,
    /// The index of a cell, plus one; the grid has an empty rim.
    indexes: Vec<u32>,
    too_near: u128,
}

impl Grid {
    fn new(cells: Vec<(CellId, Cell)>) -> Self {
        let zoom = cells.first().map_or(0, |(id, _)| id.zoom);
        let top = cells.iter().map(|(id, _)| id.y).min().unwrap_or(0);
        let left = cells.iter().map(|(id, _)| id.x).min().unwrap_or(0);
        let bottom = cells.iter().map(|(id, _)| id.y).max().unwrap_or(0);
        let right = cells.iter().map(|(id, _)| id.x).max().unwrap_or(0);
        let (height, width) = ((bottom - top) as usize + 3, (right - left) as usize + 3);
        // Three quarters of a cell: about 48 pixels, the width of a cluster's disc.
        let too_near = u128::from(cell_side(zoom) * 3 / 4).pow(2);
        let mut grid = Self { cells, top, left, width, indexes: vec![0; width * height], too_near };
        for index in 0..grid.cells.len() {
            let slot = grid.slot(index);
            grid.indexes[slot] = index as u32 + 1;
        }
        grid
    }

    fn slot(&self, index: usize) -> usize {
        let (id, _) = self.cells[index];
        (id.y - self.top + 1) as usize * self.width + (id.x - self.left + 1) as usize
    }

    /// The neighbours that would overlap.
    fn near(&self, index: usize) -> impl Iterator<Item = usize> {
        let slot = self.slot(index);
        let rows = [slot - self.width, slot, slot + self.width];
        let slots = rows.into_iter().flat_map(|middle| middle - 1..=middle + 1);
        slots
            .filter_map(|slot| (self.indexes[slot] as usize).checked_sub(1))
            .filter(move |near| *near != index && self.distance(index, *near) < self.too_near)
    }

    fn distance(&self, one: usize, other: usize) -> u128 {
        squared_distance(self.cells[one].1.centre(), self.cells[other].1.centre())
    }

    /// Larger cells first, then the order of their names: no two have the same.
    fn rank(&self, index: usize) -> (i64, Reverse<CellId>) {
        let (id, cell) = self.cells[index];
        (cell.count, Reverse(id))
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
    use crate::cells::tests::{all, cells_of, pin, pins};

    fn world() -> BoundingBox {
        BoundingBox { west: -180.0, south: -90.0, east: 180.0, north: 90.0 }
    }

    /// Every cell of a zoom that a screen shows has a pin: the most that there is to do.
    fn dense(zoom: u8, side: u32) -> Vec<(CellId, Cell)> {
        let middle = 2u32 << zoom;
        let all = (0..side).flat_map(|y| (0..side).map(move |x| (middle + y, middle + x)));
        let cell = |(y, x): (u32, u32)| {
            // Somewhere in the cell, but always at the same place.
            let within = |seed: u32| (seed.wrapping_mul(2_654_435_761) >> 8) as i64 % cell_side(zoom) as i64;
            let at = |n: u32, seed| i64::from(n) * cell_side(zoom) as i64 + within(seed);
            let cell = Cell { count: 1, places: 1, x: at(x, x * 31 + y), y: at(y, y * 17 + x), pin: 1 };
            (CellId { zoom, y, x: x.cast_signed() }, cell)
        };
        all.map(cell).collect()
    }

    #[test]
    fn neighbours_that_would_overlap_become_one_spot_and_others_do_not() {
        // On both sides of a cell's edge, at Greenwich.
        let near = cells_of([&pin(1, 51.5, -0.001), &pin(2, 51.5, 0.001), &pin(3, 51.5, 20.0)]);
        let groups = Frame::of(world(), 5).groups(&near);
        let counts: Vec<_> = groups.iter().map(|group| (group.total.count, group.cells.len())).collect();
        assert_eq!(counts, [(2, 2), (1, 1)]);
        assert_eq!(Frame::of(world(), 16).zoom, 5, "no screen is as large as the world at zoom 16");
        let greenwich = BoundingBox { west: -0.01, south: 51.49, east: 0.01, north: 51.51 };
        assert_eq!(Frame::of(greenwich, 16).groups(&near).len(), 2);
    }

    #[test]
    fn the_grid_does_not_show() {
        let groups = merge(dense(8, 60));
        let total: i64 = groups.iter().map(|group| group.total.count).sum();
        assert_eq!(total, 60 * 60);
        let overlaps = |some: &Group| {
            let centre = some.total.centre();
            let near = |other: &&Group| {
                let gap = squared_distance(centre, other.total.centre());
                gap > 0 && gap < u128::from(cell_side(8) / 2).pow(2)
            };
            groups.iter().any(|other| near(&other))
        };
        let overlapping = groups.iter().filter(|group| overlaps(group)).count();
        assert!(overlapping * 50 < groups.len(), "{overlapping} of {} overlap by a third", groups.len());
    }

    #[test]
    fn a_viewport_of_the_world_has_zoom_5_and_one_of_a_city_the_highest_zoom() {
        let zoom =
            |west, south, east, north| Frame::of(BoundingBox { west, south, east, north }, ZOOM_MAX).zoom;
        assert_eq!(zoom(-180.0, -90.0, 180.0, 90.0), 5);
        assert_eq!(zoom(-180.0, -85.0, 180.0, 85.0), 5);
        assert_eq!(zoom(-0.02, 51.49, 0.02, 51.51), 16);
        assert_eq!(zoom(179.99, -0.01, -179.99, 0.01), 16, "a narrow box across the antimeridian");
        assert_eq!(zoom(10.0, 0.0, -10.0, 1.0), 5, "all but twenty degrees");
        assert_eq!(zoom(5.0, 5.0, 5.0, 5.0), 16);
    }

    #[test]
    fn how_much_is_looked_at_depends_on_the_screen_and_not_on_the_zoom() {
        for zoom in 3..=16 {
            let width = 30.0 * 360.0 / f64::from(4u32 << zoom);
            let screen = BoundingBox { west: 0.0, south: 0.0, east: width, north: width / 2.0 };
            let cells = Frame::of(screen, zoom).window().unwrap().len();
            assert!(cells < 1800, "{cells} at zoom {zoom}");
        }
    }

    #[test]
    fn neighbours_across_the_date_line_become_one_spot() {
        let cells = cells_of([&pin(1, 10.0, 179.9), &pin(2, 10.0, -179.9), &pin(3, 10.0, -179.8)]);
        let (across, west) =
            (|west, east| BoundingBox { west, east, ..world() }, BoundingBox { west: 179.0, ..world() });
        for zoom in 0..7 {
            assert_eq!(Frame::of(west, zoom).groups(&cells), [], "its centre is east of the line");
            for bounds in [world(), across(170.0, -170.0), across(-180.0, -179.0)] {
                let groups = Frame::of(bounds, zoom).groups(&cells);
                let [group] = &groups[..] else { panic!("{bounds:?} at {zoom}: {groups:?}") };
                let (_, lon) = group.total.place().lat_lon();
                assert_eq!(group.total.count, 3, "{bounds:?} at {zoom}");
                assert!((lon + 179.933).abs() < 0.001, "{lon}");
                assert_eq!(expansion(&cells, &group.cells, ZOOM_MAX), Ok(9));
            }
        }
        let near = cells_of([&pin(4, 10.0, 179.999)]);
        assert_eq!(nearest(&near, Point::at(10.0, -179.999)).map(|group| group.total.pin), Some(4));
    }

    proptest! {
        #[test]
        fn a_map_that_is_moved_shows_the_same_spots(
            pins in pins(80), zoom in 0..6u8, west in -180.0..180.0, south in -85.0..85.0
        ) {
            let cells = cells_of(&pins);
            let shown = |bounds| Frame::of(bounds, zoom).groups(&cells);
            let mut parts: Vec<Group> = [
                BoundingBox { east: west, south, ..world() },
                BoundingBox { west, south, ..world() },
                BoundingBox { east: west, north: south, ..world() },
                BoundingBox { west, north: south, ..world() },
            ]
            .into_iter()
            .flat_map(shown)
            .collect();
            let mut whole = shown(world());
            parts.sort_by_key(|group| group.cells.clone());
            whole.sort_by_key(|group| group.cells.clone());
            prop_assert_eq!(&parts, &whole);
            let home = |groups: Vec<Group>| -> BTreeSet<Vec<CellId>> {
                groups.into_iter().map(|group| group.cells.into_iter().map(CellId::home).collect()).collect()
            };
            let across = BoundingBox { west: west.abs(), east: -west.abs(), ..world() };
            let rest = BoundingBox { west: -west.abs(), east: west.abs(), ..world() };
            let both = shown(across).into_iter().chain(shown(rest)).collect();
            prop_assert_eq!(home(both), home(whole.clone()));
            let total: i64 = whole.iter().map(|group| group.total.count).sum();
            prop_assert_eq!(total, pins.len() as i64);
        }

        #[test]
        fn a_cluster_is_one_spot_until_its_expansion_zoom(pins in pins(30), zoom in 0..16u8) {
            let cells = cells_of(&pins);
            for group in Frame::of(world(), zoom.min(5)).groups(&cells) {
                let alone = |zoom| {
                    // The cells inside, wherever the group's own lap has them.
                    let inside = |id: CellId| group.cells.iter().find_map(|cell| {
                        let up = id.zoom - cell.zoom;
                        let x = id.x + ((cell.x - cell.home().x) << up);
                        ((id.y >> up, x >> up) == (cell.y, cell.x)).then_some(CellId { x, ..id })
                    });
                    let ids = all(&cells, zoom).filter_map(|(id, _)| inside(id));
                    let mut inside: Vec<_> = ids.map(|id| (id, cells.get(id).unwrap())).collect();
                    inside.sort_by_key(|(id, _)| *id);
                    merge(inside).len()
                };
                let splits = expansion(&cells, &group.cells, ZOOM_MAX).ok();
                let expected = (group.cells[0].zoom + 1..=ZOOM_MAX).find(|zoom| alone(*zoom) > 1);
                prop_assert_eq!(splits, expected);
            }
        }
    }
}
