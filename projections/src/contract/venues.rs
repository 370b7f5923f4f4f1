//! The views of one venue, and of names that an organiser must look at.

use domain::submission::{FailureCode, InterruptionCode};
use event_store::Position;

use super::{EventHistory, ViewsUnderTest, WORLD, catch_up};
use crate::view::{MapFeature, StatsView, SubmissionStatus};
use crate::{PinMap, ViewStore};

const BERLIN: Option<&str> = Some("berlin");

pub async fn a_venue_has_its_own_totals(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("nobody", 0);
    history.pass_at(Some("paris"), "eve", 2);
    let ada = history.pass_at(BERLIN, "ada", 0);
    catch_up(&*views, &history).await;
    history.pass_at(BERLIN, "ben", 2);
    let failed = history.submit_at(BERLIN, "cy", 2);
    history.start(failed);
    history.fail(failed, &[FailureCode::Mismatch]);
    history.submit_at(BERLIN, "dan", 3);
    catch_up(&*views, &history).await;

    let own = stats(&*views, "berlin").await;
    let numbers = [SubmissionStatus::Submitted, SubmissionStatus::Passed, SubmissionStatus::Failed];
    assert_eq!(numbers.map(|status| own.submissions[&status]), [1, 2, 1]);
    assert_eq!((own.pins, &own.countries), (2, &[("FR".to_owned(), 1), ("GB".to_owned(), 1)].into()));
    assert_eq!(own.failures, [(FailureCode::Mismatch, 1)].into());
    assert_eq!(own.answers["vote"].values().sum::<u64>(), 2);
    assert_eq!(own.passes_per_minute.iter().sum::<u64>(), 2);
    assert!(own.waited_ms_p50.is_some());
    assert_eq!(own.position, history.head());
    assert_eq!(views.stats().await.expect("readable").pins, 4, "all venues");

    history.hide(ada);
    catch_up(&*views, &history).await;
    assert_eq!(stats(&*views, "berlin").await.countries, [("FR".to_owned(), 1)].into());
    let none = stats(&*views, "rome").await;
    assert_eq!((none.pins, none.submissions.values().sum::<u64>()), (0, 0));
}

pub async fn the_pins_of_a_venue_are_its_own(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("nobody", 0);
    history.pass_at(BERLIN, "ada", 0);
    let ben = history.pass_at(BERLIN, "ben", 0);
    history.pass_at(Some("berlin-2"), "eve", 0);
    history.pass_at(BERLIN, "cy", 4);
    catch_up(&*views, &history).await;
    let mut map = PinMap::default();
    map.catch_up(&*views, "berlin").await.expect("readable");
    assert_eq!((map.len(), map.places()), (3, 2));
    let features = map.viewport(WORLD, 16).features;
    let [MapFeature::Cluster(two), MapFeature::Pin(cy)] = &features[..] else { panic!("{features:?}") };
    assert_eq!((two.count, cy.owner.as_str()), (2, "docker.io/cy"));
    let newest: Vec<String> = map.newest(2).into_iter().map(|pin| pin.owner).collect();
    assert_eq!(newest, ["docker.io/cy", "docker.io/ben"]);
    let here = map.at_place(two.lat, two.lon, 9);
    assert_eq!((here.len(), here[0].owner.as_str()), (2, "docker.io/ben"), "newest first");
    assert_eq!(map.find("ben", 9).len(), 1);
    assert_eq!(map.find("eve", 9), [], "another venue");

    history.hide(ben);
    catch_up(&*views, &history).await;
    map.catch_up(&*views, "berlin").await.expect("readable");
    assert_eq!((map.len(), map.places()), (2, 2));
    assert_eq!(map.find("ben", 9), []);
    let first = views.venue_pins_changed("berlin", Position::START, 1).await.expect("readable");
    assert_eq!(first[0].owner, "docker.io/ada", "sorted by position");
}

pub async fn a_pin_that_moves_to_another_venue_is_gone_from_the_first(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.pass_at(BERLIN, "ada", 0);
    catch_up(&*views, &history).await;
    let mut berlin = PinMap::default();
    berlin.catch_up(&*views, "berlin").await.expect("readable");
    history.pass_at(Some("paris"), "ada", 2);
    // Somebody who read nothing between two moves must hear of both.
    let last = history.pass_at(None, "ada", 3);
    catch_up(&*views, &history).await;
    for venue in ["berlin", "paris"] {
        let changed = views.venue_pins_changed(venue, Position::START, 9).await.expect("readable");
        assert_eq!(changed.iter().map(|pin| pin.passes).collect::<Vec<_>>(), [0], "{venue}");
        assert_eq!(stats(&*views, venue).await.pins, 0, "{venue}");
        assert_eq!(stats(&*views, venue).await.submissions[&SubmissionStatus::Passed], 1, "{venue}");
    }
    berlin.catch_up(&*views, "berlin").await.expect("readable");
    assert!(berlin.is_empty());

    history.hide(last);
    catch_up(&*views, &history).await;
    let changed = views.venue_pins_changed("paris", Position::START, 9).await.expect("readable");
    assert_eq!(changed.iter().map(|pin| pin.passes).collect::<Vec<_>>(), [2], "it is back");
}

pub async fn the_lists_of_a_venue_are_cut_after_its_own(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let own = ["a", "b", "c"].map(|owner| history.submit_at(BERLIN, owner, 0));
    let lost = history.submit_at(BERLIN, "lost", 0);
    history.start(lost);
    history.give_up(lost, InterruptionCode::NodeIll);
    for other in 0..5 {
        let other = history.submit(&format!("other{other}"), 0);
        history.start(other);
        history.give_up(other, InterruptionCode::NodeIll);
        history.submit_at(Some("paris"), "eve", 0);
    }
    catch_up(&*views, &history).await;
    let waiting = views.unfinished(BERLIN, 2).await.expect("readable");
    assert_eq!(waiting.iter().map(|view| view.id).collect::<Vec<_>>(), own[1..]);
    let given_up = views.given_up(BERLIN, 2).await.expect("readable");
    assert_eq!(given_up.iter().map(|view| view.id).collect::<Vec<_>>(), [lost]);
}

pub async fn held_submissions_are_listed_until_an_organiser_looks(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [shown, withdrawn, failed, left] = ["a", "b", "c", "d"].map(|owner| {
        let id = history.submit_at(BERLIN, owner, 0);
        history.hold(id);
        id
    });
    let hidden = history.submit_at(BERLIN, "e", 0);
    history.hide(hidden);
    catch_up(&*views, &history).await;
    let listed = async |venue, max| -> Vec<_> {
        views.held(venue, max).await.expect("readable").iter().map(|view| view.id).collect()
    };
    assert_eq!(listed(None, 9).await, [shown, withdrawn, failed, left]);
    assert_eq!(listed(BERLIN, 1).await, [left], "the newest");
    assert_eq!(listed(Some("paris"), 9).await, []);
    history.show(shown);
    history.withdraw(withdrawn);
    history.start(failed);
    history.fail(failed, &[FailureCode::Mismatch]);
    history.start(left);
    history.pass(left);
    catch_up(&*views, &history).await;
    assert_eq!(listed(None, 9).await, [left]);
    history.show(left);
    catch_up(&*views, &history).await;
    assert_eq!(listed(None, 9).await, []);
}

async fn stats(views: &dyn ViewStore, venue: &str) -> StatsView {
    views.venue_stats(venue).await.expect("readable")
}
