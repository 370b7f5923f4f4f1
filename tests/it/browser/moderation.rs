//! The organisers' page without a Swarm: names that wait for a look, tokens by name, and webhooks, on a phone and with the keys
//! alone.

use domain::SubmissionId;
use domain::submission::{Event, Hidden, Participant, Submitted};
use domain::testing::{act, submitted_by};
use uuid::Uuid;

use super::keyboard::tab_to;
use crate::support::System;
use crate::support::browser::{Browser, ENTER, Look};
use crate::support::log::Log;
use crate::support::ports::free_address;
use crate::support::system::TOKEN;

const PHONE: Look = Look { size: (390, 844), dark: true };

#[tokio::test(flavor = "multi_thread")]
async fn organisers_look_at_names_give_out_tokens_and_try_webhooks_again() {
    let (nobody, files) = (free_address(), tempfile::tempdir().unwrap());
    let file = files.path().join("webhooks.toml").display().to_string();
    let hook = format!(
        "pages = \"https://muster.example\"\nqueue_long = 1\nallow = [\"127.0.0.1\"]\n[[webhook]]\nname = \"ops\"\n\
         url = \"http://{nobody}/hook\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
    );
    std::fs::write(&file, hook).unwrap();
    let system = System::start_set(&["--webhooks", &file]).await;
    let log = Log::of(&system).await;
    let [shown, corrected, withdrawn] = [hold(&log, "a").await, hold(&log, "b").await, hold(&log, "c").await];
    let browser = Browser::open(PHONE).await;

    browser.go(&system.url("/organise")).await;
    browser.write("#token", &format!("{TOKEN}{ENTER}")).await;
    browser.reads(".held", "Word of a").await;
    browser.reads(".unread", "ops to").await;
    browser.picture("organise-held-phone-dark").await;
    browser.is_accessible().await;

    // With the keys alone.
    tab_to(&browser, "button[aria-label='Show it: Word of a']").await;
    browser.press(ENTER).await;
    browser.reads("main", "Word of a: shown.").await;
    browser.holds("two names", "return document.querySelectorAll('.held > li').length === 2").await;
    assert!(system.status(&shown.to_string()).await.unwrap()["hidden"].is_null());
    browser.rewrite(&format!("[id='spelling-{corrected}']"), "Ward of b").await;
    browser.script("document.body.tabIndex = -1; document.activeElement.blur()").await;
    tab_to(&browser, "button[aria-label='Correct and show: Word of b']").await;
    browser.press(ENTER).await;
    browser.reads("main", "Word of b: corrected and shown.").await;
    assert_eq!(system.status(&corrected.to_string()).await.unwrap()["name"], "Ward of b");
    browser.click("button[aria-label='Withdraw: Word of c']").await;
    browser.reads(".held + p", "No name waits for a look.").await;
    assert_eq!(system.status(&withdrawn.to_string()).await.unwrap()["status"], "withdrawn");

    browser.reads(".unread button", "Try ops again now").await;
    browser.click(".unread button").await;
    browser.reads("main", "ops is tried now.").await;

    // The token of a venue's organiser shows that venue, and neither tokens nor webhooks.
    browser.write("#token-name", "Grace").await;
    browser.write("#token-role", &format!("king{ENTER}")).await;
    browser.reads("#token-role-error", "A role is").await;
    browser.rewrite("#token-role", &format!("venue:berlin{ENTER}")).await;
    let secret = browser.reads(".secret", "muster-").await;
    browser.reads(".tokens", "Grace (venue:berlin)").await;
    browser.script("document.querySelector('.secret').scrollIntoView({ block: 'center' })").await;
    browser.picture("organise-token-phone-dark").await;
    browser.is_accessible().await;
    browser.click(".note .button").await;
    browser.holds("the secret to be gone", "return document.querySelector('.secret') === null").await;
    let venue = Browser::open(Look::DESK).await;
    venue.go(&system.url("/organise")).await;
    venue.write("#token", &format!("{secret}{ENTER}")).await;
    venue.reads(".held + p", "No name waits for a look.").await;
    venue
        .holds("no tokens and no webhooks", "return ['Tokens', 'Webhooks'].every(title => [...document.querySelectorAll('section')].find(one => one.querySelector('h2')?.textContent === title).hidden)")
        .await;

    let revoke = "button[aria-label='Revoke the token of Grace']";
    browser.click(revoke).await;
    browser.click(".tokens button").await;
    browser.reads("main", "The token of Grace is revoked.").await;
    venue.reads("#token-error", "token").await;
    for browser in [&browser, &venue] {
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
}

/// Records a submission whose name waits for a look.
async fn hold(log: &Log, owner: &str) -> SubmissionId {
    let id = SubmissionId(Uuid::new_v4());
    let submitted = Submitted {
        participant: Participant { name: format!("Word of {owner}"), twitter: None },
        ..submitted_by(owner)
    };
    let hidden = Hidden { act: act("The name has a refused word."), held: true };
    log.record(id, [Event::Submitted(submitted), Event::Hidden(hidden)]).await;
    id
}
