//! Failures of registries.

use anyhow::{Result, ensure};
use domain::submission::InterruptionCode;
use testbed::{App, Layer};

use super::proxy::Manner;
use super::scene::{Scene, told};

const TOO_MANY: &str = "toomanyrequests: You have reached your pull rate limit.";

/// Submits several images at once. Each meets another failure of the same registry.
pub(super) async fn what_a_registry_does_wrong_is_not_the_images_fault(scene: &Scene) -> Result<()> {
    told("a registry limits, loses and stalls", async {
        let of = |owner: &str, path: &str| format!("GET /v2/{owner}/app/{path}");
        // The first rule refuses the verifier's lookup, the second the engine's pull.
        scene.registry.misbehave(of("hurried", "manifests/latest"), Manner::Say(429, TOO_MANY), 1);
        scene.registry.misbehave(of("limited", "manifests/sha256"), Manner::Say(429, TOO_MANY), 1);
        // The configuration is missing for the verifier and for the engine.
        scene.registry.misbehave(of("robbed", "blobs/"), Manner::Say(404, "blob unknown to registry"), 1);
        // The layer never arrives. No other image has it, because a layer is fetched once for all.
        let alone = Layer::files(&[("alone", 0o644, b"of the stuck")])?;
        scene.registry.misbehave(of("stuck", &format!("blobs/{}", alone.digest())), Manner::Stall, 1);
        let mut submitted = Vec::new();
        for (owner, expected) in [
            ("hurried", InterruptionCode::RateLimited),
            ("limited", InterruptionCode::PullFailed),
            ("robbed", InterruptionCode::RegistryUnavailable),
            // Muster looks into a layer before a node pulls it, so the layer stalls there.
            ("stuck", InterruptionCode::RegistryUnavailable),
        ] {
            let layers = (owner == "stuck").then(|| alone.clone());
            let app = |answer: &_| App::good(answer).with_layers(layers);
            submitted.push((owner, expected, scene.submit(owner, app).await?));
        }
        for (owner, expected, id) in submitted {
            let (interruptions, _) = scene.passes(id).await?;
            // The registry that limits one image is left alone by all, and each try meanwhile says so.
            let others = interruptions.iter().filter(|code| **code != InterruptionCode::RateLimited);
            let met: Vec<_> = match expected {
                InterruptionCode::RateLimited => interruptions.iter().take(1).collect(),
                _ => others.collect(),
            };
            ensure!(met == [&expected], "{owner}: {interruptions:?}");
        }
        ensure!(scene.registry.behave() == 4, "each image met its failure");
        Ok(())
    })
    .await
}
