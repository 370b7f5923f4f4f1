//! Who waits how long, and the totals.

use domain::submission::{FailureCode, InterruptionCode, SubmissionId};
use jiff::SignedDuration;

use super::{Bench, Story, tell};
use crate::Views;
use crate::view::{QueuePlace, Status};

pub async fn the_queue_is_fair(bench: &dyn Bench) {
    let views = bench.views();
    let mut story = Story::new();
    let [a1, a2, a3] = [(); 3].map(|()| story.submit("a", 0));
    let [b1, b2] = [(); 2].map(|()| story.submit("b", 1));
    let c1 = story.submit("c", 2);
    tell(&*views, &story).await;
    for (ahead, id) in [a1, b1, c1, a2, b2, a3].into_iter().enumerate() {
        let place = place(&*views, id).await;
        assert_eq!(place, Some(QueuePlace { position: ahead as u64 + 1, of: 6, expected_wait_s: None }));
    }
    story.start(a1);
    tell(&*views, &story).await;
    assert_eq!(place(&*views, a1).await, None, "it does not wait");
    let now = [a2, b1, c1, a3, b2];
    for (ahead, id) in now.into_iter().enumerate() {
        assert_eq!(place(&*views, id).await.map(|place| place.position), Some(ahead as u64 + 1));
    }
}

pub async fn an_interruption_keeps_the_place_in_the_queue_and_a_rejudge_does_not(bench: &dyn Bench) {
    let views = bench.views();
    let mut story = Story::new();
    let first = story.submit("a", 0);
    let second = story.submit("b", 0);
    story.start(first);
    story.interrupt(first, InterruptionCode::NodeLost, true);
    tell(&*views, &story).await;
    assert_eq!(place(&*views, first).await.map(|place| place.position), Some(1));
    story.start(first);
    story.pass(first);
    story.rejudge(first);
    tell(&*views, &story).await;
    assert_eq!(place(&*views, second).await.map(|place| place.position), Some(1));
    assert_eq!(place(&*views, first).await.map(|place| place.position), Some(2));
}

pub async fn the_expected_wait_is_the_pace_of_the_last_verdicts(bench: &dyn Bench) {
    let views = bench.views();
    let mut story = Story::new();
    for owner in ["a", "b", "c"] {
        // Nobody waits through the night; only work sets the pace.
        story.wait(SignedDuration::from_hours(9));
        let id = story.submit(owner, 0);
        story.wait(SignedDuration::from_secs(4));
        story.start(id);
        story.pass(id);
    }
    story.submit("d", 0);
    let last = story.submit("e", 0);
    tell(&*views, &story).await;
    assert_eq!(place(&*views, last).await.and_then(|place| place.expected_wait_s), Some(8));
}

pub async fn everything_is_counted(bench: &dyn Bench) {
    let views = bench.views();
    let empty = views.stats().await.expect("readable");
    assert_eq!((empty.pins, empty.submissions[&Status::Passed], empty.waited_ms_p50), (0, 0, None));

    let mut story = Story::new();
    let first = story.submit("a", 0);
    story.wait(SignedDuration::from_secs(2));
    story.start(first);
    story.interrupt(first, InterruptionCode::NoCapacity, true);
    story.start(first);
    story.pass(first);
    story.wait(SignedDuration::from_mins(5));
    story.submit_and_pass("b", 1);
    story.submit_and_pass("c", 2);
    story.submit_and_pass("d", 2);
    let failed = story.submit("e", 2);
    story.start(failed);
    story.fail(failed, &[FailureCode::TimedOut, FailureCode::TimedOut, FailureCode::NotJson]);
    let verifying = story.submit("f", 0);
    story.start(verifying);
    story.submit("g", 0);
    tell(&*views, &story).await;

    let stats = views.stats().await.expect("readable");
    let by_status = [Status::Submitted, Status::Verifying, Status::Passed, Status::Failed];
    assert_eq!(by_status.map(|status| stats.submissions[&status]), [1, 1, 4, 1]);
    assert_eq!((stats.pins, stats.places), (4, 3));
    assert_eq!(stats.countries, [("GB".to_owned(), 2), ("FR".to_owned(), 2)].into());
    assert_eq!(stats.answers["vote"].values().sum::<u64>(), 4);
    assert_eq!(stats.failures, [(FailureCode::TimedOut, 2), (FailureCode::NotJson, 1)].into());
    assert_eq!(stats.interruptions, [(InterruptionCode::NoCapacity, 1)].into());
    assert_eq!(stats.passes_per_minute.len(), 60);
    assert_eq!(stats.passes_per_minute[54..], [1, 0, 0, 0, 0, 3]);
    assert_eq!((stats.waited_ms_p50, stats.waited_ms_p95), (Some(0), Some(2000)));
    assert_eq!(stats.position, story.head());
}

async fn place(views: &dyn Views, id: SubmissionId) -> Option<QueuePlace> {
    views.queue_place(id).await.expect("readable")
}
