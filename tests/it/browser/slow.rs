//! The map over a slow line.

use std::time::Duration;

use crate::support::browser::{Browser, Look};
use crate::support::front::Front;
use crate::support::{Log, Shape, System};

/// The delay of the map's responses. It is longer than the interval at which the page counts again.
const UNDER_WAY: Duration = Duration::from_secs(3);

const BETWEEN_PASSES: Duration = Duration::from_millis(300);

/// Pins arrive all the time, and yet the page waits for the slow response.
#[tokio::test(flavor = "multi_thread")]
async fn the_map_is_drawn_over_a_slow_line_while_pins_arrive() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let log = Log::of(&system).await;
    for number in 0..40 {
        log.pass(number).await;
    }
    let site = system.url("").trim_start_matches("http://").to_owned();
    let front = Front::far_from(site, UNDER_WAY).await;
    let browser = Browser::open(Look::DESK).await;
    let arriving = async {
        for number in 40.. {
            log.pass(number).await;
            tokio::time::sleep(BETWEEN_PASSES).await;
        }
    };
    let looking = async {
        browser.go(&format!("http://{}/", front.address())).await;
        let drawn = "return document.querySelector('.in-view-list button[data-cluster]') !== null";
        browser.holds("a cluster", drawn).await;
    };
    tokio::select! {
        () = looking => {}
        () = arriving => {}
    }
}
