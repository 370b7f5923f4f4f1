//! The things that a browser keeps for its participant: the list of what was sent from it, a link and a picture to take along, and a
//! notification at the verdict.

use domain::SubmissionId;
use domain::submission::{Event, Passed, VerdictBasis};

use super::fill_in;
use crate::support::browser::{Browser, Look};
use crate::support::log::Log;
use crate::support::{Shape, System};

/// A browser in which the participant permits notifications, and then looks at something else.
const ASKED: &str = "
    window.Notification = class {
        static permission = 'default';
        static async requestPermission() { return this.permission = 'granted'; }
        constructor(title, { body }) { window.notified = `${title} | ${body}`; }
    };";
const LOOKS_AWAY: &str = "Object.defineProperty(document, 'hidden', { value: true })";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_what_was_sent_from_it_and_tells_of_the_verdict() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let browser = Browser::open(Look::DESK).await;
    let links = "return [...document.querySelectorAll('nav a')].map(link => link.textContent).join(' ')";
    browser.go(&system.url("/submit")).await;
    assert_eq!(browser.script(links).await, "Map Take part");
    fill_in(&browser, "Ada Lovelace", "registry.test:5000/ada/app").await;
    browser.click("button[type=submit]").await;
    browser.reads(".standing", "It is next").await;

    let address = browser.address().await;
    browser.reads(".along .address", &address).await;
    browser
        .script(
            "window.copied = null; navigator.clipboard.writeText = async text => { window.copied = text; }",
        )
        .await;
    browser.click(".along button").await;
    browser.reads(".along [role=status]", "copied").await;
    assert_eq!(browser.script("return window.copied").await, address.as_str());
    browser.script(ASKED).await;
    browser.click(".notice button").await;
    browser.reads(".notice [role=status]", "You will be notified.").await;
    browser.picture("status-along").await;
    browser.is_accessible().await;

    browser.script(LOOKS_AWAY).await;
    let id = SubmissionId(address.rsplit('/').next().unwrap().parse().unwrap());
    let passed = Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() });
    Log::of(&system).await.record(id, [passed]).await;
    browser.reads(".standing", "Passed").await;
    let notified = browser.script("return window.notified").await;
    assert_eq!(notified.as_str().unwrap().split(" | ").next(), Some("Passed: Ada Lovelace"));
    browser.holds("nothing to ask", "return document.querySelector('.notice').hidden").await;

    browser.go(&system.url("/")).await;
    browser.click("nav a[href^='/s/']").await;
    browser.reads(".standing", "Passed").await;
    browser.go(&system.url("/submit")).await;
    browser.reads(".own li", "Ada Lovelace").await;
    browser.reads(".own-standing", "Passed").await;
    browser.wear(Look { size: (390, 844), dark: true }).await;
    browser.script("document.querySelector('.own').scrollIntoView()").await;
    browser.picture("submit-own-phone-dark").await;
    browser.is_accessible().await;
    browser.click(".own button").await;
    browser.reads(".own", "forgot").await;
    browser.go(&system.url("/submit")).await;
    assert_eq!(browser.script(links).await, "Map Take part");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
