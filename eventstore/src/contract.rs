//! The written contract: what every adapter promises, a sentence each.
//!
//! An adapter's test names a function that opens a store, and something to
//! keep alive as long as the store is in use:
//!
//! ```text
//! async fn open() -> (MyStore, TempDir) { … }
//! event_store::contract!(open);
//! ```
//!
//! The log may hold other events already, and other writers may be at work:
//! each sentence writes to streams of its own.

#![expect(missing_docs, reason = "a test's name is its sentence")]

mod appending;
mod following;
mod paging;
mod reading;
mod repeating;
mod streams;

pub use appending::*;
pub use following::*;
pub use paging::*;
pub use reading::*;
pub use repeating::*;

/// Holds the store that `$open` gives to every sentence, each a test.
#[macro_export]
macro_rules! contract {
    ($open:path) => {
        $crate::contract!($open:
            an_appended_event_is_read_back_as_it_was_written
            events_are_read_in_the_order_of_their_append
            revisions_start_at_0_and_have_no_gap
            positions_rise_across_streams
            recorded_at_never_goes_backwards
            an_unknown_stream_reads_as_empty
            a_stream_is_read_backwards
            a_read_begins_at_its_revision_and_ends_at_its_maximum
            an_append_to_no_stream_conflicts_when_there_is_one
            a_stale_revision_conflicts_and_writes_nothing
            a_revision_that_is_not_there_yet_conflicts
            an_append_without_expectation_never_conflicts
            an_append_is_all_or_nothing
            an_append_too_large_is_refused_and_writes_nothing
            data_that_is_not_json_is_refused
            names_of_the_store_itself_are_refused
            of_racing_appends_exactly_one_wins_each_revision
            appending_again_to_no_stream_is_recognised
            appending_again_at_a_revision_is_recognised
            appending_again_without_expectation_is_recognised
            appending_again_is_recognised_after_others_appended
            half_a_repetition_conflicts
            the_log_is_read_in_pages
            the_log_is_filtered_by_stream_prefix
            the_log_is_filtered_by_type
            the_head_is_the_newest_position
            nothing_of_a_moment_stands_before_where_it_is_found
            a_subscription_delivers_history_then_what_comes
            a_subscription_begins_strictly_after_its_position
            a_subscription_is_filtered
            a_subscription_to_little_of_a_long_log_reports_how_far_it_is
            a_subscription_started_amid_appends_has_no_gap_and_no_repeat
            a_subscriber_that_stalls_misses_nothing
        );
    };
    ($open:path: $($sentence:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sentence() {
            let (store, _guard) = $open().await;
            $crate::contract::$sentence(store).await;
        }
    )*};
}
