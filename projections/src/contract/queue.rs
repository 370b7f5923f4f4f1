//! The order of the queue, the expected wait, and the totals.

use domain::submission::{FailureCode, InterruptionCode, SubmissionId};
use jiff::SignedDuration;

use super::{EventHistory, ViewsUnderTest, catch_up};
use crate::ViewStore;
use crate::view::{QueuePlace, SubmissionStatus};

pub async fn the_queue_is_fair(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [a1, a2, a3] = [(); 3].map(|()| history.submit("a", 0));
    let [b1, b2] = [(); 2].map(|()| history.submit("b", 1));
    let c1 = history.submit("c", 2);
    catch_up(&*views, &history).await;
    for (ahead, id) in [a1, b1, c1, a2, b2, a3].into_iter().enumerate() {
        let place = place(&*views, id).await;
        assert_eq!(place, Some(QueuePlace { position: ahead as u64 + 1, of: 6, expected_wait_s: None }));
    }
    history.start(a1);
    catch_up(&*views, &history).await;
    assert_eq!(place(&*views, a1).await, None, "it does not wait");
    let now = [b1, c1, a2, b2, a3];
    assert_order(&*views, &now).await;
}

pub async fn the_owners_in_one_lane_take_one_turn(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [x, y, z] = ["x", "y", "z"].map(|owner| history.submit_in_lane(None, Some("lane"), owner, 0));
    // An owner has a line of its own beside the lane that one of its submissions waits in.
    let mine = history.submit("x", 0);
    let other = history.submit("b", 1);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[x, mine, other, y, z]).await;
    history.start(x);
    history.pass(x);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[mine, other, y, z]).await;
    assert_order(&*subject.reopened().await, &[mine, other, y, z]).await;
    // A rejudged submission waits in its lane again.
    history.rejudge(x);
    let late = history.submit("c", 0);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[mine, other, y, late, z, x]).await;
}

pub async fn an_interruption_keeps_the_place_in_the_owners_line_and_a_rejudge_does_not(
    subject: &dyn ViewsUnderTest,
) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [first, second] = [(); 2].map(|()| history.submit("a", 0));
    let other = history.submit("b", 0);
    history.start(first);
    history.interrupt(first, InterruptionCode::NodeLost, true);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[other, first, second]).await;
    history.start(first);
    history.pass(first);
    history.rejudge(first);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[other, second, first]).await;
}

pub async fn a_claim_counts_after_the_verdict(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [first, second] = [(); 2].map(|()| history.submit("a", 0));
    let other = history.submit("b", 0);
    history.start(first);
    history.pass(first);
    catch_up(&*views, &history).await;
    assert_order(&*views, &[other, second]).await;
    // Another process reads the same queue.
    assert_order(&*subject.reopened().await, &[other, second]).await;
}

pub async fn the_expected_wait_is_the_pace_of_the_last_verdicts(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for owner in ["a", "b", "c"] {
        // Nobody waits through the night; only work sets the pace.
        history.wait(SignedDuration::from_hours(9));
        let id = history.submit(owner, 0);
        history.wait(SignedDuration::from_secs(4));
        history.start(id);
        history.pass(id);
    }
    history.submit("d", 0);
    let last = history.submit("e", 0);
    catch_up(&*views, &history).await;
    assert_eq!(place(&*views, last).await.and_then(|place| place.expected_wait_s), Some(8));
}

pub async fn everything_is_counted(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let empty = views.stats().await.expect("readable");
    assert_eq!((empty.pins, empty.submissions[&SubmissionStatus::Passed], empty.waited_ms_p50), (0, 0, None));

    let mut history = EventHistory::new();
    let first = history.submit("a", 0);
    history.wait(SignedDuration::from_secs(2));
    history.start(first);
    history.interrupt(first, InterruptionCode::NoCapacity, true);
    history.start(first);
    history.pass(first);
    history.wait(SignedDuration::from_mins(5));
    history.submit_and_pass("b", 1);
    history.submit_and_pass("c", 2);
    history.submit_and_pass("d", 2);
    let failed = history.submit("e", 2);
    history.start(failed);
    history.fail(failed, &[FailureCode::TimedOut, FailureCode::TimedOut, FailureCode::NotJson]);
    let verifying = history.submit("f", 0);
    history.start(verifying);
    history.submit("g", 0);
    catch_up(&*views, &history).await;

    let stats = views.stats().await.expect("readable");
    let by_status = [
        SubmissionStatus::Submitted,
        SubmissionStatus::Verifying,
        SubmissionStatus::Passed,
        SubmissionStatus::Failed,
    ];
    assert_eq!(by_status.map(|status| stats.submissions[&status]), [1, 1, 4, 1]);
    assert_eq!((stats.pins, stats.places), (4, 3));
    assert_eq!(stats.countries, [("GB".to_owned(), 2), ("FR".to_owned(), 2)].into());
    assert_eq!(stats.answers["vote"].values().sum::<u64>(), 4);
    assert_eq!(stats.failures, [(FailureCode::TimedOut, 2), (FailureCode::NotJson, 1)].into());
    assert_eq!(stats.interruptions, [(InterruptionCode::NoCapacity, 1)].into());
    assert_eq!(stats.passes_per_minute.len(), 60);
    assert_eq!(stats.passes_per_minute[54..], [1, 0, 0, 0, 0, 3]);
    assert_eq!((stats.waited_ms_p50, stats.waited_ms_p95), (Some(0), Some(2000)));
    assert_eq!(stats.position, history.head());
}

async fn place(views: &dyn ViewStore, id: SubmissionId) -> Option<QueuePlace> {
    views.queue_place(id).await.expect("readable")
}

async fn assert_order(views: &dyn ViewStore, order: &[SubmissionId]) {
    for (ahead, id) in order.iter().enumerate() {
        assert_eq!(place(views, *id).await.map(|place| place.position), Some(ahead as u64 + 1));
    }
}
