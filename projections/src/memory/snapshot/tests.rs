//! The shape of a snapshot, pinned by the checksum of one.

use std::collections::{BTreeMap, BTreeSet};

use domain::testing::one_of_each;
use event_store::Position;

use super::*;
use crate::contract::EventHistory;
use crate::{EventEnvelope, MemoryViews, ViewStore};

/// The checksum of the content of a snapshot of the history below. If another one is right now, raise `SNAPSHOT_SHAPE` with it.
const CHECKSUM: u32 = 2_844_755_986;

#[tokio::test]
async fn a_change_of_what_a_snapshot_has_needs_another_shape() {
    let mut history = EventHistory::random(71, 2000);
    // Each kind of event, in submissions that the history does not have.
    for (number, event) in (1..).zip(one_of_each()) {
        let (first, next) = (history.events[0].clone(), history.head().0);
        let (id, position) = (SubmissionId(Uuid::from_u128(number)), Position(next + 1));
        history.events.push(EventEnvelope { id, position, ..first.clone() });
        history.events.push(EventEnvelope { id, position: Position(next + 2), revision: 1, event, ..first });
    }
    let views = MemoryViews::new();
    views.apply(Position::START, &history.events, history.head()).await.unwrap();
    let FrozenViews { at, statuses, owners, mut rest, .. } = FrozenViews::of(&views.read());
    rest.last_claims.sort_unstable();

    let mut crc = crc32fast::Hasher::new();
    crc.update(&encode(&rest).unwrap());
    crc.update(&at.position.0.to_le_bytes());
    for (owner, passes) in owners.iter().collect::<BTreeMap<_, _>>() {
        let mut bytes = vec![];
        pins::put_owner(&mut bytes, owner, passes);
        crc.update(&bytes);
    }
    for id in statuses.keys().collect::<BTreeSet<_>>() {
        crc.update(&encode(&**statuses.get(id).unwrap()).unwrap());
    }
    assert_eq!(crc.finalize(), CHECKSUM, "see CHECKSUM in {}", file!());
}
