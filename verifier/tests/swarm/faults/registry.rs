//! What registries do wrong.

use anyhow::{Result, ensure};
use domain::submission::InterruptionCode;
use testbed::App;

use super::proxy::Manner;
use super::scene::{Scene, told};

const TOO_MANY: &str = "toomanyrequests: You have reached your pull rate limit.";

/// Each of some images meets another failure of the same registry, all at once.
pub(super) async fn what_a_registry_does_wrong_is_not_the_images_fault(scene: &Scene) -> Result<()> {
    told("a registry limits, loses and stalls", async {
        let of = |owner: &str, path: &str| format!("GET /v2/{owner}/app/{path}");
        // The verifier's own lookup is limited; the engine's pull is.
        scene.registry.misbehave(of("hurried", "manifests/latest"), Manner::Say(429, TOO_MANY), 1);
        scene.registry.misbehave(of("limited", "manifests/sha256"), Manner::Say(429, TOO_MANY), 1);
        // The configuration is lost, to the verifier and to the engine.
        scene.registry.misbehave(of("robbed", "blobs/"), Manner::Say(404, "blob unknown to registry"), 1);
        // The verifier has looked, and then a node waits for what never comes: its
        // task stays in `preparing`.
        scene.registry.misbehave_after(1, of("stuck", "blobs/"), Manner::Stall, 1);
        let mut submitted = Vec::new();
        for (owner, expected) in [
            ("hurried", InterruptionCode::RateLimited),
            ("limited", InterruptionCode::PullFailed),
            ("robbed", InterruptionCode::RegistryUnavailable),
            ("stuck", InterruptionCode::PullFailed),
        ] {
            submitted.push((owner, expected, scene.submit(owner, App::good).await?));
        }
        for (owner, expected, id) in submitted {
            let (interruptions, _) = scene.passes(id).await?;
            ensure!(interruptions == [expected], "{owner}: {interruptions:?}");
        }
        ensure!(scene.registry.behave() == 4, "each image met its failure");
        Ok(())
    })
    .await
}
