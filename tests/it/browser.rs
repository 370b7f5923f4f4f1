//! The pages in a real Chromium, on the real system. A participant submits and follows the submission to
//! its verdict, and other windows show the pin. A cluster splits. Names are text, whatever they contain.
//! The page says when the server is gone, and recovers.

mod buttons;
mod event;
mod keyboard;
mod moderation;
mod organise;
mod own;
mod reasons;
mod room;
mod slow;
mod tiles;

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use testbed::{App, Registry, Testbed};

use crate::support::browser::{ARROW_DOWN, Browser, ENTER, Look};
use crate::support::{Entry, Kind, System};

const JUDGED: Duration = Duration::from_secs(120);

/// The names of everything that the map lists.
const LISTED: &str = "[...document.querySelectorAll('.in-view-list button')]";

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_appears_in_a_second_window() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    let image =
        prepared(&bed.registry, "ada", "Ada Lovelace", "Zürich, Zurich, CH").await["images"][0].take();
    let (participant, visitor) = tokio::join!(Browser::open(Look::DESK), Browser::open(Look::DESK));

    visitor.go(&system.url("/")).await;
    visitor.reads(".headline", "0").await;
    visitor.picture("map-empty").await;
    visitor.is_accessible().await;
    visitor.script("window.neverReloaded = true").await;

    participant.go(&system.url("/submit")).await;
    participant.write("#name", "\u{3164}\u{3164}\u{3164}").await;
    participant.write("#twitter", "ada").await;
    // A field shows its error as soon as the participant leaves it.
    participant.click("#location").await;
    participant.reads("#name-error", "1 to 50 characters").await;
    participant.reads("#twitter-error", "@username").await;
    participant.write("#location", "Springfield").await;
    participant.write("[id='images[0]']", "quay.io/ada/app").await;
    participant.rewrite("#name", "Ada Lovelace").await;
    participant.rewrite("#twitter", "@ada").await;
    participant.click("#vote option[value=Rust]").await;
    participant.click("button[type=submit]").await;
    // Errors that only the server can find are shown beside the same fields.
    participant.reads("#location-error", "Several places").await;
    participant.reads("[id='images[0]-error']", "quay.io").await;
    participant.picture("submit-errors").await;
    participant.is_accessible().await;

    participant.rewrite("#location", "Zür").await;
    participant.reads("#location-options", "Zürich").await;
    participant.write("#location", &format!("{ARROW_DOWN}{ENTER}")).await;
    participant
        .holds("the place", "return document.querySelector('#location').value === 'Zürich, Zurich, CH'")
        .await;
    participant.rewrite("[id='images[0]']", image.as_str().unwrap()).await;
    participant.click("button[type=submit]").await;
    participant.reads(".steps", "Accepted").await;
    participant.picture("status-running").await;
    assert!(participant.address().await.contains("/s/"), "{}", participant.address().await);
    participant.reads(".standing", "Passed").await;
    participant.picture("status-passed").await;
    participant.is_accessible().await;

    visitor.reads(".arrivals-list", "Ada Lovelace").await;
    visitor.reads(".headline", "1").await;
    visitor.reads(".charts", "Rust").await;
    visitor.holds("the same page", "return window.neverReloaded === true").await;

    participant.click(".standing a").await;
    let card = participant.reads(".pin-card", "Ada Lovelace").await;
    for part in ["@ada", "Zürich, Switzerland", "Rust", "1 pass"] {
        assert!(card.contains(part), "{card} lacks {part}");
    }
    participant.picture("map-pin").await;
    participant.is_accessible().await;
    for browser in [&participant, &visitor] {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_verdict_says_what_to_do_and_the_form_is_filled_in_again() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    let entry = Entry::prepare(&bed.registry, "wrong", Kind::WrongInOneField).await;
    let id = system.submit("wrong", &entry.body).await;
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url(&format!("/s/{id}"))).await;
    browser.reads(".standing", "Not yet").await;
    let reason = browser.reads(".reason[data-code=mismatch]", "What to do now").await;
    for part in ["GET /getconfig", "vote", "Rust", "build, push, and submit again"] {
        assert!(reason.contains(part), "{reason} lacks {part}");
    }
    browser.picture("status-failed").await;
    browser.wear(Look { size: (390, 844), dark: true }).await;
    browser.picture("status-failed-phone-dark").await;
    browser.is_accessible().await;

    browser.click(".standing a").await;
    browser.reads(".expected pre", "Participant wrong").await;
    let filled = browser
        .script("return [...document.querySelectorAll('.form input, .form select')].map(f => f.value)");
    let body = &entry.body;
    let typed = json!([
        body["name"],
        body["twitter"],
        body["location"],
        body["vote"],
        registry_name(&body["images"][0])
    ]);
    assert_eq!(filled.await, typed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_splits_when_zooming_in_and_pins_of_one_place_stay_visible() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    let places = ["Zürich, CH", "Zürich, CH", "Winterthur, CH", "Tokyo, JP"];
    passed(&system, &bed.registry, &places.map(|place| ("Split", place))).await;
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url("/")).await;
    browser.click(".in-view summary").await;
    browser.holds("a cluster and a pin", &format!("return {LISTED}.map(b => b.textContent).join('|').startsWith('3 pins') && {LISTED}.length === 2")).await;
    browser.picture("map-clusters").await;
    browser.is_accessible().await;
    browser.click(".in-view-list button[data-cluster]").await;
    browser.holds("two in Zürich, one in Winterthur", &format!("return {LISTED}.length === 2 && {LISTED}[0].textContent.startsWith('2 pins') && {LISTED}[1].textContent.includes('Winterthur')")).await;
    // Two pins of one place never split, so they are shown in a list.
    for _ in 0..3 {
        browser.click(".in-view-list button[data-cluster]").await;
    }
    browser
        .holds("both in a list", "return document.querySelectorAll('.pin-list button').length === 2")
        .await;
    browser.is_accessible().await;
    let shared = browser.address().await;
    browser.click(".pin-list button").await;
    browser.reads(".pin-card", "Zürich, Switzerland").await;

    // The link opens the same view in another browser, with the card of the same pin.
    let link = browser.address().await;
    assert_ne!(link, shared);
    let other = Browser::open(Look { size: (1280, 800), dark: true }).await;
    other.go(&link).await;
    other.reads(".pin-card", "Zürich, Switzerland").await;
    other.picture("map-dark").await;

    // The search finds a pin outside the view.
    other.write("#search", "qqq").await;
    other.reads("#search-options", "No pin has a name or a city that begins so.").await;
    other.is_accessible().await;
    other.rewrite("#search", "tok").await;
    other.reads("#search-options", "Tokyo, Japan").await;
    other.is_accessible().await;
    other.write("#search", &format!("{ARROW_DOWN}{ENTER}")).await;
    other.reads(".pin-card", "Tokyo, Japan").await;
    assert_eq!(other.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_shown_as_text_and_never_as_markup() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    let zalgo: String =
        "Zalgo".chars().flat_map(|letter| [letter].into_iter().chain(['\u{0355}'; 6])).collect::<String>();
    let zalgo: String = zalgo.chars().take(50).collect();
    let names = [
        "<img src=x onerror=document.title='owned'>",
        "</script><script>document.title='owned'",
        "{{constructor.constructor('1')()}} ${1}",
        "علي بن محمد العربي",
        zalgo.as_str(),
        "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏿",
    ];
    let browser = Browser::open(Look::DESK).await;
    browser.go(&system.url("/")).await;
    browser.reads(".headline", "0").await;
    let ids = passed(&system, &bed.registry, &names.map(|name| (name, "Lagos, NG"))).await;

    for name in names {
        browser.reads(".arrivals-list", name).await;
    }
    let tall = "return [...document.querySelectorAll('.arrivals-list li')].every(row => row.getBoundingClientRect().height < 90)";
    browser.holds("rows of an ordinary height", tall).await;
    browser.click(".in-view summary").await;
    browser.click(".in-view-list button[data-cluster]").await;
    for name in names {
        browser.reads(".pin-list", name).await;
    }
    browser.picture("map-names").await;
    browser.is_accessible().await;
    for (id, name) in ids.iter().zip(names) {
        browser.go(&system.url(&format!("/s/{id}"))).await;
        browser.reads(".lead", name).await;
        assert_eq!(browser.script("return document.images.length").await, 0);
        assert_eq!(browser.script("return document.title").await, "Passed · Muster");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_report_a_dead_server_and_reconnect_by_themselves() {
    let mut system =
        System::start_with("unix:///nonexistent/engine.sock".into(), "registry.test:5000".into()).await;
    let body = json!({
        "name": "Ada Lovelace", "location": "London, UK", "images": ["registry.test:5000/ada/app"], "vote": "Rust",
    });
    let id = system.submit("one", &body).await;
    let (map, status, form) = tokio::join!(
        Browser::open(Look::DESK),
        Browser::open(Look::DESK),
        Browser::open(Look { size: (390, 844), dark: false })
    );
    map.go(&system.url("/")).await;
    map.reads(".states", "1").await;
    status.go(&system.url(&format!("/s/{id}"))).await;
    status.reads(".standing", "It is next").await;
    form.go(&system.url("/submit")).await;
    fill_in(&form, "Grace Hopper", "registry.test:5000/grace/app").await;

    system.kill();
    form.click("button[type=submit]").await;
    for browser in [&map, &status, &form] {
        browser.reads(".connection", "does not answer").await;
    }
    map.picture("map-server-gone").await;
    for browser in [&map, &status, &form] {
        browser.is_accessible().await;
    }
    system.restart().await;

    for browser in [&map, &status] {
        browser
            .holds(
                "the word to be taken back",
                "return document.querySelector('.connection').childElementCount === 0",
            )
            .await;
    }
    // The entry sent to the dead server was kept, sent again, and accepted once.
    form.reads(".standing", "2nd of 2").await;
    map.reads(".state-submitted", "2").await;
    form.picture("status-waiting-phone").await;
    form.is_accessible().await;

    // The page of an unknown address says that nothing is there.
    for (path, says) in [("/s/none", "no such submission"), ("/nowhere", "nothing here")] {
        map.go(&system.url(path)).await;
        map.reads("h1", says).await;
        map.reads(".top", "Take part").await;
        map.is_accessible().await;
    }
    map.picture("nothing-here").await;
}

/// Pushes an app with the right answer. Returns the body of its participant's submission.
async fn prepared(registry: &Registry, owner: &str, name: &str, location: &str) -> Value {
    let image = format!("{}/{owner}/app:latest", registry.address());
    let body = json!({
        "name": name, "twitter": format!("@{owner}"), "location": location, "images": [image], "vote": "Rust",
    });
    let mut answer = body.clone();
    answer["repo"] = answer["images"].take();
    registry.push(&format!("{owner}/app:latest"), &App::good(&answer)).await.unwrap();
    body
}

/// Submits for participants with these names at these places, and waits until all have passed. Returns the
/// ids.
async fn passed(system: &System, registry: &Registry, participants: &[(&str, &str)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (n, (name, place)) in participants.iter().enumerate() {
        let body = prepared(registry, &format!("owner{n}"), name, place).await;
        ids.push(system.submit(&format!("key-{n}"), &body).await);
    }
    for status in join_all(ids.iter().map(|id| system.verdict(id, JUDGED))).await {
        assert_eq!(status["status"], "passed", "{status:#}");
    }
    ids
}

async fn fill_in(form: &Browser, name: &str, image: &str) {
    form.write("#name", name).await;
    form.write("#location", "Vienna, AT").await;
    form.click("#vote option[value=Go]").await;
    form.write("[id='images[0]']", image).await;
}

/// Returns the image without its tag, as most people type it.
fn registry_name(image: &Value) -> &str {
    image.as_str().unwrap().trim_end_matches(":latest")
}
