//! The image of Muster's own programs, the relay and the inspector, in an otherwise empty file tree. It is
//! imported over the engine's API, so no registry is needed.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::{RelayError, in_time};

/// The path of the relay inside the image.
pub(super) const PROGRAM: &str = "/muster-relay";

const RELAY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster-relay"));
const INSPECTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster-inspector"));
const REPOSITORY: &str = "muster-relay";

/// The image's default program is the inspector, because a service of a participant's image names no program.
const INSTRUCTION: &str = r#"ENTRYPOINT ["/muster-inspector"]"#;

/// The image on an engine.
pub(crate) struct ProgramImage {
    /// The image's name, for containers that the engine runs without the Swarm.
    pub(super) name: String,
    /// The engine's id of the image, by which a service uses it without a registry.
    pub(crate) id: String,
}

/// Imports the image if the engine lacks it. The tag is a digest of the image's content, so an engine that
/// has the name has exactly these programs.
pub(crate) async fn ensure(docker: &Docker) -> Result<ProgramImage, RelayError> {
    let tag = tag();
    let name = format!("{REPOSITORY}:{tag}");
    let id = match id(docker, &name).await? {
        Some(id) => id,
        None => {
            import(docker, tag).await?;
            id(docker, &name).await?.ok_or(RelayError::Late("import the relay's image"))?
        }
    };
    Ok(ProgramImage { name, id })
}

async fn id(docker: &Docker, name: &str) -> Result<Option<String>, RelayError> {
    in_time("look up the relay's image", Duration::from_secs(10), async {
        match docker.inspect_image(name).await {
            Ok(image) => Ok(image.id),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    })
    .await
}

async fn import(docker: &Docker, tag: String) -> Result<(), RelayError> {
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(tag),
        changes: vec![INSTRUCTION.to_owned()],
        ..CreateImageOptions::default()
    };
    in_time("import the relay's image", Duration::from_secs(60), async {
        let body = bollard::body_full(file_tree()?.into());
        docker.create_image(Some(options), Some(body), None).try_for_each(|_| async { Ok(()) }).await
    })
    .await
}

/// Returns the first sixteen digits of the content's digest, which distinguish the builds of Muster.
fn tag() -> String {
    let digest = Sha256::new().chain_update(RELAY).chain_update(INSPECTOR).chain_update(INSTRUCTION);
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn file_tree() -> std::io::Result<Vec<u8>> {
    let mut tree = tar::Builder::new(Vec::new());
    for (path, program) in [(PROGRAM, RELAY), ("/muster-inspector", INSPECTOR)] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(program.len() as u64);
        tree.append_data(&mut header, path.trim_start_matches('/'), program)?;
    }
    tree.into_inner()
}
