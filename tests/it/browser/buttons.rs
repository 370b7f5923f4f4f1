//! What people may change after a submission: organisers hide a pin and show it again, a participant withdraws, and a
//! challenge opens and closes. With the mouse and with the keys alone, on a desk and on a phone.

use serde_json::json;

use super::fill_in;
use super::keyboard::{focused, tab_to};
use crate::support::browser::{Browser, ENTER, Look};
use crate::support::log::Log;
use crate::support::system::TOKEN;
use crate::support::{Shape, System};

const PHONE_AT_NIGHT: Look = Look { size: (390, 844), dark: true };

#[tokio::test(flavor = "multi_thread")]
async fn an_organiser_hides_a_pin_and_shows_it_again() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    Log::of(&system).await.pass(7).await;
    let (organiser, visitor) = tokio::join!(Browser::open(Look::DESK), Browser::open(Look::DESK));
    visitor.go(&system.url("/")).await;
    visitor.reads(".headline", "1").await;
    organiser.go(&system.url("/organise")).await;
    organiser.write("#token", &format!("{TOKEN}{ENTER}")).await;

    // With the mouse. A field that is left out is named.
    organiser.write("#hide-which", "docker.io/owner7").await;
    organiser.click("button[value=hide]").await;
    organiser.reads("#hide-why-error", "required").await;
    organiser.is_accessible().await;
    organiser.write("#hide-why", "the name is a slur").await;
    organiser.write("#hide-by", "Grace").await;
    organiser.click("button[value=hide]").await;
    organiser.reads("form:has(#hide-which) [role=status]", "1 submission hidden.").await;
    visitor.reads(".headline", "0").await;

    // With the keys alone, on a phone.
    organiser.wear(PHONE_AT_NIGHT).await;
    for (field, keys) in [("#hide-why", "it was none"), ("#hide-by", "Grace")] {
        if field == "#hide-why" {
            focused(&organiser, "#hide-which").await;
            organiser.press("docker.io/owner7").await;
        }
        tab_to(&organiser, field).await;
        organiser.press(keys).await;
    }
    tab_to(&organiser, "button[value=show]").await;
    organiser.press(ENTER).await;
    organiser.reads("form:has(#hide-which) [role=status]", "1 submission shown again.").await;
    organiser.is_accessible().await;
    visitor.reads(".headline", "1").await;

    // An owner without a pin is refused beside the field or below the buttons.
    organiser.press("docker.io/nobody").await;
    tab_to(&organiser, "#hide-why").await;
    organiser.press("x").await;
    organiser.press(ENTER).await;
    organiser.reads("form:has(#hide-which)", "No submission of docker.io/nobody has passed.").await;
    organiser.is_accessible().await;
    for browser in [&organiser, &visitor] {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_withdraws_a_submission() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let mut ids = Vec::new();
    for owner in ["ada", "eve"] {
        let body = json!({
            "name": owner, "location": "London, UK", "vote": "Rust",
            "images": [format!("registry.test:5000/{owner}/app")],
        });
        ids.push(system.submit(owner, &body).await);
    }
    let browser = Browser::open(Look::DESK).await;

    // With the mouse: the question may be answered with no.
    browser.go(&system.url(&format!("/s/{}", ids[0]))).await;
    browser.reads(".withdrawal", "Withdraw the submission").await;
    browser.click(".withdrawal button").await;
    browser.reads(".withdrawal", "Yes, withdraw it").await;
    browser.is_accessible().await;
    browser.click(".withdrawal button:not(.primary)").await;
    browser.reads(".withdrawal", "Withdraw the submission").await;
    browser.click(".withdrawal button").await;
    browser.click(".withdrawal .primary").await;
    browser.reads(".standing", "Withdrawn").await;
    browser.is_accessible().await;

    // With the keys alone, on a phone.
    browser.wear(PHONE_AT_NIGHT).await;
    browser.go(&system.url(&format!("/s/{}", ids[1]))).await;
    browser.reads(".withdrawal", "Withdraw the submission").await;
    tab_to(&browser, ".withdrawal button").await;
    browser.press(ENTER).await;
    focused(&browser, ".withdrawal .primary").await;
    tab_to(&browser, ".withdrawal button:not(.primary)").await;
    browser.press(ENTER).await;
    focused(&browser, ".withdrawal button").await;
    browser.press(ENTER).await;
    focused(&browser, ".withdrawal .primary").await;
    browser.is_accessible().await;
    browser.press(ENTER).await;
    browser.reads(".standing", "Withdrawn").await;
    browser.holds("a hidden section", "return document.querySelector('.withdrawal').hidden").await;
    browser.holds("the focus on the page", "return document.activeElement !== document.body").await;
    browser.is_accessible().await;
    system.stats(|stats| stats["submissions"]["withdrawn"] == 2 || stats["withdrawn"] == 2).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_say_when_the_challenge_takes_submissions() {
    let mut system = System::without_a_swarm(Shape::OneProcess).await;
    let rules = system.files().join("challenge.toml");
    let always_open = std::fs::read_to_string(&rules).unwrap();
    let browser = Browser::open(Look::DESK).await;
    let can_send = "return !document.querySelector('button[type=submit]').disabled";
    let cannot_send = "return document.querySelector('button[type=submit]').disabled";
    for (field, moment, says, sends) in [
        ("opens", "2999-01-01T00:00:00Z", "Submissions are taken from ", false),
        ("closes", "2016-03-28T12:00:00Z", "This challenge closed on ", false),
        ("closes", "2999-01-01T00:00:00Z", "Submissions are taken until ", true),
    ] {
        system.kill();
        std::fs::write(&rules, format!("{field} = {moment}\n{always_open}")).unwrap();
        system.restart().await;
        browser.wear(Look::DESK).await;
        browser.go(&system.url("/")).await;
        browser.reads(".title", says).await;
        browser.go(&system.url("/submit")).await;
        browser.reads(".period", says).await;
        let told = "return document.querySelector('.period time').dateTime";
        assert_eq!(browser.script(told).await, moment);
        browser.holds(says, if sends { can_send } else { cannot_send }).await;
        browser.is_accessible().await;
        // A phone says the same, and the keys send nothing outside the period.
        browser.wear(PHONE_AT_NIGHT).await;
        browser.holds("the whole line", "return document.documentElement.scrollWidth <= innerWidth").await;
        browser.is_accessible().await;
        if field == "opens" {
            // The tab keeps the draft.
            fill_in(&browser, "Ada Lovelace", "registry.test:5000/ada/app").await;
        }
        tab_to(&browser, "#name").await;
        browser.press(ENTER).await;
        if sends {
            browser.reads(".standing", "It is next").await;
        } else {
            browser.holds("the form", "return location.pathname === '/submit'").await;
        }
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
