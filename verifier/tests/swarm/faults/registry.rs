//! Failures of registries.

use anyhow::{Result, ensure};
use domain::submission::InterruptionCode;
use testbed::{App, Layer};

use super::proxy::Manner;
use super::scene::{Scene, told};

const TOO_MANY: &str = "toomanyrequests: You have reached your pull rate limit.";

/// Submits images that each meet another failure of the same registry.
pub(super) async fn what_a_registry_does_wrong_is_not_the_images_fault(scene: &Scene) -> Result<()> {
    told("a registry limits, loses and stalls", async {
        let of = |owner: &str, path: &str| format!("GET /v2/{owner}/app/{path}");
        // The verifier's lookup is refused. Nobody asks a registry that limits requests before its pause is over,
        // so the other images come afterwards.
        scene.registry.misbehave(of("hurried", "manifests/latest"), Manner::Say(429, TOO_MANY), 1);
        let hurried = scene.submit("hurried", App::good).await?;
        let (interruptions, _) = scene.passes(hurried).await?;
        ensure!(interruptions == [InterruptionCode::RateLimited], "hurried: {interruptions:?}");

        // The engine's pull is refused.
        scene.registry.misbehave(of("limited", "manifests/sha256"), Manner::Say(429, TOO_MANY), 1);
        // The configuration is missing for the verifier and for the engine.
        scene.registry.misbehave(of("robbed", "blobs/"), Manner::Say(404, "blob unknown to registry"), 1);
        // A layer never arrives, at Muster or at a node: then the task stays in `preparing`. No other image has
        // these layers, because all pulls of a layer share one download.
        let layer = |name: &str| Layer::files(&[(name, 0o644, name.as_bytes())]);
        let (unseen, stuck) = (layer("of the unseen")?, layer("of the stuck")?);
        let blob = |owner: &str, layer: &Layer| of(owner, &format!("blobs/{}", layer.digest()));
        scene.registry.misbehave(blob("unseen", &unseen), Manner::Stall, 1);
        scene.registry.misbehave(blob("stuck", &stuck), Manner::Forward, 1);
        scene.registry.misbehave(blob("stuck", &stuck), Manner::Stall, 1);
        let mut submitted = Vec::new();
        for (owner, layer, expected) in [
            ("limited", None, InterruptionCode::PullFailed),
            ("robbed", None, InterruptionCode::RegistryUnavailable),
            ("unseen", Some(unseen), InterruptionCode::RegistryUnavailable),
            ("stuck", Some(stuck), InterruptionCode::PullFailed),
        ] {
            let app = |answer: &_| App::good(answer).with_layers(layer);
            submitted.push((owner, expected, scene.submit(owner, app).await?));
        }
        for (owner, expected, id) in submitted {
            let (interruptions, _) = scene.passes(id).await?;
            ensure!(interruptions == [expected], "{owner}: {interruptions:?}");
        }
        ensure!(scene.registry.behave() == 6, "each image met its failure");
        Ok(())
    })
    .await
}
