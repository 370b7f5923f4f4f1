//! The reports on the verifiers' sandboxes.

use domain::SubmissionId;
use domain::sandbox::{
    FetchTarget, ImageFetch, RegistryPause, SandboxNode, SandboxNodeState, SandboxRegistry, SandboxReported,
};
use event_store::Position;
use jiff::Timestamp;
use uuid::Uuid;

use super::ViewsUnderTest;
use crate::view::SandboxView;

pub async fn the_newest_report_on_each_sandbox_is_kept(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    assert_eq!(views.sandboxes().await.expect("readable"), []);
    let (first, second, other) = (report("v1", 3, 1), report("v1", 9, 2), report("a-second", 5, 4));
    for sandbox in [&first, &second, &other, &first, &second] {
        views.record_sandbox(sandbox).await.expect("recorded");
    }
    for views in [views, subject.reopened().await] {
        assert_eq!(views.sandboxes().await.expect("readable"), [other.clone(), second.clone()]);
    }
}

fn report(verifier: &str, position: u64, slots: u32) -> SandboxView {
    let node = |name: &str, state| SandboxNode { name: name.to_owned(), state };
    SandboxView {
        verifier: verifier.to_owned(),
        position: Position(position),
        since: Timestamp::UNIX_EPOCH,
        sandbox: SandboxReported {
            unknown_rules: vec!["sha256:r".to_owned()],
            fetches: vec![ImageFetch {
                submission: SubmissionId(Uuid::nil()),
                image: "ada/app".parse().expect("an image's name"),
                to: FetchTarget::Node,
                bytes: 7,
                of_bytes: 9,
            }],
            pause_reason: (slots == 1).then(|| "no manager answers".to_owned()),
            nodes: vec![
                node("n1", SandboxNodeState::Ready { slots, grade: None }),
                node("n2", SandboxNodeState::Drained),
                node("n3", SandboxNodeState::Down),
                node("n4", SandboxNodeState::Refused { reason: "its engine is too old".to_owned() }),
            ],
            registries: vec![SandboxRegistry {
                name: "docker.io".to_owned(),
                pause: Some(RegistryPause {
                    until: Timestamp::UNIX_EPOCH,
                    reason: "it limits requests".to_owned(),
                }),
                pulls_remaining: Some(0),
            }],
        },
    }
}
