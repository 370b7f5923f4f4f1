//! The organisers' page: the queue, the pause reason, the nodes and their slots as they change, and a
//! rejudge.

use testbed::{Availability, Testbed};

use super::JUDGED;
use super::keyboard::tab_to;
use crate::support::browser::{Browser, ENTER, Look};
use crate::support::system::TOKEN;
use crate::support::{Entry, Kind, System};

/// The path of a seccomp profile on the host. The profile contains no filter.
const NO_FILTER: &str = "/run/no-seccomp.json";

#[tokio::test(flavor = "multi_thread")]
async fn organisers_see_the_queue_and_ask_for_a_rejudge() {
    let bed = Testbed::shared().await.unwrap();
    let system = System::start(bed).await;
    let entry = Entry::prepare(&bed.registry, "again", Kind::ServerError).await;
    let id = system.submit("again", &entry.body).await;
    system.verdict(&id, JUDGED).await;
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url("/organise")).await;
    browser.write("#token", &format!("guessed{ENTER}")).await;
    browser.reads("#token-error", "token").await;
    browser.is_accessible().await;
    browser.rewrite("#token", &format!("{TOKEN}{ENTER}")).await;
    browser.reads(".counts", "The app answered with an error").await;
    let node = &bed.swarm.nodes()[0];
    browser.reads(&format!("tr[data-node='{}'][data-state=ready]", node.name()), "ready").await;
    browser.reads(".sandbox", "0 of ").await;
    browser.write("#rejudge-id", &id).await;
    browser.write("#rejudge-why", "the registry was ill").await;
    browser.click(".actions .button").await;
    browser.click("p[role=status] a").await;
    browser.reads(".steps", "the registry was ill").await;
    browser.reads(".steps", "attempt 2").await;
    browser.reads(".standing", "Not yet").await;

    // With the keys alone, on a phone.
    browser.wear(Look { size: (390, 844), dark: true }).await;
    browser.go(&system.url("/organise")).await;
    browser.reads(".counts", "The app answered with an error").await;
    for (field, keys) in [("#rejudge-id", id.as_str()), ("#rejudge-why", "once more")] {
        tab_to(&browser, field).await;
        browser.press(keys).await;
    }
    browser.press(ENTER).await;
    browser.reads("form:has(#rejudge-id) [role=status]", "It waits to be verified again").await;
    browser.is_accessible().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organisers_see_drained_and_refused_nodes_with_the_reasons() {
    let bed = Testbed::three().await.unwrap();
    let [kept, drained, refused] = bed.swarm.nodes() else { panic!("three nodes") };
    // The node's engine filters no system calls, so no participant's image may run there.
    refused.run(&["sh", "-c", &format!("echo '{{}}' >{NO_FILTER}")]).await.unwrap();
    refused.kill().await.unwrap();
    refused.restart_with(&[format!("--seccomp-profile={NO_FILTER}")]).await.unwrap();
    bed.swarm.settle().await.unwrap();
    let system = System::start(&bed).await;
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url("/organise")).await;
    browser.write("#token", &format!("{TOKEN}{ENTER}")).await;
    browser.reads(".sandbox", "0 of 8 slots in use").await;
    let row = |name: &str, state: &str| format!("tr[data-node='{name}'][data-state={state}]");
    browser.reads(&row(kept.name(), "ready"), "4").await;
    browser.reads(&row(drained.name(), "ready"), "4").await;
    browser.reads(&row(refused.name(), "refused"), "seccomp is 0").await;

    // The page must follow the changes without a reload.
    browser.script("window.neverReloaded = true").await;
    bed.swarm.set_availability(drained, Availability::DRAIN).await.unwrap();
    browser.reads(&row(drained.name(), "drained"), "drained by an operator").await;
    browser.reads(".sandbox", "0 of 4 slots in use").await;
    browser.picture("organise").await;
    browser.is_accessible().await;
    bed.swarm.set_availability(drained, Availability::ACTIVE).await.unwrap();
    browser.reads(&row(drained.name(), "ready"), "4").await;
    browser.reads(".sandbox", "0 of 8 slots in use").await;
    browser.holds("the same page", "return window.neverReloaded === true").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    drop((browser, system));
    bed.stop().await.unwrap();
}
