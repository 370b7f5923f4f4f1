//! How views are written: once each, all or nothing.

use std::sync::Arc;

use event_store::Position;
use tokio::time::timeout;

use super::{DEADLINE, EventHistory, ViewsUnderTest, assert_same, catch_up, in_memory};
use crate::{ApplyError, ViewStore};

pub async fn applying_again_changes_nothing(bench: &dyn ViewsUnderTest) {
    let views = bench.views();
    let history = EventHistory::random(11, 200);
    catch_up(&*views, &history).await;
    let again = views.apply(Position::START, &history.events, history.head()).await;
    assert!(matches!(again, Err(ApplyError::Overtaken(at)) if at == history.head()), "{again:?}");
    // Even the events themselves know their place.
    let head = history.head();
    views.apply(head, &history.events[100..], head).await.expect("nothing new");
    assert_same(&*views, &in_memory(&history).await, history.submissions()).await;
}

pub async fn a_batch_that_begins_elsewhere_is_refused(bench: &dyn ViewsUnderTest) {
    let views = bench.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let ahead = views.apply(Position(1 << 40), &history.events, history.head()).await;
    assert!(matches!(ahead, Err(ApplyError::Overtaken(Position::START))), "{ahead:?}");
    assert_eq!(views.stats().await.expect("readable").pins, 0);
}

pub async fn the_checkpoint_moves_without_events(bench: &dyn ViewsUnderTest) {
    let views = bench.views();
    assert_eq!(views.checkpoint().await.expect("readable"), Position::START);
    views.apply(Position::START, &[], Position(70)).await.expect("applied");
    assert_eq!(views.checkpoint().await.expect("readable"), Position(70));
    assert_eq!(views.stats().await.expect("readable").position, Position(70));
}

pub async fn the_checkpoint_can_be_watched(bench: &dyn ViewsUnderTest) {
    let views = bench.views();
    let other = bench.reopened().await;
    let (mut here, mut there) = (views.watch(), other.watch());
    let mut history = EventHistory::new();
    for owner in ["a", "b"] {
        history.submit(owner, 0);
        catch_up(&*views, &history).await;
        for watch in [&mut here, &mut there] {
            let rises = watch.wait_for(|position| *position >= history.head());
            assert_eq!(*timeout(DEADLINE, rises).await.expect("in time").expect("alive"), history.head());
        }
    }
}

pub async fn of_two_racers_each_batch_counts_once(bench: &dyn ViewsUnderTest) {
    let history = Arc::new(EventHistory::random(12, 600));
    let mut racers = tokio::task::JoinSet::new();
    for views in [bench.views(), bench.reopened().await] {
        let history = Arc::clone(&history);
        racers.spawn(async move { race(&*views, &history).await });
    }
    timeout(DEADLINE, racers.join_all()).await.expect("in time");
    assert_same(&*bench.views(), &in_memory(&history).await, history.submissions()).await;
}

pub async fn another_reader_sees_the_same(bench: &dyn ViewsUnderTest) {
    let history = EventHistory::random(13, 300);
    catch_up(&*bench.views(), &history).await;
    let other = bench.reopened().await;
    assert_same(&*other, &in_memory(&history).await, history.submissions()).await;
}

pub async fn any_split_of_a_log_makes_the_same_views(bench: &dyn ViewsUnderTest) {
    let views = bench.views();
    let history = EventHistory::random(14, 600);
    let mut rest = &history.events[..];
    for size in [1, 2, 3, 50, 7, 200, 1, 1000] {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        let from = views.checkpoint().await.expect("readable");
        let upto = batch.last().map_or(from, |event| event.position);
        views.apply(from, batch, upto).await.expect("applied");
        rest = later;
    }
    assert_same(&*views, &in_memory(&history).await, history.submissions()).await;
}

/// Applies a story in small batches until it is at its end, whoever else does.
async fn race(views: &dyn ViewStore, history: &EventHistory) {
    loop {
        let Ok(from) = views.checkpoint().await else { continue };
        let seen = history.events.partition_point(|event| event.position <= from);
        let batch = &history.events[seen..(seen + 10).min(history.events.len())];
        let Some(last) = batch.last() else { return };
        // Who is overtaken, or does not know, looks where the views are.
        let _ = views.apply(from, batch, last.position).await;
        tokio::task::yield_now().await;
    }
}
