//! Submissions whose streams an operator deleted.

use domain::submission::{FailureCode, InterruptionCode};
use event_store::Position;
use jiff::Timestamp;

use super::{EventHistory, ViewsUnderTest, WORLD, catch_up};
use crate::view::DeletionView;
use crate::{ApplyError, EventEnvelope, MemoryViews, ViewQueries, ViewStore};

pub async fn a_deleted_submission_is_in_no_view(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let other = history.submit("ada", 0);
    let older = history.submit_and_pass("ada", 1);
    let (before, end) = (history.events.clone(), history.head());
    let passed = history.submit_and_pass("ada", 2);
    let only = history.submit_and_pass("kim", 2);
    let failed = history.submit("ben", 3);
    history.start(failed);
    history.fail(failed, &[FailureCode::ImageNotFound]);
    let hidden = history.submit_and_pass("joe", 1);
    history.hide(hidden);
    let waiting = history.submit("eve", 3);
    history.start(waiting);
    history.interrupt(waiting, InterruptionCode::LeaseExpired, true);
    let given_up = history.submit("zoe", 3);
    history.start(given_up);
    history.interrupt(given_up, InterruptionCode::LeaseExpired, false);
    history.give_up(given_up, InterruptionCode::LeaseExpired);
    catch_up(&*views, &history).await;
    // Another process has the queue and the map in memory.
    let reader = subject.reopened().await;
    assert_eq!(reader.queue_place(other).await.expect("readable").map(|place| place.of), Some(2));
    assert_eq!(reader.stats().await.expect("readable").pins, 2);
    reader.pins(WORLD, 5).await.expect("readable");

    let deletion = |id, position| DeletionView { id, position, at: Timestamp::UNIX_EPOCH };
    let mut at = history.head();
    for id in [passed, only, failed, hidden, waiting, given_up, passed] {
        let next = Position(at.0 + 1);
        views.apply_deletion(at, &deletion(id, next)).await.expect("applied");
        at = next;
    }
    let late = views.apply_deletion(history.head(), &deletion(other, at)).await;
    assert!(matches!(late, Err(ApplyError::Overtaken(checkpoint)) if checkpoint == at), "{late:?}");
    // A soft delete lets new events follow, which change nothing.
    history.rejudge(passed);
    let revived = history.events.last().expect("added").clone();
    let upto = Position(at.0 + 1);
    views.apply(at, &[EventEnvelope { position: upto, ..revived }], upto).await.expect("applied");

    let without = MemoryViews::new();
    without.apply(Position::START, &before, upto).await.expect("applied");
    let expected = without.stats().await.expect("readable");
    for views in [subject.views(), reader] {
        views.watch().wait_for(|seen| *seen >= upto).await.expect("the views are open");
        let stats = views.stats().await.expect("readable");
        assert_eq!((&stats.submissions, stats.pins), (&expected.submissions, expected.pins));
        assert_eq!((stats.countries, stats.places), (expected.countries.clone(), expected.places));
        assert_eq!((stats.answers, stats.failures), (expected.answers.clone(), expected.failures.clone()));
        assert_eq!(stats.interruptions, expected.interruptions);
        let unfinished = views.unfinished(None, 10).await.expect("readable");
        assert_eq!(unfinished.iter().map(|view| view.id).collect::<Vec<_>>(), [other]);
        assert_eq!(views.given_up(None, 10).await.expect("readable"), []);
        for id in [passed, only, failed, hidden, waiting, given_up] {
            assert_eq!(views.status(id).await.expect("readable"), None);
            assert_eq!(views.deletion(id).await.expect("readable").map(|deletion| deletion.id), Some(id));
            assert_eq!(views.queue_place(id).await.expect("readable"), None);
        }
        assert_eq!(views.deletion(older).await.expect("readable"), None);
        assert_eq!(views.queue_place(other).await.expect("readable").map(|place| place.of), Some(1));
        let pins = views.find_pins("", 10).await.expect("readable");
        let pins: Vec<_> =
            pins.iter().map(|pin| (pin.owner.as_str(), pin.passes, pin.city.as_str())).collect();
        assert_eq!(pins, [("docker.io/ada", 1, "Croydon")], "the pass before counts again");
        assert_eq!(views.pins(WORLD, 5).await.expect("readable").features.len(), 1);
        let changed = views.pins_changed(end, 10).await.expect("readable");
        for owner in ["docker.io/kim", "docker.io/joe"] {
            let gone = changed.iter().find(|pin| pin.owner == owner).expect("listeners are told");
            assert_eq!((gone.passes, gone.name.as_str(), gone.answers.len()), (0, "", 0), "{owner}");
        }
    }
}
