//! Attacks by an allowed registry. A fault of the registry is never held against the participant: the
//! submission waits, and passes when the registry behaves.

use testbed::{Misdeed, Testbed};

use super::attack::Attack;
use super::attack::Deserves::{Fail, Wait};

const METADATA: &str = "http://169.254.169.254/latest/meta-data/";

pub(crate) fn all(bed: &Testbed) -> Vec<Attack> {
    let metadata = || METADATA.to_owned();
    let manager = || format!("http://{}:2375/v1.41/info", bed.world.address());
    let unavailable = Wait("registry_unavailable");
    vec![
        Attack::through("registry-trickles-manifest", Misdeed::TricklesManifests, unavailable),
        Attack::through("registry-trickles-layers", Misdeed::TricklesLayers, unavailable),
        Attack::through(
            "registry-endless-manifest",
            Misdeed::EndlessManifests,
            Fail("image_refused", "longer than"),
        ),
        Attack::through("registry-leads-manifest", Misdeed::LeadsManifestsTo(metadata()), unavailable),
        Attack::through("registry-leads-config", Misdeed::LeadsConfigTo(manager()), unavailable),
        Attack::through("registry-leads-layers", Misdeed::LeadsLayersTo(metadata()), unavailable),
        Attack::through(
            "registry-foreign-layers",
            Misdeed::PutsLayersAt(metadata()),
            Fail("image_refused", "outside of its registry"),
        ),
        Attack::through("registry-tokens-metadata", Misdeed::HasTokensAt(metadata()), unavailable),
        Attack::through("registry-tokens-manager", Misdeed::HasTokensAt(manager()), unavailable),
        Attack::through("registry-429", Misdeed::TooManyRequests, Wait("rate_limited")),
        Attack::through("registry-fails", Misdeed::Fails, unavailable),
        Attack::through("registry-loses-config", Misdeed::LosesConfig, unavailable),
        Attack::through("registry-loses-layers", Misdeed::LosesLayers, unavailable),
        Attack::through("registry-forges-config", Misdeed::ForgesConfig, unavailable),
        Attack::through("registry-forges-layers", Misdeed::ForgesLayers, unavailable),
    ]
}
