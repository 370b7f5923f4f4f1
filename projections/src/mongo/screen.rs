//! What a screen shows of the part of the map that is known here, or what must
//! be read before that can be said.

use event_store::Position;

use super::map::{Map, Missing};
use crate::area::Window;
use crate::blocks::BlockId;
use crate::cells::{CellId, ZOOM_MAX};
use crate::spots::{Frame, Group, expansion};
use crate::view::MapFeature;

/// A look at what a frame shows of one moment.
pub(super) struct Screen<'a> {
    frame: &'a Frame,
    /// The groups, once their blocks are known.
    groups: Option<Vec<Seen>>,
}

/// A group, as far as it is known what it is shown as.
struct Seen {
    group: Group,
    /// The cells that it is made of, at the deepest zoom at which it was seen to be one spot.
    cells: Vec<CellId>,
    feature: Option<MapFeature>,
}

impl<'a> Screen<'a> {
    pub(super) fn of(frame: &'a Frame) -> Self {
        Self { frame, groups: None }
    }

    /// What the frame shows.
    pub(super) fn features(&mut self, map: &Map) -> std::result::Result<Vec<MapFeature>, Missing> {
        let groups = match &mut self.groups {
            Some(groups) => groups,
            unknown => {
                map.knows(self.frame.window().iter().flat_map(Window::blocks))?;
                let groups = self.frame.groups(&map.cells).into_iter();
                unknown.insert(groups.map(Seen::of).collect())
            }
        };
        let mut missing = Missing::default();
        for seen in groups.iter_mut().filter(|seen| seen.feature.is_none()) {
            seen.feature = seen.look(map, &mut missing);
        }
        if missing.blocks.is_empty() && missing.pins.is_empty() {
            Ok(groups.iter_mut().filter_map(|seen| seen.feature.take()).collect())
        } else {
            Err(missing)
        }
    }
}

impl Seen {
    fn of(group: Group) -> Self {
        Self { cells: group.cells.clone(), group, feature: None }
    }

    fn look(&mut self, map: &Map, missing: &mut Missing) -> Option<MapFeature> {
        let group = &self.group;
        if group.total.count == 1 {
            let position = Position(group.total.pin);
            let Some(pin) = map.pins.get(&position) else {
                missing.pins.insert(position);
                return None;
            };
            return Some(pin.clone().map_or_else(|| group.feature(None), MapFeature::Pin));
        }
        if group.total.places == 1 {
            return Some(group.feature(None));
        }
        // A block has three zooms, and most groups need but one more of them.
        while let Some(zoom) = self.cells.first().map(|id| id.zoom + 1).filter(|zoom| *zoom <= ZOOM_MAX) {
            let children = self.cells.iter().flat_map(|id| id.children()).map(|id| BlockId::of(id.home()));
            if let Err(unknown) = map.knows(children) {
                missing.blocks.extend(unknown.blocks);
                return None;
            }
            match expansion(&map.cells, &self.cells, zoom) {
                Ok(apart) => return Some(group.feature(Some(apart))),
                Err(deeper) => self.cells = deeper,
            }
        }
        Some(group.feature(None))
    }
}
