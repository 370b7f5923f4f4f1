//! The pages without a mouse: submit, follow the submission to its verdict, see its pin, and find another
//! pin. The element with the focus is on the screen and shows the focus.

use testbed::Testbed;

use super::{passed, prepared};
use crate::support::System;
use crate::support::browser::{ARROW_DOWN, Browser, ENTER, ESCAPE, Look, TAB};

/// A bound for the number of Tab presses. No page has so many elements.
const TABS_MAX: usize = 40;

/// The script that describes the element with the focus, and the faults in how it shows the focus.
const FOCUS: &str = "
    const one = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    const { top, bottom, left, right } = one.getBoundingClientRect();
    const seen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
    const within = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
    return one === document.body || (seen && within) ? null : `${one.outerHTML.slice(0, 120)} (${seen}, ${within})`;";

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough_to_submit_follow_and_search() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    passed(&system, &bed.registry, &[("Grace Hopper", "Tokyo, JP")]).await;
    let image =
        prepared(&bed.registry, "keys", "Ada Lovelace", "Zürich, Zurich, CH").await["images"][0].take();
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url("/")).await;
    browser.reads(".headline", "1").await;
    tab_to(&browser, "aside a[href='/submit']").await;
    browser.press(ENTER).await;
    browser.reads("h1", "Take part").await;
    for (field, keys) in [("#name", "Ada Lovelace"), ("#twitter", "@keys"), ("#location", "Zür")] {
        tab_to(&browser, field).await;
        browser.press(keys).await;
    }
    browser.reads("#location-options", "Zürich").await;
    browser.press(&format!("{ARROW_DOWN}{ENTER}")).await;
    for (field, keys) in [("#vote", "Rust"), ("[id='images[0]']", image.as_str().unwrap())] {
        tab_to(&browser, field).await;
        browser.press(keys).await;
    }
    tab_to(&browser, "button[type=submit]").await;
    browser.press(ENTER).await;

    // A screen reader hears of the verdict at the place that announced the wait before.
    browser.reads("main > [role=status]", ".").await;
    browser.script("document.querySelector('main > [role=status]').heard = true").await;
    browser.reads("main > [role=status]", "Passed. Your pin is on the map, at Zürich.").await;
    browser.holds("the same region", "return document.querySelector('main > [role=status]').heard").await;
    tab_to(&browser, ".standing a").await;
    browser.press(ENTER).await;
    browser.reads(".pin-card", "Ada Lovelace").await;

    tab_to(&browser, "#search").await;
    browser.press("tok").await;
    browser.reads("#search-options", "Tokyo, Japan").await;
    browser.press(&format!("{ARROW_DOWN}{ENTER}")).await;
    browser.reads(".pin-card", "Grace Hopper").await;
    focused(&browser, ".pin-card").await;
    browser.press(ESCAPE).await;
    browser.holds("the card to be closed", "return document.querySelector('.pin-card') === null").await;
    focused(&browser, "#search").await;

    // The map's content is also a list.
    tab_to(&browser, ".in-view summary").await;
    browser.press(ENTER).await;
    tab_to(&browser, ".in-view-list button").await;
    browser.press(ENTER).await;
    focused(&browser, ".pin-card").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Presses Tab until the element has the focus. Every element before it must show the focus too.
pub(super) async fn tab_to(browser: &Browser, css: &str) {
    for _ in 0..TABS_MAX {
        browser.press(TAB).await;
        assert_eq!(browser.script(FOCUS).await, serde_json::Value::Null);
        if has_focus(browser, css).await {
            return;
        }
    }
    panic!("{css} is not reached with the tabulator at {}", browser.address().await);
}

/// Waits until the element has the focus, and checks that it shows the focus.
pub(super) async fn focused(browser: &Browser, css: &str) {
    browser.holds(css, &format!("return document.activeElement.matches(\"{css}\")")).await;
    assert_eq!(browser.script(FOCUS).await, serde_json::Value::Null);
}

async fn has_focus(browser: &Browser, css: &str) -> bool {
    browser.script(&format!("return document.activeElement.matches(\"{css}\")")).await == true
}
