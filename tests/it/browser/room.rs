//! The screen of a room: it shows each pass as it happens, over a restart of the server, for a whole evening; and the way from its
//! picture to a submission of the venue.

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::fill_in;
use super::keyboard::tab_to;
use crate::support::browser::{Browser, ENTER, Look};
use crate::support::log::Log;
use crate::support::{Shape, System};

const VENUES: &str = r#"
[[venues]]
name = "berlin"
title = "c-base"
location = "Berlin, DE"
code = "K7QF"

[[venues]]
name = "lisbon"
title = "Village Underground"
location = "Lisbon, PT"
"#;

/// A projector in the room.
const WALL: Look = Look { size: (1920, 1080), dark: true };

/// The passes of an evening, and the number that are recorded at the same time.
const PASSES: u64 = 5_000;
const AT_ONCE: usize = 16;

/// The most that the page may hold at the end of an evening, and the growth in its second half that counts as none.
const HEAP_MAX: u64 = 200 << 20;
const HEAP_NOISE: u64 = 4 << 20;

/// Compares the layers of the map: one that lies under the land is drawn and not seen.
const PINS_ABOVE_LAND: &str = "
    const layer = name => Number(getComputedStyle(document.querySelector(`.leaflet-${name}-pane`)).zIndex);
    return layer('world') < layer('overlay');";

/// Keeps every name that the list ever shows.
const WATCH: &str = "
    window.seen = new Set();
    const look = () => document.querySelectorAll('.newest .who').forEach(who => window.seen.add(who.textContent));
    new MutationObserver(look).observe(document.querySelector('.newest'), { childList: true, subtree: true });
    look();";

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_of_a_room_misses_no_pass() {
    let mut system = with_venues().await;
    let log = Log::of(&system).await;
    let screen = Browser::open(WALL).await;
    screen.go(&system.url("/v/berlin#code=K7QF")).await;
    screen.reads(".title h1", "c-base").await;
    screen.reads(".headline", "0").await;
    screen.reads(".none", "Be the first").await;
    screen.script(WATCH).await;
    screen.script("window.neverReloaded = true").await;
    let picture = screen.script("return document.querySelector('.join a').href").await;
    assert_eq!(picture, system.url("/?venue=berlin&venue_code=K7QF"));

    for number in 100..107 {
        log.pass_at(Some("berlin"), number).await;
        log.pass_at(Some("lisbon"), 500 + number).await;
        screen.reads(".newest li .who", &format!("Number {number}")).await;
    }
    system.kill();
    screen.reads(".connection", "does not answer").await;
    screen.picture("room-server-gone").await;
    system.restart().await;
    let log = Log::of(&system).await;
    for number in 107..114 {
        log.pass_at(Some("berlin"), number).await;
    }
    screen.reads(".headline", "14").await;
    screen.reads(".newest li .who", "Number 113").await;
    let seen = screen.script("return [...window.seen].sort()").await;
    let mut all: Vec<String> = (100..114).map(|number| format!("Number {number}")).collect();
    all.sort();
    assert_eq!(seen, json!(all), "each pass was shown once, and none of another venue");
    screen.holds("the same page", "return window.neverReloaded === true").await;
    screen
        .holds("no complaint", "return document.querySelector('.connection').childElementCount === 0")
        .await;
    screen.holds("the pins above the land", PINS_ABOVE_LAND).await;
    screen.picture("room").await;
    screen.is_accessible().await;

    // Without a code, the page shows none. A phone shows the same, one below the other.
    screen.wear(Look { size: (390, 844), dark: false }).await;
    screen.go(&system.url("/v/lisbon")).await;
    screen.reads(".headline", "7").await;
    assert_eq!(screen.text(".join .code").await, None);
    screen.holds("no scrolling aside", "return document.documentElement.scrollWidth <= innerWidth").await;
    screen.picture("room-phone").await;
    screen.is_accessible().await;
    tab_to(&screen, ".join a").await;
    screen.press(ENTER).await;
    screen.reads(".only", "Only Village Underground").await;
    screen.go(&system.url("/v/rome")).await;
    screen.reads("h1", "nothing here").await;
    assert_eq!(screen.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_of_a_room_does_not_grow_over_an_evening() {
    let system = with_venues().await;
    let log = Log::of(&system).await;
    let screen = Browser::open(WALL).await;
    screen.go(&system.url("/v/berlin")).await;
    screen.reads(".headline", "0").await;

    let mut footprints = Vec::new();
    for half in 0..2 {
        let numbers = half * PASSES / 2..(half + 1) * PASSES / 2;
        stream::iter(numbers)
            .for_each_concurrent(AT_ONCE, |number| {
                let log = &log;
                async move {
                    log.pass_at(Some("berlin"), number).await;
                }
            })
            .await;
        let count = if half == 0 { "2,500" } else { "5,000" };
        screen.reads(".headline", count).await;
        screen.holds("a full list", "return document.querySelectorAll('.newest > li').length === 12").await;
        footprints.push(screen.footprint().await);
    }
    println!("heap and nodes after each half: {footprints:?}");
    let [(half, half_nodes), (heap, nodes)] = footprints[..] else { panic!("two halves") };
    assert!(heap < HEAP_MAX && heap < half + HEAP_NOISE, "{half} bytes, then {heap}");
    assert!(nodes < half_nodes + 200, "{half_nodes} nodes, then {nodes}");
    screen.picture("room-evening").await;
    assert_eq!(screen.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_of_a_room_leads_to_a_submission_of_its_venue() {
    let system = with_venues().await;
    let log = Log::of(&system).await;
    log.pass_at(Some("berlin"), 1).await;
    log.pass_at(None, 2).await;
    let browser = Browser::open(Look { size: (390, 844), dark: true }).await;
    browser.go(&system.url("/?venue=berlin&venue_code=K7QF")).await;
    browser.reads(".only", "Only c-base, Berlin").await;
    browser.reads(".headline", "1").await;
    browser.picture("map-venue-phone-dark").await;
    browser.is_accessible().await;
    browser.click("aside a.primary").await;
    browser.reads(".here", "You take part at c-base, Berlin").await;
    browser.picture("submit-venue-phone-dark").await;
    browser.is_accessible().await;
    fill_in(&browser, "Ada Lovelace", "registry.test:5000/ada/app").await;
    browser.click("button[type=submit]").await;
    browser.reads(".standing", "It is next").await;
    assert_eq!(venue_of(&system, &browser).await, "berlin");

    // A participant may leave the venue out, or choose another.
    browser.go(&system.url("/submit?venue=berlin&venue_code=K7QF")).await;
    browser.reads(".here", "c-base").await;
    tab_to(&browser, ".here button").await;
    browser.press(ENTER).await;
    browser.holds("the choice", "return document.activeElement.id === 'venue'").await;
    browser.is_accessible().await;
    fill_in(&browser, "Grace Hopper", "registry.test:5000/grace/app").await;
    browser.click("button[type=submit]").await;
    browser.reads(".standing", "2nd of 2").await;
    assert_eq!(venue_of(&system, &browser).await, Value::Null);

    browser.go(&system.url("/submit")).await;
    fill_in(&browser, "Joan Clarke", "registry.test:5000/joan/app").await;
    browser.click("#venue option[value=berlin]").await;
    browser.write("#venue_code", "wrong").await;
    browser.click("button[type=submit]").await;
    browser.reads("#venue_code-error", "code").await;
    browser.rewrite("#venue_code", "k7qf").await;
    browser.click("button[type=submit]").await;
    browser.reads(".standing", "3rd of 3").await;
    assert_eq!(venue_of(&system, &browser).await, "berlin");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Starts a system without a Swarm whose challenge has venues.
async fn with_venues() -> System {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    system.restart_with(VENUES).await;
    system
}

/// Returns the venue of the submission whose page is open.
async fn venue_of(system: &System, browser: &Browser) -> Value {
    let address = browser.address().await;
    system.status(address.rsplit('/').next().unwrap()).await.unwrap()["venue"].clone()
}
