//! How views are written: once each, all or nothing.

use std::sync::Arc;

use event_store::Position;
use tokio::time::timeout;

use super::{Bench, DEADLINE, Story, assert_same, in_memory, tell};
use crate::{ApplyError, Views};

pub async fn applying_again_changes_nothing(bench: &dyn Bench) {
    let views = bench.views();
    let story = Story::random(11, 200);
    tell(&*views, &story).await;
    let again = views.apply(Position::START, &story.events, story.head()).await;
    assert!(matches!(again, Err(ApplyError::Overtaken(at)) if at == story.head()), "{again:?}");
    // Even the events themselves know their place.
    let head = story.head();
    views.apply(head, &story.events[100..], head).await.expect("nothing new");
    assert_same(&*views, &in_memory(&story).await, story.submissions()).await;
}

pub async fn a_batch_that_begins_elsewhere_is_refused(bench: &dyn Bench) {
    let views = bench.views();
    let mut story = Story::new();
    story.submit_and_pass("ada", 0);
    let ahead = views.apply(Position(1 << 40), &story.events, story.head()).await;
    assert!(matches!(ahead, Err(ApplyError::Overtaken(Position::START))), "{ahead:?}");
    assert_eq!(views.stats().await.expect("readable").pins, 0);
}

pub async fn the_checkpoint_moves_without_events(bench: &dyn Bench) {
    let views = bench.views();
    assert_eq!(views.checkpoint().await.expect("readable"), Position::START);
    views.apply(Position::START, &[], Position(70)).await.expect("applied");
    assert_eq!(views.checkpoint().await.expect("readable"), Position(70));
    assert_eq!(views.stats().await.expect("readable").position, Position(70));
}

pub async fn the_checkpoint_can_be_watched(bench: &dyn Bench) {
    let views = bench.views();
    let other = bench.reopened().await;
    let (mut here, mut there) = (views.watch(), other.watch());
    let mut story = Story::new();
    for owner in ["a", "b"] {
        story.submit(owner, 0);
        tell(&*views, &story).await;
        for watch in [&mut here, &mut there] {
            let rises = watch.wait_for(|position| *position >= story.head());
            assert_eq!(*timeout(DEADLINE, rises).await.expect("in time").expect("alive"), story.head());
        }
    }
}

pub async fn of_two_racers_each_batch_counts_once(bench: &dyn Bench) {
    let story = Arc::new(Story::random(12, 600));
    let mut racers = tokio::task::JoinSet::new();
    for views in [bench.views(), bench.reopened().await] {
        let story = Arc::clone(&story);
        racers.spawn(async move { race(&*views, &story).await });
    }
    timeout(DEADLINE, racers.join_all()).await.expect("in time");
    assert_same(&*bench.views(), &in_memory(&story).await, story.submissions()).await;
}

pub async fn another_reader_sees_the_same(bench: &dyn Bench) {
    let story = Story::random(13, 300);
    tell(&*bench.views(), &story).await;
    let other = bench.reopened().await;
    assert_same(&*other, &in_memory(&story).await, story.submissions()).await;
}

pub async fn any_split_of_a_log_makes_the_same_views(bench: &dyn Bench) {
    let views = bench.views();
    let story = Story::random(14, 600);
    let mut rest = &story.events[..];
    for size in [1, 2, 3, 50, 7, 200, 1, 1000] {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        let from = views.checkpoint().await.expect("readable");
        let upto = batch.last().map_or(from, |event| event.position);
        views.apply(from, batch, upto).await.expect("applied");
        rest = later;
    }
    assert_same(&*views, &in_memory(&story).await, story.submissions()).await;
}

/// Applies a story in small batches until it is at its end, whoever else does.
async fn race(views: &dyn Views, story: &Story) {
    loop {
        let Ok(from) = views.checkpoint().await else { continue };
        let seen = story.events.partition_point(|event| event.position <= from);
        let batch = &story.events[seen..(seen + 10).min(story.events.len())];
        let Some(last) = batch.last() else { return };
        // Who is overtaken, or does not know, looks where the views are.
        let _ = views.apply(from, batch, last.position).await;
        tokio::task::yield_now().await;
    }
}
