//! Writing the views: each event once, each batch in full or not at all.

use std::sync::Arc;

use event_store::{LogCheckpoint, LogIdentity, Position};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use uuid::Uuid;

use super::{DEADLINE, EventHistory, ViewsUnderTest, assert_same, catch_up, in_memory};
use crate::{ApplyError, CatchUpProgress, FirstCatchUp, ViewStore};

pub async fn applying_again_changes_nothing(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let history = EventHistory::random(11, 200);
    catch_up(&*views, &history).await;
    let again = views.apply(Position::START, &history.events, history.head()).await;
    assert!(matches!(again, Err(ApplyError::Overtaken(at)) if at == history.head()), "{again:?}");
    // An event whose revision is already applied changes nothing.
    let head = history.head();
    views.apply(head, &history.events[100..], head).await.expect("nothing new");
    assert_same(&*views, &in_memory(&history).await, history.submissions()).await;
}

pub async fn a_batch_that_does_not_begin_at_the_checkpoint_is_refused(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let ahead = views.apply(Position(1 << 40), &history.events, history.head()).await;
    assert!(matches!(ahead, Err(ApplyError::Overtaken(Position::START))), "{ahead:?}");
    assert_eq!(views.stats().await.expect("readable").pins, 0);
}

pub async fn the_checkpoint_moves_without_events(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    assert_eq!(views.checkpoint().await.expect("readable"), Position::START);
    views.apply(Position::START, &[], Position(70)).await.expect("applied");
    assert_eq!(views.checkpoint().await.expect("readable"), Position(70));
    assert_eq!(views.stats().await.expect("readable").position, Position(70));
}

pub async fn views_are_shown_when_they_reach_the_end_that_was_noted(subject: &dyn ViewsUnderTest) {
    let (views, other) = (subject.views(), subject.reopened().await);
    let (catch_up, there) = (FirstCatchUp::of(&*views), FirstCatchUp::of(&*other));
    // Another process asks the store, and does not wait to be told.
    let progress = async || {
        for views in [&views, &other] {
            views.checkpoint().await.expect("readable");
        }
        assert_eq!(catch_up.progress(), there.progress());
        catch_up.progress()
    };
    let at = |at, shown_from| Some(CatchUpProgress { at, shown_from });
    assert_eq!(progress().await, at(Position::START, None));
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let (end, early) = (history.head(), history.events[0].position);
    views.show_from(end).await.expect("noted");
    views.show_from(Position(end.0 + 70)).await.expect("answered");
    assert_eq!(progress().await, at(Position::START, Some(end)), "the lowest counts");
    views.apply(Position::START, &history.events[..1], early).await.expect("applied");
    assert_eq!(progress().await, at(early, Some(end)));
    let waits = tokio::spawn({
        let mut there = there.clone();
        async move { there.wait().await }
    });
    super::catch_up(&*views, &history).await;
    timeout(DEADLINE, waits).await.expect("in time").expect("it ends");
    assert_eq!(progress().await, None);
    // A projection that begins again notes the end of its time.
    views.show_from(Position(end.0 + 70)).await.expect("answered");
    assert_eq!(progress().await, None);
    let reopened = subject.reopened().await;
    reopened.checkpoint().await.expect("readable");
    assert_eq!(FirstCatchUp::of(&*reopened).progress(), None);
}

pub async fn the_views_go_on_at_the_last_event_that_they_know(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    assert_eq!(views.resume_point().await.expect("readable"), LogCheckpoint::default());
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    let (last, beyond) = (history.events[2].clone(), Position(history.head().0 + 70));
    views.apply(Position::START, &history.events[..3], last.position).await.expect("applied");
    // Strangers' events move the checkpoint alone.
    views.apply(last.position, &[], beyond).await.expect("applied");
    let (log, other) = (LogIdentity(Uuid::from_u128(1)), LogIdentity(Uuid::from_u128(2)));
    let point = |log| LogCheckpoint { log, position: last.position, event: Some(last.event_id) };
    assert_eq!(views.resume_point().await.expect("readable"), point(None));
    views.note_log(log).await.expect("noted");
    views.note_log(other).await.expect("answered");
    let reopened = subject.reopened().await;
    assert_eq!(reopened.resume_point().await.expect("readable"), point(Some(log)), "the first counts");
    assert_eq!(reopened.checkpoint().await.expect("readable"), beyond);
    views.resume(last.id, beyond, std::slice::from_ref(&last), None).await.expect("resumed");
    assert_eq!(views.resume_point().await.expect("readable"), point(Some(log)));
}

pub async fn every_event_up_to_a_place_is_older_than_its_moment(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for number in 0..300 {
        history.submit_and_pass(&format!("owner{number}"), number % 5);
        // The clock goes back an hour once.
        let (hour, second) = (SignedDuration::from_hours(1), SignedDuration::from_secs(1));
        history.wait(if number == 150 { -hour } else { second });
    }
    let mut from = Position::START;
    for batch in history.events.chunks(100) {
        let upto = batch[batch.len() - 1].position;
        views.apply(from, batch, upto).await.expect("applied");
        from = upto;
    }
    let reopened = subject.reopened().await;
    let moments = history.events.iter().step_by(37).map(|event| event.recorded_at);
    let end = history.events.iter().map(|event| event.recorded_at).max().expect("events");
    let mut found = 0;
    for moment in moments.chain([end + SignedDuration::from_secs(1)]) {
        let Some(place) = views.place_before(moment).await.expect("readable") else { continue };
        found += 1;
        assert_eq!(reopened.place_before(moment).await.expect("readable"), Some(place));
        let (before, after): (Vec<_>, Vec<_>) =
            history.events.iter().partition(|event| event.position <= place.position);
        assert_eq!(before.last().map(|event| event.event_id), Some(place.event_id));
        assert!(before.iter().all(|event| event.recorded_at < moment), "{moment}: {place:?}");
        if moment > end {
            assert!(after.len() < 256, "{} events follow the last place", after.len());
        }
    }
    assert!(found > 3, "{found} places");
    assert_eq!(views.place_before(Timestamp::UNIX_EPOCH).await.expect("readable"), None);
}

pub async fn the_checkpoint_can_be_watched(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let other = subject.reopened().await;
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

pub async fn two_projections_at_once_count_each_event_once(subject: &dyn ViewsUnderTest) {
    let history = Arc::new(EventHistory::random(12, 600));
    let mut projections = tokio::task::JoinSet::new();
    for views in [subject.views(), subject.reopened().await] {
        let history = Arc::clone(&history);
        projections.spawn(async move { apply_all(&*views, &history).await });
    }
    timeout(DEADLINE, projections.join_all()).await.expect("in time");
    assert_same(&*subject.views(), &in_memory(&history).await, history.submissions()).await;
}

pub async fn another_reader_sees_the_same(subject: &dyn ViewsUnderTest) {
    let history = EventHistory::random(13, 300);
    catch_up(&*subject.views(), &history).await;
    let other = subject.reopened().await;
    assert_same(&*other, &in_memory(&history).await, history.submissions()).await;
}

pub async fn any_split_of_a_log_makes_the_same_views(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
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

/// Applies a history in small batches to its end, while another projection does the same.
async fn apply_all(views: &dyn ViewStore, history: &EventHistory) {
    loop {
        let Ok(from) = views.checkpoint().await else { continue };
        let applied = history.events.partition_point(|event| event.position <= from);
        let batch = &history.events[applied..(applied + 10).min(history.events.len())];
        let Some(last) = batch.last() else { return };
        // After an error, the next round continues from the checkpoint.
        let _ = views.apply(from, batch, last.position).await;
        tokio::task::yield_now().await;
    }
}
