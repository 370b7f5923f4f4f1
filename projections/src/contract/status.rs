//! The views of single submissions, for participants and organisers.

use domain::submission::{FailureCode, InterruptionCode, SubmissionId};
use event_store::Position;
use jiff::{SignedDuration, Timestamp};

use super::{EventHistory, ViewsUnderTest, WORLD, catch_up};
use crate::view::{
    SET_ASIDE_KEPT, SetAsideEvent, SetAsideView, StandstillView, StatusView, SubmissionStatus,
};
use crate::{ApplyError, EventEnvelope, ViewStore};

pub async fn a_submission_is_followed_from_its_acceptance_to_its_verdict(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!((view.status, view.attempts, view.revision), (SubmissionStatus::Submitted, 0, 0));
    assert_eq!((view.owner.as_str(), view.location.city.as_str()), ("docker.io/ada", "London"));
    assert_eq!(view.waiting.map(|waiting| waiting.code), Some(None));

    history.start(id);
    history.pull(id);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!((view.status, view.attempts, view.waiting), (SubmissionStatus::Verifying, 1, None));

    history.pass(id);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!((view.status, view.revision, view.position), (SubmissionStatus::Passed, 3, history.head()));
    assert_eq!(view.judged_at, Some(history.events[3].recorded_at));
    let timeline: Vec<_> = view.timeline.iter().map(|entry| (entry.position, &entry.event)).collect();
    let events: Vec<_> = history.events.iter().map(|event| (event.position, &event.event)).collect();
    assert_eq!(timeline, events);
    assert_eq!(Some(view), StatusView::fold(&history.events));
}

pub async fn a_failed_verdict_says_why_and_what_to_do(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    history.start(id);
    history.fail(id, &[FailureCode::ImageNotFound, FailureCode::NothingOnPort]);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!(view.status, SubmissionStatus::Failed);
    let codes: Vec<_> = view.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, [FailureCode::ImageNotFound, FailureCode::NothingOnPort]);
    assert_eq!(view.reasons[0].fault, "participant");
    assert_eq!(view.reasons[0].advice, FailureCode::ImageNotFound.advice());

    history.rejudge(id);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!(
        (view.status, view.reasons),
        (SubmissionStatus::Submitted, vec![]),
        "the old verdict is history"
    );
}

pub async fn a_waiting_submission_says_why_it_waits(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    history.start(id);
    history.interrupt(id, InterruptionCode::NoCapacity, true);
    catch_up(&*views, &history).await;
    let waiting = status(&*views, id).await.waiting.expect("the submission waits");
    assert_eq!(waiting.code, Some(InterruptionCode::NoCapacity));
    assert!(waiting.retry_at.is_some());
    assert!(waiting.message.starts_with(InterruptionCode::NoCapacity.explanation()), "{}", waiting.message);
    assert!(waiting.message.contains("our fault, not yours"), "{}", waiting.message);

    history.start(id);
    history.interrupt(id, InterruptionCode::SwarmUnavailable, false);
    catch_up(&*views, &history).await;
    let waiting = status(&*views, id).await.waiting.expect("the submission waits");
    assert_eq!(waiting.retry_at, None);
    assert!(waiting.message.contains("as soon as the platform is well"), "{}", waiting.message);
}

pub async fn a_hidden_submission_says_by_whom_and_why(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit_and_pass("ada", 0);
    history.hide(id);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!(view.status, SubmissionStatus::Passed, "the verdict stands");
    let hidden = view.hidden.clone().expect("it is hidden");
    assert_eq!((hidden.by.as_str(), hidden.why.as_str()), ("organiser", "a slur"));
    assert_eq!(Some(view), StatusView::fold(&history.events));
    history.show(id);
    catch_up(&*views, &history).await;
    let view = status(&*views, id).await;
    assert_eq!((view.hidden, view.timeline.len()), (None, 5), "both events are history");
}

pub async fn a_withdrawn_submission_leaves_the_queue_and_keeps_its_history(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [waits, verified, next] = ["a", "b", "c"].map(|owner| history.submit(owner, 0));
    history.start(verified);
    catch_up(&*views, &history).await;
    history.withdraw(waits);
    history.withdraw(verified);
    catch_up(&*views, &history).await;
    for id in [waits, verified] {
        let view = status(&*views, id).await;
        assert_eq!((view.status, view.waiting, view.judged_at), (SubmissionStatus::Withdrawn, None, None));
        assert_eq!(views.queue_place(id).await.expect("readable"), None);
    }
    let left = views.queue_place(next).await.expect("readable").expect("it waits");
    assert_eq!((left.position, left.of), (1, 1));
    let unfinished: Vec<_> =
        views.unfinished(None, 9).await.expect("readable").iter().map(|view| view.id).collect();
    assert_eq!(unfinished, [next]);
    assert_eq!(views.verifying(9).await.expect("readable"), []);
    let stats = views.stats().await.expect("readable");
    assert_eq!(stats.submissions[&SubmissionStatus::Withdrawn], 2);
}

pub async fn a_submission_that_is_given_up_says_so_until_an_organiser_asks_again(
    subject: &dyn ViewsUnderTest,
) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let ids = ["a", "b", "c"].map(|owner| history.submit(owner, 0));
    for id in &ids[..2] {
        history.start(*id);
        history.give_up(*id, InterruptionCode::NodeIll);
    }
    catch_up(&*views, &history).await;
    let view = status(&*views, ids[0]).await;
    assert_eq!((view.status, view.judged_at), (SubmissionStatus::GivenUp, None));
    let why = view.waiting.expect("the reason");
    assert_eq!((why.code, why.retry_at), (Some(InterruptionCode::NodeIll), None));
    assert!(why.message.starts_with("We could not run it"), "{}", why.message);
    assert_eq!(views.queue_place(ids[0]).await.expect("readable"), None);
    let listed = async |max| -> Vec<SubmissionId> {
        views.given_up(None, max).await.expect("readable").into_iter().map(|view| view.id).collect()
    };
    assert_eq!(listed(10).await, ids[..2]);
    assert_eq!(listed(1).await, ids[1..2], "the newest");
    let unfinished: Vec<_> =
        views.unfinished(None, 10).await.expect("readable").iter().map(|view| view.id).collect();
    assert_eq!(unfinished, ids[2..]);
    assert_eq!(views.stats().await.expect("readable").submissions[&SubmissionStatus::GivenUp], 2);

    history.rejudge(ids[0]);
    catch_up(&*views, &history).await;
    assert_eq!(status(&*views, ids[0]).await.status, SubmissionStatus::Submitted);
    assert_eq!(listed(10).await, ids[1..2]);
    let place = views.queue_place(ids[0]).await.expect("readable");
    assert_eq!(place.map(|place| place.position), Some(2), "it waits behind the other");
}

pub async fn the_timeline_of_a_long_history_is_bounded(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    history.start(id);
    history.pass(id);
    for round in 0..3 {
        // The entries that the views need are far from both ends.
        history.rejudge(id);
        for attempt in 0..40 {
            history.start(id);
            history.pull(id);
            history.interrupt(id, InterruptionCode::NoCapacity, true);
            // In batches of several sizes, so that a stored timeline grows and is cut.
            if attempt % (round + 2) == 0 {
                catch_up(&*views, &history).await;
            }
        }
        catch_up(&*views, &history).await;
        let view = status(&*views, id).await;
        assert!(view.timeline.len() <= 104, "{} entries", view.timeline.len());
        assert_eq!(view.timeline.len() as u64 + view.timeline_omitted, history.events.len() as u64);
        let first: Vec<_> = history.events[..50].iter().map(|event| event.position).collect();
        let last: Vec<_> =
            history.events[history.events.len() - 50..].iter().map(|event| event.position).collect();
        let shown: Vec<_> = view.timeline.iter().map(|entry| entry.position).collect();
        assert_eq!((&shown[..50], &shown[shown.len() - 50..]), (&first[..], &last[..]));
        assert_eq!(Some(view), StatusView::fold(&history.events));
        history.start(id);
        if round == 1 {
            history.fail(id, &[FailureCode::Mismatch])
        } else {
            history.pass(id)
        }
        catch_up(&*views, &history).await;
        let pins = views.pins_changed(event_store::Position::START, 10).await.expect("readable");
        assert_eq!(pins[0].passes, u64::from(round != 1), "round {round}");
        assert_eq!(subject.reopened().await.queue_place(id).await.expect("readable"), None);
    }
}

pub async fn an_unknown_submission_has_no_status(subject: &dyn ViewsUnderTest) {
    let id = SubmissionId(uuid::Uuid::from_u128(7));
    assert_eq!(subject.views().status(id).await.expect("readable"), None);
    assert_eq!(subject.views().queue_place(id).await.expect("readable"), None);
}

pub async fn unfinished_submissions_are_listed_oldest_first(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("done", 0);
    let ids = ["a", "b", "c"].map(|owner| history.submit(owner, 1));
    history.start(ids[0]);
    catch_up(&*views, &history).await;
    let listed = async |max| -> Vec<SubmissionId> {
        views.unfinished(None, max).await.expect("readable").into_iter().map(|view| view.id).collect()
    };
    assert_eq!(listed(10).await, ids);
    assert_eq!(listed(2).await, ids[1..], "the newest two");
}

pub async fn overdue_submissions_are_listed_oldest_first(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("done", 0);
    let ids = ["set", "verified", "over", "waits"].map(|owner| history.submit(owner, 1));
    ids[..3].iter().for_each(|id| history.start(*id));
    history.interrupt(ids[2], InterruptionCode::NoCapacity, false);
    history.interrupt(ids[0], InterruptionCode::NoCapacity, true);
    catch_up(&*views, &history).await;
    let retry_at = status(&*views, ids[0]).await.retry_at().expect("a moment");
    let listed = async |now, max| -> Vec<SubmissionId> {
        views.overdue(now, max).await.expect("readable").into_iter().map(|view| view.id).collect()
    };
    let before = retry_at - SignedDuration::from_secs(1);
    assert_eq!(listed(before, 10).await, ids[1..], "one waits for its moment");
    assert_eq!(listed(before, 2).await, ids[1..3], "the oldest two");
    assert_eq!(listed(retry_at + SignedDuration::from_secs(1), 10).await, ids);
}

pub async fn submissions_being_verified_are_listed_oldest_first(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let ids = ["a", "b", "c", "d", "e"].map(|owner| history.submit(owner, 1));
    ids[..4].iter().for_each(|id| history.start(*id));
    history.pass(ids[0]);
    history.interrupt(ids[1], InterruptionCode::NoCapacity, true);
    catch_up(&*views, &history).await;
    let listed = async |max| -> Vec<SubmissionId> {
        views.verifying(max).await.expect("readable").into_iter().map(|view| view.id).collect()
    };
    assert_eq!(listed(10).await, ids[2..4]);
    assert_eq!(listed(1).await, ids[3..4], "the newest");
}

pub async fn a_submission_that_stands_still_goes_on_at_the_same_event(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let (id, other) = (history.submit("ada", 0), history.submit("ben", 1));
    catch_up(&*views, &history).await;
    history.start(id);
    let standstill = standstill_at(&history.events[2]);
    for _repeated in 0..2 {
        views.record_standstill(&standstill).await.expect("recorded");
    }
    history.pass(id);
    let (from, later) = (views.checkpoint().await.expect("readable"), history.events[3..].to_vec());
    views.apply(from, &later, history.head()).await.expect("applied");
    for views in [subject.views(), subject.reopened().await] {
        let view = status(&*views, id).await;
        assert_eq!((view.revision, &view.standstill), (0, &Some(standstill.clone())));
        assert_eq!(views.standstills(10).await.expect("readable"), std::slice::from_ref(&standstill));
        assert_eq!(views.standstill(id).await.expect("readable"), Some(standstill.clone()));
        assert_eq!(views.standstill(other).await.expect("readable"), None);
        assert_eq!(views.queue_place(id).await.expect("readable"), None);
        assert_eq!(views.queue_place(other).await.expect("readable").map(|place| place.of), Some(1));
        let unfinished = views.unfinished(None, 10).await.expect("readable");
        assert_eq!(unfinished.iter().map(|view| view.id).collect::<Vec<_>>(), [other]);
        assert_eq!(views.verifying(10).await.expect("readable"), []);
    }

    // Another process has the queue and the map in memory.
    let reader = subject.reopened().await;
    let shown = async |reader: &dyn ViewStore| reader.pins(WORLD, 5).await.expect("readable").features.len();
    assert_eq!(reader.queue_place(other).await.expect("readable").map(|place| place.of), Some(1));
    assert_eq!(shown(&*reader).await, 0);

    // A newer version can read the event, and applies the events that were left out.
    let upto = history.head();
    let resumed = views.resume(id, Position(upto.0 - 1), &history.events[2..], None).await;
    assert!(matches!(resumed, Err(ApplyError::Overtaken(at)) if at == upto), "{resumed:?}");
    for _repeated in 0..2 {
        views.resume(id, upto, &history.events[2..], None).await.expect("resumed");
    }
    let view = status(&*views, id).await;
    assert_eq!((view.status, view.revision, view.standstill), (SubmissionStatus::Passed, 2, None));
    assert_eq!(views.standstills(10).await.expect("readable"), []);
    assert_eq!(views.stats().await.expect("readable").pins, 1);
    views.record_standstill(&standstill).await.expect("recorded");
    assert_eq!(status(&*views, id).await.standstill, None, "it is further than that");
    assert_eq!(views.standstills(10).await.expect("readable"), [], "it is further than that");
    history.start(other);
    catch_up(&*views, &history).await;
    reader.watch().wait_for(|at| *at >= history.head()).await.expect("the views are open");
    assert_eq!(shown(&*reader).await, 1);
}

pub async fn a_submission_that_goes_on_may_stand_still_again(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    catch_up(&*views, &history).await;
    history.start(id);
    history.interrupt(id, InterruptionCode::NoCapacity, true);
    history.start(id);
    history.pass(id);
    let standstills = [1, 3].map(|revision: usize| standstill_at(&history.events[revision]));
    views.record_standstill(&standstills[0]).await.expect("recorded");
    let other = history.submit("ben", 1);
    let read = [&history.events[2..3], &history.events[4..]].concat();
    let from = views.checkpoint().await.expect("readable");
    views.apply(from, &read, history.head()).await.expect("applied");
    let reader = subject.reopened().await;
    assert_eq!(reader.queue_place(other).await.expect("readable").map(|place| place.of), Some(1));

    // A newer version can read the first of the two events.
    let readable = &history.events[1..3];
    views.resume(id, history.head(), readable, Some(&standstills[1])).await.expect("resumed");
    let between = history.events.len();
    history.submit("cem", 1);
    history.pass(id);
    let (from, upto) = (views.checkpoint().await.expect("readable"), history.head());
    views.apply(from, &history.events[between..], upto).await.expect("applied");
    reader.watch().wait_for(|at| *at >= upto).await.expect("the views are open");
    for views in [subject.views(), subject.reopened().await, reader] {
        let view = status(&*views, id).await;
        assert_eq!((view.revision, &view.standstill), (2, &Some(standstills[1].clone())));
        assert_eq!(views.standstills(10).await.expect("readable"), &standstills[1..]);
        assert_eq!(views.queue_place(id).await.expect("readable"), None);
        assert_eq!(views.queue_place(other).await.expect("readable").map(|place| place.of), Some(2));
        assert_eq!(views.unfinished(None, 10).await.expect("readable").len(), 2);
    }
}

pub async fn strangers_events_are_counted_once(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    assert_eq!(views.set_aside().await.expect("readable"), SetAsideView::default());
    let event = |position: u64| SetAsideEvent {
        position: Position(position),
        stream: "sandbox-mine".to_owned(),
        revision: position,
        r#type: "Note".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        why: "its metadata is not Muster's".to_owned(),
    };
    let events: Vec<_> = (1..=250).map(event).collect();
    for part in [&events[..100], &events[..100], &events[50..200], &events[150..], &events[..]] {
        views.record_set_aside(part).await.expect("recorded");
    }
    for views in [views, subject.reopened().await] {
        let set_aside = views.set_aside().await.expect("readable");
        assert_eq!((set_aside.count, &set_aside.newest[..]), (250, &events[250 - SET_ASIDE_KEPT..]));
    }
}

async fn status(views: &dyn ViewStore, id: SubmissionId) -> StatusView {
    views.status(id).await.expect("readable").expect("the submission is known")
}

/// Returns the standstill of a submission at an event that this version cannot read.
fn standstill_at(event: &EventEnvelope) -> StandstillView {
    StandstillView {
        id: event.id,
        code: "newer_version".to_owned(),
        message: "It waits for a newer version.".to_owned(),
        r#type: "Exploded".to_owned(),
        why: "there is no event Exploded".to_owned(),
        position: event.position,
        revision: event.revision,
        since: event.recorded_at,
    }
}
