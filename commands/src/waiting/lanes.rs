//! The lines in which the submissions of one client address wait, so that nobody gains turns by inventing owners.

use std::collections::HashMap;

use uuid::Uuid;

/// The number of owners at one client address whose submissions wait in lines of their own.
pub(super) const OWN_LINES_MAX: usize = 16;

/// The number of lanes that all other owners at the address share.
pub(super) const LANES: usize = 16;

/// The owners at one client address with submissions that wait. No name of a lane follows from the address, and when nothing
/// of the address waits, its lanes are forgotten.
#[derive(Debug, Default)]
pub(super) struct AddressLines {
    owners: HashMap<String, OwnerAtAddress>,
    /// The number of owners that have a line of their own.
    own_lines: usize,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct OwnerAtAddress {
    waiting: usize,
    /// The owner's lane, as an index, or `None` if the owner has its own line. It stays the same while anything of the owner waits.
    lane: Option<usize>,
}

#[derive(Debug)]
struct Lane {
    name: String,
    waiting: usize,
}

impl AddressLines {
    /// Counts a submission of `owner`, and returns the name of the lane in which it waits, if not in its owner's line.
    pub(super) fn enter(&mut self, owner: &str) -> Option<String> {
        if !self.owners.contains_key(owner) {
            let lane = if self.own_lines < OWN_LINES_MAX {
                self.own_lines += 1;
                None
            } else {
                Some(self.shortest_lane())
            };
            self.owners.insert(owner.to_owned(), OwnerAtAddress { waiting: 0, lane });
        }
        let at_address = self.owners.get_mut(owner)?;
        at_address.waiting += 1;
        let lane = self.lanes.get_mut(at_address.lane?)?;
        lane.waiting += 1;
        Some(lane.name.clone())
    }

    /// Forgets a submission of `owner`. Returns true if none waits any more.
    pub(super) fn leave(&mut self, owner: &str) -> bool {
        if let Some(at_address) = self.owners.get_mut(owner) {
            at_address.waiting -= 1;
            let (is_last, lane) = (at_address.waiting == 0, at_address.lane);
            if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
                lane.waiting -= 1;
            }
            if is_last {
                self.owners.remove(owner);
                self.own_lines -= usize::from(lane.is_none());
            }
        }
        self.owners.is_empty()
    }

    /// Returns the lane in which the fewest wait.
    fn shortest_lane(&mut self) -> usize {
        if self.lanes.len() < LANES {
            self.lanes.push(Lane { name: Uuid::new_v4().simple().to_string(), waiting: 0 });
            return self.lanes.len() - 1;
        }
        let by_length = self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.waiting);
        by_length.map_or(0, |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_owners_have_lines_of_their_own_and_all_others_share_the_lanes() {
        let mut lines = AddressLines::default();
        for owner in 0..OWN_LINES_MAX {
            assert_eq!(lines.enter(&owner.to_string()), None);
        }
        let lanes: Vec<_> = (100..200).map(|owner| lines.enter(&owner.to_string()).unwrap()).collect();
        assert_eq!(lanes.iter().collect::<BTreeSet<_>>().len(), LANES);
        // An owner keeps its line and its lane.
        assert_eq!(lines.enter("0"), None);
        assert_eq!(lines.enter("150").as_ref(), Some(&lanes[50]));
        assert!(!lines.leave("150"));
        assert_eq!(lines.enter("150").as_ref(), Some(&lanes[50]));
    }

    #[test]
    fn the_next_owner_has_the_line_of_one_that_has_nothing_waiting() {
        let mut lines = AddressLines::default();
        for owner in 0..=OWN_LINES_MAX {
            lines.enter(&owner.to_string());
        }
        assert!(!lines.leave("3"));
        assert_eq!(lines.enter("new"), None);
        assert!(lines.enter("3").is_some());
    }

    #[test]
    fn nothing_is_left_of_an_address_at_which_nothing_waits() {
        let mut lines = AddressLines::default();
        let owners: Vec<String> = (0..60).map(|n: u32| (n % 40).to_string()).collect();
        owners.iter().for_each(|owner| drop(lines.enter(owner)));
        let empty: Vec<bool> = owners.iter().map(|owner| lines.leave(owner)).collect();
        assert_eq!(empty.iter().position(|empty| *empty), Some(59));
        assert_eq!(lines.own_lines, 0);
        assert!(lines.lanes.iter().all(|lane| lane.waiting == 0));
    }
}
