//! The positions of a real server: byte offsets of events, with gaps between them.

use crate::Position;

/// The distance between the offsets of two events, but for their jitter.
const STRIDE: u64 = 128;

/// Returns the offset of the event at a position of the embedded log.
pub(super) fn offset(Position(at): Position) -> u64 {
    match at {
        0 | u64::MAX => at,
        _ => at.saturating_mul(STRIDE) + at.wrapping_mul(37) % (STRIDE / 2),
    }
}

/// The meaning of an offset that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetKind {
    /// The position of an event, or one of the log's ends.
    Place(Position),
    /// No event begins there.
    Between,
    /// The log has not grown that far. The position is beyond the end as well.
    BeyondEnd(Position),
}

pub(super) fn kind_of(asked: u64, head: Position) -> OffsetKind {
    if asked == 0 || asked == u64::MAX {
        return OffsetKind::Place(Position(asked));
    }
    if asked > offset(head) {
        return OffsetKind::BeyondEnd(Position((asked / STRIDE).max(head.0 + 1)));
    }
    let position = Position(asked / STRIDE);
    if offset(position) == asked { OffsetKind::Place(position) } else { OffsetKind::Between }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_offset_of_an_event_is_a_place() {
        let head = Position(50);
        let mut before = 0;
        for at in 1..=head.0 {
            let asked = offset(Position(at));
            assert!(asked > before + 1, "there is a gap");
            assert_eq!(kind_of(asked, head), OffsetKind::Place(Position(at)));
            assert_eq!(kind_of(asked - 1, head), OffsetKind::Between);
            before = asked;
        }
        assert!(matches!(kind_of(before + 1, head), OffsetKind::BeyondEnd(_)));
        assert_eq!(kind_of(0, head), OffsetKind::Place(Position::START));
    }
}
