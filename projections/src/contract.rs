//! The contract of every store of views: each promise is a test.
//!
//! A store's tests name a function that opens a [`ViewsUnderTest`] with empty views:
//!
//! ```text
//! async fn open() -> MyViews { … }
//! projections::contract!(open);
//! ```

mod deletions;
pub mod history;
mod pins;
mod queue;
mod sandboxes;
mod status;
mod venues;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::submission::SubmissionId;
use event_store::Position;

pub use deletions::*;
pub use history::EventHistory;
pub use pins::*;
pub use queue::*;
pub use sandboxes::*;
pub use status::*;
pub use venues::*;
pub use writing::*;

use crate::view::BoundingBox;
use crate::{MemoryViews, ViewQueries, ViewStore};

/// Expands to a test for each promise, which opens its views with `$open`.
#[macro_export]
macro_rules! contract {
    ($open:path) => {
        $crate::contract!($open:
            a_submission_is_followed_from_its_acceptance_to_its_verdict
            a_failed_verdict_says_why_and_what_to_do
            a_waiting_submission_says_why_it_waits
            a_hidden_submission_says_by_whom_and_why
            a_withdrawn_submission_leaves_the_queue_and_keeps_its_history
            a_submission_that_is_given_up_says_so_until_an_organiser_asks_again
            the_timeline_of_a_long_history_is_bounded
            an_unknown_submission_has_no_status
            a_submission_that_stands_still_goes_on_at_the_same_event
            a_submission_that_goes_on_may_stand_still_again
            strangers_events_are_counted_once
            a_deleted_submission_is_in_no_view
            unfinished_submissions_are_listed_oldest_first
            overdue_submissions_are_listed_oldest_first
            submissions_being_verified_are_listed_oldest_first
            the_newest_report_on_each_sandbox_is_kept
            the_queue_is_fair
            the_owners_in_one_lane_take_one_turn
            an_interruption_keeps_the_place_in_the_owners_line_and_a_rejudge_does_not
            a_claim_counts_after_the_verdict
            the_expected_wait_is_the_pace_of_the_last_verdicts
            everything_is_counted
            an_owner_has_one_pin
            a_rejudge_that_fails_takes_the_pin_away
            a_rejudge_that_passes_again_leaves_the_pin_alone
            a_hidden_submission_has_no_pin_until_it_is_shown_again
            a_submission_that_is_hidden_before_its_verdict_gets_no_pin
            a_corrected_name_is_on_the_pin_and_in_the_search
            hiding_and_showing_in_one_batch_leaves_the_pin_where_it_was
            changed_pins_are_returned_in_the_order_of_their_changes
            pins_are_found_by_name_and_by_city
            a_search_ignores_accents_and_finds_a_last_name
            a_search_text_is_not_a_pattern
            a_cluster_splits_at_its_expansion_zoom
            pins_of_one_place_do_not_hide_each_other
            a_bounding_box_may_cross_the_antimeridian
            pins_on_both_sides_of_the_antimeridian_form_one_cluster
            an_invalid_bounding_box_shows_nothing
            a_venue_has_its_own_totals
            the_pins_of_a_venue_are_its_own
            a_pin_that_moves_to_another_venue_is_gone_from_the_first
            the_lists_of_a_venue_are_cut_after_its_own
            held_submissions_are_listed_until_an_organiser_looks
            applying_again_changes_nothing
            a_batch_that_does_not_begin_at_the_checkpoint_is_refused
            the_checkpoint_moves_without_events
            views_are_shown_when_they_reach_the_end_that_was_noted
            the_views_go_on_at_the_last_event_that_they_know
            every_event_up_to_a_place_is_older_than_its_moment
            the_checkpoint_can_be_watched
            two_projections_at_once_count_each_event_once
            another_reader_sees_the_same
            any_split_of_a_log_makes_the_same_views
        );
    };
    ($open:path: $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let subject = $open().await;
            $crate::contract::$promise(&subject).await;
        }
    )*};
}

/// A store of views that is tested.
#[async_trait]
pub trait ViewsUnderTest: Send + Sync {
    /// Returns the views, which are empty at first.
    fn views(&self) -> Arc<dyn ViewStore>;

    /// Opens the same views again, as another process would.
    async fn reopened(&self) -> Arc<dyn ViewStore>;
}

/// The venues of random histories.
const VENUES: [&str; 2] = ["berlin", "paris"];

/// The whole world.
pub const WORLD: BoundingBox = BoundingBox { west: -180.0, south: -90.0, east: 180.0, north: 90.0 };

/// The time after which a promise counts as broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// Applies the events of a history that are not yet applied.
pub async fn catch_up(views: &dyn ViewStore, history: &EventHistory) {
    let from = views.checkpoint().await.expect("readable");
    let applied = history.events.partition_point(|event| event.position <= from);
    views.apply(from, &history.events[applied..], history.head()).await.expect("applied");
}

/// Folds a history in memory.
pub async fn in_memory(history: &EventHistory) -> MemoryViews {
    let views = MemoryViews::new();
    catch_up(&views, history).await;
    views
}

/// Compares the answers of all queries.
pub async fn assert_same(
    views: &dyn ViewQueries,
    others: &dyn ViewQueries,
    submissions: impl IntoIterator<Item = SubmissionId>,
) {
    assert_eq!(views.checkpoint().await.expect("readable"), others.checkpoint().await.expect("readable"));
    assert_eq!(views.stats().await.expect("readable"), others.stats().await.expect("readable"));
    for zoom in 0..=16 {
        let (map, other) = (views.pins(WORLD, zoom).await, others.pins(WORLD, zoom).await);
        assert_eq!(map.expect("readable"), other.expect("readable"), "at zoom {zoom}");
    }
    let (changed, other) = (
        views.pins_changed(Position::START, 1 << 20).await,
        others.pins_changed(Position::START, 1 << 20).await,
    );
    assert_eq!(changed.expect("readable"), other.expect("readable"));
    let (waiting, other) = (views.unfinished(None, 1 << 20).await, others.unfinished(None, 1 << 20).await);
    assert_eq!(waiting.expect("readable"), other.expect("readable"));
    let (given_up, other) = (views.given_up(None, 1 << 20).await, others.given_up(None, 1 << 20).await);
    assert_eq!(given_up.expect("readable"), other.expect("readable"));
    let (verifying, other) = (views.verifying(1 << 20).await, others.verifying(1 << 20).await);
    assert_eq!(verifying.expect("readable"), other.expect("readable"));
    for venue in VENUES {
        let (own, other) = (views.venue_stats(venue).await, others.venue_stats(venue).await);
        assert_eq!(own.expect("readable"), other.expect("readable"), "of {venue}");
        let (changed, other) = (
            views.venue_pins_changed(venue, Position::START, 1 << 20).await,
            others.venue_pins_changed(venue, Position::START, 1 << 20).await,
        );
        assert_eq!(changed.expect("readable"), other.expect("readable"), "of {venue}");
        let (waiting, other) =
            (views.unfinished(Some(venue), 5).await, others.unfinished(Some(venue), 5).await);
        assert_eq!(waiting.expect("readable"), other.expect("readable"), "of {venue}");
    }
    let (held, other) = (views.held(None, 1 << 20).await, others.held(None, 1 << 20).await);
    assert_eq!(held.expect("readable"), other.expect("readable"));
    let (still, other) = (views.standstills(1 << 20).await, others.standstills(1 << 20).await);
    assert_eq!(still.expect("readable"), other.expect("readable"));
    let (set_aside, other) = (views.set_aside().await, others.set_aside().await);
    assert_eq!(set_aside.expect("readable"), other.expect("readable"));
    for text in ["", "owner1", "LON", "san", "z"] {
        let (found, other) = (views.find_pins(text, 50).await, others.find_pins(text, 50).await);
        assert_eq!(found.expect("readable"), other.expect("readable"), "{text}");
    }
    for (_, _, lat, lon) in history::CITIES {
        let (here, other) = (views.pins_at(lat, lon, 50).await, others.pins_at(lat, lon, 50).await);
        assert_eq!(here.expect("readable"), other.expect("readable"), "at {lat} {lon}");
    }
    for id in submissions {
        let (status, other) = (views.status(id).await, others.status(id).await);
        assert_eq!(status.expect("readable"), other.expect("readable"));
        let (place, other) = (views.queue_place(id).await, others.queue_place(id).await);
        assert_eq!(place.expect("readable"), other.expect("readable"), "the queue place of {id}");
    }
}
