//! The relay's image: our own program in an otherwise empty file tree, brought
//! to an engine over its API, so that no registry needs to have it.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::{RelayError, in_time};

/// The path of the program inside the image.
pub(super) const PROGRAM: &str = "/muster-relay";

const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster-relay"));
const REPOSITORY: &str = "muster-relay";

/// Makes sure that the engine has the image, and returns its name. The tag is
/// the program's digest, so an engine that has the name has this very program.
pub(super) async fn ensure(docker: &Docker) -> Result<String, RelayError> {
    let tag = tag();
    let name = format!("{REPOSITORY}:{tag}");
    let patience = Duration::from_secs(10);
    let known = in_time("look up the relay's image", patience, async {
        match docker.inspect_image(&name).await {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    });
    if !known.await? {
        import(docker, tag).await?;
    }
    Ok(name)
}

async fn import(docker: &Docker, tag: String) -> Result<(), RelayError> {
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(tag),
        ..CreateImageOptions::default()
    };
    in_time("import the relay's image", Duration::from_secs(60), async {
        let body = bollard::body_full(file_tree()?.into());
        docker.create_image(Some(options), Some(body), None).try_for_each(|_| async { Ok(()) }).await
    })
    .await
}

/// Sixteen digits are enough to tell our own builds apart.
fn tag() -> String {
    let digest = Sha256::digest(BINARY);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn file_tree() -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(BINARY.len() as u64);
    let mut tree = tar::Builder::new(Vec::new());
    tree.append_data(&mut header, PROGRAM.trim_start_matches('/'), BINARY)?;
    tree.into_inner()
}
