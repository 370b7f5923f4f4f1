//! The look into an image that an engine has, for trials. The engine writes the image out as `docker save` does: an archive with an
//! archive for each layer, and a list that names them. Each layer is read as the gate reads it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use serde::Deserialize;

use super::LayerFlaw;
use super::archive::{ArchiveEntryKind, ArchiveReader};
use super::budget::UnpackBudget;
use super::image_tree::{ImageTree, MountPlan};
use super::layer;
use super::layer_tree::LayerTree;

/// The file that lists the layers.
const LIST: &str = "manifest.json";

/// The longest list.
const LIST_MAX: u64 = 1 << 20;

/// The reason why an image is not run.
#[derive(Debug)]
pub(crate) enum SavedImageError {
    /// The engine wrote something else. It is no fault of the image.
    Unreadable(String),
    /// The image gets no further.
    Refused(LayerFlaw),
}

/// An image in the list.
#[derive(Deserialize)]
struct ListedImage {
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// The files of the archive, by their paths.
#[derive(Default)]
struct SavedFiles {
    layers: HashMap<String, Result<Arc<LayerTree>, LayerFlaw>>,
    /// The layers that stand elsewhere, and where.
    links: HashMap<String, String>,
    list: Option<Vec<u8>>,
}

/// Looks into an image that an engine writes out, in a challenge that allows images of `image_mib` MiB.
pub(crate) fn look_into_saved(
    stream: impl Read,
    image_mib: u64,
    plan: &MountPlan,
) -> Result<(), SavedImageError> {
    let files = read(stream, &UnpackBudget::of_image(image_mib))?;
    let list = files.list.as_deref().ok_or_else(|| unreadable("it has no list of layers"))?;
    let list: Vec<ListedImage> =
        serde_json::from_slice(list).map_err(|error| unreadable(&error.to_string()))?;
    let [ListedImage { layers }] = &list[..] else { return Err(unreadable("it is not one image")) };
    let trees: Result<Vec<Arc<LayerTree>>, SavedImageError> =
        layers.iter().map(|path| files.layer(path)).collect();
    ImageTree::new(&trees?).check(plan).map_err(SavedImageError::Refused)
}

fn read(stream: impl Read, budget: &UnpackBudget) -> Result<SavedFiles, SavedImageError> {
    // The engine made this archive. Its layers have the budget.
    let all = UnpackBudget::new(u64::MAX, u64::MAX);
    let mut archive = ArchiveReader::new(stream, &all);
    let mut files = SavedFiles::default();
    while let Some(entry) = archive.next().map_err(|flaw| unreadable(&flaw.into_failure().1))? {
        let Ok(path) = String::from_utf8(entry.path) else { continue };
        match entry.kind {
            ArchiveEntryKind::File { .. } if path == LIST => {
                let mut list = Vec::new();
                let read = archive.content().take(LIST_MAX).read_to_end(&mut list);
                read.map_err(|error: io::Error| unreadable(&error.to_string()))?;
                files.list = Some(list);
            }
            ArchiveEntryKind::File { .. } if may_be_layer(&path) => {
                let content = layer::read(archive.content(), budget).content;
                files.layers.insert(path, content.map(|content| Arc::new(content.tree)));
            }
            ArchiveEntryKind::SymbolicLink(to) => {
                let to = String::from_utf8_lossy(&to).trim_start_matches("../").to_owned();
                files.links.insert(path, to);
            }
            _ => {}
        }
    }
    Ok(files)
}

/// Returns true for the layers of older engines, and for all blobs of newer ones: the list may come after them.
fn may_be_layer(path: &str) -> bool {
    path.ends_with("/layer.tar") || path.starts_with("blobs/")
}

impl SavedFiles {
    fn layer(&self, path: &str) -> Result<Arc<LayerTree>, SavedImageError> {
        let path = self.links.get(path).map_or(path, String::as_str);
        match self.layers.get(path) {
            Some(Ok(tree)) => Ok(Arc::clone(tree)),
            Some(Err(flaw)) => Err(SavedImageError::Refused(flaw.clone())),
            None => Err(unreadable(&format!("layer {path} is missing"))),
        }
    }
}

fn unreadable(why: &str) -> SavedImageError {
    SavedImageError::Unreadable(format!("the image that it wrote out cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use domain::submission::FailureCode;

    use super::super::samples::ArchiveDraft;
    use super::*;

    fn look(saved: &[u8]) -> Result<(), SavedImageError> {
        let plan = MountPlan { volumes: &["/data".to_owned()], writable: &[], working_dir: "/" };
        look_into_saved(saved, 1, &plan)
    }

    fn refused(saved: &[u8]) -> (FailureCode, String) {
        match look(saved) {
            Err(SavedImageError::Refused(flaw)) => flaw.into_failure(),
            other => panic!("{other:?}"),
        }
    }

    fn list(layers: &[&str]) -> String {
        serde_json::json!([{ "Config": "c.json", "RepoTags": null, "Layers": layers }]).to_string()
    }

    #[test]
    fn the_layers_of_an_older_engine_lie_over_each_other_in_the_order_of_the_list() {
        let fifo = ArchiveDraft::new().fifo("etc/passwd").end();
        let file = ArchiveDraft::new().file("etc/passwd", b"root:x:0:0::/:").end();
        let saved = |layers: &[&str]| {
            let draft = ArchiveDraft::new().directory("a/").file("a/VERSION", b"1.0");
            let draft = draft.file("a/layer.tar", &fifo).file("b/layer.tar", &file);
            draft.link("c/layer.tar", "../a/layer.tar").file(LIST, list(layers).as_bytes()).end()
        };
        assert!(look(&saved(&["a/layer.tar", "b/layer.tar"])).is_ok());
        for layers in [&["b/layer.tar", "a/layer.tar"][..], &["a/layer.tar", "b/layer.tar", "c/layer.tar"]] {
            let (code, message) = refused(&saved(layers));
            assert_eq!(code, FailureCode::ImageRefused);
            assert!(message.contains("/etc/passwd is a FIFO"), "{message}");
        }
        let missing = look(&saved(&["d/layer.tar"]));
        assert!(matches!(missing, Err(SavedImageError::Unreadable(_))), "{missing:?}");
    }

    #[test]
    fn the_blobs_of_a_newer_engine_are_layers_if_the_list_names_them() {
        let volume = ArchiveDraft::new().file("data", b"x").end();
        let draft = ArchiveDraft::new()
            .file("blobs/sha256/1", b"{}")
            .file(LIST, list(&["blobs/sha256/2"]).as_bytes());
        let (_, message) = refused(&draft.file("blobs/sha256/2", &volume).end());
        assert!(message.contains("VOLUME /data is no directory"), "{message}");
    }

    #[test]
    fn a_bomb_is_too_large_and_an_export_that_ends_early_is_no_fault_of_the_image() {
        let bomb = ArchiveDraft::new().file("zeros", &vec![0; 5 << 20]).end();
        let saved =
            ArchiveDraft::new().file("a/layer.tar", &bomb).file(LIST, list(&["a/layer.tar"]).as_bytes());
        let saved = saved.end();
        let (code, message) = refused(&saved);
        assert_eq!(code, FailureCode::ImageTooLarge);
        assert!(message.contains("4 MiB when it is unpacked"), "{message}");
        for end in [100, 3 << 20, saved.len() - 1500] {
            let cut = look(&saved[..end]);
            assert!(matches!(cut, Err(SavedImageError::Unreadable(_))), "{end}: {cut:?}");
        }
    }
}
