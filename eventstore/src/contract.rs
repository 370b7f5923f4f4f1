//! The contract of the port: the promises of every adapter, one test each.
//!
//! The test of an adapter names a function that opens a store. The function also returns a value that is kept
//! until the test ends, e.g. the folder of the store:
//!
//! ```text
//! async fn open() -> (MyStore, TempDir) { … }
//! event_store::contract!(open);
//! ```
//!
//! The log may already contain events, and other writers may append meanwhile: each test writes to streams of
//! its own.

#![expect(missing_docs, reason = "the name of each test says all")]

mod appending;
mod paging;
mod reading;
mod repeating;
mod streams;
mod subscribing;

pub use appending::*;
pub use paging::*;
pub use reading::*;
pub use repeating::*;
pub use subscribing::*;

/// Makes a test of each sentence of the contract, with a store that `$open` opens.
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
            a_read_begins_at_its_revision_and_has_at_most_its_maximum
            an_append_to_no_stream_conflicts_when_there_is_one
            a_stale_revision_conflicts_and_writes_nothing
            a_revision_that_is_not_there_yet_conflicts
            an_append_without_expectation_never_conflicts
            an_append_is_all_or_nothing
            an_append_too_large_is_refused_and_writes_nothing
            data_that_is_not_json_is_refused
            names_of_the_store_itself_are_refused
            exactly_one_of_racing_appends_wins_each_revision
            appending_again_to_no_stream_is_recognised
            appending_again_at_a_revision_is_recognised
            appending_again_without_expectation_is_recognised
            appending_again_is_recognised_after_others_appended
            a_partial_repetition_conflicts
            the_log_is_read_in_pages
            the_log_is_filtered_by_stream_prefix
            the_log_is_filtered_by_type
            the_head_is_the_newest_position
            the_position_before_a_moment_precedes_its_events
            a_position_beyond_the_end_is_refused
            an_event_is_found_at_its_position
            a_checkpoint_fits_its_own_log_alone
            a_log_has_one_identity_whoever_gives_it
            a_subscription_delivers_recorded_events_then_new_ones
            a_subscription_begins_strictly_after_its_position
            a_subscription_is_filtered
            a_subscription_that_passes_few_events_sends_checkpoints
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
